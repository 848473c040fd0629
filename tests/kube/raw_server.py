"""A server that says just the bytes it is told to: for what no API server would say on purpose."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

from receiver.kube import KubernetesCluster, connect
from tests.virtual import LoopClock

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"


def answer(body: bytes, status: str = "200 OK", kind: str = "application/json") -> bytes:
    """Return a whole answer."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def line(kind: str, name: str) -> bytes:
    """Return one line of a watch."""
    return json.dumps({"type": kind, "object": {"metadata": {"name": name}}}).encode() + b"\n"


class RawServer:
    """Sends `says` to each request, then closes, or with `holds` says no more and stays."""

    def __init__(self, says: bytes, *, holds: bool = False) -> None:
        self.says = says
        self.holds = holds
        self.heads: list[str] = []
        self.serving: list[asyncio.Task[None]] = []

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one connection."""
        self.serving.append(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(self.says)
            await writer.drain()
            if self.holds:
                await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def raw_cluster(
    says: bytes, *, holds: bool = False
) -> AsyncIterator[tuple[KubernetesCluster, RawServer]]:
    """Connect an adapter to such a server."""
    raw = RawServer(says, holds=holds)
    server = await asyncio.start_server(raw.accept, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    cluster = await connect(
        context=None,
        kubeconfig=kubeconfig(f"http://{host}:{port}"),
        state_namespace="rollback-receiver",
        clock=LoopClock(),
    )
    try:
        yield cluster, raw
    finally:
        await cluster.aclose()
        server.close()
        await asyncio.gather(*raw.serving)


def kubeconfig(url: str) -> dict[str, object]:
    """Return a kubeconfig document that leads to `url`."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": url}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
    }
