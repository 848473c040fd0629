"""A replica is killed at every point of a story; another one, or it itself anew, ends the story.

The points are counted from outside, by what reaches the API server, Slack and PagerDuty: the test
of the undisturbed story holds the table against that, so that no write is added without its crash.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from receiver.journal import Journal, Phase
from tests.crash.killing import Cast
from tests.crash.points import NEWS, OUTCOME, SINKS, Point, Points
from tests.stage import PRODUCTION, stage
from tests.virtual import virtual

# One line for each write and each message of the undisturbed story, in their order.
WRITES = (
    "the ledger counts the target",
    "the journal says settling",
    "the ledger reserves",
    "the journal says applying",
    "the PATCH",
    "the journal says following",
    "the Event Following",
    "prod-alerts accepts the news",
    "pagerduty accepts the news",
    "the tick of the news to prod-alerts",
    "the tick of the news to pagerduty",
    "the journal says verifying",
    "the journal says resolved",
    "the journal says recovered",
    "the Event Recovered",
    "prod-alerts accepts the outcome",
    "pagerduty accepts the outcome",
    "the tick of the outcome to prod-alerts",
    "the tick of the outcome to pagerduty",
    "the claim is given up",
)
# Where nothing is written for a while: the phase that it is in then.
QUIET = {
    Point("after", "the journal says settling", later=0.5): Phase.SETTLING,
    Point("after", "the journal says following", later=0.3): Phase.FOLLOWING,
    Point("after", "the journal says verifying", later=0.5): Phase.VERIFYING,
    Point("after", "the journal says verifying", later=8.0): Phase.VERIFYING,
}
POINTS = (
    *(Point("before", what) for what in WRITES),
    *(Point("after", what) for what in WRITES),
    *QUIET,
)
# Where the alert can have resolved before anybody has taken over.
_REMEMBERED = WRITES[WRITES.index("the journal says settling") :]
EARLY = tuple(
    Point("after", what)
    for what in _REMEMBERED[: _REMEMBERED.index("the journal says verifying") + 1]
)
# Seconds: it wakes on the way, or after the end.
SLEEPS = (
    *((point, 8.0) for point in (*EARLY, *QUIET)),
    *((Point("after", what), 25.0) for what in WRITES),
)
TAKEN_WITHIN = 10.0
CASTS = pytest.mark.parametrize("restarts", [False, True], ids=["of two", "started again"])


@dataclass(frozen=True, slots=True)
class Ending:
    """How a story ended."""

    points: Points
    image: str
    template_writes: int
    journal: Journal
    reserved: int

    @property
    def phases(self) -> list[Phase]:
        return [incident.phase for incident in self.journal.incidents]


async def _play(
    home: Path,
    at: Point | None,
    *,
    restarts: bool = False,
    stops: float = 0,
    resolves_after: float = 14,
    ends_after: float = 40,
) -> Ending:
    """Play a bad release, its rollback, its end; at that point something befalls the first replica.

    It is killed, or stopped for some seconds.
    """
    async with stage(home, timing=PRODUCTION) as on, contextlib.AsyncExitStack() as stack:
        cast = Cast(on, stack, restarts)
        first = await cast.start()
        if not restarts:
            await cast.start()
        await on.release("v2", "v3", wait=4)
        points = Points(
            on,
            at,
            lambda: cast.stop(first, stops) if stops else cast.kill(first),
            first.replica.controller._setup.replica,
        )
        began = await cast.fires()
        await cast.passes(resolves_after)
        await cast.resolves(began)
        await cast.passes(ends_after - resolves_after)
        assert (points.cut is None) == (at is None), f"never came by: {at}"
        return Ending(
            points=points,
            image=on.image,
            template_writes=len(on.template_writes()),
            journal=points.journal(),
            reserved=len(points.ledger().reservations),
        )


@CASTS
@virtual
async def test_the_undisturbed_story_comes_by_exactly_these_points(
    tmp_path: Path, restarts: bool
) -> None:
    ending = await _play(tmp_path, None, restarts=restarts)
    assert tuple(ending.points.seen) == WRITES
    assert ending.phases == [Phase.RECOVERED]


@CASTS
@pytest.mark.parametrize("point", POINTS, ids=str)
@virtual
async def test_a_replica_killed_at_any_point_is_stood_in_for(
    tmp_path: Path, point: Point, restarts: bool
) -> None:
    ending = await _play(tmp_path, point, restarts=restarts)
    points, cut = ending.points, ending.points.cut
    assert cut is not None
    if point in QUIET:
        assert [incident.phase for incident in cut.journal.incidents] == [QUIET[point]]
    assert (ending.template_writes, ending.reserved, ending.image) == (1, 1, "v2")
    assert ending.phases == [Phase.RECOVERED]
    assert not ending.journal.busy
    for sink in SINKS:
        for said in (NEWS, OUTCOME):
            most = 2 if points.unanswered(sink, said) else 1
            assert 1 <= points.times(sink, said) <= most, (sink, said, points.heard)
    if cut.journal.busy or not cut.journal.incidents:
        taken_after = points.taken_after()
        assert taken_after is not None
        assert taken_after <= TAKEN_WITHIN


@pytest.mark.parametrize("point", EARLY, ids=str)
@virtual
async def test_an_alert_that_resolves_before_anybody_took_over_is_told_to_its_end(
    tmp_path: Path, point: Point
) -> None:
    ending = await _play(tmp_path, point, resolves_after=3)
    points = ending.points
    by_itself = ending.phases == [Phase.RESOLVED_BY_ITSELF]
    assert ending.phases == [Phase.RECOVERED] or by_itself
    assert (ending.template_writes, ending.image) == ((0, "v3") if by_itself else (1, "v2"))
    # What came to nothing is given back.
    assert ending.reserved == ending.template_writes
    assert not ending.journal.busy
    most = 2 if points.unanswered("prod-alerts", OUTCOME) else 1
    assert 1 <= points.times("prod-alerts", OUTCOME) <= most
    paged = [message.said for message in points.heard if message.sink == "pagerduty"]
    # What was opened is closed.
    assert not paged or paged[-1] == OUTCOME, paged


@pytest.mark.parametrize(("point", "stops"), SLEEPS, ids=str)
@virtual
async def test_a_replica_stopped_for_longer_than_its_claim_lasts_does_nothing_twice(
    tmp_path: Path, point: Point, stops: float
) -> None:
    ending = await _play(tmp_path, point, stops=stops, ends_after=50)
    points = ending.points
    assert (ending.template_writes, ending.reserved, ending.image) == (1, 1, "v2")
    assert ending.phases == [Phase.RECOVERED]
    assert not ending.journal.busy
    for sink in SINKS:
        for said in (NEWS, OUTCOME):
            most = 2 if points.unanswered(sink, said) else 1
            # Who learns on waking that its page was taken cannot know whether that was before the
            # end: the end is sent once more, and closes nothing twice.
            most = 2 if (sink, said) == ("pagerduty", OUTCOME) else most
            assert 1 <= points.times(sink, said) <= most, (sink, said, points.heard)
    # What was told last is what the journal says was told last.
    assert {(told.sink, told.state) for told in ending.journal.told} == {
        (sink, Phase.RECOVERED) for sink in SINKS
    }
