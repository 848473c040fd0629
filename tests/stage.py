"""A stage for whole stories: the sandbox, real replicas of the service, Slack and PagerDuty.

Everything is wired as `serve` wires it, speaks HTTP over loopback, and runs in virtual time.
"""

import asyncio
import contextlib
import io
import json
import random  # noqa: TID251 - seeded, for the service under test
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web
from yarl import URL

from receiver import alerts as al
from receiver import app, demo
from receiver.clock import Clock
from receiver.config import Settings, read
from receiver.controller.setup import SWITCH, Timing
from receiver.demo import shop
from receiver.demo.people import People
from receiver.demo.timeline import Timeline
from receiver.sandbox import Sandbox, Write
from tests.captured import payload
from tests.virtual import START, LoopClock

AUTHORITY = Path(__file__).parent / "notify" / "ca.pem"
NAMESPACE, NAME = shop.NAMESPACE, shop.DEPLOYMENT
OPTED_IN = {"rollback-receiver/enabled": "true"}
# For stories about who lives and who does not; for those of minutes, and those of hours, in which
# the replicas look around more seldom.
PRODUCTION = app.DEFAULT_TIMING
UNHURRIED = Timing(beat=5, lasts=15, rights=600)
PATIENT = Timing(beat=30, lasts=120, forget=600, rights=3600)
# For stories of several rollbacks: what would refuse the second must not hide what does not.
UNLIMITED: dict[str, Any] = {"budgets": {"per_target": [], "per_cluster": []}}


class Front:
    """What a story sees of the service and says to it. `home` holds configuration and secrets."""

    namespace = NAMESPACE
    state_namespace = demo.STATE
    timing = app.DEFAULT_TIMING

    def __init__(
        self, home: Path, clock: Clock, people: People, people_url: str, http: aiohttp.ClientSession
    ) -> None:
        self.home = home
        self.clock = clock
        self.people = people
        self.people_url = people_url
        self.session = http
        self.replicas: list[app.Replica] = []
        self.changes: list[Callable[[dict[str, Any]], None]] = []

    def kubeconfig(self) -> dict[str, Any]:
        """Return how the service reaches its cluster."""
        raise NotImplementedError

    def configured(self, document: dict[str, Any]) -> None:
        """Change the configuration before it is read."""
        for change in self.changes:
            change(document)

    @contextlib.asynccontextmanager
    async def replica(
        self, seed: int = 1, cluster: str = "", clock: Clock | None = None, **policy: Any
    ) -> AsyncIterator[app.Replica]:
        """Run a replica until the end of the block, on a `clock` of its own if given one."""
        clock = clock or self.clock
        document = demo.configuration(
            self.home,
            self.kubeconfig(),
            self.people_url,
            cluster=cluster,
            namespace=self.namespace,
            state=self.state_namespace,
            **policy,
        )
        self.configured(document)
        config = self.home / "receiver.yaml"
        config.write_text(yaml.dump(document, Dumper=yaml.CSafeDumper))
        settings = read(config)
        assert isinstance(settings, Settings), settings
        log = Timeline(clock, quiet=True).logger()
        rng = random.Random(seed)  # noqa: S311 - a test
        world = app.World(clock=clock, rng=rng, log=log, timing=self.timing)
        async with app.running(settings, world) as replica:
            self.replicas.append(replica)
            yield replica

    async def post(
        self, replica: app.Replica, body: bytes | dict[str, Any], query: str = ""
    ) -> tuple[int, dict[str, Any]]:
        """Post a webhook as Alertmanager does."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {
            "Authorization": f"Bearer {demo.TOKEN}",
            "Content-Type": "application/json",
        }
        url = f"{replica.url}/api/v1/alerts{query}"
        async with self.session.post(url, data=io.BytesIO(data), headers=headers) as answer:
            return answer.status, await answer.json()

    async def ask(
        self, replica: app.Replica, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any]:
        """Call the API as a person does."""
        given = {"Authorization": f"Bearer {demo.PERSON_TOKEN}"} | headers
        url = f"{replica.url}/api/v1/{path}"
        async with self.session.request(method, url, json=body, headers=given) as answer:
            return answer.status, await answer.json()

    async def rollback(self, replica: app.Replica, **wish: Any) -> tuple[int, Any]:
        """Roll back by hand."""
        key = wish.pop("key", None)
        headers = {} if key is None else {"Idempotency-Key": key}
        path = f"deployments/{self.namespace}/{NAME}/rollback"
        return await self.ask(replica, "POST", path, {"reason": "by hand"} | wish, **headers)

    async def fires(
        self, replica: app.Replica, since: datetime | None = None, **labels: str
    ) -> str:
        """Post one alert that fires now (or since then); return the reason of the answer."""
        starts = since or self.clock.now()
        alert = firing(starts, **{"namespace": self.namespace} | labels)
        status, answer = await self.post(replica, webhook(alert))
        assert status == 200, answer
        reason: str = answer["alerts"][0]["reason"]
        return reason

    async def resolves(self, replica: app.Replica, since: datetime, **labels: str) -> str:
        """Post that an alert resolved; return the reason of the answer."""
        labels = {"namespace": self.namespace} | labels
        alert = resolved(since, self.clock.now(), **labels)
        status, answer = await self.post(replica, webhook(alert))
        assert status == 200, answer
        reason: str = answer["alerts"][0]["reason"]
        return reason

    async def incident(self, replica: app.Replica) -> dict[str, Any]:
        """Return the newest incident."""
        _, found = await self.ask(replica, "GET", "incidents")
        incident: dict[str, Any] = found["incidents"][0]
        return incident


class Stage(Front):
    """What a story plays on: the sandbox, in virtual time."""

    def __init__(self, sandbox: Sandbox, kubernetes_url: str, *front: Any) -> None:
        super().__init__(*front)
        self.sandbox = sandbox
        self.kubernetes_url = kubernetes_url

    def kubeconfig(self) -> dict[str, Any]:
        return self.sandbox.kubeconfig(self.kubernetes_url)

    async def release(self, *tags: str, name: str = NAME, wait: float = 20, **more: Any) -> None:
        """Roll images out, one after another."""
        labels = OPTED_IN | more.pop("labels", {})
        for tag in tags:
            self.sandbox.deploy(NAMESPACE, name, f"app:{tag}", labels=labels, **more)
            await asyncio.sleep(wait)

    @property
    def image(self) -> str:
        """Return the tag that the Deployment has now."""
        found = self.sandbox.get("Deployment", NAMESPACE, NAME)
        assert found is not None
        image: str = found["spec"]["template"]["spec"]["containers"][0]["image"]
        return image.rpartition(":")[2]

    def template_writes(self) -> list[Write]:
        """Return the swaps of a pod template that were the service's."""
        return [
            w for w in self.sandbox.writes if w.template_changed and w.by == "rollback-receiver"
        ]


