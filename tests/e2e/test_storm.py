"""Ten thousand alerts at once, and ten thousand deliveries: bounded, and never a wrong answer."""

import asyncio
import contextlib
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from receiver import demo
from receiver.clock import SystemClock
from receiver.controller.setup import SWITCH
from receiver.demo import pair, shop
from receiver.sandbox import Sandbox
from tests.e2e.processes import served
from tests.stage import OPTED_IN, firing, webhook

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(280)]
TARGETS, ALERTS, DELIVERIES = 1000, 10_000, 10_000
CLOCK = SystemClock()
# MiB. A body of 10,000 alerts is 12 MiB, and is held several times over while it is read.
MOST_MEMORY = 600
# Seconds.
HEALTH_WITHIN = 1.0


def _memory(config: Path) -> float:
    """Return the peak memory of the service with this configuration, in MiB."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(config).encode() in file.read_bytes():
                found = re.search(r"VmHWM:\s+(\d+)", (file.parent / "status").read_text())
                assert found is not None
                return int(found[1]) / 1024
    raise LookupError(config)


def _alert(number: int) -> dict[str, Any]:
    labels = {"deployment": f"app-{number % TARGETS:04}", "instance": str(number), "for_": "0s"}
    return firing(CLOCK.now(), **labels)


@contextlib.asynccontextmanager
async def _watched(url: str, session: aiohttp.ClientSession) -> AsyncIterator[list[float]]:
    """Ask /health all the time; yield how long each answer took."""
    took: list[float] = []

    async def ask() -> None:
        while True:
            began = CLOCK.monotonic()
            async with session.get(f"{url}/health") as answer:
                assert answer.status == 200
                await answer.read()
            took.append(CLOCK.monotonic() - began)
            await asyncio.sleep(0.1)

    asking = asyncio.create_task(ask())
    try:
        yield took
    finally:
        asking.cancel()
        ended = await asyncio.gather(asking, return_exceptions=True)
        assert isinstance(ended[0], asyncio.CancelledError), ended


async def test_a_storm_is_answered_within_bounds(tmp_path: Path) -> None:
    sandbox = Sandbox(CLOCK)
    async with (
        sandbox.serve() as kubernetes,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        sandbox.create_namespace(demo.STATE)
        sandbox.create("ConfigMap", {"metadata": {"name": SWITCH, "namespace": demo.STATE}})
        for number in range(TARGETS):
            name = f"app-{number:04}"
            sandbox.deploy(shop.NAMESPACE, name, "app:v1", labels=OPTED_IN, replicas=0)
        await sandbox.settled()
        config = demo.write_config(
            tmp_path, sandbox.kubeconfig(kubernetes), "http://127.0.0.1:9", mode="shadow"
        )
        port = pair.free_port()
        own = config.with_name(f"receiver-{port}.yaml")
        headers = {"Authorization": f"Bearer {demo.TOKEN}"}
        said: Counter[int] = Counter()
        async with served(config, port, tmp_path / "log") as url:

            async def post(body: bytes) -> int:
                async with session.post(f"{url}/api/v1/alerts", data=body, headers=headers) as got:
                    await got.read()
                    return got.status

            body = json.dumps(webhook(*(_alert(n) for n in range(ALERTS)))).encode()
            began = CLOCK.monotonic()
            async with _watched(url, session) as took:
                status = await post(body)
            seconds = CLOCK.monotonic() - began
            print(
                f"{ALERTS} alerts in one body of {len(body) / 2**20:.0f} MiB: {status} after "
                f"{seconds:.1f} s, /health within {max(took):.2f} s, {_memory(own):.0f} MiB"
            )
            assert status in (200, 503)
            assert max(took) < HEALTH_WITHIN
            assert _memory(own) < MOST_MEMORY

            bodies = [json.dumps(webhook(_alert(n))).encode() for n in range(TARGETS)]
            gate = asyncio.Semaphore(500)

            async def deliver(number: int) -> None:
                async with gate:
                    said[await post(bodies[number % TARGETS])] += 1

            began = CLOCK.monotonic()
            async with _watched(url, session) as took, asyncio.TaskGroup() as group:
                for number in range(DELIVERIES):
                    group.create_task(deliver(number))
            seconds = CLOCK.monotonic() - began
            print(
                f"{DELIVERIES} deliveries: {dict(said)} in {seconds:.1f} s, "
                f"/health within {max(took):.2f} s, {_memory(own):.0f} MiB"
            )
            assert set(said) <= {200, 503}
            assert said[200] > 0
            assert max(took) < HEALTH_WITHIN
            assert _memory(own) < MOST_MEMORY
