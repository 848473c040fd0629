"""What the contract tests need besides the adapter: a person with kubectl, and a place to run in.

A contract test takes a `world` and knows nothing else, so the same test runs wherever there is a
`Place`: on the sandbox in virtual time, or on a kube-apiserver in real time.
"""

import abc
import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Protocol

from receiver.clock import Clock
from receiver.kube import KubernetesCluster
from receiver.sandbox.objects import resource_of
from tests.kube.http import STRATEGIC, Http, Obj, image_of

REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"


class Call(NamedTuple):
    """One call of the adapter, as `observe_call` was told of it."""

    verb: str
    resource: str
    code: int | None
    seconds: float


class World(abc.ABC):
    """One namespace for targets, one for our state, and what a person does in them."""

    def __init__(self, http: Http, clock: Clock, *, namespace: str, state_namespace: str) -> None:
        """`http` may do everything; `clock` is the one the API server lives by."""
        self.http = http
        self.clock = clock
        self.namespace = namespace
        self.state_namespace = state_namespace
        self.calls: list[Call] = []
        self._cluster: KubernetesCluster | None = None

    @property
    def cluster(self) -> KubernetesCluster:
        """The adapter under test; it may do all it needs. `calls` has what it has called."""
        assert self._cluster is not None
        return self._cluster

    @abc.abstractmethod
    async def connect(self, token: str | None = None) -> KubernetesCluster:
        """Connect an adapter: as somebody with this token, else as one who may do everything."""

    @abc.abstractmethod
    def lacking(self, *rights: tuple[str, str]) -> AbstractAsyncContextManager[KubernetesCluster]:
        """Connect as somebody who may do everything but these (verb, plural)."""

    @abc.abstractmethod
    async def account(self, name: str) -> str:
        """Create a ServiceAccount beside our state, without any right; return its user name."""

    @abc.abstractmethod
    async def token(self, name: str, audience: str | None = None) -> str:
        """Return a token of a ServiceAccount, for the API server or for another audience."""

    @abc.abstractmethod
    def granted(
        self, name: str, rules: list[Obj], namespace: str | None = None
    ) -> AbstractAsyncContextManager[None]:
        """Grant rules to a ServiceAccount of ours: in a namespace, or with None everywhere."""

    @abc.abstractmethod
    async def rollout(self, verb: str, name: str, *flags: str) -> str:
        """Do `kubectl rollout VERB deployment/NAME` and return what it says, errors included."""

    # --- what a person does

    async def deploy(
        self,
        name: str,
        image: str,
        *,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        **spec: Any,
    ) -> None:
        """Create a Deployment with the label `app: NAME`, or give it another image and more."""
        meta = {
            "labels": {"app": name} | dict(labels or {}),
            "annotations": dict(annotations or {}),
        }
        pod = {"containers": [{"name": "app", "image": image}]}
        if await self.get("Deployment", self.namespace, name) is not None:
            changed = {"metadata": meta, "spec": spec | {"template": {"spec": pod}}}
            path = self.path("Deployment", self.namespace, name)
            answer = await self.http.send("PATCH", path, changed, kind=STRATEGIC)
            assert answer.status == 200, answer
            return
        template = {
            "metadata": {"labels": {"app": name}},
            # Where there is a scheduler, it leaves the pods to the kubelet of the tests.
            "spec": {"schedulerName": "nobody"} | pod,
        }
        whole = {"replicas": 3, "selector": {"matchLabels": {"app": name}}, "template": template}
        made = {"metadata": meta | {"name": name}, "spec": whole | spec}
        await self.create("Deployment", self.namespace, made)

    async def create(self, kind: str, namespace: str, obj: Obj) -> Obj:
        """Create an object."""
        answer = await self.http.post(self.path(kind, namespace), obj)
        assert answer.status == 201, answer
        created: Obj = answer.body
        return created

    async def merge(self, kind: str, namespace: str, name: str, patch: Obj) -> Obj:
        """Apply a merge patch."""
        answer = await self.http.merge(self.path(kind, namespace, name), patch)
        assert answer.status == 200, answer
        merged: Obj = answer.body
        return merged

    async def get(self, kind: str, namespace: str, name: str) -> Obj | None:
        """Read an object."""
        answer = await self.http.get(self.path(kind, namespace, name))
        assert answer.status in (200, 404), answer
        return answer.body if answer.status == 200 else None

    async def list(self, kind: str, namespace: str) -> list[Obj]:
        """Read all objects."""
        answer = await self.http.get(self.path(kind, namespace))
        assert answer.status == 200, answer
        items: list[Obj] = answer.body["items"]
        return items

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object, and wait until it and what it owns are gone."""
        uid = (await self.deployment(name))["metadata"]["uid"] if kind == "Deployment" else ""
        answer = await self.http.delete(self.path(kind, namespace, name))
        assert answer.status == 200, answer
        await self.until(lambda: self._gone(kind, namespace, name))

        async def orphaned() -> bool:
            left = await self.list("ReplicaSet", namespace)
            owners = (ref for obj in left for ref in obj["metadata"].get("ownerReferences") or ())
            return not any(ref["uid"] == uid for ref in owners)

        if uid:
            await self.until(orphaned)

    async def _gone(self, kind: str, namespace: str, name: str) -> bool:
        return await self.get(kind, namespace, name) is None

    @staticmethod
    def path(kind: str, namespace: str, name: str = "", subresource: str = "") -> str:
        """Return where an object or all of them are."""
        return resource_of(kind).path(namespace, name, subresource)

    # --- what a person sees

    async def deployment(self, name: str = "api") -> Obj:
        """Read a Deployment that is there."""
        found = await self.get("Deployment", self.namespace, name)
        assert found is not None
        return found

    async def replicaset(self, image: str) -> Obj:
        """Read the one ReplicaSet of an image."""
        every = await self.list("ReplicaSet", self.namespace)
        (found,) = [obj for obj in every if image_of(obj) == image]
        return found

    async def revisions(self, name: str = "api") -> dict[str, str]:
        """Return revision: image, of each ReplicaSet of a Deployment."""
        return {
            obj["metadata"]["annotations"][REVISION]: image_of(obj)
            for obj in await self.list("ReplicaSet", self.namespace)
            if obj["metadata"]["labels"].get("app") == name
        }

    async def until(self, holds: Callable[[], Awaitable[bool]], seconds: float = 30) -> None:
        """Ask again and again until it holds; fails after so many seconds of the world's time."""
        end = self.clock.monotonic() + seconds
        while not await holds():
            assert self.clock.monotonic() < end, f"not within {seconds} s"
            await self.clock.sleep(0.02)

    async def rolled_out(self, name: str = "api") -> None:
        """Return when the controller has made and numbered the ReplicaSet of the template."""

        async def holds() -> bool:
            obj = await self.deployment(name)
            meta, number = obj["metadata"], obj["metadata"].get("annotations", {}).get(REVISION)
            if number is None or obj["status"].get("observedGeneration") != meta["generation"]:
                return False
            return (await self.revisions(name)).get(number) == image_of(obj)

        await self.until(holds)

    async def complete(self, name: str = "api") -> Obj:
        """Wait until `kubectl rollout status` would say so (rollout_status.go); return it."""

        async def holds() -> bool:
            obj = await self.deployment(name)
            wanted, status = obj["spec"]["replicas"], obj["status"]
            counts = [status.get(f) or 0 for f in ("replicas", "updatedReplicas")]
            counts.append(status.get("availableReplicas") or 0)
            seen = status.get("observedGeneration") == obj["metadata"]["generation"]
            return seen and counts == [wanted] * 3

        await self.until(holds)
        return await self.deployment(name)


class Place(Protocol):
    """Where worlds are made."""

    def run(self, story: Callable[[World], Awaitable[None]]) -> None:
        """Make a new world and run a story in it to its end."""
        ...


def contract(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Make a test of `async def test(world, ...)`: it asks for the fixture `place` instead."""

    @functools.wraps(test)
    def wrapper(place: Place, **more: Any) -> None:
        place.run(lambda world: test(world, **more))

    return _asking_for("place", test, wrapper)


def _asking_for(
    fixture: str, test: Callable[..., Awaitable[None]], wrapper: Callable[..., None]
) -> Callable[..., None]:
    """Show pytest the parameters of `test`, with the fixture in place of the world."""
    asked = inspect.signature(test)
    first, *others = asked.parameters.values()
    assert first.name == "world", "the first parameter of a contract test is its world"
    shown = [first.replace(name=fixture, annotation=Place), *others]
    wrapper.__signature__ = asked.replace(  # type: ignore[attr-defined] # inspect looks for it
        parameters=shown, return_annotation=None
    )
    return wrapper
