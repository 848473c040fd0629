"""A sandbox that serves HTTP in virtual time, and a plain HTTP client of it."""

import contextlib
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp

from receiver.sandbox import Sandbox
from tests.kube.http import Http, Obj, image_of
from tests.virtual import LoopClock, run

NAMESPACE = "shop"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
REPLICASETS = f"/apis/apps/v1/namespaces/{NAMESPACE}/replicasets"
CONFIGMAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
EVENTS = f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events"
ROUTES = f"/apis/gateway.networking.k8s.io/v1/namespaces/{NAMESPACE}/httproutes"
API = f"{DEPLOYMENTS}/api"

REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"


class Api(Http):
    """A client, and the sandbox behind it."""

    def __init__(self, sandbox: Sandbox, url: str, http: aiohttp.ClientSession) -> None:
        super().__init__(url, http)
        self.sandbox = sandbox
        self.clock = sandbox.clock

    # --- the Deployment most tests are about

    async def deployed(self, image: str = "app:v1", **more: Any) -> Obj:
        """Deploy `api` and wait until it is rolled out as far as it goes."""
        self.sandbox.deploy(NAMESPACE, "api", image, **more)
        await self.sandbox.settled()
        return self.api()

    def api(self) -> Obj:
        found = self.sandbox.get("Deployment", NAMESPACE, "api")
        assert found is not None
        return found

    def generation(self) -> int:
        generation: int = self.api()["metadata"]["generation"]
        return generation

    def revisions(self) -> dict[str, str]:
        """Return revision: image, of each ReplicaSet."""
        return {
            rs["metadata"]["annotations"][REVISION]: image_of(rs)
            for rs in self.sandbox.list("ReplicaSet", NAMESPACE)
        }

    def replicaset(self, image: str) -> Obj:
        found = [rs for rs in self.sandbox.list("ReplicaSet", NAMESPACE) if image_of(rs) == image]
        assert len(found) == 1
        return found[0]


def configmap(name: str, **data: str) -> Obj:
    return {"metadata": {"name": name}, "data": data}


@contextlib.asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Api]:
    sandbox = Sandbox(LoopClock(), **options)
    sandbox.create_namespace(NAMESPACE)
    timeout = aiohttp.ClientTimeout(total=None)
    async with (
        sandbox.serve() as url,
        aiohttp.ClientSession(timeout=timeout, headers={"User-Agent": "tests/1"}) as http,
    ):
        yield Api(sandbox, url, http)


def on_sandbox(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Make an ordinary test of `async def test(api: Api, ...)`: a new sandbox, in virtual time."""

    @functools.wraps(test)
    def wrapper(**more: Any) -> None:
        async def story() -> None:
            async with serving() as api:
                await test(api, **more)

        run(story)

    asked = inspect.signature(test)
    others = list(asked.parameters.values())[1:]
    wrapper.__signature__ = asked.replace(  # type: ignore[attr-defined] # inspect looks for it
        parameters=others, return_annotation=None
    )
    return wrapper
