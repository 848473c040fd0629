"""Faults planted into the service: each is found by a story, which passes without it.

What finds nothing when the code is wrong proves nothing when it is right.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from receiver import decisions
from receiver import rollout as ro
from receiver.controller.memory import Entry, Memory
from receiver.controller.setup import Ref
from receiver.journal import Journal
from receiver.sandbox import Fault
from tests.properties.plays import Step, play
from tests.stage import NAME, NAMESPACE, firing, stage, webhook
from tests.stories import test_traps as traps
from tests.virtual import virtual


def _journal_without_compare_and_set(patch: pytest.MonkeyPatch) -> None:
    write = Memory.write

    async def over(self: Memory, ref: Ref, journal: Journal, known: Entry) -> Entry:
        newest = await self.read(ref)
        return await write(self, ref, journal, replace(known, version=newest.version))

    patch.setattr(Memory, "write", over)


def _patch_without_tests(patch: pytest.MonkeyPatch) -> None:
    undo = ro.undo

    def unguarded(*args: Any, **more: Any) -> list[ro.Obj]:
        return [op for op in undo(*args, **more) if op["op"] != "test"]

    patch.setattr(ro, "undo", unguarded)


def _without_rule(name: str) -> Callable[[pytest.MonkeyPatch], None]:
    def plant(patch: pytest.MonkeyPatch) -> None:
        kept = tuple(row for row in decisions.TABLE if row[1].__name__ != name)
        assert len(kept) == len(decisions.TABLE) - 1
        patch.setattr(decisions, "TABLE", kept)

    return plant


def _nothing_excluded(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decisions, "excluded", lambda rollout, journal, now: frozenset())


def _record_not_looked_up(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ro, "fate", lambda rollout, intent: "unknown")


@virtual
async def _two_replicas_decide_at_once(home: Path) -> None:
    """One has read the journal and is slow; the other writes it meanwhile."""
    async with stage(home) as on, on.replica(1) as first, on.replica(2) as second:
        await on.release("v1", "v2", "v3")
        body = webhook(firing(on.clock.now()))
        slow = Fault(
            match=lambda verb, path: verb == "GET" and "/replicasets" in path,
            kind="delay",
            seconds=0.5,
        )
        on.sandbox.faults.append(slow)
        late = asyncio.create_task(on.post(second, body))
        await asyncio.sleep(0.1)
        answers = [await on.post(first, body), await late]
        assert slow.times == 0
        assert [status for status, _ in answers] == [200, 200]
        reasons = [answer["alerts"][0]["reason"] for _, answer in answers]
        assert reasons == ["rolled_back", "already_handled"]


@virtual
async def _a_hotfix_between_read_and_write(home: Path) -> None:
    async with stage(home) as on, on.replica() as replica:
        await on.release("v1", "v2")

        def hotfix(verb: str, path: str, stored: object) -> None:
            if verb == "patch" and path.endswith(f"/deployments/{NAME}"):
                on.sandbox.before_commit = None
                on.sandbox.deploy(NAMESPACE, NAME, "app:hotfix")

        on.sandbox.before_commit = hotfix
        await on.fires(replica)
        await asyncio.sleep(60)
        assert on.image == "hotfix"
        assert on.template_writes() == []


def _a_bad_release_comes_back_after_its_revision_was_pruned(_: Path) -> None:
    """Only what is remembered tells that this code was left before."""
    steps = [
        Step("deploy", then=10),
        Step("fire", then=20),
        Step("resolve", then=150),
        Step("deploy", then=10),
        Step("redeploy", 2, then=10),
        Step("fire", then=60),
    ]
    assert len(play(steps, revisionHistoryLimit=1).automatic) == 1


def _a_hotfix_that_fails_as_well(_: Path) -> None:
    """Go past what the hotfix replaced, which had begun to alert."""
    steps = [
        Step("deploy", then=60),
        Step("fire", then=0.3),
        Step("deploy", then=60),
        Step("fire", 1, then=60),
    ]
    assert len(play(steps).automatic) == 1


def _the_destination_alerts_too(_: Path) -> None:
    """One step back helped nothing: a second one is for people."""
    steps = [
        Step("deploy", then=10),
        Step("fire", then=20),
        Step("resolve", then=150),
        Step("fire", then=60),
    ]
    assert len(play(steps).automatic) == 1


@pytest.mark.timeout(170)
@pytest.mark.parametrize(
    ("plant", "story"),
    [
        pytest.param(
            _journal_without_compare_and_set,
            _two_replicas_decide_at_once,
            id="the journal is written without compare-and-set",
        ),
        pytest.param(
            _patch_without_tests,
            _a_hotfix_between_read_and_write,
            id="the patch tests nothing",
        ),
        pytest.param(
            _without_rule("already_handled"),
            _a_bad_release_comes_back_after_its_revision_was_pruned,
            id="already_handled is dropped",
        ),
        pytest.param(
            _nothing_excluded,
            _a_hotfix_that_fails_as_well,
            id="quarantined and suspect revisions are destinations",
        ),
        pytest.param(
            _without_rule("not_a_new_release"),
            _the_destination_alerts_too,
            id="not_a_new_release is dropped",
        ),
        pytest.param(
            _record_not_looked_up,
            traps.test_a_reply_lost_after_the_patch_is_no_second_rollback,
            id="the record of an intent is not looked up",
        ),
    ],
)
def test_a_planted_fault_is_found(
    plant: Callable[[pytest.MonkeyPatch], None],
    story: Callable[[Path], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    story(tmp_path)
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        story(tmp_path)
