"""A running application with a service behind it that only notes what it is asked."""

import asyncio
import contextlib
import io
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import aiohttp.web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from receiver.alerts import Payload
from receiver.controller.answers import (
    Action,
    Answer,
    Health,
    Json,
    Outcome,
    Person,
    Readiness,
    ReleaseWish,
    Sender,
    Steering,
    Wish,
)
from receiver.reasons import Reason
from receiver.telemetry import LibraryLog, Metrics, configure_logs
from receiver.web import (
    Basic,
    Credentials,
    Limits,
    StaticPeople,
    Token,
    Web,
    application,
    runner,
)
from tests.virtual import LoopClock

WEBHOOK_TOKEN, NEXT_TOKEN = "canary-webhook-7f3a", "canary-next-1b2c"
PASSWORD = "canary-password-9d8e"
PERSON_TOKEN, OPERATOR_TOKEN = "canary-person-4c5d", "canary-operator-6e7f"
SECRETS = (WEBHOOK_TOKEN, NEXT_TOKEN, PASSWORD, PERSON_TOKEN, OPERATOR_TOKEN)

ALERT: dict[str, Any] = {
    "status": "firing",
    "labels": {"alertname": "ErrorRatioHigh", "namespace": "shop", "deployment": "checkout"},
    "annotations": {},
    "startsAt": "2026-11-23T00:59:00Z",
    "fingerprint": "0123456789abcdef",
}
WEBHOOK: dict[str, Any] = {
    "version": "4",
    "groupKey": '{}:{alertname="ErrorRatioHigh"}',
    "status": "firing",
    "receiver": "rollback-receiver",
    "alerts": [ALERT],
}

SHOWN: Json = {"namespace": "shop", "name": "checkout"}
RELEASE: Json = {"id": "rel-0123456789ab", "step": "soaking"}
LOG = "# Deployment: 1\\.4\\.2 \u2013 caf\u00e9\n"
INCIDENTS: dict[str, Json] = {
    "inc-0123456789ab": {"id": "inc-0123456789ab", "namespace": "shop", "deployment": "checkout"},
    "inc-ba9876543210": {"id": "inc-ba9876543210", "namespace": "bank", "deployment": "vault"},
}


