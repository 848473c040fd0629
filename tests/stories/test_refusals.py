"""A refusal opens a page, and its end closes it; what fires again is told again."""

import asyncio
from datetime import timedelta
from pathlib import Path

from tests.stage import PATIENT, Stage, stage
from tests.virtual import virtual


def _paged(on: Stage) -> list[str]:
    return [page["event_action"] for page in on.people.pages]


@virtual
async def test_a_refusal_is_paged_once_resolved_and_paged_again_when_it_fires_again(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, timing=PATIENT) as on, on.replica(window="10m") as replica:
        await on.release("v1", "v2")
        await asyncio.sleep(3600)
        for round_ in (1, 2):
            began = on.clock.now()
            for _ in range(3):
                assert await on.fires(replica, began) == "outside_window"
                await asyncio.sleep(60)
            assert _paged(on) == ["trigger", "resolve"] * (round_ - 1) + ["trigger"]
            await on.resolves(replica, began)
            await asyncio.sleep(60)
            assert _paged(on) == ["trigger", "resolve"] * round_
        assert len({page["dedup_key"] for page in on.people.pages}) == 1
        assert sum("RESOLVED" in message["text"] for _, message in on.people.slack) == 2


@virtual
async def test_a_refusal_of_several_alerts_is_over_when_the_last_of_them_is(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, timing=PATIENT) as on, on.replica(window="10m") as replica:
        await on.release("v1", "v2")
        await asyncio.sleep(3600)
        began = on.clock.now()
        for name in ("Errors", "Latency"):
            assert await on.fires(replica, began, alertname=name) == "outside_window"
        await asyncio.sleep(60)
        await on.resolves(replica, began, alertname="Errors")
        await asyncio.sleep(60)
        assert _paged(on) == ["trigger"]
        await on.resolves(replica, began, alertname="Latency")
        await asyncio.sleep(60)
        assert _paged(on) == ["trigger", "resolve"]


@virtual
async def test_a_refusal_delivered_late_opens_nothing_again(tmp_path: Path) -> None:
    async with stage(tmp_path, timing=PATIENT) as on, on.replica(window="10m") as replica:
        await on.release("v1", "v2")
        await asyncio.sleep(3600)
        began = on.clock.now()
        await on.fires(replica, began)
        await asyncio.sleep(60)
        await on.resolves(replica, began)
        assert await on.fires(replica, began - timedelta(seconds=1)) == "stale"
        await asyncio.sleep(60)
        assert _paged(on) == ["trigger", "resolve"]
