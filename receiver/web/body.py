"""Reading a body: only after the caller is known, never too much, never for too long."""

import asyncio

from aiohttp import web

from receiver.errors import Rejected

MIB = 2**20


async def read(request: web.Request, *, limit: int, seconds: float) -> bytes:
    """Return the body of a request.

    Raises `Rejected`: 415 for a compressed one, 413 for one over `limit` bytes, 408 when it has not
    come within `seconds`.
    """
    coding = request.headers.get("Content-Encoding", "identity")
    if coding.lower() != "identity":
        text = "compressed bodies are not taken; Alertmanager sends none"
        raise Rejected(text, status=415, reason="compressed")
    if request.content_length is not None and request.content_length > limit:
        raise _too_large(limit)
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for part in request.content.iter_any():
                size += len(part)
                if size > limit:
                    raise _too_large(limit)
                parts.append(part)
    except TimeoutError:
        text = f"the body did not come within {seconds:g} s"
        raise Rejected(text, status=408, reason="too_slow") from None
    return b"".join(parts)


def _too_large(limit: int) -> Rejected:
    shown = f"{limit // MIB} MiB" if limit >= MIB else f"{limit} bytes"
    return Rejected(f"the body is larger than {shown}", status=413, reason="too_large")
