"""Slack and PagerDuty on loopback that answer as they are told to, sink by sink."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

from aiohttp import web

from receiver.demo.people import People
from tests.notify.sites import serving
from tests.stage import Stage
from tests.virtual import LoopClock

# What becomes of one message. `lost`: it is taken, and the answer to it is an error; `cut`: it is
# taken, and the connection ends without an answer; `late`: it is a while on its way.
Mood: TypeAlias = Literal[
    "takes", "late", "fails", "lost", "cut", "hangs", "limits", "refuses", "gone", "rejects"
]
TAKEN: frozenset[Mood] = frozenset({"takes", "late", "lost", "cut"})
LATE = 9
PAGER, CHAT = "pagerduty", "prod-alerts"
RETRY_AFTER = 20


@dataclass(slots=True)
class Arrival:
    """One message as it arrived, taken or not."""

    at: float
    when: datetime
    sink: str
    mood: Mood
    body: dict[str, Any]

    @property
    def taken(self) -> bool:
        return self.mood in TAKEN

    @property
    def said(self) -> str:
        """Return what a pager was told to do, or the first words of a message."""
        said: str = self.body.get("event_action") or self.body["text"].partition(" · ")[0]
        return said


@dataclass(slots=True)
class Unruly(People):
    """`moods` of a sink are used up one by one; then it is as `usually`, or else takes all."""

    moods: defaultdict[str, list[Mood]] = field(default_factory=lambda: defaultdict(list))
    usually: dict[str, Mood] = field(default_factory=dict)
    wire: list[Arrival] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one message."""
        parts = request.path.strip("/").split("/")
        if parts[:2] == ["v2", "change"]:
            return web.Response(status=202, text="{}")  # pages nobody, and is not owed
        sink = PAGER if parts[0] == "v2" else parts[1]
        queue = self.moods[sink]
        mood = queue.pop(0) if queue else self.usually.get(sink, "takes")
        body = await request.json()
        if mood == "late":
            await asyncio.sleep(LATE)
        at = asyncio.get_running_loop().time()
        self.wire.append(Arrival(at, LoopClock().now(), sink, mood, body))
        if mood in TAKEN:
            if sink == PAGER:
                self.pages.append(body)
            else:
                self.slack.append((sink, body))
        if mood == "hangs":
            await asyncio.sleep(3600)
        if mood == "cut":
            assert request.transport is not None
            request.transport.abort()
        return _answer(sink, mood)

    def of(self, sink: str, *, taken: bool = True) -> list[str]:
        """Return what a sink was told, in order."""
        return [a.said for a in self.wire if a.sink == sink and a.taken >= taken]

    def open(self) -> set[str]:
        """Return the alerts that are open at PagerDuty after all that it has taken."""
        open_: set[str] = set()
        for page in self.pages:
            (open_.add if page["event_action"] == "trigger" else open_.discard)(page["dedup_key"])
        return open_


def _answer(sink: str, mood: Mood) -> web.StreamResponse:
    if mood == "late":
        mood = "takes"
    if mood == "limits":
        return web.Response(status=429, headers={"Retry-After": str(RETRY_AFTER)})
    if sink == PAGER:
        body = {"refuses": '{"message":"invalid routing_key"}'}.get(mood, '{"status":"said"}')
        status = {"takes": 202, "refuses": 400, "gone": 404, "rejects": 400}.get(mood, 500)
        return web.Response(status=status, text=body)
    said = {"takes": (200, "ok"), "refuses": (403, "invalid_token"), "gone": (404, "no_service")}
    said["rejects"] = (400, "invalid_payload")
    status, text = said.get(mood, (500, "rollup_error"))
    return web.Response(status=status, text=text)


@contextlib.asynccontextmanager
async def unruly(on: Stage) -> AsyncIterator[Unruly]:
    """Let these be whom the service of a stage tells."""
    people = Unruly()
    async with serving(people.answer) as url:
        on.people, on.people_url = people, url
        yield people
