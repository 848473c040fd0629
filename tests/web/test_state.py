"""How we are: the shapes of the rollout plan, the page, and what Prometheus reads."""

from pathlib import Path

import pytest

from receiver import __version__
from receiver.controller.answers import Health, Readiness
from receiver.web import REJECTIONS, ROUTES, series
from tests.virtual import virtual
from tests.web.world import world

EVIL = '<script>alert("x")</script>'


@pytest.mark.parametrize("status", ["healthy", "degraded"])
@virtual
async def test_health_has_the_shape_of_the_plan_and_is_200_while_the_process_works(
    tmp_path: Path, status: str
) -> None:
    async with world(tmp_path) as here:
        words = {"kubernetes": "connected", "slack": "unreachable"}
        sinks = {"prod-alerts": "unreachable; 2 given up"}
        here.service.status = Health(status=status, dependencies=words, sinks=sinks)
        reply = await here.ask("GET", "/health")
        assert reply.status == 200
        assert reply.headers["Content-Type"].startswith("application/json")
        assert reply.json == {
            "status": status,
            "version": __version__,
            "timestamp": "2026-11-23T01:00:00Z",
            "dependencies": words,
            "sinks": sinks,
        }


@pytest.mark.parametrize(("ready", "code"), [(True, 200), (False, 503)])
@virtual
async def test_readiness_has_the_shape_of_the_plan(tmp_path: Path, ready: bool, code: int) -> None:
    async with world(tmp_path) as here:
        checks = {"kubernetes": "ok" if ready else "not reached", "draining": "ok"}
        here.service.ready = Readiness(ready=ready, checks=checks)
        reply = await here.ask("GET", "/ready")
        assert (reply.status, reply.json) == (code, {"ready": ready, "checks": checks})
        assert here.count("http_rejections_total", reason="not_ready") == (not ready)


@virtual
async def test_prometheus_finds_every_series_of_http_from_the_start(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        for route, code in series():
            assert here.count("http_requests_total", route=route, code=code) == 0
        for reason in REJECTIONS:
            assert here.count("http_rejections_total", reason=reason) == 0
        reply = await here.ask("GET", "/metrics")
        assert reply.headers["Content-Type"].startswith("text/plain; version=")
        assert "rollback_receiver_build_info" in reply.text


@virtual
async def test_paths_that_nobody_foresaw_make_no_series(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        before = (await here.ask("GET", "/metrics")).text.count("\n")
        for index in range(50):
            await here.ask("GET", f"/api/v1/deployments/shop/d{index}")
            await here.ask("GET", f"/x{index}")
        assert (await here.ask("GET", "/metrics")).text.count("\n") == before


@virtual
async def test_the_page_lists_every_route_and_runs_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        here.service.status = Health(status=EVIL, dependencies={EVIL: EVIL}, sinks={EVIL: EVIL})
        here.service.ready = Readiness(ready=False, checks={EVIL: EVIL})
        reply = await here.ask("GET", "/")
        assert reply.status == 200
        assert reply.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert "<script" not in reply.text
        assert "&lt;script&gt;" in reply.text
        for route in ROUTES:
            assert f"{route.method} {route.path}" in reply.text


def test_each_route_says_what_it_is_for() -> None:
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
    assert all(route.meaning for route in ROUTES)
