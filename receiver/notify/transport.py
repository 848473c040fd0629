"""One POST, and what came of it. No redirects, no retries, no cookies, no secrets in what is said.

All sinks that speak HTTP send through here. Nothing of the environment counts: a proxy and a CA of
our own are those of the configuration.
"""

import json
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp

from receiver import __version__
from receiver.clock import Clock
from receiver.controller.ports import Delivery, Failure, Receipt
from receiver.notify import addresses
from receiver.notify.addresses import acceptable, is_loopback
from receiver.notify.answers import Answer, Judge, Verdict, retry_after

# Seconds to connect, and for all of it: when we give up, no byte is on its way any more.
CONNECT, TOTAL = 5.0, 5.0 + addresses.UNCONFIRMED
# Bytes of an answer that are read, unless a request wants more: no answer to a message that means
# anything is longer.
READ = 8 * 1024
NO_URL = "the secret is no valid https URL"

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """How to get out of here.

    `proxy`: the URL of an HTTP proxy for everything but this machine; it resolves the names, and
    says itself what it lets through. `ca_file`: certificate authorities to trust beside the usual
    ones. `private`: private addresses that may be spoken to without a proxy.
    """

    proxy: str = ""
    ca_file: str = ""
    private: tuple[addresses.Network, ...] = ()

    def guard(self, *, local: bool) -> Callable[[Any], socket.socket]:
        """Return what makes the sockets: for this machine, or all others.

        With a proxy all connections are to that, wherever it is.
        """
        if local:
            return addresses.only_loopback
        return addresses.anywhere if self.proxy else addresses.guarded(self.private)

    def tls(self) -> ssl.SSLContext:
        """Return the context that checks certificates; raises `OSError` for an unusable CA file."""
        context = ssl.create_default_context()
        if self.ca_file:
            context.load_verify_locations(cafile=self.ca_file)
        return context


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One POST. URL, body and headers may be secret; of the answer `read` bytes are looked at."""

    url: str = field(repr=False)
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    read: int = READ


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came of a request: the receipt, the vendor's word, and what its answer held."""

    receipt: Receipt
    word: str = ""
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)


def in_json(url: str, body: Mapping[str, Any], headers: Mapping[str, str] = _NOTHING) -> Request:
    """Return a request with a body of JSON."""
    sent = {"Content-Type": "application/json; charset=utf-8"} | dict(headers)
    # ASCII escapes: a lone surrogate of untrusted text has no UTF-8.
    return Request(url=url, body=json.dumps(body).encode(), headers=sent)


def in_a_form(
    url: str, fields: Mapping[str, str], headers: Mapping[str, str], *, read: int
) -> Request:
    """Return a request with a body of form fields."""
    sent = {"Content-Type": "application/x-www-form-urlencoded"} | dict(headers)
    return Request(url=url, body=urlencode(fields).encode(), headers=sent, read=read)


class Transport:
    """Posts, each time once."""

    def __init__(self, clock: Clock, network: Network | None = None) -> None:
        self._clock = clock
        self.network = network or Network()
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._closed = False

    async def send(self, request: Request, judge: Judge) -> Reply:
        """Send once and judge the answer. Raises nothing for what the other side does.

        `detail` is a status or the name of an error, a word of the vendor's, and the host: never
        the URL, the body or the text of an error, which hold secrets.
        """
        if self._closed:
            return _refusal(Delivery.NOT_SENT, "we are shutting down", Failure.OWN)
        if not acceptable(request.url):
            return _refusal(Delivery.UNAUTHORIZED, NO_URL, Failure.SECRET)
        host = urlsplit(request.url).hostname or ""
        try:
            session = self._session(local=is_loopback(host))
        except OSError:
            return _refusal(Delivery.NOT_SENT, "ca_file cannot be read", Failure.TLS)
        try:
            answer = await self._exchange(session, request, host)
        except (aiohttp.InvalidURL, UnicodeError):
            return _refusal(Delivery.UNAUTHORIZED, NO_URL, Failure.SECRET)
        except Exception as error:  # noqa: BLE001 - whatever it is, its text may hold the URL
            return _refusal(*_failed(error, host))
        return _judged(judge(answer), answer, host)

    async def _exchange(
        self, session: aiohttp.ClientSession, request: Request, host: str
    ) -> Answer:
        async with session.post(
            request.url,
            data=request.body,
            headers=request.headers,
            proxy=None if is_loopback(host) else self.network.proxy or None,
            allow_redirects=False,
        ) as response:
            text = await _beginning(response, request.read)
            return Answer(
                status=response.status,
                text=text.decode("utf-8", "replace"),
                retry_after=retry_after(response.headers.get("Retry-After"), self._clock.now()),
            )

    def _session(self, *, local: bool) -> aiohttp.ClientSession:
        """Return the session for this machine, or for all others.

        One connection for each message: on a kept one that the other side has just closed, nobody
        knows whether the message was read.
        """
        if local not in self._sessions:
            connector = aiohttp.TCPConnector(
                force_close=True,
                ssl=self.network.tls() if self.network.ca_file else True,
                socket_factory=self.network.guard(local=local),
            )
            self._sessions[local] = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=TOTAL, connect=CONNECT, sock_connect=CONNECT),
                headers={
                    "User-Agent": f"rollback-receiver/{__version__}",
                    "Accept-Encoding": "identity",
                },
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
            )
        return self._sessions[local]

    async def close(self) -> None:
        """Close the connections; nothing is sent from now on."""
        self._closed = True
        for session in self._sessions.values():
            await session.close()


