"""PagerDuty beside the pages: what was changed, and what is never said."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from receiver import messages
from receiver.controller.ports import NOTHING_HEARD, Delivery, Heard
from receiver.messages import HEADLINES, Story
from receiver.notify import PagerDuty, Sink, Transport
from tests.messages.stories import T0, story
from tests.notify.sites import TAKEN, Site, alone, secret, serving
from tests.virtual import LoopClock, virtual

KEY = "1CANARY" + "0" * 25
CHANGE = "/v2/change/enqueue"


def pager(folder: Path, url: str, key: str = KEY) -> Callable[[Transport], Sink]:
    where = secret(folder, key)
    return lambda transport: PagerDuty(routing_key=where, transport=transport, endpoint=url)


def changed() -> Story:
    """Return a story of a rollback that was sent."""
    told = replace(story(state="following"), applied_at=T0)
    assert messages.change_event(told) is not None
    return told


@virtual
async def test_a_rollback_is_told_as_a_change_once_after_its_page(tmp_path: Path) -> None:
    async with Site(usual=TAKEN).serve() as site, alone(pager(tmp_path, site.url)) as it:
        first = await it.deliver("it", changed())
        await asyncio.sleep(1)
        assert [path for _, path in site.requests] == ["/v2/enqueue", CHANGE]
        known = Heard(state="following", mark=first.mark)
        ended = replace(changed(), state="rollout_failed")
        await it.deliver("it", ended, known)
        await asyncio.sleep(1)
    assert [path for _, path in site.requests] == ["/v2/enqueue", CHANGE, "/v2/enqueue"]
    assert site.bodies[1] == {"routing_key": KEY} | (messages.change_event(changed()) or {})
    assert "event_action" not in site.bodies[1]


@virtual
async def test_what_changed_nothing_is_no_change(tmp_path: Path) -> None:
    async with Site(usual=TAKEN).serve() as site, alone(pager(tmp_path, site.url)) as it:
        refused = replace(story(state="refused"), applied_at=None)
        receipt = await it.deliver("it", refused)
        await asyncio.sleep(1)
    assert receipt.mark == ""
    assert [path for _, path in site.requests] == ["/v2/enqueue"]


@virtual
async def test_the_key_of_an_orchestration_takes_no_changes(tmp_path: Path) -> None:
    async with (
        Site(usual=TAKEN).serve() as site,
        alone(pager(tmp_path, site.url, "R" + KEY[1:])) as it,
    ):
        await it.deliver("it", changed())
        await asyncio.sleep(1)
    assert [path for _, path in site.requests] == ["/v2/enqueue"]


@virtual
async def test_a_page_that_was_not_taken_is_told_first(tmp_path: Path) -> None:
    site = Site(usual=TAKEN, answers=[(500, "", {})])
    async with site.serve(), alone(pager(tmp_path, site.url)) as it:
        await it.deliver("it", changed())
        await asyncio.sleep(1)
    assert [path for _, path in site.requests] == ["/v2/enqueue"]


@pytest.mark.parametrize("trouble", ["hangs", "says no"])
@virtual
async def test_no_page_waits_for_a_change_or_is_lost_with_it(trouble: str, tmp_path: Path) -> None:
    clock, paths = LoopClock(), []

    async def answer(request: web.Request) -> web.StreamResponse:
        paths.append(request.path)
        if request.path == CHANGE and trouble == "hangs":
            await asyncio.sleep(3600)
        return web.Response(status=400 if request.path == CHANGE else 202)

    async with serving(answer) as url, alone(pager(tmp_path, url)) as it:
        began = clock.monotonic()
        receipt = await it.deliver("it", changed())
        assert receipt.delivery is Delivery.DELIVERED
        assert clock.monotonic() - began < 0.5
        await asyncio.sleep(1)
        assert paths == ["/v2/enqueue", CHANGE]
        assert it.status("it") == "ok"
        began = clock.monotonic()
        await it.close()
        assert clock.monotonic() - began < 0.5


@virtual
async def test_nothing_is_ever_acknowledged(tmp_path: Path) -> None:
    async with Site(usual=TAKEN).serve() as site, alone(pager(tmp_path, site.url)) as it:
        for state in HEADLINES:
            await it.turn("it")
            await it.deliver("it", story(state=state), NOTHING_HEARD)
    said = {body["event_action"] for body in site.bodies if "event_action" in body}
    assert said == {"trigger", "resolve"}
