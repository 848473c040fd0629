"""The application: path, method, who, size, read, parse; and every error as one kind of answer."""

import functools
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeAlias

from aiohttp import web

from receiver.errors import Broken, Rejected, TryAgain, Unavailable
from receiver.reasons import Reason
from receiver.web.answers import NOT_GOOD, REASON, Answers, Web, target
from receiver.web.identities import UNAVAILABLE
from receiver.web.route import ForPerson, ForSender, Open, Route
from receiver.web.routes import PUBLIC, ROUTES

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

WEBHOOK = "/api/v1/alerts"
UNKNOWN_ROUTE = "none"
RETRY_AFTER, LONGEST_RETRY_AFTER = 5.0, 300.0
GUARDED = "guarded_by"

# The reasons of our own errors; to these come those of `receiver.reasons`.
REJECTIONS: tuple[str, ...] = (
    UNAVAILABLE,
    "bad_alert",
    "bad_field",
    "bad_request",
    "broken",
    "busy",
    "compressed",
    "forbidden",
    "http_error",
    "idempotency_key_reused",
    "incomplete_body",
    "internal",
    "invalid_target",
    "method_not_allowed",
    "not_a_webhook",
    "not_found",
    "not_json",
    "not_ready",
    "target_not_found",
    "too_large",
    "too_slow",
    "try_again",
    "unauthorized",
    "unsupported_version",
)


def application(parts: Web) -> web.Application:
    """Return the aiohttp application. Serve it with `runner`, which knows how."""
    answers = Answers(parts)
    app = web.Application(middlewares=[_Errors(parts).middleware])
    guard = _Guard(parts)
    for route in ROUTES:
        handler = guard.guarded(route, answers)
        # aiohttp would ask for the body (100 Continue) before anybody has looked at the caller.
        app.router.add_route(route.method, route.path, handler, expect_handler=_no_hurry)
    parts.metrics.foresee(series(), (*REJECTIONS, *Reason))
    return app


def runner(app: web.Application, *, drain: float) -> web.AppRunner:
    """Return what serves the application; `drain` seconds for requests in flight at the end."""
    return web.AppRunner(
        app,
        access_log=None,  # it halves the throughput; the counters say more
        # A webhook that was accepted is finished even if its sender has gone.
        handler_cancellation=False,
        shutdown_timeout=drain,
        auto_decompress=False,
        # A body that nobody reads is discarded for so long: closing at once would reset the
        # connection, and its sender would never see the 401 or 413.
        lingering_time=2.0,
        # Also the limit for sending the header of a request; the default is an hour.
        keepalive_timeout=75.0,
    )


def series() -> Iterator[tuple[str, str]]:
    """Return each (route, code) that can be answered: the label sets of `http_requests_total`."""
    for path in dict.fromkeys(route.path for route in ROUTES):
        codes = {code for route in ROUTES if route.path == path for code in route.codes}
        yield from ((path, str(code)) for code in sorted(codes))
    yield from ((UNKNOWN_ROUTE, code) for code in ("404", "405"))


async def _no_hurry(_: web.Request) -> None:
    """Leave the 100 Continue to whoever reads the body."""


class _Guard:
    """Lets a request through to its answer, or not: the one way in for every route."""

    def __init__(self, parts: Web) -> None:
        self._parts = parts
        self._unusable: dict[str, tuple[str, ...]] = {}

    def guarded(self, route: Route, answers: Answers) -> Handler:
        """Return the handler of a route, behind its guard."""
        if isinstance(route, Open):
            return functools.partial(self._open, route, answers)
        if isinstance(route, ForSender):
            handler = functools.partial(self._for_sender, route, answers)
        else:
            handler = functools.partial(self._for_person, route, answers)
        setattr(handler, GUARDED, type(route).__name__)
        return handler

    async def _open(self, route: Open, answers: Answers, request: web.Request) -> web.Response:
        return await route.answer(answers, request)

    async def _for_sender(
        self, route: ForSender, answers: Answers, request: web.Request
    ) -> web.Response:
        credentials = self._parts.credentials
        sender = await credentials.sender(_authorization(request))
        if sender is None:
            raise self._unknown("webhook", credentials.unusable())
        return await route.answer(answers, request, sender)

    async def _for_person(
        self, route: ForPerson, answers: Answers, request: web.Request
    ) -> web.Response:
        people = self._parts.people
        person = await people.identify(_authorization(request))
        if person is None:
            raise self._unknown("people", people.unusable())
        if not await people.may(person, route.verb, *target(request)):
            raise Rejected(NOT_GOOD, status=403, reason="forbidden")
        return await route.answer(answers, request, person)

    def _unknown(self, realm: str, unusable: tuple[str, ...]) -> Rejected:
        """Count a request without a valid credential; say once which files are to blame."""
        self._parts.metrics.auth_failures_total.labels(realm).inc()
        if unusable != self._unusable.get(realm, ()):
            self._parts.log.error("tokens_unusable", realm=realm, files=unusable)
            self._unusable[realm] = unusable
        return Rejected("no valid credential", status=401, reason="unauthorized")


