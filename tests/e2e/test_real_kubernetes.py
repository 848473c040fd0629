"""Everything real: Prometheus, Alertmanager, two services as processes, and a kube-apiserver."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from receiver import demo
from receiver.demo import pair, shop
from tests.controlplane.plane import ControlPlane
from tests.controlplane.scene import Scene, ours, scene
from tests.controlplane.world import REAL
from tests.e2e.processes import get, served, until
from tests.stage import NAME

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150), *REAL]


@contextlib.asynccontextmanager
async def _exported(on: Scene) -> AsyncIterator[str]:
    """Run the shop of the demo over the pods of the real cluster; yield where it is scraped."""
    pods: list[Any] = []

    async def look() -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                pods[:] = await on.world.list("Pod", on.namespace)
            await asyncio.sleep(0.2)

    looking = asyncio.create_task(look())
    try:
        async with shop.Shop(lambda: pods).serve() as address:
            yield address
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


@contextlib.asynccontextmanager
async def _all(on: Scene, programs: pair.Programs, home: Path) -> AsyncIterator[list[str]]:
    """Run two services, an Alertmanager that posts to both, and a Prometheus; yield the services.

    Raises what a process says that does not come up.
    """
    config = demo.write_config(
        home,
        on.kubeconfig(),
        on.people_url,
        namespace=on.namespace,
        state=on.state_namespace,
        settle="1s",
    )
    async with contextlib.AsyncExitStack() as stack:
        exporter = await stack.enter_async_context(_exported(on))
        urls = [
            await stack.enter_async_context(
                served(config, pair.free_port(), home / f"service-{index}.log")
            )
            for index in range(2)
        ]
        webhooks = [
            pair.Webhook(url=f"{url}/api/v1/alerts", token_file=home / "webhook-token")
            for url in urls
        ]
        managers = await stack.enter_async_context(
            pair.alertmanagers(programs.alertmanager, home, webhooks)
        )
        rules = home / "rules.yml"
        rules.write_text(shop.RULES)
        scrape = {f"service-{i}": url.removeprefix("http://") for i, url in enumerate(urls)}
        prometheus = await stack.enter_async_context(
            pair.prometheus(
                programs.prometheus,
                home,
                scrape={"shop": exporter} | scrape,
                alertmanagers=managers,
                rules=rules,
            )
        )
        yield [*urls, prometheus]


@pytest.mark.parametrize("restarts", [False, True], ids=["quiet", "the_api_server_restarts"])
async def test_a_bad_image_is_undone_once_verified_and_told(
    tmp_path: Path, plane: ControlPlane, programs: pair.Programs, restarts: bool
) -> None:
    async with (
        scene(tmp_path, plane.connection) as on,
        _all(on, programs, tmp_path) as (one, _, prometheus),
    ):
        await on.release("v1", "v2", replicas=2)
        await asyncio.sleep(3)
        await on.release(f"v3-{shop.BROKEN_TAG}")
        if restarts:
            await _decided(on, one)
            plane.stop_api_server(at_once=True)
            assert ours(plane.audited(), on.namespace) == []
            await asyncio.sleep(3)
            await asyncio.to_thread(plane.start_api_server)
        await until(lambda: bool(ours(plane.audited(), on.namespace)), "the undo")
        await on.world.complete(NAME)
        assert await on.image() == "v2"
        await until(
            lambda: _pages(on) == ["trigger", "resolve"],
            "PagerDuty",
        )
        await until(
            lambda: any("RECOVERED" in message["text"] for _, message in on.people.slack), "Slack"
        )
        await asyncio.sleep(3)  # time for whatever would be done twice
        (record,) = ours(plane.audited(), on.namespace)
        assert record["verb"] == "patch"
        assert record["user"]["username"].endswith(":rollback-receiver")
        found = await get(
            f"{prometheus}/api/v1/query",
            query='sum(rollback_receiver_rollbacks_total{outcome="recovered"})',
        )
        assert found["data"]["result"][0]["value"][1] == "1"


def _pages(on: Scene) -> list[str]:
    """Return what the pager was told of all that was ever opened there.

    A replica that starts beside another also closes the alarm that an earlier one may have left.
    """
    pages = on.people.pages
    opened = {page["dedup_key"] for page in pages if page["event_action"] == "trigger"}
    return [page["event_action"] for page in pages if page["dedup_key"] in opened]


async def _decided(on: Scene, url: str) -> None:
    """Return as soon as there is an incident: it settles for a second before the undo."""
    headers = {"Authorization": f"Bearer {demo.PERSON_TOKEN}"}

    async def holds() -> bool:
        async with on.session.get(f"{url}/api/v1/incidents", headers=headers) as answer:
            return bool((await answer.json())["incidents"])

    await on.world.until(holds, 60)