@contextlib.asynccontextmanager
async def _nobody_trusted() -> AsyncIterator[None]:
    """Leave the machine's certificates unread: nobody speaks TLS, and each replica takes 50 ms."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(AUTHORITY))
        patch.setenv("SSL_CERT_DIR", str(AUTHORITY.parent))
        yield


@contextlib.asynccontextmanager
async def stage(
    home: Path,
    start: datetime = START,
    seed: int = 0,
    *,
    timing: Timing = UNHURRIED,
) -> AsyncIterator[Stage]:
    """Set the stage; `timing` is that of production where a story is about who lives."""
    clock = LoopClock(start)
    sandbox, people = Sandbox(clock, seed=seed), People()
    async with (
        _nobody_trusted(),
        sandbox.serve() as kubernetes_url,
        people.serve() as people_url,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3600)) as session,
    ):
        sandbox.create_namespace(demo.STATE)
        sandbox.create("ConfigMap", {"metadata": {"name": SWITCH, "namespace": demo.STATE}})
        on = Stage(sandbox, kubernetes_url, home, clock, people, people_url, session)
        on.timing = timing
        yield on


def crash(replica: app.Replica) -> list[asyncio.Task[Any]]:
    """End the tasks of a replica as SIGKILL would: nothing is released or said."""
    controller = replica.controller
    tasks = [*controller._work._workers.values(), *controller._work._teller._senders.values()]
    if controller._beating is not None:
        tasks.append(controller._beating)
    for task in tasks:
        task.cancel()
    controller._beating = None
    controller._work._workers.clear()
    controller._work._reconciler = None  # type: ignore[assignment] # it is dead
    return tasks


# --- the way to the API server


class Road:
    """The way to the API server for one replica: it can be slow, end early, and hold things up.

    What is held up arrives when the road is clear again, whether or not its sender still waits.
    """

    def __init__(self, on: Stage, session: aiohttp.ClientSession) -> None:
        self._on = on
        self._session = session
        self._clear = asyncio.Event()
        self._holds = self._slow = self._cuts = ""
        self._times = 0
        self._all = False
        self.url = ""
        self.held: list[str] = []
        self.arrived_late: list[tuple[str, int]] = []

    @contextlib.asynccontextmanager
    async def replica(self, seed: int = 1, **policy: Any) -> AsyncIterator[app.Replica]:
        """Run a replica that reaches its API server by this road."""
        direct, self._on.kubernetes_url = self._on.kubernetes_url, self.url
        async with self._on.replica(seed, **policy) as replica:
            self._on.kubernetes_url = direct
            yield replica

    def hold(self, what: str, *, then_all: bool = False) -> None:
        """Hold the next request up whose `VERB path` has `what` in it, and then all the others."""
        self._holds, self._times, self._all = what, 1, then_all

    def slow(self, what: str) -> None:
        """Let the answers to such requests trickle for two minutes; "" for none."""
        self._slow = what

    def cut(self, what: str) -> None:
        """Break the answers to such requests off in the middle; "" for none."""
        self._cuts = what

    def clear(self) -> None:
        """Let everything through, first what was held up."""
        self._times, self._all = 0, False
        self._clear.set()

    async def relay(self, request: web.Request) -> web.StreamResponse:
        """Pass one request on, and its answer back."""
        what, body = f"{request.method} {request.path_qs}", await request.read()
        late = self._takes(what)
        if late:
            self.held.append(what)
            await self._clear.wait()
        kept = ("Accept", "Authorization", "Content-Type", "User-Agent")
        headers = {name: request.headers[name] for name in kept if name in request.headers}
        url = URL(self._on.kubernetes_url + request.path_qs, encoded=True)
        async with self._session.request(
            request.method, url, data=body or None, headers=headers
        ) as answer:
            if late:
                self.arrived_late.append((what, answer.status))
            back = {k: v for k, v in answer.headers.items() if k in ("Content-Type", "Retry-After")}
            response = web.StreamResponse(status=answer.status, headers=back)
            with contextlib.suppress(ConnectionError):  # nobody waits for it any more
                await response.prepare(request)
                await self._pass(what, answer, request, response)
        return response

    def _takes(self, what: str) -> bool:
        if self._times and self._holds in what:
            self._times -= 1
            return True
        return self._all and not self._times

    async def _pass(
        self,
        what: str,
        answer: aiohttp.ClientResponse,
        request: web.Request,
        response: web.StreamResponse,
    ) -> None:
        async for chunk in answer.content.iter_any():
            if self._cuts and self._cuts in what:
                await response.write(chunk[: len(chunk) // 2])
                await asyncio.sleep(0.01)
                if request.transport is not None:
                    request.transport.abort()
                return
            step = len(chunk) // 60 + 1 if self._slow and self._slow in what else len(chunk)
            for at in range(0, len(chunk), step):
                await response.write(chunk[at : at + step])
                await asyncio.sleep(2 if step < len(chunk) else 0)


@contextlib.asynccontextmanager
async def road(on: Stage) -> AsyncIterator[Road]:
    """Build a road to the API server of a stage."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3600)) as session:
        way = Road(on, session)
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", way.relay)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.001)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        way.url = "http://{}:{}".format(*runner.addresses[0][:2])
        try:
            yield way
        finally:
            way.clear()
            await runner.cleanup()


