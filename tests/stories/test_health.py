"""`/health` and `/ready`: each dependency is broken in turn, and its word changes."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from receiver import app
from receiver.sandbox import Fault
from tests.stage import UNHURRIED, Stage, firing, resolved, stage, webhook
from tests.virtual import virtual


async def _get(on: Stage, replica: app.Replica, path: str) -> tuple[int, Any]:
    async with on.session.get(f"{replica.url}{path}") as answer:
        return answer.status, await answer.json()


@virtual
async def test_health_has_the_shape_of_the_plan(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await asyncio.sleep(5)
        status, body = await _get(on, replica, "/health")
        shape = {"status", "version", "timestamp", "dependencies"}
        assert (status, set(body)) == (200, shape | {"sinks"})
        assert body["status"] == "healthy"
        assert body["dependencies"]["kubernetes"] == "connected"
        assert body["dependencies"]["alertmanager"] == "not_heard_yet"
        status, body = await _get(on, replica, "/ready")
        assert (status, body["ready"], body["checks"]["kubernetes"]) == (200, True, "ok")
        await on.fires(replica)
        _, body = await _get(on, replica, "/health")
        assert body["dependencies"]["alertmanager"] == "connected"


@virtual
async def test_an_api_that_is_gone_shows_in_health_and_readiness(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await asyncio.sleep(5)
        on.sandbox.faults.append(Fault(match="/", kind="status", status=503, times=None))
        await asyncio.sleep(60)
        _, body = await _get(on, replica, "/health")
        assert (body["status"], body["dependencies"]["kubernetes"]) == ("degraded", "unreachable")
        status, body = await _get(on, replica, "/ready")
        assert (status, body["ready"]) == (503, False)
        on.sandbox.faults.clear()
        await asyncio.sleep(60)
        assert (await _get(on, replica, "/ready"))[0] == 200


NOWHERE = "http://127.0.0.1:9"
OTHER = {"slack": "pagerduty", "pagerduty": "slack"}


async def _sinks(on: Stage, replica: app.Replica, kind: str) -> tuple[str, str, str]:
    """Return how we are, how sinks of this kind are, and how those of the other kind are."""
    _, body = await _get(on, replica, "/health")
    dependencies = body["dependencies"]
    return body["status"], dependencies[kind], dependencies[OTHER[kind]]


@pytest.mark.parametrize(
    ("kind", "file", "text", "word"),
    [
        ("slack", "slack-prod-alerts", "", "unauthorized"),
        ("slack", "slack-prod-alerts", f"{NOWHERE}/services/prod-alerts", "unreachable"),
        ("pagerduty", "pagerduty-key", "", "unauthorized"),
    ],
    ids=["slack without its secret", "slack is not there", "pagerduty without its secret"],
)
@virtual
async def test_a_sink_that_breaks_shows_in_health_and_is_well_again_when_it_is_mended(
    tmp_path: Path, kind: str, file: str, text: str, word: str
) -> None:
    async with stage(tmp_path, timing=UNHURRIED) as on, on.replica() as replica:
        await on.release("v1", "v2")
        assert await _sinks(on, replica, kind) == ("healthy", "available", "available")
        right = (tmp_path / file).read_text()
        (tmp_path / file).write_text(text)
        await on.fires(replica)
        await asyncio.sleep(20)
        assert await _sinks(on, replica, kind) == ("degraded", word, "available")
        assert (await _get(on, replica, "/ready"))[0] == 200
        (tmp_path / file).write_text(right)
        await asyncio.sleep(1200)
        assert await _sinks(on, replica, kind) == ("healthy", "available", "available")


@virtual
async def test_a_pagerduty_that_is_not_there_shows_in_health(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        pagerduty = {"endpoint": NOWHERE}
        on.changes.append(lambda d: d["notify"]["sinks"]["pagerduty"].update(pagerduty))
        async with on.replica() as replica:
            await on.release("v1", "v2")
            assert await _sinks(on, replica, "pagerduty") == ("healthy", "available", "available")
            await on.fires(replica)
            await asyncio.sleep(20)
            said = await _sinks(on, replica, "pagerduty")
            assert said == ("degraded", "unreachable", "available")


async def _alertmanager(on: Stage, replica: app.Replica) -> tuple[str, str]:
    _, body = await _get(on, replica, "/health")
    return body["status"], body["dependencies"]["alertmanager"]


async def _watchdog(on: Stage, replica: app.Replica, *, fires: bool = True) -> str:
    began = on.clock.now() - timedelta(hours=1)
    alert = firing(began, alertname="Watchdog", severity="none", rollback="")
    if not fires:
        alert = resolved(began, on.clock.now(), alertname="Watchdog", severity="none", rollback="")
    status, answer = await on.post(replica, webhook(alert))
    assert status == 200
    reason: str = answer["alerts"][0]["reason"]
    return reason


@virtual
async def test_a_watchdog_that_stops_makes_alertmanager_silent(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        for _ in range(6):
            assert await _watchdog(on, replica) == "watchdog"
            await asyncio.sleep(60)
        assert await _alertmanager(on, replica) == ("healthy", "connected")
        await asyncio.sleep(5 * 60)
        assert await _alertmanager(on, replica) == ("degraded", "silent")
        status, body = await _get(on, replica, "/ready")
        assert (status, body["ready"]) == (200, True)
        await _watchdog(on, replica)
        assert await _alertmanager(on, replica) == ("healthy", "connected")


@virtual
async def test_a_watchdog_that_resolves_is_no_sign_of_life(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await _watchdog(on, replica)
        for _ in range(6):
            await asyncio.sleep(60)
            assert await _watchdog(on, replica, fires=False) == "resolved"
        assert await _alertmanager(on, replica) == ("degraded", "silent")


@virtual
async def test_a_watchdog_posted_to_one_replica_is_heard_by_the_other(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica(1) as one, on.replica(2) as two:
        for _ in range(8):
            await _watchdog(on, one)
            await asyncio.sleep(60)
        assert await _alertmanager(on, two) == ("healthy", "connected")
        await asyncio.sleep(5 * 60)
        assert await _alertmanager(on, one) == ("degraded", "silent")
        assert await _alertmanager(on, two) == ("degraded", "silent")


@virtual
async def test_without_a_watchdog_silence_is_no_fault(tmp_path: Path) -> None:
    async with stage(tmp_path, timing=UNHURRIED) as on, on.replica() as replica:
        await on.fires(replica)
        await asyncio.sleep(3600)
        assert await _alertmanager(on, replica) == ("healthy", "connected")
