"""The world of the contract tests on a real kube-apiserver, in real time."""

import asyncio
import contextlib
import functools
import inspect
import itertools
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from kubernetes_asyncio.client import ApiClient, Configuration
from kubernetes_asyncio.config import load_kube_config

from receiver.clock import SystemClock
from receiver.kube import KubernetesCluster, connect
from receiver.kube.rights import IN_OWN, IN_TARGETS
from tests.controlplane.kubelet import kubelet
from tests.controlplane.plane import Connection
from tests.kube.http import Http, Obj
from tests.kube.world import Call, World

RBAC = "/apis/rbac.authorization.k8s.io/v1"
POLICIES = "/apis/admissionregistration.k8s.io/v1"
_NUMBERS = itertools.count(1)


class RealWorld(World):
    """Two namespaces of a cluster, with a kubelet in the first."""

    def __init__(self, http: Http, where: Connection, *, namespace: str) -> None:
        super().__init__(
            http, SystemClock(), namespace=namespace, state_namespace=f"{namespace}-state"
        )
        self.where = where

    async def open(self) -> None:
        self._cluster = await self.connect()

    async def connect(self, token: str | None = None) -> KubernetesCluster:
        return await connect(
            context=None,
            kubeconfig=await self.kubeconfig(token),
            state_namespace=self.state_namespace,
            clock=self.clock,
            observe_call=lambda *call: self.calls.append(Call(*call)),
        )

    async def kubeconfig(self, token: str | None = None) -> Obj:
        """Return the kubeconfig of whoever has the token, else of one who may do everything."""
        file = self.where.kubeconfig
        found: Obj = json.loads(
            file.read_text()
            if file is not None
            else await self.kubectl(
                "config", "view", "--raw", "--flatten", "--minify", "-o", "json"
            )
        )
        if token is not None:
            found["users"][0]["user"] = {"token": token}
        return found

    async def kubectl(self, *arguments: str) -> str:
        """Run the real kubectl; return all that it says."""
        command = [self.where.kubectl, *arguments, f"--namespace={self.namespace}"]
        if self.where.kubeconfig is not None:
            command.append(f"--kubeconfig={self.where.kubeconfig}")
        if self.where.context is not None:
            command.append(f"--context={self.where.context}")
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await process.communicate()
        return said.decode().strip()

    async def rollout(self, verb: str, name: str, *flags: str) -> str:
        return await self.kubectl("rollout", verb, f"deployment/{name}", *flags)

    # --- people and what they may

    async def account(self, name: str) -> str:
        path = f"/api/v1/namespaces/{self.state_namespace}/serviceaccounts"
        answer = await self.http.post(path, {"metadata": {"name": name}})
        assert answer.status in (201, 409), answer
        return f"system:serviceaccount:{self.state_namespace}:{name}"

    async def token(self, name: str, audience: str | None = None) -> str:
        path = f"/api/v1/namespaces/{self.state_namespace}/serviceaccounts/{name}/token"
        spec: Obj = {"expirationSeconds": 3600}
        answer = await self.http.post(
            path, {"spec": spec | ({"audiences": [audience]} if audience else {})}
        )
        assert answer.status == 201, answer
        token: str = answer.body["status"]["token"]
        return token

    @contextlib.asynccontextmanager
    async def granted(
        self, name: str, rules: list[Obj], namespace: str | None = None
    ) -> AsyncIterator[None]:
        kind = "Role" if namespace else "ClusterRole"
        base = f"{RBAC}/namespaces/{namespace}" if namespace else RBAC
        called = f"{self.namespace}-{name}"
        role = {"metadata": {"name": called}, "rules": rules}
        binding = {
            "metadata": {"name": called},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": called},
            "subjects": [
                {"kind": "ServiceAccount", "name": name, "namespace": self.state_namespace}
            ],
        }
        paths = {f"{base}/{kind.lower()}s": role, f"{base}/{kind.lower()}bindings": binding}
        for path, obj in paths.items():
            answer = await self.http.post(path, obj)
            assert answer.status == 201, answer
        try:
            yield
        finally:
            for path in paths:
                await self.http.delete(f"{path}/{called}")

    @contextlib.asynccontextmanager
    async def lacking(self, *rights: tuple[str, str]) -> AsyncIterator[KubernetesCluster]:
        name = "somebody"
        await self.account(name)
        rules = [
            {"apiGroups": [resource.group], "resources": [resource.plural], "verbs": [verb]}
            for verb, resource in (*IN_TARGETS, *IN_OWN)
            if (verb, resource.plural) not in rights
        ]
        async with self.granted(name, rules):
            cluster = await self.connect(await self.token(name))
            try:
                if rules:
                    # A binding takes effect when the API server's own watch has seen it.
                    await self.until(lambda: _has(cluster, rights))
                yield cluster
            finally:
                await cluster.aclose()


