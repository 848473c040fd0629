"""What an idle replica asks of the API server."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from receiver import app
from receiver import journal as jn
from receiver.controller.memory import KEY
from tests.stage import NAME, NAMESPACE, OPTED_IN, PRODUCTION, Stage, stage
from tests.virtual import virtual

MINUTES = 10
# A beat each 1.5 s, our 14 rights once a minute; and what is looked at every 30 s: the open
# journals, the ledger and the journal of the receiver. The Deployments are counted now and then.
IN_A_MINUTE = 40 + 14 + 2 * 3 + 1


def _claim(on: Stage, name: str = NAME) -> str:
    found = on.sandbox.get("ConfigMap", on.state_namespace, jn.name_of(NAMESPACE, name))
    return "" if found is None else jn.load(found["data"][KEY]).claim


def _name(replica: app.Replica) -> str:
    return replica.controller._setup.replica


async def _until(on: Stage, reached: Callable[[], bool], at_most: float) -> None:
    """Return as soon as it is so, which is within so many seconds."""
    ends = on.clock.monotonic() + at_most
    while not reached():
        assert on.clock.monotonic() < ends
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("targets", [0, 200])
@virtual
async def test_an_idle_replica_asks_for_little_more_than_its_beat(
    tmp_path: Path, targets: int
) -> None:
    async with stage(tmp_path, timing=PRODUCTION) as on:
        for number in range(targets):
            on.sandbox.deploy(NAMESPACE, f"shop-{number}", "app:v1", labels=OPTED_IN)
        await asyncio.sleep(30)
        async with on.replica():
            await asyncio.sleep(60)
            on.sandbox.clear_log()
            await asyncio.sleep(MINUTES * 60)
            asked = len(on.sandbox.requests)
            assert MINUTES * 40 - 1 <= asked <= MINUTES * IN_A_MINUTE
            assert {write.verb for write in on.sandbox.writes} == {"patch"}


@virtual
async def test_it_is_quiet_again_after_its_work_is_done(tmp_path: Path) -> None:
    async with stage(tmp_path, timing=PRODUCTION) as on, on.replica() as replica:
        await on.release("v1", "v2", wait=5)
        began = on.clock.now()
        await on.fires(replica, began)
        await asyncio.sleep(60)
        await on.resolves(replica, began)
        # The rest of the cooldown, and the time for which somebody may still be told.
        await asyncio.sleep(1200)
        on.sandbox.clear_log()
        await asyncio.sleep(MINUTES * 60)
        assert len(on.sandbox.requests) <= MINUTES * IN_A_MINUTE


@pytest.mark.parametrize("open_", [False, True])
@virtual
async def test_what_a_replica_that_leaves_gives_up_is_taken_at_once(
    tmp_path: Path, *, open_: bool
) -> None:
    async with stage(tmp_path, timing=PRODUCTION) as on, on.replica(1) as stays:
        async with on.replica(2) as leaves:
            await on.release("v1", "v2", "v3", wait=5)
            await asyncio.sleep(20)
            if open_:
                # Something that a pager may show as open: its beat stays.
                leaves.controller._work.alarm.inherit()
            assert await on.fires(leaves) == "rolled_back"
            assert _claim(on) == _name(leaves)
        await _until(on, lambda: _claim(on) == _name(stays), on.timing.beat * 1.1)
