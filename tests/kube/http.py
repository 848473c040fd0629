"""A plain HTTP client of a Kubernetes API: what it says, status, headers and body, as it is."""

import contextlib
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp

Obj = dict[str, Any]

JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: Any
    headers: dict[str, str]


class Http:
    """The client: every method is one request."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self.http = http

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

    async def delete(self, path: str, body: Any = None, **query: Any) -> Answer:
        return await self.send("DELETE", path, body, **query)

    @contextlib.asynccontextmanager
    async def watch(self, path: str, **query: Any) -> AsyncIterator["Events"]:
        """Open a watch and read it event by event."""
        params = {"watch": "true"} | {key: str(value) for key, value in query.items()}
        async with self.http.get(self.url + path, params=params) as answer:
            yield Events(answer)


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


def expect(path: str, value: Any) -> Obj:
    """Return the `test` of a JSON Patch."""
    return {"op": "test", "path": path, "value": value}


def replace(path: str, value: Any) -> Obj:
    return {"op": "replace", "path": path, "value": value}


def add(path: str, value: Any) -> Obj:
    return {"op": "add", "path": path, "value": value}


def set_image(image: str) -> Obj:
    """Return the change of the first container's image in a template."""
    return replace("/spec/template/spec/containers/0/image", image)


def image_of(obj: Obj) -> str:
    """Return the image of the first container of a template."""
    image: str = obj["spec"]["template"]["spec"]["containers"][0]["image"]
    return image


def condition(obj: Obj, kind: str) -> Obj | None:
    """Return a condition of an object's status."""
    conditions = obj["status"].get("conditions") or ()
    return next((found for found in conditions if found["type"] == kind), None)