async def _has(cluster: KubernetesCluster, rights: tuple[tuple[str, str], ...]) -> bool:
    denied = (await cluster.rights(())).values()
    return {tuple(text.split(".")[0].split(" ")) for each in denied for text in each} <= set(rights)


@contextlib.asynccontextmanager
async def denying(world: RealWorld, expression: str, message: str) -> AsyncIterator[None]:
    """Have a policy deny each change of a Deployment of this world that an expression does not fit.

    It takes effect some moments after it was created; this waits until it does.
    """
    called = world.namespace
    rule = {
        "apiGroups": ["apps"],
        "apiVersions": ["v1"],
        "operations": ["UPDATE"],
        "resources": ["deployments"],
    }
    known = f"({expression}) && !('probe' in object.metadata.annotations)"
    policy = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": known, "message": message}],
    }
    where = {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}}
    binding = {
        "policyName": called,
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": where},
    }
    made = {"validatingadmissionpolicies": policy, "validatingadmissionpolicybindings": binding}
    (name, *_) = [obj["metadata"]["name"] for obj in await world.list("Deployment", called)]
    probe = {"metadata": {"annotations": {"probe": "x"}}}

    async def denies() -> bool:
        path = world.path("Deployment", called, name)
        return (await world.http.merge(path, probe, dryRun="All")).status == 422

    try:
        for plural, spec in made.items():
            body = {"metadata": {"name": called}, "spec": spec}
            answer = await world.http.post(f"{POLICIES}/{plural}", body)
            assert answer.status == 201, answer
        await world.until(denies)
        yield
    finally:
        for plural in made:
            await world.http.delete(f"{POLICIES}/{plural}/{called}")


@contextlib.asynccontextmanager
async def client(where: Connection) -> AsyncIterator[Http]:
    """Connect a plain HTTP client that may do everything."""
    configuration = Configuration()
    file = str(where.kubeconfig) if where.kubeconfig else None
    await load_kube_config(
        config_file=file, context=where.context, client_configuration=configuration
    )
    library = ApiClient(configuration)
    headers: dict[str, str] = {}
    await library.update_params_for_auth(headers, [], ["BearerToken"])
    headers["User-Agent"] = "kubectl/tests"
    try:
        async with aiohttp.ClientSession(
            connector=library.rest_client.pool_manager.connector,
            connector_owner=False,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
            read_bufsize=2**21,
        ) as session:
            yield Http(str(configuration.host), session)
    finally:
        await library.close()


@contextlib.asynccontextmanager
async def real_world(where: Connection, *, kubelets: bool = True) -> AsyncIterator[RealWorld]:
    """Make two new namespaces, run a kubelet in the first, and connect."""
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(client(where))
        namespace = f"t{secrets.token_hex(3)}-{next(_NUMBERS)}"
        world = RealWorld(http, where, namespace=namespace)
        for name in (world.namespace, world.state_namespace):
            answer = await http.post("/api/v1/namespaces", {"metadata": {"name": name}})
            assert answer.status == 201, answer
            # A control plane of the tests' own goes as a whole; emptying a namespace of it would be
            # a hundred requests. What is asked instead gives TLS its time to close the connections.
            ends = http.get if where.context is None else http.delete
            stack.push_async_callback(ends, f"/api/v1/namespaces/{name}")
        if kubelets:
            await stack.enter_async_context(kubelet(http, namespace))
        await world.open()
        stack.push_async_callback(world.cluster.aclose)
        yield world


REAL = [pytest.mark.controlplane]


def on_kubernetes(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Make a test of `async def test(world: RealWorld, ...)`, for what the sandbox has not."""

    def wrapper(kubernetes: Connection, **more: Any) -> None:
        async def story(world: World) -> None:
            await test(world, **more)

        RealPlace(kubernetes).run(story)

    functools.update_wrapper(wrapper, test)
    first, *others = inspect.signature(test).parameters.values()
    shown = [first.replace(name="kubernetes", annotation=Connection), *others]
    wrapper.__signature__ = inspect.Signature(  # type: ignore[attr-defined] # inspect looks for it
        shown, return_annotation=None
    )
    marked: Callable[..., None] = wrapper
    for mark in REAL:
        marked = mark(marked)
    return marked


class RealPlace:
    """Worlds on a real API server."""

    def __init__(self, where: Connection) -> None:
        self._where = where

    def run(self, story: Callable[[World], Awaitable[None]]) -> None:
        async def main() -> None:
            async with real_world(self._where) as world:
                await story(world)

        asyncio.run(main())
