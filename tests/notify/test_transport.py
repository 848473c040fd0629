"""What becomes of one POST, over real sockets on loopback and in virtual time."""

import asyncio
import gzip
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from receiver.controller.ports import Delivery, Failure, Receipt
from receiver.notify import answers
from receiver.notify.transport import READ, TOTAL, Transport, in_json
from tests.notify.sites import CANARY, HOST, KEY, Site, serving, talking
from tests.virtual import LoopClock, virtual

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


async def send(url: str, judge: answers.Judge = answers.slack) -> tuple[Receipt, float]:
    """Post once to a secret path below `url`; return the receipt and how long it took."""
    clock = LoopClock()
    transport, began = Transport(clock), clock.monotonic()
    try:
        body = {"text": "hello", "routing_key": KEY}
        request = in_json(f"{url}/services/{CANARY}", body)
        receipt = (await transport.send(request, judge)).receipt
    finally:
        await transport.close()
    return receipt, clock.monotonic() - began


async def talk(*pieces: bytes, gap: float = 0.0) -> Receipt:
    """Post once to a server that writes these bytes and hangs up."""

    async def write(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(gap)

    async with talking(write) as url:
        return (await send(url))[0]


@virtual
async def test_a_message_is_one_post_of_json_without_cookies_and_compression() -> None:
    site = Site(answers=[(200, "ok", {"Set-Cookie": "a=b"})])
    async with site.serve():
        transport = Transport(LoopClock())
        for _ in range(2):
            receipt = (
                await transport.send(in_json(f"{site.url}/x", {"text": "hi"}), answers.slack)
            ).receipt
            assert receipt == Receipt(delivery=Delivery.DELIVERED, detail="200 from 127.0.0.1")
        await transport.close()
    assert site.requests == [("POST", "/x"), ("POST", "/x")]
    assert site.bodies == [{"text": "hi"}, {"text": "hi"}]
    for headers in site.headers:
        assert headers["Content-Type"].startswith("application/json")
        assert headers["User-Agent"].startswith("rollback-receiver/")
        assert headers["Accept-Encoding"] == "identity"
        assert headers["Connection"] == "close"
        assert "Cookie" not in headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@virtual
async def test_a_redirect_is_a_failure_and_nothing_is_sent_after_it(status: int) -> None:
    site = Site(answers=[(status, "", {"Location": "/elsewhere"})])
    async with site.serve():
        receipt, _ = await send(site.url)
    assert receipt.delivery is Delivery.AMBIGUOUS
    assert receipt.detail == f"{status} from 127.0.0.1"
    assert site.requests == [("POST", f"/services/{CANARY}")]


@virtual
async def test_no_proxy_of_the_environment_sees_a_secret() -> None:
    proxy, site = Site(), Site()
    async with proxy.serve(), site.serve():
        with pytest.MonkeyPatch.context() as environment:
            for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
                environment.setenv(name, proxy.url)
            receipt, _ = await send(site.url)
    assert receipt.delivery is Delivery.DELIVERED
    assert proxy.requests == []


@pytest.mark.parametrize(
    ("pieces", "delivery"),
    [
        ((), Delivery.AMBIGUOUS),
        ((b"HTTP/1.1 200",), Delivery.AMBIGUOUS),
        ((OK, b"Content-Length: 2\r\n\r\n"), Delivery.AMBIGUOUS),
        ((OK, b"Content-Length: 2\r\n\r\n", b"o"), Delivery.AMBIGUOUS),
        ((OK, b"Content-Length: 2\r\n\r\n", b"o", b"k"), Delivery.DELIVERED),
        ((OK, b"Transfer-Encoding: chunked\r\n\r\n", b"2\r\nok\r\n"), Delivery.AMBIGUOUS),
        ((OK, b"Transfer-Encoding: chunked\r\n\r\n", b"zz\r\n"), Delivery.AMBIGUOUS),
        ((b"this is not HTTP\r\n\r\n",), Delivery.AMBIGUOUS),
        ((b"HTTP/1.1 200 OK\r\nX: ", b"y" * 100_000, b"\r\n\r\nok"), Delivery.AMBIGUOUS),
        ((b"HTTP/1.1 429 Slow\r\nContent-Length: 9\r\n\r\n", b"half"), Delivery.RATE_LIMITED),
        ((b"HTTP/1.1 404 Gone\r\nContent-Length: 9\r\n\r\n",), Delivery.GONE),
    ],
    ids=[
        "before headers",
        "within headers",
        "after headers",
        "within the body",
        "in pieces",
        "chunks without an end",
        "wrong chunks",
        "no HTTP",
        "endless header",
        "429 whose body breaks off",
        "404 whose body breaks off",
    ],
)
@virtual
async def test_a_connection_that_breaks_is_judged_by_what_was_said_until_then(
    pieces: tuple[bytes, ...], delivery: Delivery
) -> None:
    receipt = await talk(*pieces)
    assert receipt.delivery is delivery
    assert CANARY not in receipt.detail


@virtual
async def test_a_reset_while_waiting_may_have_been_a_delivery() -> None:
    async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        writer.transport.abort()

    async with talking(reset) as url:
        receipt, _ = await send(url)
    assert receipt.delivery is Delivery.AMBIGUOUS


@virtual
async def test_a_slow_loris_is_left_after_the_total_timeout() -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"X-Drip: ")
        for _second in range(1000):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(1)

    async with talking(drip) as url:
        receipt, took = await send(url)
    assert receipt.delivery is Delivery.AMBIGUOUS
    assert took == pytest.approx(TOTAL, abs=1.1)


