"""The world of the contract tests as the sandbox makes it, and a decorator for tests of faults."""

import asyncio
import contextlib
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp

from receiver.kube import KubernetesCluster, connect
from receiver.sandbox import Attributes, RolloutError, Sandbox, Token
from receiver.sandbox.reviews import API_AUDIENCE
from tests.kube.http import Http, Obj
from tests.kube.world import Call, World
from tests.virtual import LoopClock, run

NAMESPACE, STATE_NAMESPACE = "shop", "rollback-receiver"


class SandboxWorld(World):
    """A sandbox that serves HTTP, an adapter connected to it, and a person."""

    def __init__(self, sandbox: Sandbox, http: Http, clock: LoopClock) -> None:
        super().__init__(http, clock, namespace=NAMESPACE, state_namespace=STATE_NAMESPACE)
        self.sandbox = sandbox
        self.url = http.url
        self._rights: dict[str, list[tuple[str | None, Obj]]] = {}

    async def open(self) -> None:
        self._cluster = await self.connect()

    async def connect(self, token: str | None = None) -> KubernetesCluster:
        return await connect(
            context=None,
            kubeconfig=self.sandbox.kubeconfig(self.url, token),
            state_namespace=STATE_NAMESPACE,
            clock=self.clock,
            observe_call=lambda *call: self.calls.append(Call(*call)),
        )

    async def rollout(self, verb: str, name: str, *flags: str) -> str:
        """Do what kubectl does, by the sandbox's own account of it."""
        number = sum(int(flag.partition("=")[2]) for flag in flags)
        does: dict[str, Callable[[], Any]] = {
            "undo": lambda: self.sandbox.rollout_undo(NAMESPACE, name, number),
            "restart": lambda: self.sandbox.rollout_restart(NAMESPACE, name),
            "pause": lambda: self.sandbox.pause(NAMESPACE, name),
            "resume": lambda: self.sandbox.resume(NAMESPACE, name),
        }
        try:
            return str(does[verb]())
        except RolloutError as error:
            return f"error: {error}"

    async def account(self, name: str) -> str:
        user = f"system:serviceaccount:{STATE_NAMESPACE}:{name}"
        self._rights.setdefault(user, [])
        self.sandbox.reviews.may = self._may
        return user

    async def token(self, name: str, audience: str | None = None) -> str:
        user = f"system:serviceaccount:{STATE_NAMESPACE}:{name}"
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{STATE_NAMESPACE}"]
        token = f"{name}.{audience}.signature"
        self.sandbox.reviews.tokens[token] = Token(
            user,
            [*groups, "system:authenticated"],
            [audience or API_AUDIENCE],
            uid=f"uid-of-{name}",
        )
        return token

    @contextlib.asynccontextmanager
    async def granted(
        self, name: str, rules: list[Obj], namespace: str | None = None
    ) -> AsyncIterator[None]:
        user = await self.account(name)
        self._rights[user] = [(namespace, rule) for rule in rules]
        try:
            yield
        finally:
            self._rights[user] = []

    def _may(self, who: str, groups: tuple[str, ...], wanted: Attributes) -> bool:
        """Judge the accounts by what they were granted; others may do everything."""
        del groups
        if who not in self._rights:
            return True
        return any(
            namespace in (None, wanted.namespace)
            and wanted.group in rule["apiGroups"]
            and wanted.resource in rule["resources"]
            and wanted.verb in rule["verbs"]
            for namespace, rule in self._rights[who]
        )

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
    async with (
        sandbox.serve() as url,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session,
    ):
        # The controllers start with the next round of the loop; before, all counts as settled.
        await asyncio.sleep(0)
        world = SandboxWorld(sandbox, Http(url, session), clock)
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
