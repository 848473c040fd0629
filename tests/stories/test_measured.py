"""How long it took, from alert to patch to recovery, as /metrics says."""

import asyncio
from datetime import timedelta
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from receiver import app
from tests.stage import PRODUCTION, Stage, stage
from tests.virtual import virtual

PREFIX = "rollback_receiver_"


async def _measured(on: Stage, replica: app.Replica) -> dict[str, float]:
    """Return the metrics without labels."""
    async with on.session.get(f"{replica.url}/metrics") as answer:
        text = await answer.text()
    return {
        sample.name.removeprefix(PREFIX): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.labels
    }


@virtual
async def test_an_alert_is_measured_from_its_start_to_the_patch_and_on_to_recovery(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, timing=PRODUCTION) as on, on.replica() as replica:
        await on.release("v1", "v2")
        began = on.clock.now()
        await asyncio.sleep(30)  # Alertmanager groups, and is slow to come
        assert await on.fires(replica, began) == "rolled_back"
        await asyncio.sleep(20)
        found = await _measured(on, replica)
        assert found["alert_to_patch_seconds_count"] == 1
        assert 30 < found["alert_to_patch_seconds_sum"] < 35
        assert found["patch_to_recovery_seconds_count"] == 0
        patched = began + timedelta(seconds=found["alert_to_patch_seconds_sum"])
        await on.resolves(replica, began)
        await asyncio.sleep(10)
        assert (await on.incident(replica))["phase"] == "recovered"
        found = await _measured(on, replica)
        assert found["patch_to_recovery_seconds_count"] == 1
        most = (on.clock.now() - patched).total_seconds()
        assert most - 10 <= found["patch_to_recovery_seconds_sum"] <= most


@virtual
async def test_what_a_person_asked_for_waited_for_no_alert(tmp_path: Path) -> None:
    async with stage(tmp_path, timing=PRODUCTION) as on, on.replica() as replica:
        await on.release("v1", "v2")
        status, answer = await on.rollback(replica, wait=True)
        assert (status, answer["phase"]) == (200, "recovered")
        found = await _measured(on, replica)
        assert found["alert_to_patch_seconds_count"] == 0
        assert found["patch_to_recovery_seconds_count"] == 1


@virtual
async def test_the_mode_is_shown(tmp_path: Path) -> None:
    async with stage(tmp_path, timing=PRODUCTION) as on:
        for mode, shadow in (("act", 0), ("shadow", 1)):
            async with on.replica(mode=mode) as replica:
                assert (await _measured(on, replica))["shadow"] == shadow


@virtual
async def test_every_call_of_the_api_is_a_series_from_the_start(tmp_path: Path) -> None:
    """Else the first error of a kind is no increase, and no alert on it can fire."""

    def series(replica: app.Replica) -> set[tuple[str, str, str]]:
        return {
            (labels["verb"], labels["resource"], labels["code_class"])
            for family in replica.registry.collect()
            for sample in family.samples
            if sample.name == f"{PREFIX}kubernetes_requests_total"
            for labels in [sample.labels]
        }

    async with stage(tmp_path, timing=PRODUCTION) as on, on.replica() as replica:
        before = series(replica)
        assert ("patch", "deployments.apps", "5xx") in before
        await on.release("v1", "v2")
        assert await on.fires(replica) == "rolled_back"
        await asyncio.sleep(60)
        assert series(replica) == before
