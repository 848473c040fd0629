"""Slack and PagerDuty, played on loopback: they keep what they were told."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from receiver.demo.pair import HOST

KEY_LENGTH, KEY_MOST = 32, 255


@dataclass(slots=True)
class People:
    """Who is told. `slack` holds (channel, message), `pages` the PagerDuty events."""

    slack: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    pages: list[dict[str, Any]] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Run both; yield their URL. `/services/CHANNEL` is Slack, `/v2/enqueue` PagerDuty."""
        app = web.Application()
        app.router.add_post("/services/{channel}", self._slack)
        app.router.add_post("/v2/enqueue", self._pagerduty)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, HOST, 0)
        await site.start()
        try:
            yield "http://{}:{}".format(*runner.addresses[0][:2])
        finally:
            await runner.cleanup()

    async def _slack(self, request: web.Request) -> web.Response:
        message = await request.json()
        if not message.get("text"):
            return web.Response(status=400, text="no_text")
        self.slack.append((request.match_info["channel"], message))
        return web.Response(text="ok")

    async def _pagerduty(self, request: web.Request) -> web.Response:
        event = await request.json()
        wrong = [
            what
            for what, right in (
                ("routing_key", len(str(event.get("routing_key"))) == KEY_LENGTH),
                ("event_action", event.get("event_action") in ("trigger", "resolve")),
                ("dedup_key", 0 < len(str(event.get("dedup_key", ""))) <= KEY_MOST),
            )
            if not right
        ]
        if wrong:
            body = {
                "status": "invalid event",
                "message": "Event object is invalid",
                "errors": wrong,
            }
            return web.json_response(body, status=400)
        self.pages.append(event)
        key = event["dedup_key"]
        body = {"status": "success", "message": "Event processed", "dedup_key": key}
        return web.json_response(body, status=202)
