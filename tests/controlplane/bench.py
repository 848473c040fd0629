"""A scale run: many Deployments with a long history, many of them alerting at once.

    make bench-scale        # 1,000 Deployments with 10 revisions each, 200 alert at once

Beside the service, the bare calls that no receiver can do without (read the Deployment, list its
ReplicaSets, write one ConfigMap, patch) are made for as many other targets in the same run, by a
client that does nothing else: what is above that is our own.
"""

import argparse
import asyncio
import contextlib
import re
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from receiver import demo
from receiver.demo import pair
from tests.controlplane.plane import ControlPlane, control_plane, programs
from tests.controlplane.scene import Scene, ours, scene
from tests.e2e.processes import COMMAND
from tests.kube.http import JSON_PATCH, Obj, expect
from tests.kube.world import REVISION
from tests.stage import OPTED_IN, firing, webhook

AT_ONCE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many Deployments, revisions of each, and Deployments that alert at once."""

    deployments: int
    revisions: int
    alerting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Seconds, MiB, and requests for each rollback."""

    size: Size
    last_patch: float
    complete: float
    bare: float
    idle: float
    peak: float
    requests: float
    verbs: dict[str, float]

    def table(self) -> str:
        """Return it as Markdown."""
        size = self.size
        rows = {
            "alerts posted to last patch": f"{self.last_patch:.1f} s",
            "the bare calls alone": f"{self.bare:.1f} s",
            "alerts posted to last rollout complete": f"{self.complete:.1f} s",
            "memory of the service, idle and at its peak": (
                f"{self.idle:.0f} MiB, {self.peak:.0f} MiB"
            ),
            "requests for each rollback, from alert to complete": f"{self.requests:.1f}",
            "of them": ", ".join(f"{n:.1f} {what}" for what, n in self.verbs.items()),
        }
        head = (
            f"{size.alerting} of {size.deployments:,} Deployments alert at once, "
            f"{size.revisions} revisions each"
        )
        lines = [f"| {head} | |", "|---|---|"]
        return "\n".join([*lines, *(f"| {what} | {value} |" for what, value in rows.items())])


async def spread(calls: Iterable[Callable[[], Awaitable[Any]]], at_once: int = AT_ONCE) -> None:
    """Do all, so many at a time."""
    gate = asyncio.Semaphore(at_once)

    async def one(call: Callable[[], Awaitable[Any]]) -> None:
        async with gate:
            await call()

    async with asyncio.TaskGroup() as group:
        for call in calls:
            group.create_task(one(call))


def names(size: Size) -> list[str]:
    """Return the names of the Deployments: those that alert come first."""
    return [f"app-{number:04}" for number in range(size.deployments)]


async def history(on: Scene, size: Size) -> None:
    """Give every Deployment its revisions; those that take part get a pod in the end."""
    every = names(size)
    for revision in range(1, size.revisions + 1):

        def release(name: str, tag: str = f"app:v{revision}") -> Callable[[], Awaitable[None]]:
            return lambda: on.world.deploy(name, tag, labels=OPTED_IN, replicas=0)

        await spread(map(release, every))
        await on.world.until(lambda n=revision: _all_at(on, n), 600)  # type: ignore[misc] # mypy and defaults

    def grow(name: str) -> Callable[[], Awaitable[Any]]:
        path = on.world.path("Deployment", on.namespace, name, "scale")
        return lambda: on.world.http.merge(path, {"spec": {"replicas": 1}})

    await spread(map(grow, every[: 2 * size.alerting]))
    await on.world.until(lambda: _all_available(on, every[: 2 * size.alerting]), 600)


async def _all_at(on: Scene, revision: int) -> bool:
    await asyncio.sleep(0.5)
    found = await on.world.list("Deployment", on.namespace)
    return all(
        (obj["metadata"].get("annotations") or {}).get(REVISION) == str(revision) for obj in found
    )


async def _all_available(on: Scene, those: list[str]) -> bool:
    await asyncio.sleep(0.2)
    found = {o["metadata"]["name"]: o for o in await on.world.list("Deployment", on.namespace)}
    return all(_is_complete(found[name]) for name in those)


def _is_complete(obj: Obj) -> bool:
    status = obj["status"]
    counts = [status.get(f) for f in ("replicas", "updatedReplicas", "availableReplicas")]
    seen = status.get("observedGeneration") == obj["metadata"]["generation"]
    return bool(seen and counts == [1, 1, 1])


async def bare(on: Scene, those: list[str]) -> float:
    """Make the calls without which there is no rollback; return the seconds."""
    http, world = on.world.http, on.world

    async def one(name: str) -> None:
        path = world.path("Deployment", on.namespace, name)
        got = (await http.get(path)).body
        sets = world.path("ReplicaSet", on.namespace)
        query = {"labelSelector": f"app={name}", "resourceVersion": "0"}
        found = (await http.get(sets, **query)).body["items"]
        by = {int(rs["metadata"]["annotations"][REVISION]): rs for rs in found}
        template = by[sorted(by)[-2]]["spec"]["template"]
        template["metadata"]["labels"].pop("pod-template-hash")
        state = {"metadata": {"name": f"bare-{name}"}, "data": {"journal.json": "x" * 2000}}
        assert (await http.post(world.path("ConfigMap", on.state_namespace), state)).status == 201
        operations = [
            expect("/metadata/generation", got["metadata"]["generation"]),
            {"op": "replace", "path": "/spec/template", "value": template},
        ]
        answer = await http.send("PATCH", path, operations, kind=JSON_PATCH)
        assert answer.status == 200, answer

    began = time.monotonic()
    await spread(((lambda name=name: one(name)) for name in those), len(those))  # type: ignore[misc] # mypy and defaults
    return time.monotonic() - began


