"""The way to a real API server: what goes wrong on it, and what happens just before a request.

It speaks HTTP to the service and passes each request on, with the token it came with.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Literal, TypeAlias

import aiohttp
from aiohttp import web
from yarl import URL

from tests.controlplane.scene import Scene

# `status`: an answer that the API server never gave. `reset`: the connection breaks, before the API
# server has the request or after. `cut`: half an answer. `hang`: an answer that never comes.
Fault: TypeAlias = Literal["status", "reset_before", "reset_after", "cut", "hang_after"]
KEPT = ("Accept", "Authorization", "Content-Type", "User-Agent")
CUT_AT = 40


class Road:
    """The way. What it is told to do, it does once, to the next request with these words."""

    def __init__(self, to: str, session: aiohttp.ClientSession) -> None:
        self._to, self._session = to, session
        self._first: dict[str, Callable[[], Awaitable[Any]]] = {}
        self._faults: dict[str, tuple[Fault, int]] = {}
        self._old: dict[str, bytes | None] = {}
        self.met: list[str] = []

    def before(self, what: str, do: Callable[[], Awaitable[Any]]) -> None:
        """Do something when a request `VERB path?query` that has `what` in it is on its way."""
        self._first[what] = do

    def fault(self, what: str, fault: Fault, status: int = 0) -> None:
        """Let something go wrong with such a request."""
        self._faults[what] = (fault, status)

    def freeze(self, what: str) -> None:
        """Give every such request the answer that the next one gets: a cache that stands still."""
        self._old[what] = None

    async def relay(self, request: web.Request) -> web.StreamResponse:
        """Pass a request on, and its answer back."""
        what, body = f"{request.method} {request.path_qs}", await request.read()
        for words in [words for words in self._first if words in what]:
            self.met.append(what)
            await self._first.pop(words)()
        for words in [words for words in self._faults if words in what]:
            self.met.append(what)
            return await self._go_wrong(request, body, *self._faults.pop(words))
        frozen = next((words for words in self._old if words in what), None)
        if frozen is None:
            async with self._send(request, body) as answer:
                return await self._pass(request, answer)
        self.met.append(what)
        old = self._old[frozen]
        if old is None:
            async with self._send(request, body) as answer:
                assert answer.status == 200
                old = self._old[frozen] = await answer.read()
        return web.Response(body=old, content_type="application/json")

    def _send(
        self, request: web.Request, body: bytes
    ) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse]:
        headers = {name: request.headers[name] for name in KEPT if name in request.headers}
        url = URL(self._to + request.path_qs, encoded=True)
        return self._session.request(request.method, url, data=body or None, headers=headers)

    async def _pass(
        self, request: web.Request, answer: aiohttp.ClientResponse, most: int | None = None
    ) -> web.StreamResponse:
        back = {k: v for k, v in answer.headers.items() if k in ("Content-Type", "Retry-After")}
        response = web.StreamResponse(status=answer.status, headers=back)
        with contextlib.suppress(ConnectionError):  # nobody waits for it any more
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk[:most])
                if most is not None:
                    await asyncio.sleep(0.05)
                    _break(request)
                    break
        return response

    async def _go_wrong(
        self, request: web.Request, body: bytes, fault: Fault, status: int
    ) -> web.StreamResponse:
        if fault == "status":
            said = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status}
            headers = {"Retry-After": "1"} if status == 429 else {}
            text = json.dumps(said)
            return web.Response(
                status=status, text=text, content_type="application/json", headers=headers
            )
        if fault == "reset_before":
            return _break(request)
        async with self._send(request, body) as answer:
            if fault == "cut":
                return await self._pass(request, answer, CUT_AT)
            await answer.read()
        if fault == "hang_after":
            await asyncio.sleep(60)  # cancelled when whoever asked has left
        return _break(request)


def _break(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


@contextlib.asynccontextmanager
async def road(on: Scene) -> AsyncIterator[Road]:
    """Build the way that replicas take which start in the block."""
    http = on.world.http
    async with aiohttp.ClientSession(
        connector=http.http.connector,
        connector_owner=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
        read_bufsize=2**21,
    ) as session:
        way = Road(http.url, session)
        application = web.Application(client_max_size=2**22)
        application.router.add_route("*", "/{path:.*}", way.relay)
        runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=0.01, handler_cancellation=True
        )
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        on.by_way_of = "http://{}:{}".format(*runner.addresses[0][:2])
        try:
            yield way
        finally:
            on.by_way_of = ""
            await runner.cleanup()