@virtual
async def test_a_body_that_drips_is_left_after_the_total_timeout() -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"Content-Length: 4000\r\n\r\n")
        for _second in range(4000):
            writer.write(b"o")
            await writer.drain()
            await asyncio.sleep(1)

    async with talking(drip) as url:
        receipt, took = await send(url)
    assert receipt.delivery is Delivery.AMBIGUOUS
    assert took == pytest.approx(TOTAL, abs=1.1)


@virtual
async def test_silence_is_left_after_the_total_timeout() -> None:
    async def hold(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(3600)
        return web.Response(text="ok")

    async with serving(hold) as url:
        receipt, took = await send(url)
    assert receipt.delivery is Delivery.AMBIGUOUS
    assert took == pytest.approx(TOTAL, abs=1.1)


@virtual
async def test_of_ten_megabytes_only_the_beginning_is_read() -> None:
    sent = 0

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(OK + b"Content-Length: 10000000\r\n\r\n")
        while sent < 10_000_000:
            writer.write(b"o" * 10_000)
            await writer.drain()
            sent += 10_000

    async with talking(flood) as url:
        receipt, took = await send(url)
    assert receipt.delivery is Delivery.AMBIGUOUS
    assert took < 1
    # The rest is what the kernel's buffers hold.
    assert sent < 9_000_000


@virtual
async def test_nothing_is_unpacked() -> None:
    bomb = gzip.compress(b"oooo" * 5_000_000)

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

    seen: list[str] = []

    def judge(found: answers.Answer) -> answers.Verdict:
        seen.append(found.text)
        return answers.slack(found)

    async with serving(answer) as url:
        receipt, _ = await send(url, judge)
    assert receipt.delivery is Delivery.AMBIGUOUS
    assert len(seen[0]) <= READ
    assert "oooo" not in seen[0]


@virtual
async def test_a_refused_connection_sent_nothing() -> None:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port = sock.getsockname()[1]
    receipt, _ = await send(f"http://{HOST}:{port}")
    assert receipt == Receipt(
        delivery=Delivery.NOT_SENT,
        detail="ClientConnectorError at 127.0.0.1",
        failure=Failure.CONNECT,
    )


@virtual
async def test_a_connection_that_is_not_taken_sent_nothing_and_is_left_early() -> None:
    with socket.socket() as sock, socket.socket() as one, socket.socket() as two:
        sock.bind((HOST, 0))
        # A queue that these two fill: further ones wait in vain.
        sock.listen(0)
        for other in (one, two):
            other.setblocking(False)
            other.connect_ex(sock.getsockname())
        receipt, took = await send("http://{}:{}".format(*sock.getsockname()))
    assert receipt.delivery is Delivery.NOT_SENT
    assert took == pytest.approx(5, abs=1.1)


@virtual
async def test_what_speaks_no_tls_is_sent_nothing() -> None:
    site = Site()
    async with site.serve():
        receipt, _ = await send(site.url.replace("http:", "https:"))
    assert receipt.delivery is Delivery.NOT_SENT
    assert site.requests == []


@virtual
async def test_an_untrusted_certificate_is_sent_nothing() -> None:
    asked = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read())
        writer.close()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(Path(__file__).with_name("untrusted.pem"))
    server = await asyncio.start_server(note, HOST, 0, ssl=context)
    async with server:
        receipt, _ = await send("https://{}:{}".format(*server.sockets[0].getsockname()[:2]))
    assert receipt == Receipt(
        delivery=Delivery.NOT_SENT,
        detail="ClientConnectorCertificateError at 127.0.0.1",
        failure=Failure.TLS,
    )
    assert asked == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        CANARY,
        f"hooks.slack.example/services/{CANARY}",
        f"http://hooks.slack.example/services/{CANARY}",
        f"https://hooks.slack.example:port/services/{CANARY}",
        f"https://hooks.slack.example:99999/services/{CANARY}",
        f"https://[::1/{CANARY}",
        f"file:///{CANARY}",
        f"https://hooks..slack.example\u3002/{CANARY}",
        f"https://{'h' * 70}.example/{CANARY}",
    ],
)
@virtual
async def test_a_secret_that_is_no_url_is_for_a_person_to_mend(url: str) -> None:
    transport = Transport(LoopClock())
    receipt = (await transport.send(in_json(url, {}), answers.slack)).receipt
    await transport.close()
    assert receipt.delivery in (Delivery.UNAUTHORIZED, Delivery.NOT_SENT)
    assert CANARY not in receipt.detail


