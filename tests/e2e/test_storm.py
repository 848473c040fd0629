"""Ten thousand alerts at once, and ten thousand deliveries: bounded, and never a wrong answer."""

import asyncio
import contextlib
import io
import json
import os
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
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
from tests.k8s.shipped import shipped
from tests.stage import OPTED_IN, firing, webhook

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(280)]
# `make bench-storm` plays all of it; the test a part, for it takes minutes.
FULL = os.environ.get("STORM") == "full"
TARGETS, ALERTS, DELIVERIES = (1000, 10_000, 10_000) if FULL else (200, 2000, 1000)
CLOCK = SystemClock()
# MiB. A body of 10,000 alerts is 12 MiB, and is held several times over while it is read.
MOST_MEMORY = 600
# Seconds. It takes one or two, and more where other tests have the cores; what matters is that the
# kubelet does not restart the service.
DEPLOYMENT = shipped("base/deployment.yaml", "Deployment", "rollback-receiver")
(CONTAINER,) = DEPLOYMENT["spec"]["template"]["spec"]["containers"]
HEALTH_WITHIN = CONTAINER["livenessProbe"]["timeoutSeconds"]


def _process(config: Path) -> Path:
    """Return where the kernel tells of the service with this configuration (proc(5))."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(config).encode() in file.read_bytes():
                return file.parent
    raise LookupError(config)


def _memory(process: Path) -> float:
    """Return the peak memory of a process, in MiB."""
    found = re.search(r"VmHWM:\s+(\d+)", (process / "status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def _alert(number: int) -> dict[str, Any]:
    labels = {"deployment": f"app-{number % TARGETS:04}", "instance": str(number), "for_": "0s"}
    return firing(CLOCK.now(), **labels)


# In a process of its own: this one is busy with being the cluster and ten thousand senders.
PROBE = """
import sys, threading, time, urllib.request
over, took = threading.Event(), []
def ask():
    while not over.is_set():
        began = time.monotonic()
        assert urllib.request.urlopen(sys.argv[1], timeout=30).status == 200
        took.append(time.monotonic() - began)
        time.sleep(0.1)
asking = threading.Thread(target=ask)
asking.start()
sys.stdin.read()
over.set()
asking.join()
print(max(took), len(took))
"""


@dataclass
class Health:
    """How long the slowest answer of /health took, in seconds, and how many there were."""

    slowest: float = 0.0
    count: int = 0


@contextlib.asynccontextmanager
async def _watched(url: str) -> AsyncIterator[Health]:
    """Ask /health all the time until the end of the block."""
    found = Health()
    probe = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROBE, f"{url}/health"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    yield found
    said, _ = await probe.communicate(b"")
    assert probe.returncode == 0
    slowest, count = said.split()
    found.slowest, found.count = float(slowest), int(count)


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
            where, process = f"{url}/api/v1/alerts", _process(own)

            async def post(body: bytes) -> int:
                async with session.post(where, data=io.BytesIO(body), headers=headers) as got:
                    await got.read()
                    return got.status

            body = json.dumps(webhook(*(_alert(n) for n in range(ALERTS)))).encode()
            began = CLOCK.monotonic()
            async with _watched(url) as health:
                status = await post(body)
            seconds = CLOCK.monotonic() - began
            print(
                f"{ALERTS} alerts in one body of {len(body) / 2**20:.0f} MiB: {status} after "
                f"{seconds:.1f} s, /health within {health.slowest:.2f} s, "
                f"{_memory(process):.0f} MiB"
            )
            assert status in (200, 503)
            assert health.slowest < HEALTH_WITHIN
            assert _memory(process) < MOST_MEMORY

            bodies = [json.dumps(webhook(_alert(n))).encode() for n in range(TARGETS)]
            gate = asyncio.Semaphore(500)

            async def deliver(number: int) -> None:
                async with gate:
                    said[await post(bodies[number % TARGETS])] += 1

            began = CLOCK.monotonic()
            async with _watched(url) as health, asyncio.TaskGroup() as group:
                for number in range(DELIVERIES):
                    group.create_task(deliver(number))
            seconds = CLOCK.monotonic() - began
            print(
                f"{DELIVERIES} deliveries: {dict(said)} in {seconds:.1f} s, "
                f"/health within {health.slowest:.2f} s, {_memory(process):.0f} MiB"
            )
            assert set(said) <= {200, 503}
            assert said[200] > 0
            assert health.slowest < HEALTH_WITHIN
            assert _memory(process) < MOST_MEMORY
