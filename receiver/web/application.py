"""The routes. Order of work on each request: path, method, who, size, read, parse."""

import functools
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from html import escape
from typing import Any, TypeAlias

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from receiver import __version__
from receiver import alerts as al
from receiver.clock import Clock
from receiver.controller.answers import Person, Sender, Service
from receiver.errors import Broken, Rejected, TryAgain
from receiver.telemetry import Metrics
from receiver.web import body
from receiver.web.auth import Credentials, People
from receiver.web.wish import why, wish

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
ForSender: TypeAlias = Callable[[web.Request, Sender], Awaitable[web.Response]]
ForPerson: TypeAlias = Callable[[web.Request, Person], Awaitable[web.Response]]

PUBLIC = frozenset({"/", "/health", "/ready", "/metrics"})
SMALL_BODY = 64 * 1024
RETRY_AFTER = "5"
GUARDED = "guarded_by"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`body` in bytes, `seconds` for reading it."""

    body: int = 32 * 2**20
    seconds: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """What the application is made of."""

    service: Service
    credentials: Credentials
    people: People
    limits: Limits
    clock: Clock
    metrics: Metrics
    registry: CollectorRegistry
    log: Any
    ids: Callable[[], str]


def application(parts: Web) -> web.Application:
    """Return the aiohttp application."""
    routes = _Routes(parts)
    app = web.Application(middlewares=[_errors(parts)])
    deployment = "/api/v1/deployments/{namespace}/{name}"
    table: tuple[tuple[str, str, Handler], ...] = (
        ("GET", "/", routes.index),
        ("GET", "/health", routes.health),
        ("GET", "/ready", routes.ready),
        ("GET", "/metrics", routes.metrics),
        ("POST", "/api/v1/alerts", routes.for_sender(routes.alerts)),
        ("GET", "/api/v1/deployments", routes.for_person("get", routes.deployments)),
        ("GET", deployment, routes.for_person("get", routes.deployment)),
        ("POST", deployment + "/rollback", routes.for_person("patch", routes.rollback)),
        ("POST", deployment + "/pause", routes.for_person("patch", routes.pause)),
        ("POST", deployment + "/resume", routes.for_person("patch", routes.resume)),
        (
            "POST",
            deployment + "/revisions/{hash}/clear",
            routes.for_person("patch", routes.clear),
        ),
        ("GET", "/api/v1/incidents", routes.for_person("get", routes.incidents)),
        ("GET", "/api/v1/incidents/{id}", routes.for_person("get", routes.incident)),
        ("GET", "/api/v1/stop", routes.for_person("get", routes.stopped)),
        ("PUT", "/api/v1/stop", routes.for_person("patch", routes.stop)),
        ("DELETE", "/api/v1/stop", routes.for_person("patch", routes.start)),
    )
    for method, path, handler in table:
        # aiohttp would ask for the body (100 Continue) before anybody has looked at the caller.
        app.router.add_route(method, path, handler, expect_handler=_no_hurry)
    return app


async def _no_hurry(_: web.Request) -> None:
    """Leave the 100 Continue to whoever reads the body."""


def _errors(parts: Web) -> Any:
    """Return the middleware: every error becomes JSON, every answer is counted."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        route = _route_of(request)
        try:
            response = await handler(request)
        except web.HTTPException as error:
            reason = "not_found" if error.status == 404 else "method_not_allowed"  # noqa: PLR2004
            response = _error(error.status, reason, str(error.reason))
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
        except Rejected as error:
            response = _error(error.status, str(error.reason), str(error))
            if error.status == 401:  # noqa: PLR2004 - HTTP
                response.headers["WWW-Authenticate"] = 'Bearer realm="rollback-receiver"'
        except TryAgain as error:
            parts.log.warning("request_postponed", route=route, error=str(error)[:300])
            response = _error(503, "try_again", "not possible right now")
        except Broken as error:
            parts.log.warning("request_failed", route=route, error=str(error)[:300])
            response = _error(503, "broken", "a person must look: see the log")
        except Exception:
            id_ = parts.ids()
            parts.log.exception("request_broke", route=route, id=id_)
            response = _error(503 if route == "/api/v1/alerts" else 500, "internal", f"id {id_}")
        if response.status >= 400:  # noqa: PLR2004 - HTTP
            reason = response.headers.get("X-Reason", "refused")
            parts.metrics.http_rejections_total.labels(reason).inc()
        parts.metrics.http_requests_total.labels(route, str(response.status)).inc()
        return response

    return middleware


