"""The world of the contract tests as the sandbox makes it, and a decorator for tests of faults."""

import asyncio
import contextlib
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from receiver.kube import KubernetesCluster, connect
from receiver.sandbox import Attributes, Sandbox, Token
from tests.kube.world import Call, Obj, World
from tests.virtual import LoopClock, run

NAMESPACE, STATE_NAMESPACE = "shop", "rollback-receiver"


class SandboxWorld:
    """A sandbox that serves HTTP, an adapter connected to it, and a person."""

    namespace, state_namespace = NAMESPACE, STATE_NAMESPACE

    def __init__(self, sandbox: Sandbox, url: str, clock: LoopClock) -> None:
        self.sandbox = sandbox
        self.url = url
        self.clock = clock
        self.calls: list[Call] = []
        self._cluster: KubernetesCluster | None = None

    @property
    def cluster(self) -> KubernetesCluster:
        assert self._cluster is not None
        return self._cluster

    async def open(self) -> None:
        self._cluster = await self.connect()

    async def connect(self, token: str | None = None) -> KubernetesCluster:
        """Connect one more adapter."""
        return await connect(
            context=None,
            kubeconfig=self.sandbox.kubeconfig(self.url, token),
            state_namespace=STATE_NAMESPACE,
            clock=self.clock,
            observe_call=lambda *call: self.calls.append(Call(*call)),
        )

    async def deploy(self, name: str, image: str, **spec: Any) -> None:
        self.sandbox.deploy(NAMESPACE, name, image, **spec)

    async def rolled_out(self, name: str) -> None:
        await self.sandbox.settled()

    async def create(self, kind: str, namespace: str, obj: Obj) -> None:
        meta = obj["metadata"] | {"namespace": namespace}
        self.sandbox.create(kind, obj | {"metadata": meta})

    async def merge(self, kind: str, namespace: str, name: str, patch: Obj) -> None:
        self.sandbox.merge_patch(kind, namespace, name, patch)

    async def get(self, kind: str, namespace: str, name: str) -> Obj | None:
        return self.sandbox.get(kind, namespace, name)

    async def list(self, kind: str, namespace: str) -> list[Obj]:
        return self.sandbox.list(kind, namespace)

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        self.sandbox.delete(kind, namespace, name)
        await self.sandbox.settled()

    @contextlib.asynccontextmanager
    async def lacking(self, *rights: tuple[str, str]) -> AsyncIterator[KubernetesCluster]:
        user, token = "somebody", "token-of-somebody"
        self.sandbox.reviews.tokens[token] = Token(user)

        def may(who: str, groups: tuple[str, ...], wanted: Attributes) -> bool:
            return who != user or (wanted.verb, wanted.resource) not in rights

        self.sandbox.reviews.may = may
        cluster = await self.connect(token)
        try:
            yield cluster
        finally:
            await cluster.aclose()


@contextlib.asynccontextmanager
async def sandbox_world() -> AsyncIterator[SandboxWorld]:
    """Make a world; there must be a virtual loop."""
    clock = LoopClock()
    sandbox = Sandbox(clock)
    for namespace in (NAMESPACE, STATE_NAMESPACE):
        sandbox.create_namespace(namespace)
    async with sandbox.serve() as url:
        # The controllers start with the next round of the loop; before, all counts as settled.
        await asyncio.sleep(0)
        world = SandboxWorld(sandbox, url, clock)
        await world.open()
        try:
            yield world
        finally:
            await world.cluster.aclose()


class SandboxPlace:
    """Worlds in this process, in virtual time."""

    def run(self, story: Callable[[World], Awaitable[None]]) -> None:
        async def main() -> None:
            async with sandbox_world() as world:
                await story(world)

        run(main)


def on_sandbox(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Make a test of `async def test(world: SandboxWorld, ...)` that orders faults."""

    @functools.wraps(test)
    def wrapper(**more: Any) -> None:
        SandboxPlace().run(lambda world: test(world, **more))

    asked = inspect.signature(test)
    others = list(asked.parameters.values())[1:]
    wrapper.__signature__ = asked.replace(  # type: ignore[attr-defined] # inspect looks for it
        parameters=others, return_annotation=None
    )
    return wrapper
