"""Open journals of which no beat tells, and those of which one does: each is found in time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from receiver import app
from receiver import journal as jn
from receiver.controller.memory import KEY
from receiver.controller.setup import KIND_LABEL, OPEN_LABEL, Ref
from receiver.journal import Journal, Owed
from receiver.sandbox import Fault
from tests.crash.killing import Cast
from tests.stage import NAME, NAMESPACE, PRODUCTION, UNLIMITED, Stage, firing, stage, webhook
from tests.virtual import virtual

# Seconds that a replica has been idle for: its next look of its own accord is not near.
IDLE = 63


@contextlib.asynccontextmanager
async def _cast(home: Path) -> AsyncIterator[tuple[Stage, Cast]]:
    async with stage(home, timing=PRODUCTION) as on, contextlib.AsyncExitStack() as stack:
        yield on, Cast(on, stack)


def _owed(on: Stage) -> Owed:
    later = on.clock.now() + timedelta(hours=1)
    return Owed(subject="inc-1", sink="pagerduty", since=on.clock.now(), not_before=later)


def _leave(on: Stage, claim: str, name: str = "left") -> None:
    """Leave an open journal behind, as one who died."""
    journal = Journal(namespace=NAMESPACE, deployment=name, claim=claim, owed=(_owed(on),))
    labels = {KIND_LABEL: "journal", OPEN_LABEL: "true"}
    meta = {"name": jn.name_of(NAMESPACE, name), "namespace": on.state_namespace, "labels": labels}
    on.sandbox.create("ConfigMap", {"metadata": meta, "data": {KEY: jn.dump(journal)}})


def _claim(on: Stage, name: str = NAME) -> str:
    found = on.sandbox.get("ConfigMap", on.state_namespace, jn.name_of(NAMESPACE, name))
    return "" if found is None else jn.load(found["data"][KEY]).claim


def _name(replica: app.Replica) -> str:
    return replica.controller._setup.replica


def _path(on: Stage) -> str:
    return f"/api/v1/namespaces/{on.state_namespace}/configmaps"


def _taken(replica: app.Replica) -> float:
    """Return how many journals it has taken from others, whatever became of them since."""
    return replica.registry.get_sample_value("rollback_receiver_claims_taken_total") or 0


def _in_time(on: Stage) -> float:
    """Return within how many seconds the work of a dead one is taken over."""
    return on.timing.lasts + 2 * on.timing.beat


async def _until(on: Stage, reached: Callable[[], bool], at_most: float) -> None:
    """Return as soon as it is so, which is within so many seconds."""
    ends = on.clock.monotonic() + at_most
    while not reached():
        assert on.clock.monotonic() < ends
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("claim", ["", "whom-nobody-heard"])
@virtual
async def test_what_no_beat_tells_of_is_found_within_the_minute(tmp_path: Path, claim: str) -> None:
    async with stage(tmp_path, timing=PRODUCTION) as on, on.replica() as replica:
        await asyncio.sleep(IDLE)
        _leave(on, claim)
        longest = on.timing.sweep + _in_time(on)
        await _until(on, lambda: _taken(replica) == 1, longest)


@virtual
async def test_the_work_of_one_that_falls_silent_is_taken_over_in_time(tmp_path: Path) -> None:
    async with _cast(tmp_path) as (on, cast):
        survivor = await cast.start()
        for number in range(2):
            dies = await cast.start()
            await asyncio.sleep(IDLE)
            _leave(on, _name(dies.replica), f"left-{number}")
            cast.kill(dies)
            await asyncio.sleep(_in_time(on))
            assert _taken(survivor.replica) == number + 1


@virtual
async def test_one_that_was_silent_and_came_back_is_missed_again(tmp_path: Path) -> None:
    async with _cast(tmp_path) as (on, cast):
        survivor, dies = await cast.start(), await cast.start()
        await asyncio.sleep(IDLE)
        cast.stop(dies, on.timing.lasts * 2)
        # Long before the next look that needs no reason.
        await asyncio.sleep(on.timing.lasts * 2 + 2 * on.timing.beat)
        _leave(on, _name(dies.replica))
        cast.kill(dies)
        await asyncio.sleep(_in_time(on))
        assert _taken(survivor.replica) == 1


@virtual
async def test_what_could_not_be_taken_is_taken_a_beat_later(tmp_path: Path) -> None:
    async with _cast(tmp_path) as (on, cast):
        survivor, dies = await cast.start(), await cast.start()
        await asyncio.sleep(IDLE)
        _leave(on, _name(dies.replica))
        cast.kill(dies)
        left = jn.name_of(NAMESPACE, "left")
        refused = Fault(match=f"GET {_path(on)}/{left}", kind="status", status=503)
        on.sandbox.faults.append(refused)
        await _until(on, lambda: refused.times == 0, _in_time(on))
        await asyncio.sleep(on.timing.beat * 1.1)
        assert _taken(survivor.replica) == 1


@virtual
async def test_a_journal_that_was_another_when_we_last_saw_it_is_taken_over_too(
    tmp_path: Path,
) -> None:
    async with _cast(tmp_path) as (on, cast):
        first, second = await cast.start(), await cast.start()
        await on.release("v1", "v2", "v3", wait=5)
        began = on.clock.now()
        assert await on.fires(second.replica, began) == "rolled_back"
        await asyncio.sleep(20)
        await on.resolves(second.replica, began)
        await _until(on, lambda: not _claim(on), 300)
        await asyncio.sleep(120)
        await on.release("v4", wait=30)
        await on.fires(first.replica)
        assert _claim(on) == _name(first.replica)
        cast.kill(first)
        await _until(on, lambda: _taken(second.replica) == 1, _in_time(on))


@virtual
async def test_what_is_given_up_early_does_not_wait_for_what_is_given_up_late(
    tmp_path: Path,
) -> None:
    async with (
        stage(tmp_path, timing=PRODUCTION) as on,
        on.replica(1, **UNLIMITED) as stays,
        on.replica(2, **UNLIMITED) as leaves,
    ):
        await on.release("v1", "v2", "v3", wait=5)
        await asyncio.sleep(IDLE)
        # Of all the releases at once only the one of this journal takes its time.
        late = jn.name_of(NAMESPACE, "late")
        _leave(on, _name(leaves), "late")
        await leaves.controller._work.claims.sweep()
        match = f"PUT {_path(on)}/{late}"
        slow = Fault(match=match, kind="delay", seconds=4.0, times=None)
        on.sandbox.faults.append(slow)
        assert await on.fires(leaves) == "rolled_back"
        closing = asyncio.create_task(leaves.controller.close())
        await _until(on, lambda: _claim(on) == _name(stays), 2 * on.timing.beat)
        assert not closing.done()
        on.sandbox.faults.clear()
        await closing


@virtual
async def test_what_was_written_and_not_answered_is_worked_on_without_a_second_delivery(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, timing=PRODUCTION) as on, on.replica() as replica:
        await on.release("v1", "v2", "v3", wait=5)
        await asyncio.sleep(IDLE)
        path, faults = _path(on), on.sandbox.faults
        looked = f"GET {path}/{jn.name_of(NAMESPACE, NAME)}"
        read = Fault(match=looked, kind="status", status=503, times=None)
        made: list[str] = []

        def second(verb: str, asked: str) -> bool:
            # The ledger is made first, then the journal, which nobody can look up then.
            if verb == "POST" and asked.startswith(path):
                made.append(asked)
            if len(made) < 2 or read in faults:
                return False
            faults.append(read)
            return True

        faults.append(Fault(match=second, kind="reset_after"))
        status, _ = await on.post(replica, webhook(firing(on.clock.now())))
        assert status == 503
        assert _claim(on) == _name(replica)
        faults.clear()
        await _until(on, lambda: len(on.template_writes()) == 1, 4 * on.timing.beat)


@virtual
async def test_who_was_cut_off_after_its_write_is_worked_for(tmp_path: Path) -> None:
    async with stage(tmp_path, timing=PRODUCTION) as on, on.replica() as replica:
        await asyncio.sleep(IDLE)
        controller, ref = replica.controller, Ref(NAMESPACE, NAME)

        def change(journal: Journal) -> Journal:
            return controller._work.claims.claimed(replace(journal, owed=(_owed(on),)))

        await controller._memory.amend(ref, change)
        assert _claim(on) == _name(replica)
        # There is nothing to tell: whoever works on it finds that out, and lets go.
        await _until(on, lambda: _claim(on) == "", 2 * on.timing.beat)