def _route_of(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "none"


def _error(status: int, reason: str, message: str) -> web.Response:
    headers = {"X-Reason": reason}
    if status == 503:  # noqa: PLR2004 - HTTP
        headers["Retry-After"] = RETRY_AFTER
    body_ = {"error": {"reason": reason, "message": message}}
    return web.json_response(body_, status=status, headers=headers)


class _Routes:
    """The handlers."""

    def __init__(self, parts: Web) -> None:
        self._parts = parts

    # --- who may

    def for_sender(self, handler: ForSender) -> Handler:
        """Let only those in who may post alerts."""

        @functools.wraps(handler)
        async def guarded(request: web.Request) -> web.StreamResponse:
            header = request.headers.get("Authorization", "")
            sender = self._parts.credentials.sender(header)
            if sender is None:
                raise self._unknown("webhook")
            return await handler(request, sender)

        setattr(guarded, GUARDED, "webhook")
        return guarded

    def for_person(self, verb: str, handler: ForPerson) -> Handler:
        """Let only people in who may do this to the Deployment of the path."""

        @functools.wraps(handler)
        async def guarded(request: web.Request) -> web.StreamResponse:
            people = self._parts.people
            person = await people.identify(request.headers.get("Authorization", ""))
            if person is None:
                raise self._unknown("people")
            namespace, name = _target(request)
            if not await people.may(person, verb, namespace, name):
                raise Rejected("not allowed here", status=403, reason="forbidden")
            return await handler(request, person)

        setattr(guarded, GUARDED, "people")
        return guarded

    def _unknown(self, realm: str) -> Rejected:
        self._parts.metrics.auth_failures_total.labels(realm).inc()
        return Rejected("no valid credential", status=401, reason="unauthorized")

    # --- Alertmanager

    async def alerts(self, request: web.Request, sender: Sender) -> web.Response:
        """Take a webhook."""
        parts = self._parts
        dry_run = _flag(request, "dry_run")
        limits = parts.limits
        payload = al.parse(await body.read(request, limit=limits.body, seconds=limits.seconds))
        answers = await parts.service.receive(payload, sender, dry_run=dry_run)
        if not dry_run:
            for alert in payload.alerts:
                parts.metrics.alerts_received_total.labels(alert.status).inc()
            parts.metrics.truncated_alerts_total.inc(payload.truncated)
            now = parts.clock.now().timestamp()
            parts.metrics.last_webhook_timestamp_seconds.set(now)
        if payload.truncated:
            parts.log.warning("alerts_truncated", group=payload.group_key, cut=payload.truncated)
        found = [asdict(answer) for answer in answers]
        return web.json_response({"alerts": found, "truncated": payload.truncated})

    # --- people

    async def rollback(self, request: web.Request, person: Person) -> web.Response:
        """Roll back by hand."""
        namespace, name = _target(request)
        text = await self._small(request)
        wanted = wish(text, request.headers.get("Idempotency-Key"))
        outcome = await self._parts.service.rollback(namespace, name, wanted, person)
        headers = {}
        if "error" in outcome.body:
            headers["X-Reason"] = str(outcome.body["error"]["reason"])
        return web.json_response(outcome.body, status=outcome.status, headers=headers)

    async def deployments(self, _: web.Request, person: Person) -> web.Response:
        """Show the opted-in Deployments."""
        found = await self._parts.service.deployments(person.namespaces)
        return web.json_response({"deployments": found})

    async def deployment(self, request: web.Request, _: Person) -> web.Response:
        """Show one Deployment."""
        found = await self._parts.service.deployment(*_target(request))
        if found is None:
            raise Rejected("there is no such Deployment", status=404, reason="target_not_found")
        return web.json_response(found)

    async def incidents(self, _: web.Request, person: Person) -> web.Response:
        """Show what happened."""
        found = await self._parts.service.incidents(person.namespaces)
        return web.json_response({"incidents": found})

    async def incident(self, request: web.Request, person: Person) -> web.Response:
        """Show one incident; of another namespace it is as if there were none."""
        found = await self._parts.service.incident(request.match_info["id"])
        hidden = person.namespaces and found and found["namespace"] not in person.namespaces
        if found is None or hidden:
            raise Rejected("there is no such incident", status=404, reason="not_found")
        return web.json_response(found)

    async def pause(self, request: web.Request, person: Person) -> web.Response:
        """Pause the automation of a Deployment."""
        reason = why(await self._small(request))
        found = await self._parts.service.pause(*_target(request), person, reason)
        return web.json_response(found)

    async def resume(self, request: web.Request, person: Person) -> web.Response:
        """Resume the automation of a Deployment."""
        found = await self._parts.service.resume(*_target(request), person)
        return web.json_response(found)

    async def clear(self, request: web.Request, person: Person) -> web.Response:
        """Take a revision out of quarantine."""
        namespace, name = _target(request)
        hash_ = request.match_info["hash"]
        found = await self._parts.service.clear(namespace, name, hash_, person)
        return web.json_response(found)

    async def stopped(self, _: web.Request, __: Person) -> web.Response:
        """Show the kill switch."""
        return web.json_response(await self._parts.service.stopped())

    async def stop(self, request: web.Request, person: Person) -> web.Response:
        """Set the kill switch."""
        reason = why(await self._small(request))
        return web.json_response(await self._parts.service.stop(person, reason))

    async def start(self, _: web.Request, person: Person) -> web.Response:
        """Release the kill switch."""
        return web.json_response(await self._parts.service.start(person))

    async def _small(self, request: web.Request) -> bytes:
        seconds = self._parts.limits.seconds
        return await body.read(request, limit=SMALL_BODY, seconds=seconds)

    # --- how we are

    async def health(self, _: web.Request) -> web.Response:
        """Answer in the plan's shape; degraded is still alive."""
        health = self._parts.service.health()
        return web.json_response(
            {
                "status": health.status,
                "version": __version__,
                "timestamp": self._parts.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
                "dependencies": dict(health.dependencies),
            }
        )

    async def ready(self, _: web.Request) -> web.Response:
        """Answer in the plan's shape."""
        found = self._parts.service.readiness()
        body_ = {"ready": found.ready, "checks": dict(found.checks)}
        headers = {} if found.ready else {"X-Reason": "not_ready"}
        return web.json_response(body_, status=200 if found.ready else 503, headers=headers)

    async def metrics(self, _: web.Request) -> web.Response:
        """Answer Prometheus."""
        text = generate_latest(self._parts.registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def index(self, request: web.Request) -> web.Response:
        """Show how we are and which routes there are."""
        health = self._parts.service.health()
        rows = "".join(
            f"<tr><td>{escape(name)}<td>{escape(word)}"
            for name, word in health.dependencies.items()
        )
        listed = sorted(
            {
                f"{route.method} {route.resource.canonical}"
                for route in request.app.router.routes()
                if route.resource is not None and route.method != "HEAD"
            }
        )
        items = "".join(f"<li><code>{escape(line)}</code>" for line in listed)
        page = (
            "<!doctype html><title>rollback-receiver</title>"
            f"<h1>rollback-receiver {escape(__version__)}: {escape(health.status)}</h1>"
            f"<table>{rows}</table><ul>{items}</ul>"
        )
        return web.Response(text=page, content_type="text/html")


def _target(request: web.Request) -> tuple[str, str]:
    """Return the Deployment of the path, ("", "") where it has none; raises `Rejected` (400)."""
    namespace = request.match_info.get("namespace")
    name = request.match_info.get("name")
    if namespace is None or name is None:
        return "", ""
    if not al.is_namespace(namespace) or not al.is_name(name):
        raise Rejected("the path holds no Kubernetes name", reason="invalid_target")
    return namespace, name


def _flag(request: web.Request, name: str) -> bool:
    value = request.query.get(name, "false")
    if value not in ("true", "false"):
        raise Rejected(f"{name} is true or false", reason="bad_field")
    return value == "true"