async def _beginning(response: aiohttp.ClientResponse, most: int) -> bytes:
    """Return up to `most` bytes of the body; nothing when it broke off.

    The status came whole, and for most answers it says what the body would.
    """
    read = bytearray()
    try:
        while len(read) < most:
            piece = await response.content.read(most - len(read))
            if not piece:
                break
            read += piece
        else:
            # There may be more: not for us to wait for.
            response.close()
    except (aiohttp.ClientError, TimeoutError, OSError):
        return b""
    return bytes(read)


def _judged(verdict: Verdict, answer: Answer, host: str) -> Reply:
    said = " ".join(part for part in (str(answer.status), verdict.word) if part)
    return Reply(
        receipt=Receipt(
            delivery=verdict.delivery,
            detail=f"{said} from {host}",
            retry_after=verdict.retry_after,
            failure=_why(verdict, answer),
        ),
        word=verdict.word,
        data=verdict.data,
    )


def _why(verdict: Verdict, answer: Answer) -> Failure | None:
    if verdict.delivery is Delivery.DELIVERED:
        return None
    if verdict.delivery is Delivery.RATE_LIMITED:
        return Failure.LIMITED
    if verdict.delivery is Delivery.AMBIGUOUS:
        return Failure.SERVER if answer.status >= 500 or verdict.word else Failure.ODD  # noqa: PLR2004 - HTTP
    return Failure.SERVER if verdict.delivery is Delivery.NOT_SENT else Failure.REFUSED


def _failed(error: Exception, host: str) -> tuple[Delivery, str, Failure]:
    """Return what an error means: whether a byte of the message can have left."""
    what = f"{type(error).__name__} at {host}"
    match error:
        case aiohttp.ClientConnectorError(os_error=addresses.ForbiddenError()):
            return Delivery.UNAUTHORIZED, f"{host} has a private address", Failure.ADDRESS
        case aiohttp.ClientSSLError():
            return Delivery.NOT_SENT, what, Failure.TLS
        case aiohttp.ClientHttpProxyError(status=407):
            return Delivery.UNAUTHORIZED, "407 from the proxy", Failure.CONNECT
        case aiohttp.ClientHttpProxyError(status=status):
            return Delivery.NOT_SENT, f"{status} from the proxy", Failure.CONNECT
        case aiohttp.ConnectionTimeoutError():
            return Delivery.NOT_SENT, what, Failure.TIMEOUT
        case aiohttp.ClientConnectorError():
            return Delivery.NOT_SENT, what, Failure.CONNECT
        case TimeoutError():
            return Delivery.AMBIGUOUS, what, Failure.TIMEOUT
        case _:
            return Delivery.AMBIGUOUS, what, Failure.BROKEN


def _refusal(delivery: Delivery, detail: str, failure: Failure) -> Reply:
    return Reply(receipt=Receipt(delivery=delivery, detail=detail, failure=failure))
