"""A refusal opens a page, and its end closes it; what fires again is told again."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from tests.stage import NAME, NAMESPACE, PATIENT, Stage, stage
from tests.virtual import virtual


def _paged(on: Stage) -> list[str]:
    """Return what pagers were told of refusals, and not of how the service itself is."""
    told = [page for page in on.people.pages if page["dedup_key"].startswith("ref-")]
    return [page["event_action"] for page in told]


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


# --- without a Deployment


@virtual
async def test_a_refusal_without_a_deployment_is_paged_once_resolved_and_paged_again_a_day_later(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, timing=PATIENT) as on:
        for round_ in (1, 2):
            began = on.clock.now()
            async with on.replica(round_) as replica:
                for _ in range(3):
                    assert await on.fires(replica, began) == "target_not_found"
                    await asyncio.sleep(60)
                assert _paged(on) == ["trigger", "resolve"] * (round_ - 1) + ["trigger"]
                await on.resolves(replica, began)
                await asyncio.sleep(60)
                # Late, by the other one of an HA pair.
                assert await on.fires(replica, began) == "target_not_found"
                await asyncio.sleep(60)
                assert _paged(on) == ["trigger", "resolve"] * round_
            await asyncio.sleep(24 * 3600)
        assert len({page["dedup_key"] for page in on.people.pages}) == 1
        assert sum("RESOLVED" in message["text"] for _, message in on.people.slack) == 2


@virtual
async def test_a_refusal_without_a_deployment_outlives_a_restart_and_is_over_with_its_last_alert(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, timing=PATIENT) as on:
        began = on.clock.now()
        async with on.replica() as replica:
            for pod in ("a", "b"):
                await on.fires(replica, began, instance=pod)
            await asyncio.sleep(60)
            await on.resolves(replica, began, instance="a")
            await asyncio.sleep(60)
        await asyncio.sleep(30 * 3600)
        async with on.replica(2) as replica:
            assert await on.fires(replica, began, instance="b") == "target_not_found"
            await asyncio.sleep(60)
            assert _paged(on) == ["trigger"]
            await on.resolves(replica, began, instance="b")
            await asyncio.sleep(60)
            assert _paged(on) == ["trigger", "resolve"]


@virtual
async def test_a_refusal_is_over_when_its_alert_is_though_there_is_a_deployment_by_then(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, timing=PATIENT) as on, on.replica() as replica:
        began = on.clock.now()
        assert await on.fires(replica, began) == "target_not_found"
        await asyncio.sleep(60)
        await on.release("v1", labels={"rollback-receiver/enabled": "false"})
        assert await on.fires(replica, began) == "not_opted_in"
        await asyncio.sleep(60)
        assert _paged(on) == ["trigger"] * 2
        await on.release("v2")
        assert await on.resolves(replica, began) == "resolved"
        await asyncio.sleep(60)
        assert _paged(on) == ["trigger", "trigger", "resolve", "resolve"]


@pytest.mark.parametrize("gone", [True, False], ids=["deleted", "opted out"])
@virtual
async def test_a_refusal_is_over_when_its_alert_is_though_its_deployment_is_ours_no_more(
    tmp_path: Path, *, gone: bool
) -> None:
    async with (
        stage(tmp_path, timing=PATIENT) as on,
        on.replica(window="10m") as replica,
        on.replica(2, window="10m") as other,
    ):
        await on.release("v1", "v2")
        await asyncio.sleep(3600)
        began = on.clock.now()
        assert await on.fires(replica, began) == "outside_window"
        await asyncio.sleep(60)
        if gone:
            on.sandbox.delete("Deployment", NAMESPACE, NAME)
        else:
            await on.release("v2", labels={"rollback-receiver/enabled": "false"})
        await on.resolves(other, began)
        await asyncio.sleep(60)
        assert _paged(on) == ["trigger", "resolve"]
