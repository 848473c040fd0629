"""The whole story on one machine: a bad release, its alert, one rollback, and the proof.

The Kubernetes API is the sandbox in this process. Prometheus and Alertmanager are the real ones
where they are installed; else captured webhooks are played.
"""

import asyncio
import contextlib
import json
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from receiver import alerts as al
from receiver import app
from receiver.config import Settings, read
from receiver.controller.setup import SWITCH
from receiver.demo import pair
from receiver.demo.people import KEY_LENGTH, People
from receiver.demo.shop import BROKEN_TAG, DEPLOYMENT, NAMESPACE, RULES, Shop
from receiver.demo.timeline import Timeline
from receiver.sandbox import Sandbox

STATE = "rollback-receiver"
IMAGE = "registry.example/checkout"
WITHIN = 90.0
TOKEN, PERSON_TOKEN = "demo-webhook-token", "demo-person-token"


class DemoError(Exception):
    """The story did not go as it must."""


@dataclass(slots=True)
class Stage:
    """Everything that runs."""

    sandbox: Sandbox
    people: People
    shop: Shop
    folder: Path
    timeline: Timeline
    world: app.World
    url: str = ""
    kubernetes: str = ""
    prometheus: str = ""


async def run(*, hold: bool, captured: bool) -> int:
    """Play the story; return 0 when every part of it was seen."""
    world = app.system_world()
    timeline = Timeline(world.clock)
    programs = None if captured else pair.programs()
    if programs is None and not captured:
        timeline.say("setup", f"Prometheus and Alertmanager are not installed: {pair.INSTALL}")
    if programs is None:
        timeline.say("setup", "playing captured webhooks instead of the real pair")
    world = app.World(clock=world.clock, rng=world.rng, log=timeline.logger())
    with tempfile.TemporaryDirectory(prefix="rollback-receiver-demo-") as folder:
        stage = Stage(
            sandbox=(sandbox := Sandbox(world.clock)),
            people=People(),
            shop=Shop(lambda: sandbox.list("Pod")),
            folder=Path(folder),
            timeline=timeline,
            world=world,
        )
        try:
            async with _service(stage):
                if programs is None:
                    await _story(stage, lambda: _play_captured(stage))
                else:
                    async with _pair(stage, programs):
                        await _story(stage, None)
                        await _scraped(stage)
                        if hold:
                            await _hold(stage)
                        return 0
                if hold:
                    await _hold(stage)
        except (DemoError, pair.NotStartedError, TimeoutError) as error:
            timeline.say("FAILED", str(error) or "something did not happen in time")
            return 1
    return 0


# --- the set


@contextlib.asynccontextmanager
async def _service(stage: Stage) -> AsyncIterator[None]:
    """Run the sandbox, the people and the service, configured by a file as anywhere."""
    sandbox = stage.sandbox
    async with sandbox.serve() as stage.kubernetes, stage.people.serve() as people:
        sandbox.create_namespace(STATE)
        sandbox.create("ConfigMap", {"metadata": {"name": SWITCH, "namespace": STATE}})
        config = write_config(stage.folder, sandbox.kubeconfig(stage.kubernetes), people)
        settings = read(config)
        if not isinstance(settings, Settings):
            raise DemoError("; ".join(map(str, settings)))
        async with app.running(settings, stage.world) as replica:
            stage.url = replica.url
            said = f"Kubernetes API on {stage.kubernetes}, a sandbox in this process"
            stage.timeline.say("setup", f"{said}: no cluster needed")
            stage.timeline.say("setup", f"Slack and PagerDuty on {people}, played by this process")
            stage.timeline.say("setup", f"service on {replica.url}, configured by {config}")
            yield


