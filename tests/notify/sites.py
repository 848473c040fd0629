"""The other side: servers on loopback that answer as told, and some that only misbehave."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from aiohttp import web

from receiver.controller.ports import Delivery, Receipt
from receiver.messages import Story
from receiver.notify import Network, PagerDuty, Secret, Sink, Sinks, SlackWebhook, Transport
from tests.virtual import LoopClock

HOST = "127.0.0.1"
# Told by every URL and key of these tests; it must never be seen in anything that comes out.
CANARY = "T0CANARYB0SECRETX"
KEY = "R0CANARY" + "0" * 24

# How PagerDuty says yes.
TAKEN = (202, '{"status":"success"}')

Talk: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class Site:
    """A server that keeps what it is sent. `answers` are used up first; then `usual` for ever."""

    usual: tuple[int, str] = (200, "ok")
    answers: list[tuple[int, str, dict[str, str]]] = field(default_factory=list)
    url: str = ""
    requests: list[tuple[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append((request.method, request.path))
        self.headers.append(dict(request.headers))
        if request.method == "POST":
            self.bodies.append(await request.json())
            self.raw.append(await request.read())
        status, text, headers = self.answers.pop(0) if self.answers else (*self.usual, {})
        return web.Response(status=status, text=text, headers=headers)

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator["Site"]:
        async with serving(self.answer) as self.url:
            yield self


@contextlib.asynccontextmanager
async def serving(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[str]:
    """Run an HTTP server whose every path is answered so; yield its URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    try:
        yield "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def talking(talk: Talk) -> AsyncIterator[str]:
    """Run a raw server that reads a whole request before it talks; yield its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length")
        )
        await reader.readexactly(length)
        with contextlib.suppress(ConnectionError):
            await talk(reader, writer)

    async with listening(serve) as port:
        yield f"http://{HOST}:{port}"


@contextlib.asynccontextmanager
async def listening(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Run a server of bytes, and end it whole; yield its port."""
    talks: list[asyncio.Task[None]] = []

    async def end(writer: asyncio.StreamWriter) -> None:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def start(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(talk(reader, writer))
        talks.append(task)
        try:
            await task
        finally:
            await end(writer)

    server = await asyncio.start_server(start, HOST, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        await asyncio.sleep(0.1)


@dataclass(slots=True)
class Post:
    """Sinks in front of one site, with the secrets in files: `chat` is Slack, `pager` PagerDuty."""

    sinks: Sinks
    slack_file: Path
    key_file: Path
    observed: list[tuple[str, Delivery]]
    timed: list[tuple[str, Delivery, float]]


@contextlib.asynccontextmanager
async def post(folder: Path, url: str) -> AsyncIterator[Post]:
    """Make sinks whose Slack webhook and PagerDuty are both at `url`."""
    slack_file, key_file = folder / "slack-url", folder / "pagerduty-key"
    slack_file.write_text(f"{url}/services/{CANARY}\n")
    key_file.write_text(f" {KEY}\n")
    observed: list[tuple[str, Delivery]] = []
    timed: list[tuple[str, Delivery, float]] = []
    transport = Transport(LoopClock())
    chat = SlackWebhook(url=Secret(file=str(slack_file)), transport=transport)
    pager = PagerDuty(routing_key=Secret(file=str(key_file)), transport=transport, endpoint=url)

    def observe(sink: str, receipt: Receipt, seconds: float) -> None:
        observed.append((sink, receipt.delivery))
        timed.append((sink, receipt.delivery, seconds))

    sinks = Sinks(
        {"chat": chat, "pager": pager},
        {"critical": ("chat", "pager"), "default": ("chat",)},
        LoopClock(),
        transport=transport,
        fallbacks=("chat",),
        observe=observe,
    )
    try:
        yield Post(sinks, slack_file, key_file, observed, timed)
    finally:
        await sinks.close()


@contextlib.asynccontextmanager
async def alone(
    make: Callable[[Transport], Sink], network: Network | None = None
) -> AsyncIterator[Sinks]:
    """Make sinks of one, `it`, which hears of everything."""
    transport = Transport(LoopClock(), network)
    sinks = Sinks({"it": make(transport)}, {"default": ("it",)}, LoopClock(), transport=transport)
    try:
        yield sinks
    finally:
        await sinks.close()


def secret(folder: Path, value: str, name: str = "secret") -> Secret:
    """Write a secret into a file."""
    file = folder / name
    file.write_text(value)
    return Secret(file=str(file))


async def until_taken(mail: Post, sink: str, told: Story) -> list[Receipt]:
    """Deliver as the controller does, each time in its turn; return every receipt."""
    receipts = []
    while True:
        await mail.sinks.turn(sink)
        receipts.append(await mail.sinks.deliver(sink, told))
        if receipts[-1].delivery is not Delivery.RATE_LIMITED:
            return receipts
