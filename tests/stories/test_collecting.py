"""What is remembered of a Deployment that is gone is kept for a week, and then dropped."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from receiver import demo
from receiver.controller.setup import Ref
from receiver.journal import name_of
from receiver.sandbox import Fault
from tests.stage import NAME, NAMESPACE, UNHURRIED, Stage, stage
from tests.virtual import LoopClock, virtual

DAY = 24 * 3600.0
JOURNAL = name_of(NAMESPACE, NAME)


@asynccontextmanager
async def _rolled_back(tmp_path: Path) -> AsyncIterator[Stage]:
    """Yield a stage on which a rollback was made, and all is over."""
    async with stage(tmp_path, timing=UNHURRIED) as on:
        async with on.replica(1) as replica:
            await on.release("v1", "v2")
            began = on.clock.now()
            await on.fires(replica, began)
            await asyncio.sleep(60)
            await on.resolves(replica, began)
            await asyncio.sleep(60)
        assert _remembered(on, JOURNAL)
        yield on


def _remembered(on: Stage, name: str) -> bool:
    return on.sandbox.get("ConfigMap", demo.STATE, name) is not None


async def _looked_through(on: Stage, days: float) -> None:
    """Run a replica some days later, for as long as it takes to look once."""
    async with on.replica(2, clock=LoopClock(skew=days * DAY)):
        await asyncio.sleep(600)


@virtual
async def test_the_journal_of_a_deployment_that_is_gone_is_dropped_after_a_week(
    tmp_path: Path,
) -> None:
    async with _rolled_back(tmp_path) as on:
        on.sandbox.delete("Deployment", NAMESPACE, NAME)
        await _looked_through(on, days=6)
        assert _remembered(on, JOURNAL)
        await _looked_through(on, days=8)
        assert not _remembered(on, JOURNAL)


@virtual
async def test_the_journal_of_a_deployment_that_is_there_stays(tmp_path: Path) -> None:
    async with _rolled_back(tmp_path) as on:
        await _looked_through(on, days=300)
        assert _remembered(on, JOURNAL)


@virtual
async def test_a_journal_with_work_left_stays(tmp_path: Path) -> None:
    async with _rolled_back(tmp_path) as on:
        on.sandbox.delete("Deployment", NAMESPACE, NAME)
        found = on.sandbox.get("ConfigMap", demo.STATE, JOURNAL)
        assert found is not None
        owed = '"owed":[{"subject":"inc-1","sink":"engineering","since":"2040-01-01T00:00:00Z"}],'
        text = found["data"]["journal.json"].replace("{", "{" + owed, 1)
        patch = {"data": {"journal.json": text}}
        on.sandbox.merge_patch("ConfigMap", demo.STATE, JOURNAL, patch)
        await _looked_through(on, days=8)
        assert _remembered(on, JOURNAL)


@virtual
async def test_a_journal_that_is_damaged_stays(tmp_path: Path) -> None:
    async with _rolled_back(tmp_path) as on:
        on.sandbox.delete("Deployment", NAMESPACE, NAME)
        patch = {"data": {"journal.json": "{"}}
        on.sandbox.merge_patch("ConfigMap", demo.STATE, JOURNAL, patch)
        await _looked_through(on, days=8)
        assert _remembered(on, JOURNAL)


@pytest.mark.parametrize("status", [403, 503])
@virtual
async def test_what_cannot_be_looked_up_stays(tmp_path: Path, status: int) -> None:
    async with _rolled_back(tmp_path) as on:
        on.sandbox.delete("Deployment", NAMESPACE, NAME)
        fault = Fault(f"GET /apis/apps/v1/namespaces/{NAMESPACE}", "status", status, times=None)
        on.sandbox.faults.append(fault)
        await _looked_through(on, days=8)
        assert _remembered(on, JOURNAL)


@virtual
async def test_an_alert_at_the_moment_of_dropping_is_not_lost(tmp_path: Path) -> None:
    """The Deployment is made anew, and its alert is written down, after it was looked up."""
    async with _rolled_back(tmp_path) as on, on.replica(3) as other:
        on.sandbox.delete("Deployment", NAMESPACE, NAME)
        held = asyncio.Event()

        def alert_comes(verb: str, path: str) -> bool:
            if verb != "DELETE" or held.is_set():
                return False
            held.set()
            patch = {"data": {"journal.json": '{"version":1,"cleared":["a code"]}'}}
            on.sandbox.merge_patch("ConfigMap", demo.STATE, JOURNAL, patch)
            return False

        on.sandbox.faults.append(Fault(alert_comes, "status", times=None))
        await _looked_through(on, days=8)
        assert held.is_set()
        assert _remembered(on, JOURNAL)
        assert other.controller._memory.known(Ref(NAMESPACE, NAME)) is None
