"""Every answer there is, given over a socket to every kind of sink that speaks HTTP."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from aiohttp import web

from receiver.controller.ports import NOTHING_HEARD, Delivery, Failure, Heard, Receipt
from receiver.notify import PagerDuty, Sink, SlackBot, SlackWebhook, Transport, Webhook
from tests.messages.stories import story
from tests.notify.sites import CANARY, KEY, Site, alone, secret, serving, talking
from tests.notify.workspace import CHANNEL, TOKEN
from tests.virtual import LoopClock, virtual

D, F = Delivery, Failure
Make: TypeAlias = Callable[[str, Path, Transport], Sink]


def _webhook(url: str, folder: Path, transport: Transport) -> Sink:
    where = secret(folder, f"{url}/hooks/{CANARY}", "url")
    signed = secret(folder, "s3cret")
    return Webhook(url=where, secret=signed, transport=transport, clock=LoopClock())


def _chat(url: str, folder: Path, transport: Transport) -> Sink:
    return SlackWebhook(url=secret(folder, f"{url}/services/{CANARY}"), transport=transport)


def _bot(url: str, folder: Path, transport: Transport) -> Sink:
    token = secret(folder, TOKEN)
    return SlackBot(name="it", token=token, channel=CHANNEL, transport=transport, endpoint=url)


def _pager(url: str, folder: Path, transport: Transport) -> Sink:
    return PagerDuty(routing_key=secret(folder, KEY), transport=transport, endpoint=url)


MAKE: dict[str, Make] = {
    "slack": _bot,
    "slack-webhook": _chat,
    "pagerduty": _pager,
    "webhook": _webhook,
}
YES = {
    "slack": (200, json.dumps({"ok": True, "channel": CHANNEL, "ts": "1795395600.000100"})),
    "slack-webhook": (200, "ok"),
    "pagerduty": (202, '{"status":"success","message":"Event processed","dedup_key":"k"}'),
    "webhook": (204, ""),
}
HTML = "<html><title>Sign in to the airport</title></html>"

# status, body -> what it means to the bot, the webhook of Slack, PagerDuty, and an own webhook.
EVERYWHERE = [
    (200, HTML, D.AMBIGUOUS, D.AMBIGUOUS, D.AMBIGUOUS, D.DELIVERED),
    (200, "", D.AMBIGUOUS, D.AMBIGUOUS, D.AMBIGUOUS, D.DELIVERED),
    (200, "ok", D.AMBIGUOUS, D.DELIVERED, D.AMBIGUOUS, D.DELIVERED),
    (201, "", D.AMBIGUOUS, D.AMBIGUOUS, D.AMBIGUOUS, D.DELIVERED),
    (202, "", D.AMBIGUOUS, D.AMBIGUOUS, D.DELIVERED, D.DELIVERED),
    (202, HTML, D.AMBIGUOUS, D.AMBIGUOUS, D.DELIVERED, D.DELIVERED),
    (301, "", D.AMBIGUOUS, D.AMBIGUOUS, D.AMBIGUOUS, D.AMBIGUOUS),
    (302, "ok", D.AMBIGUOUS, D.AMBIGUOUS, D.AMBIGUOUS, D.AMBIGUOUS),
    (307, "", D.AMBIGUOUS, D.AMBIGUOUS, D.AMBIGUOUS, D.AMBIGUOUS),
    (308, "", D.AMBIGUOUS, D.AMBIGUOUS, D.AMBIGUOUS, D.AMBIGUOUS),
    (400, "", D.REJECTED, D.REJECTED, D.REJECTED, D.REJECTED),
    (401, "", D.UNAUTHORIZED, D.UNAUTHORIZED, D.UNAUTHORIZED, D.UNAUTHORIZED),
    (403, "", D.UNAUTHORIZED, D.UNAUTHORIZED, D.UNAUTHORIZED, D.UNAUTHORIZED),
    (404, "", D.GONE, D.GONE, D.UNAUTHORIZED, D.UNAUTHORIZED),
    (405, "", D.REJECTED, D.REJECTED, D.UNAUTHORIZED, D.UNAUTHORIZED),
    (408, "", D.AMBIGUOUS, D.AMBIGUOUS, D.AMBIGUOUS, D.AMBIGUOUS),
    (409, "", D.REJECTED, D.REJECTED, D.REJECTED, D.AMBIGUOUS),
    (410, "", D.GONE, D.GONE, D.UNAUTHORIZED, D.GONE),
    (413, "", D.REJECTED, D.REJECTED, D.REJECTED, D.REJECTED),
    (422, "", D.REJECTED, D.REJECTED, D.REJECTED, D.REJECTED),
    (429, "", D.RATE_LIMITED, D.RATE_LIMITED, D.RATE_LIMITED, D.RATE_LIMITED),
    (500, "", D.AMBIGUOUS, D.AMBIGUOUS, D.AMBIGUOUS, D.AMBIGUOUS),
    (500, HTML, D.AMBIGUOUS, D.AMBIGUOUS, D.AMBIGUOUS, D.AMBIGUOUS),
    (502, HTML, D.AMBIGUOUS, D.AMBIGUOUS, D.AMBIGUOUS, D.AMBIGUOUS),
    (503, "", D.AMBIGUOUS, D.AMBIGUOUS, D.AMBIGUOUS, D.AMBIGUOUS),
    (504, "", D.AMBIGUOUS, D.AMBIGUOUS, D.AMBIGUOUS, D.AMBIGUOUS),
]
EACH = [
    (kind, row[0], row[1], meaning)
    for row in EVERYWHERE
    for kind, meaning in zip(MAKE, row[2:], strict=True)
]

# Slack's words: the status that a webhook says them with, and what they mean to both.
WORDS = [
    (429, "rate_limited", D.RATE_LIMITED),
    (429, "ratelimited", D.RATE_LIMITED),
    (400, "invalid_payload", D.REJECTED),
    (400, "user_not_found", D.REJECTED),
    (400, "invalid_blocks", D.REJECTED),
    (400, "invalid_blocks_format", D.REJECTED),
    (400, "msg_blocks_too_long", D.REJECTED),
    (400, "msg_too_long", D.REJECTED),
    (400, "no_text", D.REJECTED),
    (400, "too_many_attachments", D.REJECTED),
    (400, "metadata_too_large", D.REJECTED),
    (403, "action_prohibited", D.UNAUTHORIZED),
    (403, "invalid_token", D.UNAUTHORIZED),
    (403, "invalid_auth", D.UNAUTHORIZED),
    (403, "token_revoked", D.UNAUTHORIZED),
    (403, "token_expired", D.UNAUTHORIZED),
    (403, "account_inactive", D.UNAUTHORIZED),
    (403, "missing_scope", D.UNAUTHORIZED),
    (403, "not_authed", D.UNAUTHORIZED),
    (403, "accesslimited", D.UNAUTHORIZED),
    (404, "no_service", D.GONE),
    (404, "channel_not_found", D.GONE),
    (410, "channel_is_archived", D.GONE),
    (410, "is_archived", D.GONE),
    (403, "not_in_channel", D.GONE),
    (403, "restricted_action", D.GONE),
    (403, "restricted_action_read_only_channel", D.GONE),
    (403, "restricted_action_thread_only_channel", D.GONE),
    (403, "ekm_access_denied", D.GONE),
    (403, "no_permission", D.GONE),
    (500, "rollup_error", D.AMBIGUOUS),
    (500, "internal_error", D.AMBIGUOUS),
    (500, "fatal_error", D.AMBIGUOUS),
    (503, "service_unavailable", D.AMBIGUOUS),
    (504, "request_timeout", D.AMBIGUOUS),
]
SAID = [
    *(("slack-webhook", status, word, meaning) for status, word, meaning in WORDS),
    *(("slack", 200, json.dumps({"ok": False, "error": w}), meaning) for _, w, meaning in WORDS),
    *(("slack", s, json.dumps({"ok": False, "error": w}), meaning) for s, w, meaning in WORDS),
    ("slack", 200, '{"ok": false, "error": "a_word_of_tomorrow"}', D.REJECTED),
    ("slack", 200, '{"ok": false}', D.AMBIGUOUS),
    ("slack", 200, '{"ok": 1}', D.AMBIGUOUS),
    ("slack", 200, '{"ok": true}', D.AMBIGUOUS),
    ("slack", 200, '{"ok": true, "channel": "C1", "ts": 5}', D.AMBIGUOUS),
    ("slack", 200, "[true]", D.AMBIGUOUS),
    ("slack", 200, "[" * 5000, D.AMBIGUOUS),
]


async def deliver(
    kind: str, url: str, folder: Path, heard: Heard = NOTHING_HEARD
) -> tuple[Receipt, float]:
    clock = LoopClock()
    async with alone(lambda transport: MAKE[kind](url, folder, transport)) as it:
        began = clock.monotonic()
        receipt = await it.deliver("it", story(), heard)
    return receipt, clock.monotonic() - began


@pytest.mark.parametrize("kind", MAKE)
@virtual
async def test_a_yes_is_a_delivery(kind: str, tmp_path: Path) -> None:
    async with Site(usual=YES[kind]).serve() as site:
        receipt, _ = await deliver(kind, site.url, tmp_path)
    assert (receipt.delivery, receipt.failure) == (D.DELIVERED, None)
    assert len(site.requests) == 1


@pytest.mark.parametrize(("kind", "status", "body", "meaning"), EACH + SAID)
@virtual
async def test_each_answer_has_its_meaning(
    kind: str, status: int, body: str, meaning: Delivery, tmp_path: Path
) -> None:
    site = Site(usual=(status, body))
    async with site.serve():
        receipt, _ = await deliver(kind, site.url, tmp_path)
    assert receipt.delivery is meaning, receipt
    assert (receipt.failure is None) == (meaning is D.DELIVERED)
    # Refused for what it says, it is sent once more as a plain one; nothing else is sent twice.
    # An own webhook has no plainer one.
    twice = meaning is D.REJECTED and kind != "webhook"
    assert len(site.requests) == (2 if twice else 1)
    assert {method for method, _ in site.requests} == {"POST"}


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@virtual
async def test_no_redirect_is_followed(kind: str, status: int, tmp_path: Path) -> None:
    async with Site(usual=YES[kind]).serve() as elsewhere:
        site = Site(answers=[(status, "", {"Location": f"{elsewhere.url}/taken"})])
        async with site.serve():
            receipt, _ = await deliver(kind, site.url, tmp_path)
    assert receipt.delivery is D.AMBIGUOUS
    assert elsewhere.requests == []
    assert [method for method, _ in site.requests] == ["POST"]


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("12", 12.0),
        ("0.5", 0.5),
        ("Mon, 23 Nov 2026 01:00:40 GMT", 40.0),
        ("-3", 0.0),
        ("1e9", 600.0),
        ("soon", 15.0),
        (None, 15.0),
    ],
)
@virtual
async def test_retry_after_is_honoured(
    kind: str, header: str | None, seconds: float, tmp_path: Path
) -> None:
    clock = LoopClock()
    headers = {"Retry-After": header} if header is not None else {}
    site = Site(usual=YES[kind], answers=[(429, "", headers)])
    async with site.serve(), alone(lambda t: MAKE[kind](site.url, tmp_path, t)) as it:
        receipt = await it.deliver("it", story())
        assert receipt.retry_after == pytest.approx(seconds, abs=0.1)
        assert receipt.failure is F.LIMITED
        began = clock.monotonic()
        await it.turn("it")
        assert clock.monotonic() - began == pytest.approx(seconds, abs=0.2)


@pytest.mark.parametrize("kind", MAKE)
@virtual
async def test_of_ten_megabytes_only_the_beginning_is_read(kind: str, tmp_path: Path) -> None:
    status = YES[kind][0] if kind != "webhook" else 200  # a 204 has no body
    sent = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        while sent < 10_000_000:
            await response.write(b"o" * 10_000)
            sent += 10_000
        return response

    async with serving(flood) as url:
        receipt, took = await deliver(kind, url, tmp_path)
    by_status = kind in ("pagerduty", "webhook")
    assert receipt.delivery is (D.DELIVERED if by_status else D.AMBIGUOUS)
    assert took < 1
    assert sent < 9_000_000


BREAKS = {
    "before the headers": (),
    "within the headers": (b"HTTP/1.1 202",),
    "no HTTP": (b"hello\r\n\r\n",),
}


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("pieces", BREAKS.values(), ids=BREAKS)
@virtual
async def test_what_breaks_before_there_is_an_answer_may_have_been_taken(
    kind: str, pieces: tuple[bytes, ...], tmp_path: Path
) -> None:
    async def write(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
        await writer.drain()

    async with talking(write) as url:
        receipt, _ = await deliver(kind, url, tmp_path)
    assert (receipt.delivery, receipt.failure) == (D.AMBIGUOUS, F.BROKEN)


@pytest.mark.parametrize("kind", MAKE)
@virtual
async def test_what_breaks_within_the_body_is_judged_by_what_was_said(
    kind: str, tmp_path: Path
) -> None:
    status = YES[kind][0] if kind != "webhook" else 200  # a 204 has no body

    async def write(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 200\r\n\r\nhalf".encode())
        await writer.drain()

    async with talking(write) as url:
        receipt, _ = await deliver(kind, url, tmp_path)
    by_status = kind in ("pagerduty", "webhook")
    assert receipt.delivery is (D.DELIVERED if by_status else D.AMBIGUOUS)


@pytest.mark.parametrize("kind", MAKE)
@virtual
async def test_a_sink_that_hangs_is_left(kind: str, tmp_path: Path) -> None:
    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
        for _second in range(1000):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(1)

    async with talking(hold) as url:
        receipt, took = await deliver(kind, url, tmp_path)
    assert (receipt.delivery, receipt.failure) == (D.AMBIGUOUS, F.TIMEOUT)
    assert took == pytest.approx(10, abs=1.1)


@pytest.mark.parametrize("kind", MAKE)
@virtual
async def test_what_speaks_no_tls_and_what_is_not_there_was_sent_nothing(
    kind: str, tmp_path: Path
) -> None:
    async with Site().serve() as site:
        plain, _ = await deliver(kind, site.url.replace("http:", "https:"), tmp_path)
    assert (plain.delivery, plain.failure) == (D.NOT_SENT, F.TLS)
    absent, _ = await deliver(kind, site.url, tmp_path)
    assert (absent.delivery, absent.failure) == (D.NOT_SENT, F.CONNECT)
    assert site.requests == []


@pytest.mark.parametrize("word", ["message_not_found", "cant_update_message"])
@virtual
async def test_an_update_that_cannot_be_made_becomes_a_post(word: str, tmp_path: Path) -> None:
    site = Site(usual=YES["slack"], answers=[(200, json.dumps({"ok": False, "error": word}), {})])
    async with site.serve():
        known = Heard(state="following", mark=f"{CHANNEL}/1795395500.000100")
        receipt, _ = await deliver("slack", site.url, tmp_path, known)
    assert [path for _, path in site.requests] == ["/chat.update", "/chat.postMessage"]
    assert receipt.mark == f"{CHANNEL}/1795395600.000100"


@pytest.mark.parametrize(
    ("kind", "status", "body", "meaning"),
    [row for row in EACH + SAID if row[0] == "slack" and row[3] is not D.DELIVERED],
)
@virtual
async def test_an_update_has_the_same_meanings_as_a_post(
    kind: str, status: int, body: str, meaning: Delivery, tmp_path: Path
) -> None:
    if body.startswith('{"ok": true'):
        return  # an update needs to be told no place
    known = Heard(state="following", mark=f"{CHANNEL}/1795395500.000100")
    async with Site(usual=(status, body)).serve() as site:
        receipt, _ = await deliver(kind, site.url, tmp_path, known)
    assert receipt.delivery is meaning
    assert {path for _, path in site.requests} == {"/chat.update"}


def test_each_kind_says_what_it_can_do(tmp_path: Path) -> None:
    def words(kind: str) -> set[str]:
        able = MAKE[kind]("http://127.0.0.1:1", tmp_path, Transport(LoopClock())).capabilities
        return {name for name in able.__dataclass_fields__ if getattr(able, name)}

    assert {kind: words(kind) for kind in MAKE} == {
        "slack": {"updates", "threads"},
        "slack-webhook": set(),
        "pagerduty": {"resolves", "pages"},
        "webhook": set(),
    }
