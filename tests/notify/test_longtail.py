"""What goes by way of Apprise: off the loop, once more at most, and only to what is allowed."""

import asyncio
import logging
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from receiver import messages
from receiver.controller.ports import NOTHING_HEARD, Delivery, Failure, Heard
from receiver.notify import LongTail, Sink, Transport
from receiver.notify.longtail import SCHEMAS, usable
from tests.messages.stories import story
from tests.notify.sites import CANARY, Site, alone, secret
from tests.virtual import START

# Of Apprise, on a Python that still has the module.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


def longtail(folder: Path, url: str, **more: Any) -> Callable[[Transport], Sink]:
    where = secret(folder, url)
    # `json` is not among those that are allowed: here it stands for one that is.
    fields = {"schemas": frozenset({"json"})} | more
    return lambda _: LongTail(url=where, **fields)


def as_json(site_url: str) -> str:
    return site_url.replace("http://", "json://") + f"/{CANARY}"


async def test_the_short_form_is_sent_by_apprise(tmp_path: Path) -> None:
    async with Site().serve() as site, alone(longtail(tmp_path, as_json(site.url))) as it:
        receipt = await it.deliver("it", story())
    assert receipt.delivery is Delivery.DELIVERED
    [body] = site.bodies
    said = messages.short(story())
    assert (body["title"], body["message"]) == (said.title, said.body)
    assert body["type"] == "failure"


async def test_what_fails_is_asked_once_more_and_then_given_up(tmp_path: Path) -> None:
    async with (
        Site(usual=(500, "")).serve() as site,
        alone(longtail(tmp_path, as_json(site.url))) as it,
    ):
        first = await it.deliver("it", story())
        second = await it.deliver("it", story(), Heard(doubt=START))
    assert (first.delivery, second.delivery) == (Delivery.AMBIGUOUS, Delivery.REJECTED)
    assert first.failure is second.failure is Failure.REFUSED
    assert len(site.requests) == 2


async def test_one_that_hangs_holds_up_neither_the_loop_nor_a_second_message(
    tmp_path: Path,
) -> None:
    release = threading.Event()

    class Hang(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            release.wait(30)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            pass

    server = HTTPServer(("127.0.0.1", 0), Hang)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    url = f"json://127.0.0.1:{server.server_port}/{CANARY}"
    turns = 0

    async def others() -> None:
        nonlocal turns
        while not release.is_set():
            turns += 1
            await asyncio.sleep(0)

    try:
        async with alone(longtail(tmp_path, url, deadline=0.2)) as it:
            other = asyncio.create_task(others())
            receipt = await it.deliver("it", story())
            assert (receipt.delivery, receipt.failure) == (Delivery.AMBIGUOUS, Failure.TIMEOUT)
            assert turns > 10
            busy = await it.deliver("it", story())
            assert busy.delivery is Delivery.NOT_SENT
            release.set()
            await other
    finally:
        release.set()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("tgram://123456:token/chat", True),
        ("workflows://host/workflow/signature", True),
        ("TGRAM://123456:token/chat", True),
        ("ntfys://host/topic?priority=high", True),
        ("ntfy://host/topic", False),
        ("json://host/path", False),
        ("jsons://host/path", False),
        ("xml://host/path", False),
        ("form://host", False),
        ("file:///etc/passwd", False),
        ("syslog://", False),
        ("dbus://", False),
        ("apprises://host/token", False),
        ("mailtos://user:pass@example.com", False),
        ("slack://a/b/c", False),
        ("https://example.com", False),
        ("tgram://123456:token/chat?verify=no", False),
        ("tgram://123456:token/chat?VERIFY=no", False),
        ("tgram://123456:token/chat?retry=9", False),
        ("tgram://123456:token/chat?verify", False),
        ("//[", False),
        ("", False),
    ],
)
async def test_only_what_reaches_people_over_tls_is_sent_to(
    url: str, *, fine: bool, tmp_path: Path
) -> None:
    assert usable(url) is fine
    if not fine:
        async with alone(longtail(tmp_path, url, schemas=SCHEMAS)) as it:
            assert it.each() == {"it": "unauthorized"}
            receipt = await it.deliver("it", story(), NOTHING_HEARD)
        assert (receipt.delivery, receipt.failure) == (Delivery.UNAUTHORIZED, Failure.SECRET)


def test_apprise_knows_what_is_allowed() -> None:
    import apprise  # noqa: PLC0415 - slow to import: only here

    known = {
        scheme
        for service in apprise.Apprise().details()["schemas"]
        for scheme in service["secure_protocols"] or ()
    }
    assert known >= SCHEMAS


async def test_no_url_is_seen_whatever_fails(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[object] = []
    for status in (200, 302, 403, 500):
        async with (
            Site(usual=(status, CANARY)).serve() as site,
            alone(longtail(tmp_path, as_json(site.url))) as it,
        ):
            seen.append(await it.deliver("it", story()))
            seen.append(it.__dict__)
    async with alone(longtail(tmp_path, f"json://127.0.0.1:1/{CANARY}")) as it:
        seen.append(await it.deliver("it", story()))
    ours = [each.getMessage() for each in caplog.records if each.name != "aiohttp.access"]
    assert CANARY not in repr(seen) + repr(ours)
