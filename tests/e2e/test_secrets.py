"""No secret leaves by any door: every slot holds a marked one, and all that comes out is searched.

The service runs as a process that logs at DEBUG, and whoever it speaks to repeats what it was sent.
"""

import asyncio
import base64
import contextlib
import io
import json
from collections.abc import AsyncIterator
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
from tests.notify.post_office import PASSWORD, PostOffice
from tests.notify.sites import serving
from tests.stage import OPTED_IN, firing, resolved, webhook

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]

CLOCK = SystemClock()
# In every secret, and in nothing else.
MARK = "7f3a9c51"
# What each slot holds. The mail server knows one password.
SLOTS = {
    "webhook-token": f"webhook-{MARK}-token",
    "basic-password": f"basic-{MARK}-password",
    "person-token": f"person-{MARK}-token",
    "kubernetes-token": f"kubernetes-{MARK}-token",
    "prometheus-token": f"prometheus-{MARK}-token",
    "slack-token": f"xoxb-{MARK}-bot",
    "slack-path": f"T0/B0/{MARK}slack",
    "pagerduty-key": f"{MARK}pagerduty".ljust(32, "0"),
    "hook-path": f"{MARK}hook",
    "hook-secret": f"hook-{MARK}-secret",
    "mail-password": PASSWORD,
}


# One after the other, and then the last one for ever. A 400 of PagerDuty that speaks of the routing
# key is taken for a wrong one, and a wrong one is not tried again for a minute.
ANSWERS = {"": (500, 400, 200), "v2": (500, 302, 200)}


@dataclass
class Parrots:
    """Slack, PagerDuty, a webhook and a Prometheus that repeat what they get, and fail at first.

    `got` is what each was sent, without the headers.
    """

    got: dict[str, list[str]] = field(default_factory=dict)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        who = request.path.split("/")[1]
        body = await request.text()
        calls = self.got.setdefault(who, [])
        calls.append(body)
        answers = ANSWERS.get(who, ANSWERS[""])
        status = answers[min(len(calls), len(answers)) - 1]
        if status == 200 and who == "v2":
            return web.Response(status=202, text="{}")
        if status == 200 and who == "services":
            return web.Response(text="ok")
        if status == 200 and who == "slack":
            told = {"ok": True, "channel": "C0PRODALERTS", "ts": f"{len(calls)}.000100"}
            return web.json_response(told)
        said = f"{request.method} {request.url} {dict(request.headers)} {body}"
        return web.Response(status=status, text=said, headers={"Location": f"/{said[:500]!r}"})


@dataclass
class Story:
    """What is played, and the doors by which something could leave."""

    sandbox: Sandbox
    parrots: Parrots
    office: PostOffice
    log: Path
    url: str
    session: aiohttp.ClientSession
    pid: int = 0
    heard: list[str] = field(default_factory=list)

    async def say(self, method: str, path: str, *, key: str = "", body: bytes = b"") -> int:
        """Send a request, and keep what the answer says."""
        headers = {"Authorization": key} if key else {}
        headers["Content-Type"] = "application/json"
        async with self.session.request(
            method, self.url + path, data=io.BytesIO(body), headers=headers
        ) as answer:
            self.heard.append(f"{answer.status} {answer.headers} {await answer.text()}")
            return answer.status

    async def post(self, alert: dict[str, Any], key: str = "") -> int:
        key = key or f"Bearer {SLOTS['webhook-token']}"
        body = json.dumps(webhook(alert)).encode()
        return await self.say("POST", "/api/v1/alerts", key=key, body=body)

    def doors(self) -> dict[str, str]:
        """Return all that came out, by the door."""
        objects = ("ConfigMap", "Event", "Deployment")
        return {
            "log": self.log.read_text(),
            "answers": "\n".join(self.heard),
            "process list": Path(f"/proc/{self.pid}/cmdline").read_text(),
            "objects": json.dumps([self.sandbox.list(kind, "") for kind in objects]),
            "mail": "\n".join(str(mail) for mail in self.office.taken),
            **{f"to {who}": "\n".join(bodies) for who, bodies in self.parrots.got.items()},
        }


def _sinks(secret: dict[str, str], people: str, port: int) -> dict[str, Any]:
    return {
        "prod-alerts": {
            "kind": "slack",
            "token_file": secret["slack-token"],
            "channel": "C0PRODALERTS",
            "endpoint": f"{people}/slack",
        },
        "engineering": {"kind": "slack-webhook", "url_file": secret["slack-url"]},
        "pagerduty": {
            "kind": "pagerduty",
            "routing_key_file": secret["pagerduty-key"],
            "endpoint": people,
        },
        "hook": {
            "kind": "webhook",
            "url_file": secret["hook-url"],
            "secret_file": secret["hook-secret"],
        },
        "mail": {
            "kind": "email",
            "host": pair.HOST,
            "port": port,
            "tls": "none",
            "username": "receiver",
            "password_file": secret["mail-password"],
            "from": "receiver@example.com",
            "to": ["on-call@example.com"],
        },
    }


