"""A Slack workspace on loopback: it keeps messages as Slack does, and loses what it is told to."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.notify.sites import serving
from tests.virtual import START

CHANNEL = "C0PRODALERTS"
TOKEN = "xoxb-T0CANARYB0SECRETX"
LOSE, DROP = "lose", "drop"  # after it was done, before it is done

Json = dict[str, Any]


@dataclass(slots=True)
class Workspace:
    """What was posted, and what was called. `faults` are used up by the calls, by method.

    A fault is LOSE or DROP, a status, or a word for `ok: false`; "" is none.
    """

    url: str = ""
    messages: list[Json] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    bodies: list[Json] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    faults: dict[str, list[str | int]] = field(default_factory=dict)
    scopes: set[str] = field(default_factory=lambda: {"chat:write", "channels:history"})
    page: int = 100

    @property
    def roots(self) -> list[Json]:
        return [each for each in self.messages if "thread_ts" not in each]

    @property
    def replies(self) -> list[Json]:
        return [each for each in self.messages if "thread_ts" in each]

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator["Workspace"]:
        async with serving(self.answer) as self.url:
            yield self

    async def answer(self, request: web.Request) -> web.StreamResponse:
        method = request.path.rpartition("/")[2]
        self.calls.append(method)
        self.tokens.append(request.headers.get("Authorization", ""))
        form = request.content_type == "application/x-www-form-urlencoded"
        body: Json = dict(await request.post()) if form else await request.json()
        self.bodies.append(body)
        waiting = self.faults.get(method, [])
        fault = waiting.pop(0) if waiting else ""
        if isinstance(fault, int):
            return web.Response(status=fault)
        if fault in (LOSE, DROP):
            if fault == LOSE:
                self._done(method, body)
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        if fault:
            return web.json_response({"ok": False, "error": fault})
        return web.json_response(self._done(method, body))

    def _done(self, method: str, body: Json) -> Json:
        match method:
            case "chat.postMessage":
                return self._post(body)
            case "chat.update":
                return self._update(body)
            case "conversations.history" | "conversations.replies":
                return self._read(method, body)
            case _:
                return {"ok": False, "error": "unknown_method"}

    def _post(self, body: Json) -> Json:
        ts = f"{START.timestamp() + len(self.messages):.6f}"
        self.messages.append(body | {"ts": ts})
        return {"ok": True, "channel": body["channel"], "ts": ts, "message": {"text": "..."}}

    def _update(self, body: Json) -> Json:
        for message in self.messages:
            if (message["channel"], message["ts"]) == (body["channel"], body["ts"]):
                message.update(body)
                return {"ok": True, "channel": body["channel"], "ts": body["ts"]}
        return {"ok": False, "error": "message_not_found"}

    def _read(self, method: str, body: Json) -> Json:
        if "channels:history" not in self.scopes:
            return {"ok": False, "error": "missing_scope", "needed": "channels:history"}
        assert body["include_all_metadata"] == "true"
        whole = self.roots if method == "conversations.history" else self.messages
        found = [
            {"type": "message", "ts": m["ts"], "text": m["text"]}
            | ({"metadata": m["metadata"]} if "metadata" in m else {})
            for m in whole
            if m["channel"] == body["channel"]
            and float(m["ts"]) > float(body["oldest"])
            and (method == "conversations.history" or body["ts"] in (m["ts"], m.get("thread_ts")))
        ]
        begin = int(body.get("cursor", 0))
        end = begin + self.page
        cursor = str(end) if end < len(found) else ""
        return {
            "ok": True,
            "messages": found[begin:end],
            "has_more": bool(cursor),
            "response_metadata": {"next_cursor": cursor},
        }
