"""One call of the Kubernetes API: raw JSON, a deadline, and errors that say whose move it is."""

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import aiohttp
from kubernetes_asyncio.client import ApiClient
from kubernetes_asyncio.client.exceptions import ApiException

from receiver.clock import Clock
from receiver.errors import (
    Conflict,
    Denied,
    Forbidden,
    ReceiverError,
    Unavailable,
)

Obj: TypeAlias = dict[str, Any]
Query: TypeAlias = list[tuple[str, str]]
Observe: TypeAlias = Callable[[str, int | None, float], None]

READ_WITHIN, WRITE_WITHIN = 5.0, 10.0
JSON, JSON_PATCH = "application/json", "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
TEXT = 200
_ANY_SUCCESS = {200: "object", 201: "object", 202: "object"}
_WRITES = frozenset({"create", "update", "patch", "delete"})
_METHODS = {
    "get": "GET",
    "list": "GET",
    "watch": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
}


class MissingError(Exception):
    """There is no such object (404): for most callers an answer, not an error."""


class Calls:
    """Calls through one `ApiClient`. `observe(verb, status, seconds)` is told of each."""

    def __init__(self, api: ApiClient, clock: Clock, observe: Observe) -> None:
        self._api = api
        self._clock = clock
        self._observe = observe

    async def call(
        self,
        verb: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        content_type: str = JSON,
    ) -> Obj:
        """Send one request and return the JSON of the answer. Never repeated here.

        Raises `MissingError`; `Conflict` for 409 and for 422 without causes, which is what a failed
        `test` looks like; `Denied` for what the API refuses itself; `Forbidden` for 401 and 403;
        `Unavailable` for the rest, `ambiguous` when a write may have been applied.
        """
        began = self._clock.monotonic()
        status: int | None = None
        try:
            answer = await self.open(verb, path, query=query, body=body, content_type=content_type)
            status = 200
        except ApiException as error:
            status = error.status or None
            raise _meaning(verb, error) from None
        finally:
            self._observe(verb, status, self._clock.monotonic() - began)
        if not isinstance(answer, dict):
            raise Unavailable("the Kubernetes API answered with something else than an object")
        return answer

    async def open(
        self,
        verb: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        content_type: str = JSON,
        limits: aiohttp.ClientTimeout | None = None,
        stream: bool = False,
    ) -> Any:
        """Send one request; raises what the library raises for a status, our errors for the rest.

        With `stream` the aiohttp response comes back as it is, body unread.
        """
        seconds = WRITE_WITHIN if verb in _WRITES else READ_WITHIN
        default = aiohttp.ClientTimeout(total=seconds, connect=READ_WITHIN)
        try:
            return await self._api.call_api(
                path,
                _METHODS[verb],
                {},
                query or [],
                {"Accept": JSON, "Content-Type": content_type},
                body=body,
                response_types_map=_ANY_SUCCESS,
                auth_settings=["BearerToken"],
                _return_http_data_only=True,
                _preload_content=not stream,
                _request_timeout=limits or default,
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Unavailable(f"the Kubernetes API is not reached: {_kind(error)}") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            text = f"the Kubernetes API did not answer: {_kind(error)}"
            raise Unavailable(text, ambiguous=verb in _WRITES) from None


def _kind(error: BaseException) -> str:
    """Name an error without its text, which may hold a URL."""
    return type(error).__name__


def _meaning(verb: str, error: ApiException) -> ReceiverError | MissingError:
    """Translate a Status answer (apimachinery pkg/api/errors)."""
    status, body = error.status or 0, _status_body(error)
    causes = (body.get("details") or {}).get("causes") or []
    said = f"{status} {body.get('reason', '')}".strip()
    if status == 404:  # noqa: PLR2004 - HTTP
        return MissingError()
    if status in (401, 403):
        return Forbidden(f"{said}: {bounded(str(body.get('message', '')))}")
    if status == 409 or (status == 422 and not causes):  # noqa: PLR2004 - HTTP
        return Conflict(said)
    if status in (400, 405, 413, 415, 422):
        # The message can be 10 kB and hold the whole object: the fields say enough.
        fields = ", ".join(str(cause.get("field", "")) for cause in causes[:5])
        where = f" in {bounded(fields)}" if fields else ""
        return Denied(f"{said}{where}: {bounded(_first(causes) or str(body.get('message', '')))}")
    after = _seconds(error)
    return Unavailable(said or "no status", ambiguous=_may_be_done(verb, status), retry_after=after)


def _may_be_done(verb: str, status: int) -> bool:
    """Return whether a refused write can have been applied: not when it was turned away (429)."""
    return verb in _WRITES and status != 429  # noqa: PLR2004 - HTTP


def _first(causes: list[Any]) -> str:
    return str(causes[0].get("message", "")) if causes else ""


def _status_body(error: ApiException) -> Obj:
    try:
        found = json.loads(error.body or "")
    except (TypeError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _seconds(error: ApiException) -> float | None:
    headers: Mapping[str, str] = error.headers or {}
    text = str(headers.get("Retry-After", ""))
    return float(text) if text.isdecimal() else None


def bounded(text: str) -> str:
    """Return a message of the API on one line and short."""
    line = " ".join(text[: 4 * TEXT].split())
    return line if len(line) <= TEXT else line[: TEXT - 1] + "…"
