"""A sandbox that serves HTTP in virtual time, and a plain HTTP client of it."""

import contextlib
import functools
import inspect
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from receiver.sandbox import Sandbox
from tests.virtual import LoopClock, run

Obj = dict[str, Any]

NAMESPACE = "shop"
JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
REPLICASETS = f"/apis/apps/v1/namespaces/{NAMESPACE}/replicasets"
CONFIGMAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
EVENTS = f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events"
ROUTES = f"/apis/gateway.networking.k8s.io/v1/namespaces/{NAMESPACE}/httproutes"
API = f"{DEPLOYMENTS}/api"

REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: Any
    headers: dict[str, str]


class Api:
    """The client: every method is one request."""

    def __init__(self, sandbox: Sandbox, url: str, http: aiohttp.ClientSession) -> None:
        self.sandbox = sandbox
        self.url = url
        self.http = http
        self.clock = sandbox.clock

    async def send(
        self, method: str, path: str, body: Any = None, *, kind: str = "", **query: Any
    ) -> Answer:
        """Send a request; what is no text or bytes is sent as JSON."""
        headers = {"Content-Type": kind or "application/json"} if body is not None else {}
        text = body if isinstance(body, str | bytes | None) else json.dumps(body)
        raw = text.encode() if isinstance(text, str) else text
        params = {key: str(value) for key, value in query.items()}
        async with self.http.request(
            method, self.url + path, data=raw and io.BytesIO(raw), headers=headers, params=params
        ) as answer:
            got = await answer.text()
            is_json = answer.content_type == "application/json"
            return Answer(answer.status, json.loads(got) if is_json else got, dict(answer.headers))

    async def get(self, path: str, **query: Any) -> Answer:
        return await self.send("GET", path, **query)

    async def post(self, path: str, body: Any, **query: Any) -> Answer:
        return await self.send("POST", path, body, **query)

    async def put(self, path: str, body: Any, **query: Any) -> Answer:
        return await self.send("PUT", path, body, **query)

    async def patch(self, path: str, *operations: Obj, **query: Any) -> Answer:
        """Send a JSON Patch."""
        return await self.send("PATCH", path, list(operations), kind=JSON_PATCH, **query)

    async def merge(self, path: str, body: Any, **query: Any) -> Answer:
        return await self.send("PATCH", path, body, kind=MERGE, **query)

    @contextlib.asynccontextmanager
    async def watch(self, path: str, **query: Any) -> AsyncIterator["Events"]:
        """Open a watch and read it event by event."""
        params = {"watch": "true"} | {key: str(value) for key, value in query.items()}
        async with self.http.get(self.url + path, params=params) as answer:
            yield Events(answer)

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


class Events:
    """An open watch."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer
        self.status = answer.status

    async def next(self) -> Obj | None:
        """Return the next event, None at the end."""
        line = await self.answer.content.readline()
        event: Obj | None = json.loads(line) if line else None
        return event

    async def rest(self) -> list[tuple[str, str]]:
        """Read to the end; return the type of each event and the name it is about."""
        found = []
        while event := await self.next():
            found.append((event["type"], event["object"]["metadata"].get("name", "")))
        return found


def image_of(obj: Obj) -> str:
    image: str = obj["spec"]["template"]["spec"]["containers"][0]["image"]
    return image


def condition(obj: Obj, kind: str) -> Obj | None:
    conditions = obj["status"].get("conditions") or ()
    return next((found for found in conditions if found["type"] == kind), None)


def configmap(name: str, **data: str) -> Obj:
    return {"metadata": {"name": name}, "data": data}


def expect(path: str, value: Any) -> Obj:
    return {"op": "test", "path": path, "value": value}


def replace(path: str, value: Any) -> Obj:
    return {"op": "replace", "path": path, "value": value}


def add(path: str, value: Any) -> Obj:
    return {"op": "add", "path": path, "value": value}


def set_image(image: str) -> Obj:
    return replace("/spec/template/spec/containers/0/image", image)


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
