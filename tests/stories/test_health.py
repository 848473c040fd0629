"""`/health` and `/ready`: each dependency is broken in turn, and its word changes."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from receiver import app
from receiver.sandbox import Fault
from tests.stage import Stage, stage
from tests.virtual import virtual


async def _get(on: Stage, replica: app.Replica, path: str) -> tuple[int, Any]:
    async with on.session.get(f"{replica.url}{path}") as answer:
        return answer.status, await answer.json()


@virtual
async def test_health_has_the_shape_of_the_plan(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await asyncio.sleep(5)
        status, body = await _get(on, replica, "/health")
        assert (status, set(body)) == (200, {"status", "version", "timestamp", "dependencies"})
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


@pytest.mark.parametrize("kind", ["slack", "pagerduty"])
@virtual
async def test_a_sink_whose_secret_is_gone_shows_in_health(tmp_path: Path, kind: str) -> None:
    files = {"slack": ["slack-prod-alerts"], "pagerduty": ["pagerduty-key"]}
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2")
        _, before = await _get(on, replica, "/health")
        for file in files[kind]:
            (tmp_path / file).write_text("")
        await on.fires(replica)
        await asyncio.sleep(20)
        _, after = await _get(on, replica, "/health")
        assert before["dependencies"][kind] != after["dependencies"][kind]
        assert after["status"] == "degraded"