@dataclass(slots=True)
class FakeService:
    """Implements `Service`: notes each call, answers the same, or raises what it is told to."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)
    error: Exception | None = None
    outcome: Outcome = field(default_factory=lambda: Outcome(status=200, body={"id": "inc-1"}))
    status: Health = field(
        default_factory=lambda: Health(status="healthy", dependencies={"kubernetes": "connected"})
    )
    ready: Readiness = field(
        default_factory=lambda: Readiness(ready=True, checks={"kubernetes": "ok"})
    )
    gate: asyncio.Event | None = None

    def _note(self, *call: Any) -> None:
        self.calls.append(call)
        if self.error is not None:
            raise self.error

    async def receive(
        self, payload: Payload, sender: Sender, *, dry_run: bool = False
    ) -> tuple[Answer, ...]:
        self._note("receive", payload, sender, dry_run)
        if self.gate is not None:
            await self.gate.wait()
            self.calls.append(("finished",))
        return tuple(
            Answer(
                fingerprint=alert.fingerprint,
                alertname=alert.name,
                action=Action.ROLL_BACK,
                reason=Reason.ROLLED_BACK,
                text="The bad revision is rolled back.",
                namespace="shop",
                deployment="checkout",
                incident="inc-1",
            )
            for alert in payload.alerts
        )

    async def rollback(self, namespace: str, name: str, wish: Wish, person: Person) -> Outcome:
        self._note("rollback", namespace, name, wish, person)
        return self.outcome

    async def begin_release(
        self, namespace: str, name: str, wish: ReleaseWish, person: Person
    ) -> Outcome:
        self._note("begin_release", namespace, name, wish, person)
        return self.outcome

    async def release(self, namespace: str, name: str) -> Json | None:
        self._note("release", namespace, name)
        return RELEASE if name == "checkout" else None

    async def release_log(self, namespace: str, name: str) -> str | None:
        self._note("release_log", namespace, name)
        return LOG if name == "checkout" else None

    async def steer_release(
        self, namespace: str, name: str, what: Steering, person: Person, why: str
    ) -> Outcome:
        self._note("steer_release", namespace, name, what, person, why)
        return self.outcome

    async def tick_check(
        self, namespace: str, name: str, item: str, person: Person, note: str, *, done: bool
    ) -> Outcome:
        self._note("tick_check", namespace, name, item, person, note, done)
        return self.outcome

    async def deployments(self, namespaces: tuple[str, ...]) -> list[Json]:
        self._note("deployments", namespaces)
        return [SHOWN]

    async def deployment(self, namespace: str, name: str) -> Json | None:
        self._note("deployment", namespace, name)
        return SHOWN if name == "checkout" else None

    async def incidents(self, namespaces: tuple[str, ...]) -> list[Json]:
        self._note("incidents", namespaces)
        return [each for each in INCIDENTS.values() if each["namespace"] in namespaces]

    async def incident(self, incident: str) -> Json | None:
        self._note("incident", incident)
        return INCIDENTS.get(incident)

    async def stopped(self) -> Json:
        self._note("stopped")
        return {"stopped": False, "why": ""}

    async def scorecard(self, namespaces: tuple[str, ...]) -> list[Json]:
        self._note("scorecard", namespaces)
        return []

    async def breaker(self) -> Json:
        self._note("breaker")
        return {"open": False, "since": None, "count": 0, "targets": []}

    async def close_breaker(self, person: Person) -> Json:
        self._note("close_breaker", person)
        return {"open": False, "since": None, "count": 0, "targets": []}

    async def stop(self, person: Person, why: str) -> Json:
        self._note("stop", person, why)
        return {"stopped": True, "why": why}

    async def start(self, person: Person) -> Json:
        self._note("start", person)
        return {"stopped": False, "why": ""}

    async def pause(self, namespace: str, name: str, person: Person, why: str) -> Json:
        self._note("pause", namespace, name, person, why)
        return SHOWN

    async def resume(self, namespace: str, name: str, person: Person) -> Json:
        self._note("resume", namespace, name, person)
        return SHOWN

    async def clear(self, namespace: str, name: str, hash_: str, person: Person) -> Json:
        self._note("clear", namespace, name, hash_, person)
        return SHOWN

    def health(self) -> Health:
        return self.status

    def readiness(self) -> Readiness:
        return self.ready


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def reason(self) -> str:
        """Return the machine's word of an error."""
        found: str = self.json["error"]["reason"]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """An application that listens on loopback."""

    url: str
    port: int
    service: FakeService
    registry: CollectorRegistry
    app: aiohttp.web.Application
    folder: Path
    written: io.StringIO
    session: aiohttp.ClientSession

    async def ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        json_body: Any = None,
        data: Any = None,
    ) -> Reply:
        """Send one request; never follows a redirect."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        async with self.session.request(
            method, self.url + path, headers=sent, json=json_body, data=data, allow_redirects=False
        ) as answer:
            return Reply(
                status=answer.status, headers=dict(answer.headers), text=await answer.text()
            )

    async def post(self, body: Any = WEBHOOK, path: str = "/api/v1/alerts", **more: Any) -> Reply:
        """Post a webhook as Alertmanager does."""
        return await self.ask("POST", path, token=WEBHOOK_TOKEN, json_body=body, **more)

    async def raw(self, *parts: bytes, wait: float = 0.0) -> bytes:
        """Send bytes as they are, `wait` seconds apart; return all that comes until the end."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        found = bytearray()

        async def listen() -> None:
            while part := await reader.read(65536):
                found.extend(part)

        listening = asyncio.create_task(listen())
        with contextlib.suppress(ConnectionError):
            for index, part in enumerate(parts):
                if index:
                    await asyncio.sleep(wait)
                if not listening.done():
                    writer.write(part)
                    await writer.drain()
        with contextlib.suppress(ConnectionError):
            await listening
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        return bytes(found)

    async def stubborn(self, data: bytes) -> bytes:
        """Send all of it before looking at what comes back; return the first of that."""
        loop = asyncio.get_running_loop()
        with socket.socket() as connection:
            connection.setblocking(False)
            await loop.sock_connect(connection, ("127.0.0.1", self.port))
            await loop.sock_sendall(connection, data)
            return await loop.sock_recv(connection, 65536)

    def count(self, name: str, **labels: str) -> float:
        """Return the value of one series of ours; KeyError when it is not there."""
        full = f"rollback_receiver_{name}"
        for family in text_string_to_metric_families(generate_latest(self.registry).decode()):
            for sample in family.samples:
                if sample.name == full and sample.labels == labels:
                    return float(sample.value)
        raise KeyError(name, labels)

    @property
    def log(self) -> list[dict[str, Any]]:
        """Return what was logged."""
        return [json.loads(line) for line in self.written.getvalue().splitlines()]

    @property
    def complaints(self) -> list[dict[str, Any]]:
        """Return what was logged as a warning or an error."""
        return [line for line in self.log if line["level"] != "info"]

    def replace(self, file: str, text: str) -> None:
        """Change a secret as kubelet does: by another file in its place."""
        new = self.folder / f"{file}.new"
        new.write_text(text)
        new.rename(self.folder / file)