# --- alerts, made of a recorded one


def firing(starts_at: datetime, /, **labels: str) -> dict[str, Any]:
    """Return the recorded canary alert with other labels, firing since then."""
    return _alert("canary-firing", labels) | {"startsAt": starts_at.isoformat()}


def resolved(starts_at: datetime, ends_at: datetime, /, **labels: str) -> dict[str, Any]:
    """Return the recorded canary alert with other labels, resolved."""
    times = {"startsAt": starts_at.isoformat(), "endsAt": ends_at.isoformat()}
    return _alert("canary-resolved", labels) | times


def _alert(name: str, labels: dict[str, str]) -> dict[str, Any]:
    alert: dict[str, Any] = json.loads(payload(name))["alerts"][0]
    alert["annotations"]["for"] = labels.pop("for_", "1s")
    alert["labels"] |= {"namespace": NAMESPACE, "deployment": NAME}
    for label in ("track", "cluster"):
        alert["labels"].pop(label, None)
    alert["labels"] |= labels
    alert["labels"] = {key: value for key, value in alert["labels"].items() if value}
    alert["fingerprint"] = al.fingerprint(alert["labels"])
    return alert


def webhook(*alerts: dict[str, Any]) -> dict[str, Any]:
    """Return the recorded webhook with other alerts in it."""
    body: dict[str, Any] = json.loads(payload("canary-firing"))
    return body | {"alerts": list(alerts)}
