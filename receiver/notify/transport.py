"""One POST, and what came of it. No redirects, no retries, no proxies, no cookies, no secrets."""

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from receiver import __version__
from receiver.clock import Clock
from receiver.controller.ports import Delivery, Receipt
from receiver.notify.answers import Answer, Judge, retry_after

CONNECT, TOTAL = 5.0, 10.0
# Bytes of an answer that are read: no answer of theirs that means anything is longer.
READ = 8 * 1024
NO_URL = "the secret is no valid https URL"


def acceptable(url: str) -> bool:
    """Return whether secrets may be sent there: https, or http on this machine (tests, demo)."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme != "http":
            return parts.scheme == "https" and bool(host) and parts.port != 0
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def open_session() -> aiohttp.ClientSession:
    """Return a session that does nothing of its own accord.

    One connection for each message: on a kept one that the other side has just closed, nobody knows
    whether the message was read.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True),
        timeout=aiohttp.ClientTimeout(total=TOTAL, connect=CONNECT, sock_connect=CONNECT),
        headers={
            "User-Agent": f"rollback-receiver/{__version__}",
            "Accept-Encoding": "identity",
        },
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
    )


class Transport:
    """Posts JSON, each time once."""

    def __init__(
        self, clock: Clock, session: Callable[[], aiohttp.ClientSession] = open_session
    ) -> None:
        self._clock = clock
        self._make = session
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def post(self, url: str, body: Mapping[str, Any], judge: Judge) -> Receipt:
        """Send `body` and judge the answer. Raises nothing for what the other side does.

        `detail` is a status or the name of an error, a word of the vendor's, and the host: never
        the URL, the body or the text of an error, which hold secrets.
        """
        if self._closed:
            return Receipt(delivery=Delivery.NOT_SENT, detail="we are shutting down")
        if not acceptable(url):
            return Receipt(delivery=Delivery.UNAUTHORIZED, detail=NO_URL)
        host = urlsplit(url).hostname
        try:
            answer = await self._exchange(url, body)
        except (aiohttp.InvalidURL, UnicodeError):
            return Receipt(delivery=Delivery.UNAUTHORIZED, detail=NO_URL)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            # No connection (DNS, TCP, TLS): no byte of the message left.
            return _failed(Delivery.NOT_SENT, error, host)
        except Exception as error:  # noqa: BLE001 - whatever it is, its text may hold the URL
            return _failed(Delivery.AMBIGUOUS, error, host)
        verdict = judge(answer)
        said = " ".join(part for part in (str(answer.status), verdict.word) if part)
        return Receipt(
            delivery=verdict.delivery,
            detail=f"{said} from {host}",
            retry_after=verdict.retry_after,
        )

    async def _exchange(self, url: str, body: Mapping[str, Any]) -> Answer:
        if self._session is None:
            self._session = self._make()
        async with self._session.post(url, json=body, allow_redirects=False) as response:
            text = await _beginning(response)
            return Answer(
                status=response.status,
                text=text.decode("utf-8", "replace"),
                retry_after=retry_after(response.headers.get("Retry-After"), self._clock.now()),
            )

    async def close(self) -> None:
        """Close the connections; nothing is sent from now on."""
        self._closed = True
        if self._session is not None:
            await self._session.close()


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """Return up to `READ` bytes of the body; what was read when it broke off.

    The status came whole, and for all but Slack's 200 it says what the body would.
    """
    read = b""
    try:
        while len(read) < READ:
            piece = await response.content.read(READ - len(read))
            if not piece:
                break
            read += piece
        else:
            # There may be more: not for us to wait for.
            response.close()
    except (aiohttp.ClientError, TimeoutError, OSError):
        return b""
    return read


def _failed(delivery: Delivery, error: Exception, host: str | None) -> Receipt:
    return Receipt(delivery=delivery, detail=f"{type(error).__name__} at {host}")
