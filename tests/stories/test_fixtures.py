"""Every recorded scenario, replayed: in order, doubled, shuffled. The table says what comes of it.

The release it is about is rolled out two minutes before the first alert of a scenario began:
nothing is refused merely for its age.
"""

import asyncio
import random  # noqa: TID251 - seeded: an order that is the same in each run
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from receiver.alerts import parse
from tests.captured import Scenario, scenario, scenarios
from tests.stage import OPTED_IN, stage
from tests.virtual import run

# Scenario: rollbacks, the reasons given in order of first appearance, rollbacks when shuffled
# (a `resolved` that comes first closes its episode: what fires after it is stale).
EXPECTED: dict[str, tuple[int, tuple[str, ...], int]] = {
    "01": (1, ("rolled_back", "already_handled"), 1),
    "02": (1, ("rolled_back", "already_handled", "resolved"), 1),
    "03": (1, ("rolled_back", "already_handled", "resolved"), 0),
    "04": (1, ("rolled_back", "already_handled"), 1),
    "05": (1, ("rolled_back", "already_handled"), 1),
    "06": (1, ("rolled_back", "already_handled"), 1),
    "07": (1, ("rolled_back", "already_handled"), 1),
    "08": (1, ("rolled_back", "already_handled"), 1),
    "09": (1, ("rolled_back", "resolved"), 0),
    "10": (1, ("rolled_back", "already_handled"), 1),
    "11": (1, ("rolled_back", "already_handled"), 1),
    "12": (1, ("rolled_back", "already_handled"), 1),
    "13": (1, ("rolled_back", "already_handled", "resolved"), 0),
    "20": (1, ("rolled_back", "already_handled", "resolved"), 0),
    "21": (1, ("rolled_back", "already_handled"), 1),
    "22": (1, ("rolled_back", "already_handled"), 1),
    "25": (1, ("rolled_back", "resolved", "stale"), 0),
    "30": (1, ("rolled_back", "already_handled"), 1),
    "31": (1, ("rolled_back", "resolved", "already_handled", "cooldown"), 1),
    "32": (1, ("rolled_back", "already_handled", "resolved"), 0),
    "33": (1, ("rolled_back", "already_handled"), 1),
    "34": (1, ("rolled_back", "resolved"), 0),
    "35": (1, ("rolled_back", "already_handled"), 1),
    "36": (1, ("rolled_back",), 1),
    "37": (1, ("rolled_back", "already_handled"), 1),
    "38": (1, ("rolled_back", "already_handled"), 1),
    "39": (0, ("notify_only",), 0),
    "40": (1, ("rolled_back", "already_handled"), 1),
    "41": (1, ("rolled_back", "already_handled"), 1),
    "42": (1, ("rolled_back", "already_handled"), 1),
    "50": (1, ("watchdog", "rolled_back", "resolved"), 0),
    "54": (1, ("rolled_back", "resolved"), 0),
    "55": (0, ("notify_only",), 0),
}
# Seconds from the start of the clock to the first alert; the release is 10 s younger.
LEAD = 130


# These alerts are about a canary: so is the Deployment that they meet.
CANARIES = {"50", "54"}
SPACING = 0.2


def _begins(story: Scenario) -> datetime:
    bodies = [parse(body) for body in story.bodies]
    return min(alert.starts_at for payload in bodies for alert in payload.alerts)


async def _replay(
    home: Path, begins: datetime, bodies: Sequence[tuple[float, bytes]], track: str | None
) -> tuple[int, tuple[str, ...]]:
    """Post bodies at their seconds; return the rollbacks, and each reason given."""
    start = begins - timedelta(seconds=LEAD)
    async with stage(home, start=start) as on, on.replica() as replica:
        labels = OPTED_IN | ({"track": track} if track else {})
        for image in ("app:v1", "app:v2"):
            on.sandbox.deploy("shop", "checkout", image, labels=labels)
            await asyncio.sleep(10)
        reasons: dict[str, None] = {}
        for second, body in bodies:
            await asyncio.sleep(max(0.0, LEAD + second - on.clock.monotonic()))
            status, answer = await on.post(replica, body)
            assert status == 200, answer
            reasons |= dict.fromkeys(alert["reason"] for alert in answer["alerts"])
        await asyncio.sleep(40)
        return len(on.template_writes()), tuple(reasons)


def _play(home: Path, story: Scenario, how: str) -> tuple[int, tuple[str, ...]]:
    timed = [(each.t_s, each.body) for each in story.exchanges if each.body]
    if how == "doubled":
        timed = [(second + late, body) for second, body in timed for late in (0.0, SPACING)]
        timed.sort(key=lambda pair: pair[0])
    if how == "shuffled":
        bodies = [body for _, body in timed for _ in range(2)]
        random.Random(story.name).shuffle(bodies)  # noqa: S311 - an order, no secret
        timed = [(index * SPACING, body) for index, body in enumerate(bodies)]
    found: list[tuple[int, tuple[str, ...]]] = []
    track = "canary" if story.name[:2] in CANARIES else None

    async def play() -> None:
        found.append(await _replay(home, _begins(story), timed, track))

    run(play)
    return found[0]


def test_the_table_names_every_scenario() -> None:
    assert set(EXPECTED) == {story.name[:2] for story in scenarios()}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_scenario_in_order_comes_to_just_this(tmp_path: Path, name: str) -> None:
    rollbacks, reasons, _ = EXPECTED[name]
    assert _play(tmp_path, scenario(name), "in order") == (rollbacks, reasons)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_scenario_delivered_twice_comes_to_the_same(tmp_path: Path, name: str) -> None:
    rollbacks, _, _ = EXPECTED[name]
    assert _play(tmp_path, scenario(name), "doubled")[0] == rollbacks


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_scenario_shuffled_comes_to_no_more(tmp_path: Path, name: str) -> None:
    _, _, rollbacks = EXPECTED[name]
    assert _play(tmp_path, scenario(name), "shuffled")[0] == rollbacks