@virtual
async def test_after_closing_nothing_is_sent() -> None:
    site = Site()
    async with site.serve():
        transport = Transport(LoopClock())
        await transport.send(in_json(f"{site.url}/x", {}), answers.slack)
        await transport.close()
        await transport.close()
        receipt = (await transport.send(in_json(f"{site.url}/x", {}), answers.slack)).receipt
    assert receipt.delivery is Delivery.NOT_SENT
    assert len(site.requests) == 1


@virtual
async def test_a_cancelled_post_is_cancelled() -> None:
    async def hold(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(3600)
        return web.Response(text="ok")

    async with serving(hold) as url:
        task = asyncio.ensure_future(send(url))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def echo(status: int) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return a server that says the secrets it was told back to us, everywhere it can."""

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.text()
        return web.Response(
            status=status,
            text=f"{CANARY} {body}",
            reason=CANARY,
            headers={"Location": f"/{CANARY}", "Retry-After": CANARY},
        )

    return answer


@pytest.mark.parametrize("status", [200, 202, 302, 400, 403, 404, 429, 500])
@pytest.mark.parametrize("judge", [answers.slack, answers.pagerduty], ids=["slack", "pagerduty"])
def test_no_secret_is_told_even_if_the_other_side_repeats_it(
    judge: answers.Judge, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    @virtual
    async def story() -> None:
        async with serving(echo(status)) as url:
            receipt, _ = await send(url, judge)
        assert CANARY not in repr(receipt)
        assert KEY not in repr(receipt)

    story()
    assert CANARY not in caplog.text
    assert KEY not in caplog.text
