"""One call of the Kubernetes API: raw JSON, a deadline, and errors that say whose move it is."""

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import aiohttp
from kubernetes_asyncio.client import ApiClient
from kubernetes_asyncio.client.exceptions import ApiException
from kubernetes_asyncio.config import ConfigException

from receiver.clock import Clock
from receiver.errors import Forbidden, ReceiverError, Unavailable
from receiver.kube.answers import READS, MissingError, Obj, error_of

Query: TypeAlias = list[tuple[str, str]]
# verb, resource ("deployments.apps"), HTTP status (None: no answer), seconds it took
Observe: TypeAlias = Callable[[str, str, int | None, float], None]

# Seconds. The API server itself gives up a write after 34 s.
READ_WITHIN, WRITE_WITHIN, CONNECT_WITHIN = 5.0, 10.0, 5.0
JSON, JSON_PATCH = "application/json", "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
LARGEST_REFUSAL = 64 * 1024
# Seconds after a broken connection in which a 401 or 403 proves nothing: an API server that just
# started refuses everybody until it has read the roles (seen: it listens a second before that).
ROLES_UNREAD = 30.0
_SUCCESS = range(200, 300)
_EXPIRED = 410
_BROKE = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)
_NEVER_MADE = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_METHODS = {
    "get": "GET",
    "list": "GET",
    "watch": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
}


class _LostError(Exception):
    """A connection broke before the answer was there; `meaning` is what that is to a caller."""

    def __init__(self, meaning: Unavailable) -> None:
        super().__init__()
        self.meaning = meaning


def unobserved(verb: str, resource: str, code: int | None, seconds: float) -> None:
    """Take no note of a call."""
    del verb, resource, code, seconds


class Calls:
    """Calls through one `ApiClient`; `observe` is told of each, as it ends."""

    def __init__(self, api: ApiClient, clock: Clock, observe: Observe = unobserved) -> None:
        self._api = api
        self._clock = clock
        self._observe = observe
        self._lost_at = -math.inf

    async def aclose(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def call(
        self,
        verb: str,
        resource: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        content_type: str = JSON,
    ) -> Obj:
        """Send one request and return the JSON object of the answer.

        A write is never repeated; a read whose connection broke is asked once more, for a server
        may close an idle connection at any time. Raises `MissingError` (404) and the errors of
        `error_of`; `Unavailable` when there is no answer, `ambiguous` for a write that was sent.
        """
        began = self._clock.monotonic()
        code: int | None = None
        reading = verb in READS
        seconds = READ_WITHIN if reading else WRITE_WITHIN
        try:
            try:
                answer, code = await self._send(verb, path, query, body, content_type, seconds)
            except _LostError:
                left = began + seconds - self._clock.monotonic()
                if not reading or left <= 0:
                    raise
                answer, code = await self._send(verb, path, query, body, content_type, left)
        except _LostError as error:
            raise error.meaning from None
        except ApiException as error:
            code = error.status or None
            headers: Mapping[str, str] = error.headers or {}
            text = error.body if isinstance(error.body, str) else ""
            refusal = error_of(verb, error.status or 0, text, headers.get("Retry-After"))
            raise self._meant(refusal) from None
        finally:
            self._observe(verb, resource, code, self._clock.monotonic() - began)
        if not isinstance(answer, dict):
            text = "the Kubernetes API answered with something else than a JSON object"
            raise Unavailable(text, ambiguous=not reading)
        return answer

    async def stream(
        self, resource: str, path: str, *, query: Query, silence: float
    ) -> aiohttp.ClientResponse | None:
        """Open a watch and return the response, body unread, to be closed by the caller.

        None: its resourceVersion is too old (410). `silence` is how many seconds a read of it may
        take. Raises as `call` does.
        """
        began = self._clock.monotonic()
        code: int | None = None
        limits = aiohttp.ClientTimeout(total=None, connect=CONNECT_WITHIN, sock_read=silence)
        try:
            # The limits of the connection know none for the headers: a hung server would hold us.
            async with asyncio.timeout(READ_WITHIN):
                response: aiohttp.ClientResponse = await self._request(
                    "watch", path, query, None, JSON, limits
                )
                code = response.status
                if code in _SUCCESS:
                    return response
                # The library raises for a status only when it reads the body itself.
                try:
                    refusal = (await response.content.read(LARGEST_REFUSAL)).decode(errors="ignore")
                finally:
                    response.close()
        except _LostError as error:
            raise error.meaning from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unanswered("watch", error) from None
        finally:
            self._observe("watch", resource, code, self._clock.monotonic() - began)
        if code == _EXPIRED:
            return None
        raise self._meant(error_of("watch", code, refusal, response.headers.get("Retry-After")))

    async def _send(
        self,
        verb: str,
        path: str,
        query: Query | None,
        body: Any,
        content_type: str,
        seconds: float,
    ) -> tuple[Any, int]:
        limits = aiohttp.ClientTimeout(total=seconds, connect=CONNECT_WITHIN)
        answer, status, _ = await self._request(verb, path, query, body, content_type, limits)
        return answer, status

    async def _request(
        self,
        verb: str,
        path: str,
        query: Query | None,
        body: Any,
        content_type: str,
        limits: aiohttp.ClientTimeout,
    ) -> Any:
        """Send; raises `ApiException` for a refusal that was read, `_LostError`, or our errors."""
        try:
            return await self._api.call_api(
                path,
                _METHODS[verb],
                {},
                query or [],
                {"Accept": JSON, "Content-Type": content_type},
                body=body,
                response_types_map=dict.fromkeys(_SUCCESS, "object"),
                auth_settings=["BearerToken"],
                _preload_content=verb != "watch",
                _request_timeout=limits,
            )
        except ConfigException as error:
            raise Unavailable(f"no credential for the Kubernetes API: {_kind(error)}") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            meaning = self._unanswered(verb, error)
            if isinstance(error, _BROKE) and not isinstance(error, _NEVER_MADE):
                raise _LostError(meaning) from None
            raise meaning from None
        except (ValueError, AttributeError, LookupError, RecursionError) as error:
            # What the library raises for a body that is no text, no JSON or not there at all.
            text = f"the Kubernetes API answered what cannot be read: {_kind(error)}"
            raise Unavailable(text, ambiguous=verb not in READS) from None

    def _unanswered(self, verb: str, error: Exception) -> Unavailable:
        """Say why there is no answer; a connection that was never made cannot have written."""
        self._lost_at = self._clock.monotonic()
        if isinstance(error, _NEVER_MADE):
            return Unavailable(f"the Kubernetes API is not reached: {_kind(error)}")
        text = f"the Kubernetes API did not answer: {_kind(error)}"
        return Unavailable(text, ambiguous=verb not in READS)

    def _meant(self, refusal: ReceiverError | MissingError) -> ReceiverError | MissingError:
        """Return what a refusal means; a right denied just after an outage may be there again."""
        since = self._clock.monotonic() - self._lost_at
        if isinstance(refusal, Forbidden) and since < ROLES_UNREAD:
            return Unavailable(f"just after an outage the Kubernetes API says {refusal}")
        return refusal


def _kind(error: BaseException) -> str:
    """Name an error without its text, which may hold a URL or a path."""
    return type(error).__name__
