"""Services as processes on a real API server that are killed, stopped or told to go on the way."""

import asyncio
import contextlib
import json
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from receiver import demo
from receiver.controller.memory import KEY
from receiver.controller.setup import Timing
from receiver.demo import pair
from tests.controlplane.plane import ControlPlane
from tests.controlplane.scene import ACCOUNT, Scene, ours, scene
from tests.controlplane.world import REAL
from tests.e2e.processes import COMMAND
from tests.kube.http import Obj

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150), *REAL]

TAKEN_WITHIN = timedelta(seconds=10)
DRAIN = 3.0
GOOD, BAD = "v2", "v3"


@dataclass(frozen=True, slots=True)
class Service:
    """`rollback-receiver serve` as a process."""

    url: str
    child: asyncio.subprocess.Process
    log: Path

    def signal(self, number: signal.Signals) -> None:
        self.child.send_signal(number)


@dataclass(slots=True)
class Services:
    """The services of one story; they all have one configuration, but for the port."""

    on: Scene
    home: Path
    started: list[Service]

    async def start(self) -> Service:
        """Start one more; return when it is ready."""
        on, port = self.on, pair.free_port()
        config = demo.write_config(
            self.home,
            on.kubeconfig(),
            on.people_url,
            namespace=on.namespace,
            state=on.state_namespace,
            settle="1s",
        )
        document = yaml.safe_load(config.read_text())
        document["server"] |= {"port": port, "drain": f"{DRAIN:.0f}s"}
        own = self.home / f"service-{port}.yaml"
        own.write_text(yaml.safe_dump(document))
        log = own.with_suffix(".log")
        command = [*COMMAND, "serve", "--config", str(own)]
        with log.open("wb") as out:
            child = await asyncio.create_subprocess_exec(*command, stdout=out, stderr=out)
        service = Service(f"http://{pair.HOST}:{port}", child, log)
        self.started.append(service)

        async def ready() -> bool:
            with contextlib.suppress(aiohttp.ClientError):
                return (await on.look(service, "/ready"))[0] == 200
            return False

        await on.world.until(ready, 30)
        return service

    async def stop(self) -> None:
        """End what still runs, and wait for it."""
        for service in self.started:
            if service.child.returncode is None:
                service.signal(signal.SIGKILL)
            await service.child.wait()
            print(service.log.read_text(errors="replace"))


@contextlib.asynccontextmanager
async def _services(plane: ControlPlane, home: Path, count: int) -> AsyncIterator[Services]:
    async with scene(home, plane.connection) as on:
        services = Services(on, home, [])
        try:
            for _ in range(count):
                await services.start()
            yield services
        finally:
            await services.stop()


@dataclass(frozen=True, slots=True)
class Log:
    """What the API server wrote down since this story began."""

    plane: ControlPlane
    on: Scene
    since: int

    def undone(self) -> list[Obj]:
        """Return the template writes."""
        return ours(self.plane.audited(self.since), self.on.namespace)

    def journals(self) -> list[tuple[datetime, Obj]]:
        """Return the journals that were written, and when each had been.

        What is empty is left out of them.
        """
        return [
            (
                datetime.fromisoformat(record["stageTimestamp"]),
                json.loads(record["requestObject"]["data"][KEY]),
            )
            for record in self.plane.audited(self.since)
            if record["user"]["username"].endswith(f":{ACCOUNT}")
            and record["objectRef"].get("namespace") == self.on.state_namespace
            and record["responseStatus"]["code"] in (200, 201)
            and KEY in (record.get("requestObject") or {}).get("data", {})
        ]

    def taken(self) -> datetime:
        """Return when a second service wrote that the journal is its own."""
        claims = [(at, journal.get("claim", "")) for at, journal in self.journals()]
        return next(at for at, claim in claims if claim not in ("", claims[0][1]))


