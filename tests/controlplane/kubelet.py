"""A kubelet for pods without a node: it writes into the status what the tag of the image says.

The rules are the sandbox's (`receiver/sandbox/pods.py`): `bad` is never ready, `slow-5s` after 5 s,
`crash` for a second only, anything else soon.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import aiohttp

from receiver.sandbox.objects import PODS, stamp
from receiver.sandbox.pods import CRASHES_AFTER, status_of, tag_of
from tests.kube.http import Http, Obj

READY_AFTER = 0.1
_SLOW = re.compile(r"slow-(\d+)s")


class Kubelet:
    """Brings every pod of one namespace to life."""

    def __init__(self, http: Http, namespace: str) -> None:
        self._http, self._namespace = http, namespace
        self._lives: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Watch until cancelled; when the API server goes away, wait for its return."""
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, ValueError):
                await self._watch()
            await asyncio.sleep(0.1)

    def stop(self) -> None:
        for life in self._lives.values():
            life.cancel()

    async def _watch(self) -> None:
        path = PODS.path(self._namespace)
        answer = await self._http.get(path)
        if answer.status != 200:
            return
        for pod in answer.body["items"]:
            self._meet(pod)
        version = answer.body["metadata"]["resourceVersion"]
        async with self._http.watch(path, resourceVersion=version) as events:
            while (event := await events.next()) and event["type"] != "ERROR":
                if event["type"] == "ADDED":
                    self._meet(event["object"])

    def _meet(self, pod: Obj) -> None:
        uid = pod["metadata"]["uid"]
        if uid not in self._lives and not (pod.get("status") or {}).get("startTime"):
            self._lives[uid] = asyncio.create_task(self._live(pod))

    async def _live(self, pod: Obj) -> None:
        tags = " ".join(tag_of(container["image"]) for container in pod["spec"]["containers"])
        if "bad" in tags:
            return await self._say(pod, waiting="ImagePullBackOff")
        slow = _SLOW.search(tags)
        if slow:
            await self._say(pod, waiting="ContainerCreating")
        await asyncio.sleep(float(slow[1]) if slow else READY_AFTER)
        await self._say(pod, waiting=None)
        if "crash" in tags:
            await asyncio.sleep(CRASHES_AFTER)
            await self._say(pod, waiting="CrashLoopBackOff", restarts=1)
        return None

    async def _say(self, pod: Obj, *, waiting: str | None, restarts: int = 0) -> None:
        status = status_of(pod, stamp(datetime.now(UTC)), waiting=waiting, restarts=restarts)
        path = PODS.path(self._namespace, pod["metadata"]["name"], "status")
        for _ in range(50):
            try:
                answer = await self._http.merge(path, {"status": status})
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(0.2)
                continue
            assert answer.status in (200, 404), answer  # 404: the pod is gone
            return


@contextlib.asynccontextmanager
async def kubelet(http: Http, namespace: str) -> AsyncIterator[None]:
    """Run the kubelet of a namespace until the end of the block."""
    one = Kubelet(http, namespace)
    running = asyncio.create_task(one.run())
    try:
        yield
    finally:
        running.cancel()
        one.stop()
        await asyncio.gather(running, *one._lives.values(), return_exceptions=True)