def _authorization(request: web.Request) -> str:
    """Return the one `Authorization` header; of several none is believed."""
    found = request.headers.getall("Authorization", [])
    return found[0] if len(found) == 1 else ""


class _Errors:
    """Makes JSON of every error, and counts every answer."""

    def __init__(self, parts: Web) -> None:
        self._parts = parts
        self._at_work = 0

    @property
    def middleware(self) -> Any:
        """Return the aiohttp middleware."""

        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._answer(request, handler)

        return middleware

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        route = _route_of(request)
        self._at_work += 1
        try:
            if self._at_work > self._parts.limits.requests and route not in PUBLIC:
                response: web.StreamResponse = _error(503, "busy", "too many requests at a time")
            else:
                response = await handler(request)
        except Exception as error:  # noqa: BLE001 - each becomes an answer, and is told once
            response = self._of(error, route)
        finally:
            self._at_work -= 1
        self._count(response, route)
        response.headers["Server"] = "rollback-receiver"
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        if request.can_read_body and not request.content.is_eof():
            # Its body was not read, so nothing more can come over this connection.
            response.force_close()
        return response

    def _of(self, error: Exception, route: str) -> web.Response:
        """Return the answer to an error: who must move decides on the status."""
        parts = self._parts
        if isinstance(error, web.HTTPException):
            return _of_aiohttp(error)
        if isinstance(error, Rejected):
            if error.reason == UNAVAILABLE:
                parts.log.warning(UNAVAILABLE, route=route, error=str(error)[:300])
            response = _error(error.status, str(error.reason), str(error))
            if error.status == 401:  # noqa: PLR2004 - HTTP
                response.headers["WWW-Authenticate"] = 'Bearer realm="rollback-receiver"'
            return response
        id_ = parts.ids()
        # Alertmanager gives a 4xx up and repeats a 5xx; 503 is the one that means "later".
        broken = 503 if route == WEBHOOK else 500
        if isinstance(error, TryAgain):
            parts.log.warning("request_postponed", route=route, id=id_, error=str(error)[:300])
            seconds = error.retry_after if isinstance(error, Unavailable) else None
            return _error(503, "try_again", f"not possible right now ({id_})", seconds)
        if isinstance(error, Broken):
            parts.log.error("request_failed", route=route, id=id_, error=str(error)[:300])
            return _error(broken, "broken", f"a person must look at the log ({id_})")
        parts.log.error("request_broke", route=route, id=id_, exc_info=error)
        return _error(broken, "internal", f"an unexpected error, see the log ({id_})")

    def _count(self, response: web.StreamResponse, route: str) -> None:
        metrics = self._parts.metrics
        if response.status >= 400:  # noqa: PLR2004 - HTTP
            metrics.rejected(response.get(REASON, "http_error"))
        metrics.http_requests_total.labels(route, str(response.status)).inc()


def _route_of(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else UNKNOWN_ROUTE


_REASONS = {404: "not_found", 405: "method_not_allowed"}


def _of_aiohttp(error: web.HTTPException) -> web.Response:
    response = _error(error.status, _REASONS.get(error.status, "http_error"), str(error.reason))
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


def _error(
    status: int, reason: str, message: str, retry_after: float | None = None
) -> web.Response:
    response = web.json_response({"error": {"reason": reason, "message": message}}, status=status)
    response[REASON] = reason
    if status == 503:  # noqa: PLR2004 - HTTP
        seconds = min(max(retry_after or RETRY_AFTER, 1.0), LONGEST_RETRY_AFTER)
        response.headers["Retry-After"] = str(round(seconds))
    return response
