"""Whatever comes in whatever order, on a real API server: the oracle of the properties judges it.

What was written is what watches of Deployments and ReplicaSets show, each version once and in its
order. In virtual time, on the sandbox, `tests/properties` plays many more of these.
"""

import asyncio
import contextlib
import json
import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from receiver import app
from receiver.sandbox import Write
from receiver.sandbox.objects import DEPLOYMENTS, REPLICASETS, Resource
from tests.controlplane.plane import ControlPlane
from tests.controlplane.scene import Scene, ours, scene
from tests.controlplane.world import REAL
from tests.kube.http import Obj
from tests.properties.plays import RECORD, TERMINAL, US, Firing, Play, judge
from tests.stage import NAME, OPTED_IN, crash, firing, webhook

pytestmark = [*REAL, pytest.mark.timeout(150)]

STEPS = 8
COOLDOWN = 2  # seconds
# Between two rollbacks: the cooldown, less what a watch may be late.
APART = timedelta(seconds=COOLDOWN - 1)
KINDS = (
    *("deploy", "deploy", "fire", "fire", "again", "again"),
    *("redeploy", "scale", "pause", "undo", "restart", "curl", "crash"),
)


class _Seen:
    """Writes down what the watches show."""

    def __init__(self, on: Scene, done: Play) -> None:
        self._on, self._done = on, done
        self._stored: dict[str, Obj] = {}
        self._records: set[str] = set()
        self.generation = 0
        # The next change of a template is a person's `kubectl rollout undo`.
        self.undoing = False

    async def watch(self, resource: Resource) -> None:
        """Watch until cancelled; there is nothing of this kind yet."""
        path = resource.path(self._on.namespace)
        version = (await self._on.world.http.get(path)).body["metadata"]["resourceVersion"]
        async with self._on.world.http.watch(path, resourceVersion=version) as events:
            while event := await events.next():
                assert event["type"] in ("ADDED", "MODIFIED", "DELETED"), event
                self._write(resource, event)

    def _write(self, resource: Resource, event: Obj) -> None:
        after: Obj = event["object"]
        meta = after["metadata"]
        before = self._stored.get(meta["uid"])
        self._stored[meta["uid"]] = after
        swapped = before is None or before["spec"]["template"] != after["spec"]["template"]
        kept = (before or after)["metadata"].get("annotations") or {}
        record = (meta.get("annotations") or {}).get(RECORD, "")
        # `kubectl rollout undo` brings an old record back; a new one is only ours.
        new = bool(record) and record != kept.get(RECORD) and record not in self._records
        by = US if resource is DEPLOYMENTS and new else "somebody"
        self._records.add(record)
        if resource is DEPLOYMENTS:
            self.generation = meta["generation"]
        if swapped and by != US and resource is DEPLOYMENTS and self.undoing:
            self._done.undone.add(len(self._done.writes))
            self.undoing = False
        self._done.writes.append(
            Write(
                at=self._on.clock.now(),
                by=by,
                verb="patch",
                path=resource.path(self._on.namespace, meta["name"]),
                kind=resource.kind,
                namespace=self._on.namespace,
                name=meta["name"],
                before=before,
                after=None if event["type"] == "DELETED" else after,
                template_changed=swapped,
                generation=meta.get("generation"),
            )
        )


