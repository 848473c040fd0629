"""The outbox by processes: killed at each moment of a message, and while the sinks hang."""

import asyncio
import contextlib
import io
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from receiver import demo
from receiver.clock import SystemClock
from receiver.controller.setup import SWITCH
from receiver.demo import pair, shop
from receiver.sandbox import Sandbox
from tests.e2e.processes import COMMAND, until
from tests.notify.sites import serving
from tests.stage import OPTED_IN, firing, resolved, webhook

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]

CLOCK = SystemClock()
CHAT, PAGER = "prod-alerts", "pagerduty"


@dataclass
class Sinks:
    """Slack and PagerDuty: `comes` is called as a message comes, `answered` once it is answered."""

    comes: Callable[[str, str], Awaitable[None]] | None = None
    answered: Callable[[str, str], None] | None = None
    told: list[tuple[str, str]] = field(default_factory=list)
    fails: set[str] = field(default_factory=set)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        parts = request.path.strip("/").split("/")
        if parts[:2] == ["v2", "change"]:
            return web.Response(status=202, text="{}")
        body = await request.json()
        sink = PAGER if parts[0] == "v2" else parts[1]
        said = body.get("event_action") or _word(body["text"])
        self.told.append((sink, said))
        if self.comes is not None:
            await self.comes(sink, said)
        status, text = (202, '{"status":"success"}') if sink == PAGER else (200, "ok")
        response = web.Response(status=500 if sink in self.fails else status, text=text)
        await response.prepare(request)
        await response.write_eof()
        if self.answered is not None:
            self.answered(sink, said)
        return response


def _word(text: str) -> str:
    return "resolve" if "RECOVERED" in text else "trigger"


@dataclass
class Scene:
    """A cluster, the sinks, and one service that is started again when it was killed."""

    sandbox: Sandbox
    sinks: Sinks
    config: Path
    url: str
    session: aiohttp.ClientSession
    child: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        log = self.config.with_suffix(".log")
        with log.open("ab") as out:
            self.child = await asyncio.create_subprocess_exec(
                *COMMAND, "serve", "--config", str(self.config), stdout=out, stderr=out
            )
        async with asyncio.timeout(60):
            while not await self._ready():
                await asyncio.sleep(0.1)

    async def _ready(self) -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            async with self.session.get(f"{self.url}/ready") as answer:
                return answer.status == 200
        return False

    def kill(self) -> None:
        assert self.child is not None
        if self.child.returncode is None:
            self.child.send_signal(signal.SIGKILL)

    async def post(self, *alerts: dict[str, Any]) -> None:
        """Post as Alertmanager does, until it is taken."""
        body = json.dumps(webhook(*alerts)).encode()
        headers = {"Authorization": f"Bearer {demo.TOKEN}", "Content-Type": "application/json"}
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    url = f"{self.url}/api/v1/alerts"
                    async with self.session.post(
                        url, data=io.BytesIO(body), headers=headers
                    ) as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.2)

    @property
    def image(self) -> str:
        found = self.sandbox.get("Deployment", shop.NAMESPACE, shop.DEPLOYMENT)
        assert found is not None
        image: str = found["spec"]["template"]["spec"]["containers"][0]["image"]
        return image.rpartition(":")[2]


@contextlib.asynccontextmanager
async def _scene(home: Path) -> AsyncIterator[Scene]:
    sandbox, sinks, port = Sandbox(CLOCK), Sinks(), pair.free_port()
    async with (
        sandbox.serve() as kubernetes,
        serving(sinks.answer) as people,
        aiohttp.ClientSession() as session,
    ):
        sandbox.create_namespace(demo.STATE)
        sandbox.create("ConfigMap", {"metadata": {"name": SWITCH, "namespace": demo.STATE}})
        config = demo.write_config(home, sandbox.kubeconfig(kubernetes), people, settle="1s")
        document = yaml.safe_load(config.read_text())
        document["server"] |= {"port": port}
        config.write_text(yaml.safe_dump(document))
        scene = Scene(sandbox, sinks, config, f"http://{pair.HOST}:{port}", session)
        for tag in ("v1", "v2"):
            sandbox.deploy(shop.NAMESPACE, shop.DEPLOYMENT, f"app:{tag}", labels=OPTED_IN)
            await asyncio.sleep(1)
        await scene.start()
        try:
            yield scene
        finally:
            scene.kill()
            assert scene.child is not None
            await scene.child.wait()


