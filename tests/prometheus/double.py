"""A Prometheus on loopback that answers in the shapes of the real one (`fixtures/prometheus`)."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

FOLDER = Path(__file__).parent.parent / "fixtures" / "prometheus"


def recorded(name: str) -> bytes:
    """Return a body that Prometheus really sent."""
    return (FOLDER / f"{name}.json").read_bytes()


def _recorded_rule() -> dict[str, Any]:
    rule: dict[str, Any] = json.loads(recorded("rules"))["data"]["groups"][0]["rules"][0]
    return rule


RULE = _recorded_rule()
EXPRESSION: str = RULE["query"]
SIDE = EXPRESSION.removesuffix(" > 0.05")
CHECKOUT = {"namespace": "shop", "deployment": "checkout"}


@dataclass
class Double:
    """One Prometheus. `vectors` holds the elements of each query; any other query is empty.

    `hangs`: it takes requests and answers none. `delay`: seconds that each takes. `status`: what it
    answers instead of 200.
    """

    rules: list[dict[str, Any]] = field(default_factory=lambda: [RULE])
    vectors: dict[str, list[tuple[dict[str, str], str]]] = field(default_factory=dict)
    hangs: bool = False
    delay: float = 0
    status: int = 200
    body: bytes | None = None
    requests: list[web.Request] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    _runner: web.AppRunner | None = None

    def errors(self, ratio: str, labels: dict[str, str] = CHECKOUT) -> None:
        """Let the recorded rule see that share of errors."""
        self.vectors[SIDE] = [(labels, ratio)]
        self.vectors[EXPRESSION] = [(labels, ratio)] if float(ratio) > 0.05 else []

    def no_data(self) -> None:
        """Let all series end."""
        self.vectors.clear()

    async def die(self) -> None:
        """Stop: connections are refused from now on."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Run it; yield its URL."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.001)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        try:
            yield "http://{}:{}".format(*self._runner.addresses[0][:2])
        finally:
            await self.die()

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        if self.hangs:
            await asyncio.Event().wait()
        await asyncio.sleep(self.delay)
        if self.status != 200 or self.body is not None:
            headers = {"Location": "/elsewhere"} if self.status == 302 else {}
            return web.Response(status=self.status, body=self.body or b"no", headers=headers)
        if request.path.endswith("/api/v1/rules"):
            answer = json.loads(recorded("rules"))
            answer["data"]["groups"][0]["rules"] = self.rules
            return web.json_response(answer)
        given = await request.post() if request.method == "POST" else request.query
        query = str(given["query"])
        self.asked.append(query)
        answer = json.loads(recorded("empty"))
        answer["data"]["result"] = [
            {"metric": labels, "value": [1795745111.875, value]}
            for labels, value in self.vectors.get(query, [])
        ]
        return web.json_response(answer)