async def _until(holds: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Wait for something that must not be seen late."""
    try:
        async with asyncio.timeout(seconds):
            while not holds():
                await asyncio.sleep(0.005)
    except TimeoutError:
        pytest.fail(f"did not happen: {what}")


async def _released(on: Scene, plane: ControlPlane, good: str = GOOD) -> Log:
    await on.release(good, BAD, replicas=1)
    return Log(plane, on, plane.audit_size())


async def _fires(on: Scene, service: Any) -> datetime:
    """Post an alert that begins now; return when."""
    began = on.clock.now()
    assert await on.fires(service, began) == "rolled_back"
    return began


async def _ends(
    on: Scene, service: Any, began: datetime, log: Log, good: str = GOOD
) -> Counter[str]:
    """Let the alert resolve and the story end; return how often each sink heard what."""
    await on.ended(service, "verifying")
    await on.resolves(service, began)
    await on.ended(service, "recovered")
    await _until(lambda: "pagerduty: resolve" in _told(on), "PagerDuty")
    await _until(lambda: "slack: RECOVERED" in _told(on), "Slack")
    await asyncio.sleep(2)  # time for whatever would be done twice
    assert await on.image() == good
    assert len(log.undone()) == 1
    _, last = log.journals()[-1]
    assert not last.get("owed")
    return _told(on)


def _told(on: Scene) -> Counter[str]:
    words = [message["text"] for channel, message in on.people.slack if channel == "prod-alerts"]
    slack = ("RECOVERED" if "RECOVERED" in text else "under way" for text in words)
    return Counter(
        [f"slack: {word}" for word in slack]
        + [f"pagerduty: {page['event_action']}" for page in on.people.pages]
    )


ONCE = Counter(["slack: under way", "slack: RECOVERED", "pagerduty: trigger", "pagerduty: resolve"])


async def test_killed_as_soon_as_the_undo_is_in_the_audit_log_another_ends_it(
    tmp_path: Path, plane: ControlPlane
) -> None:
    async with _services(plane, tmp_path, 2) as services:
        on, (one, two) = services.on, services.started
        log = await _released(on, plane)
        began = await _fires(on, one)
        await _until(lambda: bool(log.undone()), "the undo")
        one.signal(signal.SIGKILL)
        killed = on.clock.now()
        told = await _ends(on, two, began, log)
        assert log.taken() - killed <= TAKEN_WITHIN
        # Within that moment the dead one may have told of it, and not have noted the answer.
        assert told - ONCE <= Counter(["slack: under way", "pagerduty: trigger"])
        assert told >= ONCE


async def test_killed_right_after_the_200_it_ends_it_when_started_again(
    tmp_path: Path, plane: ControlPlane
) -> None:
    async with _services(plane, tmp_path, 1) as services:
        on, (one,) = services.on, services.started
        log = await _released(on, plane)
        began = await _fires(on, one)
        one.signal(signal.SIGKILL)
        await one.child.wait()
        assert log.undone() == []
        again = await services.start()
        started = on.clock.now()
        assert await _ends(on, again, began, log) == ONCE
        assert log.taken() - started <= TAKEN_WITHIN


async def test_stopped_for_longer_than_a_claim_lasts_it_does_nothing_twice(
    tmp_path: Path, plane: ControlPlane
) -> None:
    async with _services(plane, tmp_path, 2) as services:
        on, (one, two) = services.on, services.started
        log = await _released(on, plane)
        began = await _fires(on, one)
        one.signal(signal.SIGSTOP)
        stopped = time.monotonic()
        await on.ended(two, "verifying")
        assert log.taken() - began <= TAKEN_WITHIN
        await asyncio.sleep(Timing().lasts + 1 - (time.monotonic() - stopped))
        one.signal(signal.SIGCONT)
        await on.ready(one)
        assert await _ends(on, two, began, log) == ONCE
        assert await _metric(on, one, "rollback_receiver_claims_taken_total") == 0
        assert await _metric(on, two, "rollback_receiver_claims_taken_total") == 1


async def test_told_to_go_while_it_follows_it_drains_and_another_ends_it(
    tmp_path: Path, plane: ControlPlane
) -> None:
    good = "v2-slow-3s"
    async with _services(plane, tmp_path, 2) as services:
        on, (one, two) = services.on, services.started
        log = await _released(on, plane, good)
        began = await _fires(on, one)
        await on.ended(one, "following")
        one.signal(signal.SIGTERM)
        told_to_go = time.monotonic()
        assert await one.child.wait() == 0
        assert time.monotonic() - told_to_go <= DRAIN
        _, journal = log.journals()[-1]
        assert [incident["phase"] for incident in journal["incidents"]] == ["following"]
        assert "service_stopped" in one.log.read_text()
        left = on.clock.now()
        assert await _ends(on, two, began, log, good) == ONCE
        # It had given its claim up: nobody had to wait for its silence.
        assert log.taken() - left <= timedelta(seconds=Timing().lasts)


async def _metric(on: Scene, service: Service, name: str) -> float:
    async with on.session.get(f"{service.url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))