# tests/crash visits all of them, within one process.
@pytest.mark.parametrize(
    ("when", "said", "sink"),
    [
        ("before the answer", "trigger", CHAT),
        ("after the answer", "trigger", PAGER),
        ("before the answer", "resolve", PAGER),
        ("after the answer", "resolve", CHAT),
    ],
)
async def test_killed_at_a_message_it_is_told_at_least_once_and_at_most_twice(
    tmp_path: Path, sink: str, said: str, when: str
) -> None:
    async with _scene(tmp_path) as scene:
        killed = asyncio.Event()

        def kill(at: str, what: str) -> None:
            if (at, what) == (sink, said) and not killed.is_set():
                scene.kill()
                killed.set()

        async def comes(at: str, what: str) -> None:
            kill(at, what)

        if when == "before the answer":
            scene.sinks.comes = comes
        else:
            scene.sinks.answered = kill
        began = CLOCK.now()
        await scene.post(firing(began, deployment=shop.DEPLOYMENT, namespace=shop.NAMESPACE))
        if said == "resolve":
            await until(
                lambda: {(CHAT, "trigger"), (PAGER, "trigger")} <= {*scene.sinks.told}, "news"
            )
        else:
            await asyncio.wait_for(killed.wait(), 30)
            await scene.start()
            await until(
                lambda: {(CHAT, "trigger"), (PAGER, "trigger")} <= {*scene.sinks.told}, "news"
            )
        ended = resolved(began, CLOCK.now(), deployment=shop.DEPLOYMENT, namespace=shop.NAMESPACE)
        await scene.post(ended)
        if said == "resolve":
            await asyncio.wait_for(killed.wait(), 30)
            await scene.start()
        await until(
            lambda: {(CHAT, "resolve"), (PAGER, "resolve")} <= {*scene.sinks.told}, "the end"
        )
        await asyncio.sleep(2)  # time for whatever would be told twice
        for other in (CHAT, PAGER):
            for what in ("trigger", "resolve"):
                count = scene.sinks.told.count((other, what))
                # What was on its way to the other sink at that moment may be told twice, too.
                assert 1 <= count <= 2, scene.sinks.told
        doubled = [each for each in {*scene.sinks.told} if scene.sinks.told.count(each) == 2]
        assert {what for _, what in doubled} <= {said}, scene.sinks.told
        # Nothing begins after its end.
        for other in (CHAT, PAGER):
            words = [what for at, what in scene.sinks.told if at == other]
            assert words == sorted(words, reverse=True), scene.sinks.told
        assert scene.image == "v1"


async def _seconds_to_the_patch(scene: Scene) -> float:
    began = CLOCK.monotonic()
    await scene.post(firing(CLOCK.now(), deployment=shop.DEPLOYMENT, namespace=shop.NAMESPACE))
    await until(lambda: scene.image == "v1", "the rollback")
    return CLOCK.monotonic() - began


async def test_sinks_that_hang_do_not_delay_a_rollback(tmp_path: Path) -> None:
    seconds = []
    for name, hangs in (("well", False), ("hung", True)):
        home = tmp_path / name
        home.mkdir()
        async with _scene(home) as scene:
            if hangs:

                async def comes(_: str, __: str) -> None:
                    await asyncio.sleep(3600)

                scene.sinks.comes = comes
                # Something is owed already, and hangs, when the alert comes.
                await scene.post(firing(CLOCK.now(), deployment="nobody", namespace=shop.NAMESPACE))
                await until(lambda: len(scene.sinks.told) >= 2, "both sinks hang")
            seconds.append(await _seconds_to_the_patch(scene))
    # The settle time of 1 s and some work; a peer waits for its sink for as long as that hangs.
    assert seconds[1] - seconds[0] < 5, seconds


async def test_a_test_message_says_what_each_sink_answered(tmp_path: Path) -> None:
    async with _scene(tmp_path) as scene:
        code, said = await _test_notify(scene)
        lines = dict(line.split(": ", 1) for line in said.splitlines())
        assert (code, set(lines)) == (0, {CHAT, "engineering", "deployments", PAGER})
        assert all(line.startswith("delivered in ") for line in lines.values())
        assert [what for at, what in scene.sinks.told if at == PAGER] == ["trigger", "resolve"]
        scene.sinks.fails.add(PAGER)
        code, said = await _test_notify(scene, "--sink", PAGER)
        assert (code, said.split(" in ")[0]) == (1, f"{PAGER}: ambiguous")
        assert "NOT closed" in said
        code, said = await _test_notify(scene, "--sink", "nobody")
        assert (code, said) == (2, "")


async def _test_notify(scene: Scene, *more: str) -> tuple[int, str]:
    command = [*COMMAND, "test-notify", "--config", str(scene.config), *more]
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await child.communicate()
    assert child.returncode is not None
    return child.returncode, out.decode()