class _Player:
    """Two replicas, a person, and a monitoring that never calms down."""

    def __init__(self, on: Scene, stack: contextlib.AsyncExitStack) -> None:
        self._on, self._stack = on, stack
        self._rng = random.Random(0)  # noqa: S311 - a test
        self.done = Play()
        self.seen = _Seen(on, self.done)
        self._replicas: list[app.Replica] = []
        self._tags = 0
        self._seeds = 0

    async def play(self) -> None:
        self._replicas = [await self._start(), await self._start()]
        for _ in range(2):
            await self._deploy(progressDeadlineSeconds=5, replicas=1)
            await self._on.world.complete(NAME)
        # A rollback, which a person takes back: on that the others build.
        await self._do("deploy")
        await self._do("fire")
        await self._on.world.until(self._rolled_back)
        for kind in ("undo", "fire", *self._rng.choices(KINDS, k=STEPS)):
            await self._do(kind)
            await asyncio.sleep(self._rng.choice((0.2, 0.4, 0.8, 1.6)))
        # By hand, as far back as it goes.
        for _ in range(3):
            await asyncio.sleep(COOLDOWN + 1)
            await self._do("curl")
        await self._on.world.rollout("resume", NAME)
        await self._on.world.until(self._over, 60)

    async def _rolled_back(self) -> bool:
        return bool(self.done.automatic)

    async def _start(self) -> app.Replica:
        self._seeds += 1
        lenient: Obj = {"bake": "1s", "budgets": {"per_target": [], "per_cluster": []}}
        quick = self._on.quick(self._seeds, **lenient | {"cooldown": f"{COOLDOWN}s"})
        return await self._stack.enter_async_context(quick)

    async def _over(self) -> bool:
        await asyncio.sleep(0.5)
        _, answer = await self._on.ask(self._replicas[0], "GET", "incidents")
        self.done.incidents = answer["incidents"]
        return all(each["phase"] in TERMINAL for each in self.done.incidents)

    async def _deploy(self, tag: int = 0, **spec: Any) -> None:
        if not tag:
            self._tags += 1
            tag = self._tags
        await self._on.world.deploy(NAME, f"app:v{tag}", labels=OPTED_IN, **spec)

    async def _do(self, kind: str) -> None:
        """Do one thing, and wait until the watch has shown it."""
        await self._one(kind)
        done = (await self._on.world.deployment(NAME))["metadata"]["generation"]

        async def shown() -> bool:
            return bool(self.seen.generation >= done)

        await self._on.world.until(shown)

    async def _one(self, kind: str) -> None:
        world, replica = self._on.world, self._rng.choice(self._replicas)
        if kind == "deploy":
            await self._deploy()
        elif kind == "redeploy":
            await self._deploy(self._rng.randint(1, self._tags))
        elif kind == "scale":
            path = world.path("Deployment", world.namespace, NAME, "scale")
            await world.http.merge(path, {"spec": {"replicas": self._rng.randint(1, 3)}})
        elif kind == "pause":
            # A paused one is in nobody's way for long.
            await world.rollout("pause", NAME)
            await asyncio.sleep(0.5)
            await world.rollout("resume", NAME)
        elif kind == "restart":
            await world.rollout("restart", NAME)
        elif kind == "undo":
            self.seen.undoing = True
            if "rolled back" in await world.rollout("undo", NAME):
                await world.until(self._undone)
            self.seen.undoing = False
        elif kind == "curl":
            await self._on.rollback(replica)
        elif kind == "crash":
            which = self._replicas.index(replica)
            crash(replica)
            self._replicas[which] = await self._start()
        else:
            await self._alert(anew=kind == "fire")

    async def _undone(self) -> bool:
        return not self.seen.undoing

    async def _alert(self, *, anew: bool) -> None:
        firings = self.done.firings
        if anew or not firings:
            name = self._rng.choice(("CanaryErrorRateHigh", "LatencyHigh"))
            firings.append(Firing(name, self._on.clock.now()))
        one = firings[-1] if anew else self._rng.choice(firings)
        labels = {"alertname": one.alertname, "namespace": self._on.namespace, "for_": "0s"}
        body = webhook(firing(one.since, **labels))
        for replica in self._rng.sample(self._replicas, self._rng.choice((1, 2))):
            for _ in range(20):
                status, answer = await self._on.post(replica, body)
                if status == 200:
                    break
                assert status == 503, answer
                await asyncio.sleep(0.3)
            else:
                raise AssertionError("twenty times 503")


async def test_the_promises_hold_in_any_order_of_things(
    tmp_path: Path, plane: ControlPlane
) -> None:
    async with (
        scene(tmp_path, plane.connection) as on,
        contextlib.AsyncExitStack() as stack,
    ):
        player = _Player(on, stack)
        watches = [
            asyncio.create_task(player.seen.watch(resource))
            for resource in (DEPLOYMENTS, REPLICASETS)
        ]
        try:
            await asyncio.sleep(0.2)
            await player.play()
        finally:
            for watch in watches:
                watch.cancel()
            ends = await asyncio.gather(*watches, return_exceptions=True)
        assert [type(end) for end in ends] == [asyncio.CancelledError] * 2, ends
        done = player.done
        judge(done, APART)
        # What the watches show is what the API server wrote down.
        swaps = [w for w in done.writes if w.by == US and w.template_changed]
        assert len(swaps) == len(ours(plane.audited(), on.namespace))
        assert done.automatic, json.dumps(done.incidents)