def write_config(folder: Path, kubeconfig: dict[str, Any], people: str, **more: Any) -> Path:
    """Write a `configuration` with its secrets into a folder; return its path."""
    path = folder / "receiver.yaml"
    document = configuration(folder, kubeconfig, people, **more)
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def configuration(
    folder: Path,
    kubeconfig: dict[str, Any],
    people: str,
    *,
    cluster: str = "",
    namespace: str = NAMESPACE,
    state: str = STATE,
    **policy: Any,
) -> dict[str, Any]:
    """Return a configuration whose secrets are written into a folder."""
    for name, text in {
        "webhook-token": TOKEN,
        "person-token": PERSON_TOKEN,
        "pagerduty-key": "0" * KEY_LENGTH,
        **{f"slack-{c}": f"{people}/services/{c}" for c in ("prod-alerts", "engineering", "info")},
        "kubeconfig": json.dumps(kubeconfig, indent=2),
    }.items():
        (folder / name).write_text(text)
    slack = {
        name: {"kind": "slack-webhook", "url_file": str(folder / f"slack-{channel}")}
        for name, channel in (
            ("prod-alerts", "prod-alerts"),
            ("engineering", "engineering"),
            ("deployments", "info"),
        )
    }
    pagerduty = {
        "kind": "pagerduty",
        "routing_key_file": str(folder / "pagerduty-key"),
        "endpoint": people,
    }
    return {
        "server": {"address": pair.HOST, "port": 0, "drain": "1s"},
        "cluster": {"name": cluster},
        "auth": {
            "webhook": {"bearer_tokens": [{"file": str(folder / "webhook-token")}]},
            "people": {
                "tokens": [
                    {
                        "name": "you",
                        "file": str(folder / "person-token"),
                        "namespaces": [namespace, state],
                    }
                ]
            },
        },
        "kubernetes": {
            "kubeconfig": str(folder / "kubeconfig"),
            "namespaces": [namespace],
            "state_namespace": state,
        },
        "policy": {
            "mode": "act",
            "settle": "1s",
            "cooldown": "1m",
            "verify_within": "1m",
            "assumed_for": "2s",
        }
        | policy,
        "notify": {"sinks": {**slack, "pagerduty": pagerduty}},
    }


@contextlib.asynccontextmanager
async def _pair(stage: Stage, programs: pair.Programs) -> AsyncIterator[None]:
    rules = stage.folder / "rules.yml"
    rules.write_text(RULES)
    async with contextlib.AsyncExitStack() as stack:
        exporter = await stack.enter_async_context(stage.shop.serve())
        webhook = pair.Webhook(
            url=f"{stage.url}/api/v1/alerts", token_file=stage.folder / "webhook-token"
        )
        managers = await stack.enter_async_context(
            pair.alertmanagers(programs.alertmanager, stage.folder, [webhook])
        )
        stage.prometheus = await stack.enter_async_context(
            pair.prometheus(
                programs.prometheus,
                stage.folder,
                scrape={"shop": exporter, "rollback-receiver": stage.url.removeprefix("http://")},
                alertmanagers=managers,
                rules=rules,
            )
        )
        stage.timeline.say("setup", f"Prometheus on {stage.prometheus}")
        stage.timeline.say("setup", f"Alertmanager on {', '.join(managers)}")
        yield


# --- the story


async def _story(stage: Stage, play: Callable[[], Coroutine[Any, Any, None]] | None) -> None:
    sandbox, timeline = stage.sandbox, stage.timeline
    labels = {"rollback-receiver/enabled": "true"}
    for tag in ("v1", "v2"):
        sandbox.deploy(NAMESPACE, DEPLOYMENT, f"{IMAGE}:{tag}", labels=labels)
        await until(partial(serves, sandbox, tag), f"{tag} rolled out")
        timeline.say("release", f"{NAMESPACE}/{DEPLOYMENT} {IMAGE}:{tag} is rolled out")
    if play is None:
        await asyncio.sleep(3)  # a little of normal traffic for the rule to compare with
    sandbox.clear_log()
    sandbox.deploy(NAMESPACE, DEPLOYMENT, f"{IMAGE}:v3-{BROKEN_TAG}")
    timeline.say(
        "release", f"{IMAGE}:v3-{BROKEN_TAG} is being rolled out: every other request fails"
    )
    playing = asyncio.create_task(play()) if play is not None else None
    await until(lambda: serves(sandbox, "v2"), "v2 serves again")
    await until(lambda: timeline.saw("incident_ended"), "the incident ended")
    await until(lambda: any(p["event_action"] == "resolve" for p in stage.people.pages), "told")
    await until(lambda: _told(stage), "everybody told the outcome")
    if playing is not None:
        await playing
    _check(stage)


def serves(sandbox: Sandbox, tag: str) -> bool:
    """Return whether all pods of the Deployment run an image of that tag, and are available."""
    found = sandbox.get("Deployment", NAMESPACE, DEPLOYMENT)
    if found is None:
        return False
    status, meta = found.get("status") or {}, found["metadata"]
    image = found["spec"]["template"]["spec"]["containers"][0]["image"]
    want = found["spec"]["replicas"]
    return bool(
        image.endswith(f":{tag}")
        and status.get("observedGeneration") == meta["generation"]
        and status.get("updatedReplicas") == status.get("replicas") == want
        and status.get("availableReplicas") == want
    )


