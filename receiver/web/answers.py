"""What is answered, once it is known who asks."""

import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from receiver import __version__
from receiver import alerts as al
from receiver.clock import Clock
from receiver.controller.answers import Json, Outcome, Person, Sender, Service, Steering
from receiver.errors import Rejected
from receiver.reasons import Reason
from receiver.telemetry import Metrics
from receiver.web import body
from receiver.web.auth import Credentials, People
from receiver.web.page import page
from receiver.web.wish import release_wish, tick, why, wish

SMALL_BODY = 64 * body.KIB
NOT_GOOD = "this token is not good for that"
# Why a request was answered with an error: for the counter, not for the caller.
REASON: web.ResponseKey[str] = web.ResponseKey("reason", str)

HASH = re.compile(r"[a-z0-9]{1,63}")
INCIDENT = re.compile(r"[a-zA-Z0-9-]{1,100}")
CHECK = re.compile(r"[a-z0-9-]{1,40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`body` in bytes, `seconds` for reading it, `requests` at work at a time."""

    body: int = 32 * body.MIB
    seconds: float = 10.0
    requests: int = 128


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


class Answers:
    """An answer for each route."""

    def __init__(self, parts: Web) -> None:
        self._parts = parts
        self._service = parts.service

    # --- Alertmanager

    async def alerts(self, request: web.Request, sender: Sender) -> web.Response:
        """Take a webhook."""
        parts = self._parts
        dry_run = _flag(request, "dry_run")
        limits = parts.limits
        payload = al.parse(await body.read(request, limit=limits.body, seconds=limits.seconds))
        answers = await self._service.receive(payload, sender, dry_run=dry_run)
        parts.log.info(
            "webhook_accepted",
            sender=sender.name,
            user_agent=request.headers.get("User-Agent", "")[:100],
            alerts=len(payload.alerts),
            dry_run=dry_run,
        )
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
        namespace, name = target(request)
        text = await self._small(request)
        wanted = wish(text, request.headers.get("Idempotency-Key"))
        return _shown(await self._service.rollback(namespace, name, wanted, person))

    async def deployments(self, _: web.Request, person: Person) -> web.Response:
        """Show the opted-in Deployments."""
        namespaces = await self._seen_by(person)
        return web.json_response({"deployments": await self._service.deployments(namespaces)})

    async def deployment(self, request: web.Request, _: Person) -> web.Response:
        """Show one Deployment."""
        found = await self._service.deployment(*target(request))
        if found is None:
            raise Rejected("there is no such Deployment", status=404, reason="target_not_found")
        return web.json_response(found)

    async def incidents(self, _: web.Request, person: Person) -> web.Response:
        """Show what happened."""
        namespaces = await self._seen_by(person)
        return web.json_response({"incidents": await self._service.incidents(namespaces)})

    async def incident(self, request: web.Request, person: Person) -> web.Response:
        """Show one incident; one that this person may not see is as if it were not there."""
        id_ = request.match_info["id"]
        found = await self._service.incident(id_) if INCIDENT.fullmatch(id_) else None
        if found is None or not await self._may_see(person, found):
            raise Rejected("there is no such incident", status=404, reason="not_found")
        return web.json_response(found)

    async def _seen_by(self, person: Person) -> tuple[str, ...]:
        """Return the namespaces of a list; the service would take none for all."""
        namespaces = await self._parts.people.namespaces(person)
        if not namespaces:
            raise Rejected(NOT_GOOD, status=403, reason="forbidden")
        return namespaces

    async def _may_see(self, person: Person, incident: Json) -> bool:
        namespace, name = str(incident["namespace"]), str(incident.get("deployment", ""))
        return await self._parts.people.may(person, "get", namespace, name)

    async def scorecard(self, _: web.Request, person: Person) -> web.Response:
        """Show what shadow mode would have done."""
        namespaces = await self._seen_by(person)
        return web.json_response({"rules": await self._service.scorecard(namespaces)})

    async def pause(self, request: web.Request, person: Person) -> web.Response:
        """Pause the automation of a Deployment."""
        reason = why(await self._small(request))
        return web.json_response(await self._service.pause(*target(request), person, reason))

    async def resume(self, request: web.Request, person: Person) -> web.Response:
        """Resume the automation of a Deployment."""
        return web.json_response(await self._service.resume(*target(request), person))

    async def clear(self, request: web.Request, person: Person) -> web.Response:
        """Take a revision out of quarantine."""
        namespace, name = target(request)
        hash_ = request.match_info["hash"]
        if not HASH.fullmatch(hash_):
            raise Rejected("the path holds no pod-template-hash", reason="invalid_target")
        return web.json_response(await self._service.clear(namespace, name, hash_, person))

    async def stopped(self, _: web.Request, __: Person) -> web.Response:
        """Show the kill switch."""
        return web.json_response(await self._service.stopped())

    async def stop(self, request: web.Request, person: Person) -> web.Response:
        """Set the kill switch."""
        reason = why(await self._small(request))
        return web.json_response(await self._service.stop(person, reason))

    async def start(self, _: web.Request, person: Person) -> web.Response:
        """Release the kill switch."""
        return web.json_response(await self._service.start(person))

    async def breaker(self, _: web.Request, __: Person) -> web.Response:
        """Show the breaker."""
        return web.json_response(await self._service.breaker())

    async def close_breaker(self, _: web.Request, person: Person) -> web.Response:
        """Close the breaker."""
        return web.json_response(await self._service.close_breaker(person))

    # --- staged releases

    async def begin_release(self, request: web.Request, person: Person) -> web.Response:
        """Begin a staged release."""
        namespace, name = target(request)
        wanted = release_wish(await self._small(request))
        return _shown(await self._service.begin_release(namespace, name, wanted, person))

    async def release(self, request: web.Request, _: Person) -> web.Response:
        """Show the release in progress, or the last one."""
        found = await self._service.release(*target(request))
        if found is None:
            raise _no_release()
        return web.json_response(found)

    async def release_log(self, request: web.Request, _: Person) -> web.Response:
        """Show the deployment log of that release. Its text of others is escaped already."""
        found = await self._service.release_log(*target(request))
        if found is None:
            raise _no_release()
        return web.Response(text=found, content_type="text/markdown", charset="utf-8")

    async def steer(self, what: Steering, request: web.Request, person: Person) -> web.Response:
        """Do what a person wants with the release in progress."""
        namespace, name = target(request)
        reason = why(await self._small(request))
        return _shown(await self._service.steer_release(namespace, name, what, person, reason))

    async def tick(self, request: web.Request, person: Person) -> web.Response:
        """Tick a line of its checklists."""
        namespace, name = target(request)
        item = request.match_info["id"]
        if not CHECK.fullmatch(item):
            raise Rejected("the path holds no id of a check", reason="invalid_target")
        ticked = tick(await self._small(request))
        outcome = await self._service.tick_check(
            namespace, name, item, person, ticked.note or "", done=ticked.done
        )
        return _shown(outcome)

    async def _small(self, request: web.Request) -> bytes:
        limits = self._parts.limits
        limit = min(SMALL_BODY, limits.body)
        return await body.read(request, limit=limit, seconds=limits.seconds)

    # --- how we are

    async def health(self, _: web.Request) -> web.Response:
        """Answer in the plan's shape; degraded is still alive."""
        health = self._service.health()
        return web.json_response(
            {
                "status": health.status,
                "version": __version__,
                "timestamp": self._parts.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
                "dependencies": dict(health.dependencies),
                "sinks": dict(health.sinks),
            }
        )

    async def ready(self, _: web.Request) -> web.Response:
        """Answer in the plan's shape."""
        found = self._service.readiness()
        shown = {"ready": found.ready, "checks": dict(found.checks)}
        response = web.json_response(shown, status=200 if found.ready else 503)
        if not found.ready:
            response[REASON] = "not_ready"
        return response

    async def metrics(self, _: web.Request) -> web.Response:
        """Answer Prometheus."""
        text = generate_latest(self._parts.registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    def page(self, listed: Iterable[tuple[str, str]]) -> web.Response:
        """Show how we are, and which routes there are."""
        text = page(__version__, self._service.health(), self._service.readiness(), listed)
        # Nothing of it is to be run, whatever gets into it.
        headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return web.Response(text=text, content_type="text/html", headers=headers)


def target(request: web.Request) -> tuple[str, str]:
    """Return the Deployment of the path, ("", "") where it has none; raises `Rejected` (400)."""
    namespace = request.match_info.get("namespace")
    name = request.match_info.get("name")
    if namespace is None or name is None:
        return "", ""
    if not al.is_namespace(namespace) or not al.is_name(name):
        raise Rejected("the path holds no Kubernetes name", reason="invalid_target")
    return namespace, name


def _shown(outcome: Outcome) -> web.Response:
    """Return an outcome as it is; what is no is counted by its reason."""
    response = web.json_response(outcome.body, status=outcome.status)
    if "error" in outcome.body:
        response[REASON] = str(outcome.body["error"]["reason"])
    return response


def _no_release() -> Rejected:
    text = "there was no staged release of this Deployment"
    return Rejected(text, status=404, reason=Reason.NO_RELEASE)


def _flag(request: web.Request, name: str) -> bool:
    value = request.query.get(name, "false")
    if value not in ("true", "false"):
        raise Rejected(f"{name} is true or false", reason="bad_field")
    return value == "true"
