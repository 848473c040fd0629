"""Reading a body: only after the caller is known, never too much, never for too long."""

import asyncio

from aiohttp import ClientPayloadError, web

from receiver.errors import Rejected

KIB, MIB = 2**10, 2**20


async def read(request: web.Request, *, limit: int, seconds: float) -> bytes:
    """Return the body of a request.

    Raises `Rejected`: 415 for a compressed one (Alertmanager sends none, and 2 MB of gzip can hold
    2 GB), 413 for one over `limit` bytes, 408 when it has not come within `seconds`, 400 when its
    sender leaves in the middle of it. The announced length is judged before anything is read.
    """
    coding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        text = "compressed bodies are not taken: send it without Content-Encoding"
        raise Rejected(text, status=415, reason="compressed")
    if request.content_length is not None and request.content_length > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            await _continue(request)
            async for part in request.content.iter_any():
                size += len(part)
                if size > limit:
                    raise _too_large(limit)
                parts.append(part)
    except TimeoutError:
        text = f"the body did not come within {seconds:g} s"
        raise Rejected(text, status=408, reason="too_slow") from None
    except (
        ClientPayloadError,
        ConnectionError,
        asyncio.IncompleteReadError,
        web.PayloadAccessError,
    ):
        raise Rejected("the body is not complete", reason="incomplete_body") from None
    return b"".join(parts)


async def _continue(request: web.Request) -> None:
    """Ask for the body, where its sender waits to be asked (RFC 9110, 10.1.1)."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # What aiohttp's own handler does: the answer itself has not begun yet.
        request.writer.output_size = 0


def _too_large(limit: int) -> Rejected:
    unit, name = next(
        ((u, n) for u, n in ((MIB, "MiB"), (KIB, "KiB")) if limit % u == 0), (1, "bytes")
    )
    text = f"the body is larger than {limit // unit} {name}"
    return Rejected(text, status=413, reason="too_large")