def _told(stage: Stage) -> bool:
    return any("RECOVERED" in message["text"] for _, message in stage.people.slack)


def _check(stage: Stage) -> None:
    """Count what was written, by the API's own log."""
    ours = [
        write
        for write in stage.sandbox.writes
        if write.template_changed and write.by == "rollback-receiver"
    ]
    if len(ours) != 1:
        raise DemoError(f"{len(ours)} template writes instead of 1")
    ended = stage.timeline.facts("incident_ended")
    if ended.get("phase") != "recovered":
        raise DemoError(f"the incident ended as {ended.get('phase')}: {ended.get('detail')}")
    stage.timeline.say("proof", "the API's log holds exactly one rollback; the alert resolved")


async def _scraped(stage: Stage) -> None:
    """See the rollback in Prometheus itself, which scraped it from us, and who sent the alert."""
    query = 'rollback_receiver_rollbacks_total{outcome="recovered"}'

    async def value() -> float:
        async with (
            aiohttp.ClientSession(trust_env=False) as session,
            session.get(f"{stage.prometheus}/api/v1/query", params={"query": query}) as answer,
        ):
            found = (await answer.json())["data"]["result"]
        return float(found[0]["value"][1]) if found else 0.0

    async with asyncio.timeout(WITHIN):
        while await value() != 1.0:  # noqa: ASYNC110 - Prometheus tells no event
            await asyncio.sleep(0.5)
    stage.timeline.say("proof", f"Prometheus has scraped {query} = 1")


async def _play_captured(stage: Stage) -> None:
    """Post webhooks that Alertmanager once sent, with their times moved to now."""
    now = stage.world.clock.now()
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    headers["User-Agent"] = "a recording of Alertmanager"
    async with aiohttp.ClientSession(trust_env=False, headers=headers) as session:
        for name, wait in (("firing", 2.0), ("firing", 1.0), ("resolved", 6.0)):
            await asyncio.sleep(wait)
            text = resources.files(__package__).joinpath(f"captured/{name}.json").read_text()
            body = json.loads(text)
            for alert in body["alerts"]:
                alert["labels"] |= {"deployment": DEPLOYMENT, "namespace": NAMESPACE}
                for label in ("track", "cluster"):
                    alert["labels"].pop(label, None)
                alert["annotations"]["for"] = "1s"
                alert["fingerprint"] = al.fingerprint(alert["labels"])
                alert["startsAt"] = (now + timedelta(seconds=2)).isoformat()
                if alert["status"] == "resolved":
                    alert["endsAt"] = stage.world.clock.now().isoformat()
            async with session.post(f"{stage.url}/api/v1/alerts", json=body) as answer:
                if not answer.ok:
                    raise DemoError(f"the webhook was answered {answer.status}")


async def until(holds: Callable[[], bool], what: str) -> None:
    """Return when something holds; raises `DemoError` when it takes too long."""
    try:
        async with asyncio.timeout(WITHIN):
            while not holds():  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise DemoError(f"did not happen within {WITHIN:.0f} s: {what}") from None


async def _hold(stage: Stage) -> None:
    """Print what can be tried by hand, and stay up until Ctrl-C."""
    auth = f"-H 'Authorization: Bearer {PERSON_TOKEN}'"
    target = f"{stage.url}/api/v1/deployments/{NAMESPACE}/{DEPLOYMENT}"
    post = f"curl -s {auth} -X POST {target}/rollback"
    read = " | python3 -m json.tool"
    lines = (
        ("the history, with images, ages and marks", f"curl -s {auth} {target}{read}"),
        (
            "a rollback by hand, judged by the API server and not done",
            f"""{post} -d '{{"reason":"trying it","to_revision":1,"dry_run":true}}'{read}""",
        ),
        (
            "and done",
            f"""{post} -d '{{"reason":"back to v1","to_revision":1,"wait":true}}'{read}""",
        ),
        (
            "one more step back, so soon: refused",
            f"""{post} -d '{{"reason":"once more"}}'{read}""",
        ),
        ("what happened", f"curl -s {auth} {stage.url}/api/v1/incidents{read}"),
        ("how it is", f"curl -s {stage.url}/health{read}"),
        ("what it counted", f"curl -s {stage.url}/metrics | grep '^rollback_receiver.* [1-9]'"),
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    stage.timeline.say("try", "by hand, until Ctrl-C:")
    for what, line in lines:
        print(f"    # {what}\n    {line}", flush=True)
    await stop.wait()
