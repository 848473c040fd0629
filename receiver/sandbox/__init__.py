"""A small Kubernetes API in this process: for the demo and the tests. Nothing else imports it.

`Sandbox` is an API server with the controllers behind a Deployment, and a kubelet that reads the
fate of a pod from the tag of its image. All of it runs on the clock it is given. What it must do
was read in source and seen on a real control plane; where they differ, the real one is right.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from random import Random  # noqa: TID251 - seeded here; nothing of it is left to chance
from typing import Any

from aiohttp import web

from receiver.sandbox import controller, kubectl, pods, replicasets
from receiver.sandbox.faults import Fault, Request
from receiver.sandbox.kubectl import RolloutError
from receiver.sandbox.lists import Frozen
from receiver.sandbox.objects import (
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    REPLICASETS,
    Clock,
    Key,
    Obj,
    controller_of,
    key_of,
    resource_of,
)
from receiver.sandbox.patch import json_patch, merge_patch
from receiver.sandbox.reviews import Attributes, Authorize, May, Reviews, Token
from receiver.sandbox.server import Hook, Server
from receiver.sandbox.status import ApiError
from receiver.sandbox.store import Change, Store, Write
from receiver.sandbox.work import Task, Worker

__all__ = [
    "ApiError",
    "Attributes",
    "Fault",
    "Request",
    "RolloutError",
    "Sandbox",
    "Token",
    "Write",
]

PERSON = kubectl.WHO


class Sandbox:
    """The whole of it. Methods without `async` act at once, as a person with kubectl would."""

    def __init__(self, clock: Clock, seed: int = 0, pod_ready_after: float = 0.3) -> None:
        self.clock = clock
        self.pod_ready_after = pod_ready_after
        self.store = Store(clock, Random(seed))  # noqa: S311 - names of a sandbox are no secrets
        self._server = Server(self.store)
        self._worker = Worker(clock, self._do)
        self._worker.is_parked = self._is_parked
        # What is left of a rollout that goes no further is its progress deadline.
        self._worker.is_far = lambda task: task[0] == "deployment"
        self._controller_running = True
        self.store.listeners.append(self._notice)
        self.create_namespace("default")

    # --- serving

    @contextlib.asynccontextmanager
    async def serve(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
        """Run the server and the controllers; yield the URL."""
        runner = web.AppRunner(
            self._server.application(),
            access_log=None,
            # A watch ends with its client, and what hangs with the server.
            handler_cancellation=True,
            shutdown_timeout=0.001,
            keepalive_timeout=600,
        )
        await runner.setup()
        await web.TCPSite(runner, host, port).start()
        working = asyncio.create_task(self._worker.run(), name="sandbox-controllers")
        try:
            bound_host, bound_port = runner.addresses[0][:2]
            yield f"http://{bound_host}:{bound_port}"
        finally:
            working.cancel()
            await runner.cleanup()
            with contextlib.suppress(asyncio.CancelledError):
                # A controller that has failed is a defect of the sandbox: not to be overlooked.
                await working

    def kubeconfig(self, url: str, token: str | None = None, namespace: str = "default") -> Obj:
        """Return a kubeconfig document that leads here."""
        user = {"token": token} if token else {}
        context = {"cluster": "sandbox", "user": "sandbox", "namespace": namespace}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "sandbox",
            "clusters": [{"name": "sandbox", "cluster": {"server": url}}],
            "users": [{"name": "sandbox", "user": user}],
            "contexts": [{"name": "sandbox", "context": context}],
        }

    async def settled(self) -> None:
        """Return when every rollout has gone as far as it goes.

        Pods that are about to become ready are waited for, progress deadlines are not; nor is what
        a stopped controller would do. Without `serve` nobody works, and this does not return.
        """
        await self._worker.settled()

    # --- what a test looks at and turns

    @property
    def writes(self) -> list[Write]:
        """Return every committed write, whoever made it."""
        return self.store.writes

    @property
    def requests(self) -> list[Request]:
        """Return every request."""
        return self._server.requests

    @property
    def faults(self) -> list[Fault]:
        """Return the faults on order; the first that fits a request is the one that hits it."""
        return self._server.faults

    @faults.setter
    def faults(self, faults: list[Fault]) -> None:
        self._server.faults = faults

    @property
    def reviews(self) -> Reviews:
        """Return the tables of who is who and who may what."""
        return self._server.reviews

    def clear_log(self) -> None:
        """Forget writes and requests."""
        self.store.writes.clear()
        self._server.requests.clear()

    @property
    def before_commit(self) -> Hook | None:
        """Return what is called with (verb, path, stored object) before a write over HTTP.

        A write that it makes comes in between the client's read and the client's write.
        """
        return self._server.before_commit

    @before_commit.setter
    def before_commit(self, hook: Hook | None) -> None:
        self._server.before_commit = hook

    @property
    def allow(self) -> May | None:
        """Return who decides about everybody: `(user, groups, attributes)`; see `Reviews`."""
        return self.reviews.may

    @allow.setter
    def allow(self, may: May | None) -> None:
        self.reviews.may = may

    @property
    def authorize(self) -> Authorize | None:
        """Return who decides about requests: `(verb, group, resource, subresource, ns, name)`."""
        return self.reviews.authorize

    @authorize.setter
    def authorize(self, authorize: Authorize | None) -> None:
        self.reviews.authorize = authorize

    def require_token(self, token: str | None) -> None:
        """Answer 401 to whoever does not show this token."""
        self._server.required_token = token

    @contextlib.contextmanager
    def frozen_lists(self) -> Iterator[None]:
        """Answer lists at `resourceVersion=0` from what is now, as a watch cache that lags."""
        self._server.frozen = Frozen(self.store.version, self.store.snapshot())
        try:
            yield
        finally:
            self._server.frozen = None

    freeze_lists = frozen_lists  # the same as an order, for `stack.enter_context`

    def compact(self) -> None:
        """Forget the past: a watch or a page from before this is answered 410."""
        self.store.compact()

    def drop_watches(self) -> None:
        """Cut the connection of every open watch."""
        self._server.watches.drop()

    @property
    def controller_running(self) -> bool:
        """Say whether the Deployment controller works; set it to stop or resume it."""
        return self._controller_running

    @controller_running.setter
    def controller_running(self, running: bool) -> None:
        self._controller_running = running
        self._worker.wake()

    # --- the controllers

    def _is_parked(self, task: Task) -> bool:
        return task[0] == "deployment" and not self._controller_running

    def _do(self, task: Task) -> None:
        kind, key = task
        again = self._again(task)
        if kind == "deployment":
            controller.sync(self.store, _key(key), again)
        elif kind == "replicaset":
            replicasets.sync(self.store, _key(key), again)
        elif kind == "pod":
            pods.sync(self.store, _key(key), self.pod_ready_after, again)
        elif kind == "orphans":
            replicasets.collect(self.store, str(key))
        else:
            replicasets.empty(self.store, str(key))

    def _again(self, task: Task) -> Callable[[float], None]:
        return lambda seconds: self._worker.add_after(task, seconds)

    def _notice(self, change: Change) -> None:
        """Queue what a change is about, as the informers of the controllers do."""
        obj = change.after or change.before
        if obj is None:
            return
        gone = change.after is None
        if change.resource == NAMESPACES and gone:
            self._worker.add(("namespace", obj["metadata"]["name"]))
        if change.resource not in (DEPLOYMENTS, REPLICASETS, PODS):
            return
        kind = change.resource.kind.lower()
        if gone:
            self._worker.add(("orphans", obj["metadata"]["uid"]))
        elif change.resource != PODS or change.before is None:
            # The kubelet has its own alarms; what it wrote itself is no news to it.
            self._worker.add((kind, key_of(obj)))
        owner = controller_of(obj)
        if owner is not None and owner["kind"] in ("Deployment", "ReplicaSet"):
            key = (obj["metadata"]["namespace"], owner["name"])
            self._worker.add((owner["kind"].lower(), key))

    # --- a person

    def create(self, kind: str | Obj, obj: Obj | None = None) -> Obj:
        """Create an object: `create(obj)` with its kind in it, or `create(kind, obj)`."""
        resource = resource_of(kind["kind"] if isinstance(kind, dict) else kind)
        sent = kind if isinstance(kind, dict) else obj or {}
        namespace = (sent.get("metadata") or {}).get("namespace", "")
        return self.store.create(resource, namespace, sent, by=PERSON)

    def create_namespace(self, name: str) -> None:
        """Create a namespace that is not there yet."""
        if self.store.get(NAMESPACES, "", name) is None:
            self.store.create(NAMESPACES, "", {"metadata": {"name": name}}, by=PERSON)

    def get(self, kind: str, namespace: str, name: str) -> Obj | None:
        """Return a stored object; it must not be changed."""
        return self.store.get(resource_of(kind), namespace, name)

    def list(self, kind: str, namespace: str = "") -> list[Obj]:
        """Return the stored objects, "" for all namespaces; they must not be changed."""
        return self.store.all(resource_of(kind), namespace or None)

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object."""
        self.store.delete(resource_of(kind), namespace, name, by=PERSON)

    def json_patch(self, kind: str, namespace: str, name: str, operations: Any) -> Obj:
        """Apply a JSON Patch."""
        how = lambda obj: json_patch(obj, operations)  # noqa: E731 - it is one expression
        return self.store.change(resource_of(kind), namespace, name, how, by=PERSON, verb="patch")

    def merge_patch(self, kind: str, namespace: str, name: str, patch: Obj) -> Obj:
        """Apply a merge patch."""
        how = lambda obj: merge_patch(obj, patch)  # noqa: E731 - it is one expression
        return self.store.change(resource_of(kind), namespace, name, how, by=PERSON, verb="patch")

    def deploy(self, namespace: str, name: str, image: str, **more: Any) -> Obj:
        """Create a Deployment or give it another image; see `kubectl.deploy`."""
        self.create_namespace(namespace)
        return kubectl.deploy(self.store, namespace, name, image, **more)

    def scale(self, namespace: str, name: str, replicas: int) -> Obj:
        """`kubectl scale`."""
        return kubectl.scale(self.store, namespace, name, replicas)

    def pause(self, namespace: str, name: str) -> Obj:
        """`kubectl rollout pause`."""
        return kubectl.set_paused(self.store, namespace, name, paused=True)

    def resume(self, namespace: str, name: str) -> Obj:
        """`kubectl rollout resume`."""
        return kubectl.set_paused(self.store, namespace, name, paused=False)

    def rollout_restart(self, namespace: str, name: str) -> Obj:
        """`kubectl rollout restart`."""
        return kubectl.restart(self.store, namespace, name)

    def rollout_undo(self, namespace: str, name: str, to_revision: int = 0) -> str:
        """`kubectl rollout undo`; raises `RolloutError` with what kubectl prints."""
        return kubectl.undo(self.store, namespace, name, to_revision)


def _key(value: Any) -> Key:
    namespace, name = value
    return namespace, name