def _configuration(home: Path, kubeconfig: dict[str, Any], people: str, mail: int) -> Path:
    """Write a configuration with every slot for a secret filled; return its path."""
    config = demo.write_config(home, kubeconfig, people, settle="1s", verify_within="10s")
    texts = SLOTS | {
        "slack-url": f"{people}/services/{SLOTS['slack-path']}",
        "hook-url": f"{people}/hooks/{SLOTS['hook-path']}",
    }
    for name, text in texts.items():
        (home / name).write_text(text)
    secret = {name: str(home / name) for name in texts}
    document = yaml.safe_load(config.read_text())
    document["server"] |= {"port": pair.free_port()}
    basic = {"username": "alertmanager", "password_file": secret["basic-password"]}
    document["auth"]["webhook"]["basic"] = basic
    document["prometheus"] = {
        "url": f"{people}/prometheus",
        "token_file": secret["prometheus-token"],
    }
    document["notify"]["sinks"] = _sinks(secret, people, mail)
    everybody = list(document["notify"]["sinks"])
    document["notify"]["routes"] = {"critical": everybody, "default": everybody}
    config.write_text(yaml.safe_dump(document))
    return config


@contextlib.asynccontextmanager
async def _playing(home: Path) -> AsyncIterator[Story]:
    sandbox, parrots, office = Sandbox(CLOCK), Parrots(), PostOffice()
    sandbox.require_token(SLOTS["kubernetes-token"])
    async with (
        sandbox.serve() as kubernetes,
        serving(parrots.answer) as people,
        office.serve(starttls=False),
        aiohttp.ClientSession() as session,
    ):
        sandbox.create_namespace(demo.STATE)
        sandbox.create("ConfigMap", {"metadata": {"name": SWITCH, "namespace": demo.STATE}})
        reached = sandbox.kubeconfig(kubernetes, token=SLOTS["kubernetes-token"])
        config = _configuration(home, reached, people, office.port)
        port = yaml.safe_load(config.read_text())["server"]["port"]
        story = Story(
            sandbox, parrots, office, home / "service.log", f"http://{pair.HOST}:{port}", session
        )
        for tag in ("v1", "v2"):
            sandbox.deploy(shop.NAMESPACE, shop.DEPLOYMENT, f"app:{tag}", labels=OPTED_IN)
            await asyncio.sleep(1)
        command = [*COMMAND, "serve", "--debug", "--config", str(config)]
        with story.log.open("wb") as out:
            child = await asyncio.create_subprocess_exec(*command, stdout=out, stderr=out)
        story.pid = child.pid
        try:
            await until_ready(story)
            yield story
        finally:
            child.terminate()
            await child.wait()


async def until_ready(story: Story) -> None:
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                if await story.say("GET", "/ready") == 200:
                    return
            await asyncio.sleep(0.1)


def _all_told(story: Story) -> bool:
    """Return whether each sink took a message in the end."""
    sinks = ("slack", "services", "v2", "hooks")
    calls = (len(story.parrots.got.get(who, ())) for who in sinks)
    return all(count >= len(ANSWERS[""]) for count in calls) and bool(story.office.taken)


async def test_no_secret_comes_out_by_any_door(tmp_path: Path) -> None:
    async with _playing(tmp_path) as story:
        began = CLOCK.now()
        labels = {"deployment": shop.DEPLOYMENT, "namespace": shop.NAMESPACE}
        assert await story.post(firing(began, **labels)) == 200
        basic = base64.b64encode(f"alertmanager:{SLOTS['basic-password']}".encode()).decode()
        assert await story.post(firing(began, **labels), f"Basic {basic}") == 200
        # Wrong ones, which are secrets of somebody, too; and one in a place where it is not looked.
        assert await story.post(firing(began, **labels), f"Bearer wrong-{MARK}") == 401
        assert await story.post(firing(began, **labels), f"Basic {MARK}") == 401
        assert await story.say("POST", f"/api/v1/alerts?token={MARK}", body=b"{") == 401
        person = f"Bearer {SLOTS['person-token']}"
        for path in ("incidents", "deployments", "scorecard", "stop", "breaker"):
            await story.say("GET", f"/api/v1/{path}", key=person)
            assert await story.say("GET", f"/api/v1/{path}", key=f"Bearer {MARK}") == 401
        await until(lambda: _all_told(story), "every sink takes a message", 90)
        assert await story.post(resolved(began, CLOCK.now(), **labels)) == 200
        await until(lambda: "prometheus" in story.parrots.got, "Prometheus is asked")
        for path in ("/health", "/ready", "/metrics", "/", "/nothing"):
            await story.say("GET", path)
        doors = story.doors()
    doors["log"] = story.log.read_text()  # with what is said at the end
    for slot, secret in SLOTS.items():
        told = {door for door, text in doors.items() if secret in text}
        # A routing key is the one secret that goes into a body: to PagerDuty.
        assert told == ({"to v2"} if slot == "pagerduty-key" else set()), slot
    found = {door for door, text in doors.items() if MARK in text} - {"to v2"}
    assert found == set(), [line[:500] for line in _lines_with(doors, found)]
    assert "notice_delivered" in doors["log"]
    assert '"level": "debug"' in doors["log"]


def _lines_with(doors: dict[str, str], found: set[str]) -> list[str]:
    return [line for door in found for line in doors[door].splitlines() if MARK in line]