@contextlib.asynccontextmanager
async def service(on: Scene, home: Path) -> AsyncIterator[tuple[str, int]]:
    """Run the service as a process; yield its URL and its pid."""
    port = pair.free_port()
    config = demo.write_config(
        home,
        on.kubeconfig(),
        on.people_url,
        namespace=on.namespace,
        state=on.state_namespace,
        settle="1s",
        verify_within="1h",
        # All of them are to be rolled back: that is what is measured.
        budgets={"per_target": [], "per_cluster": []},
        breaker={"enabled": False},
    )
    config.write_text(config.read_text().replace("port: 0", f"port: {port}"))
    url = f"http://{pair.HOST}:{port}"
    command = [*COMMAND, "serve", "--config", str(config)]
    async with pair.process(command, ready=f"{url}/ready", log=home / "service.log"):
        yield url, _pid(str(config))


def _pid(argument: str) -> int:
    """Return the process that has this argument."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if argument.encode() in file.read_bytes():
                return int(file.parent.name)
    raise LookupError(argument)


def memory(pid: int, field: str) -> float:
    """Return VmRSS or VmHWM (the peak) of a process in MiB."""
    found = re.search(
        rf"^{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE
    )
    assert found is not None
    return int(found[1]) / 1024


async def requests(on: Scene, url: str) -> dict[str, float]:
    """Return how many calls of the Kubernetes API the service has made, by verb and resource."""
    async with on.session.get(f"{url}/metrics") as answer:
        text = await answer.text()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "rollback_receiver_kubernetes_requests_total":
                what = f"{sample.labels['verb']} {sample.labels['resource'].split('.')[0]}"
                found[what] = found.get(what, 0) + sample.value
    return found


async def measure(
    plane: ControlPlane, home: Path, size: Size, say: Callable[[str], None]
) -> Measured:
    """Make the world, let alerts fire, and measure."""
    async with scene(home, plane.connection) as on:
        began = time.monotonic()
        await history(on, size)
        say(f"{size.deployments * size.revisions:,} revisions ({time.monotonic() - began:.0f} s)")
        every = names(size)
        targets, others = every[: size.alerting], every[size.alerting : 2 * size.alerting]
        async with service(on, home) as (url, pid):
            await asyncio.sleep(3)
            idle, before = memory(pid, "VmRSS"), await requests(on, url)
            since, logged = on.clock.now(), plane.audit_size()
            headers = {"Authorization": f"Bearer {demo.TOKEN}"}

            async def post(name: str) -> None:
                alert = firing(since, namespace=on.namespace, deployment=name, for_="0s")
                where = f"{url}/api/v1/alerts"
                while True:
                    body = webhook(alert)
                    async with on.session.post(where, json=body, headers=headers) as answer:
                        said = await answer.json()
                    if answer.status != 503:
                        break
                    await asyncio.sleep(0.5)  # Alertmanager's first pause
                assert said["alerts"][0]["reason"] == "rolled_back", said

            began = time.monotonic()
            await spread(((lambda name=name: post(name)) for name in targets), len(targets))  # type: ignore[misc] # mypy and defaults
            say(f"{len(targets)} alerts answered ({time.monotonic() - began:.1f} s)")

            async def done() -> bool:
                await asyncio.sleep(0.3)
                return len(ours(plane.audited(logged), on.namespace)) >= len(targets)

            await on.world.until(done, 300)
            records = ours(plane.audited(logged), on.namespace)
            assert len(records) == len(targets)
            last = max(datetime.fromisoformat(r["stageTimestamp"]) for r in records)
            await on.world.until(lambda: _all_available(on, targets), 300)
            complete = time.monotonic() - began
            # The service follows each to its end; what it asks for that is part of the price.
            await asyncio.sleep(5)
            after, peak = await requests(on, url), memory(pid, "VmHWM")
        say("the bare calls")
        alone = await bare(on, others)
    verbs = {
        what: (count - before.get(what, 0)) / len(targets)
        for what, count in sorted(after.items(), key=lambda item: -item[1])
    }
    return Measured(
        size=size,
        last_patch=(last - since).total_seconds(),
        complete=complete,
        bare=alone,
        idle=idle,
        peak=peak,
        requests=sum(verbs.values()),
        verbs={what: count for what, count in verbs.items() if count >= 0.1},
    )


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deployments", type=int, default=1000)
    parser.add_argument("--revisions", type=int, default=10)
    parser.add_argument("--alerting", type=int, default=200)
    size = Size(**vars(parser.parse_args()))
    # A kill is no reason to leave the processes behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = programs()
    if folder is None:
        raise SystemExit("the control plane is not built: make control-plane")
    with (
        tempfile.TemporaryDirectory() as home,
        control_plane(folder, Path(home) / "plane") as plane,
    ):
        work = Path(home) / "work"
        work.mkdir()
        print(asyncio.run(measure(plane, work, size, print)).table())


if __name__ == "__main__":
    main()