@contextlib.asynccontextmanager
async def world(
    folder: Path,
    *,
    limits: Limits | None = None,
    namespaces: tuple[str, ...] = ("shop",),
    insecure: bool = False,
    on_build: Callable[[Web], None] = lambda _: None,
) -> AsyncIterator[World]:
    """Run the application until the end of the block."""
    for name, text in (
        ("webhook", WEBHOOK_TOKEN),
        ("next", NEXT_TOKEN),
        ("password", PASSWORD),
        ("person", PERSON_TOKEN),
        ("operator", OPERATOR_TOKEN),
    ):
        (folder / name).write_text(text + "\n")
    clock, registry, written = LoopClock(), CollectorRegistry(), io.StringIO()
    service = FakeService()
    ids = iter(f"{index:012x}" for index in range(10_000))
    tokens = [
        Token(name="token-0", file=str(folder / "webhook")),
        Token(name="token-1", file=str(folder / "next"), namespaces=("shop",)),
    ]
    basic = Basic(username="alertmanager", password_file=str(folder / "password"))
    parts = Web(
        service=service,
        credentials=Credentials(
            [] if insecure else tokens, None if insecure else basic, insecure=insecure
        ),
        people=StaticPeople(
            [
                Token(name="on-call", file=str(folder / "person"), namespaces=namespaces),
                Token(
                    name="operator",
                    file=str(folder / "operator"),
                    namespaces=("shop", "rollback-receiver"),
                ),
            ],
            state_namespace="rollback-receiver",
        ),
        limits=limits or Limits(),
        clock=clock,
        metrics=Metrics(registry, version="0", reasons=Reason, phases=()),
        registry=registry,
        log=configure_logs(written, now=clock.now),
        ids=lambda: next(ids),
    )
    on_build(parts)
    app = application(parts)
    serving = runner(app, drain=5)
    await serving.setup()
    site = aiohttp.web.TCPSite(serving, "127.0.0.1", 0)
    await site.start()
    port = serving.addresses[0][1]
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
        try:
            yield World(
                url=f"http://127.0.0.1:{port}",
                port=port,
                service=service,
                registry=registry,
                app=app,
                folder=folder,
                written=written,
                session=session,
            )
        finally:
            await serving.cleanup()
            root = logging.getLogger()
            root.handlers = [each for each in root.handlers if not isinstance(each, LibraryLog)]
            logging.captureWarnings(capture=False)
