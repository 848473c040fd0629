"""Stories as lists of steps, and an oracle that judges them by what the API server was sent.

The oracle knows nothing of the service's code: only the words of its promises, the annotations
that it may write, and what a template is.
"""

import asyncio
import contextlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeAlias

from receiver import app
from receiver.controller.setup import Timing
from receiver.sandbox import RolloutError, Write
from tests.stage import NAME, NAMESPACE, Stage, crash, firing, resolved, stage, webhook
from tests.virtual import run

Kind: TypeAlias = Literal[
    "deploy",
    "redeploy",
    "fire",
    "again",
    "resolve",
    "scale",
    "pause",
    "resume",
    "undo",
    "restart",
    "curl",
    "crash",
    "pass",
]
To: TypeAlias = Literal["first", "second", "both"]
Obj: TypeAlias = dict[str, Any]

US, STATE, BYSTANDER = "rollback-receiver", "rollback-receiver", "bystander"
OWN = "rollback-receiver/"
RECORD = OWN + "record"
CAUSE = "kubernetes.io/change-cause"
RESTARTED = "kubectl.kubernetes.io/restartedAt"
TERMINAL = frozenset(
    {
        "recovered",
        "unconfirmed",
        "did_not_help",
        "rollout_failed",
        "refused",
        "resolved_by_itself",
        "superseded",
        "gone",
    }
)
ALERTS = ("CanaryErrorRateHigh", "LatencyHigh")
COOLDOWN = timedelta(minutes=1)
AFTERMATH = 900
# Who is alive, and what one may do, is asked less often than in production: it costs real time.
TIMING = Timing(beat=15, lasts=40, rights=3600)


@dataclass(frozen=True)
class Step:
    """One step: `n` chooses among what there is, `to` the replicas, `then` seconds pass after."""

    kind: Kind
    n: int = 0
    to: To = "first"
    then: float = 0.5


@dataclass
class Firing:
    """One firing of one alert, as it was accepted."""

    alertname: str
    since: datetime
    until: datetime | None = None


@dataclass
class Play:
    """What has been played: enough to judge the log of the API server."""

    firings: list[Firing] = field(default_factory=list)
    undone: set[int] = field(default_factory=set)
    writes: list[Write] = field(default_factory=list)
    incidents: list[Obj] = field(default_factory=list)

    @property
    def automatic(self) -> list[Write]:
        """Return the rollbacks that nobody asked for by hand."""
        return [w for w in self.writes if _swap(w) and w.by == US and _record(w)["by"] == US]


def play(steps: Sequence[Step], **spec: Any) -> Play:
    """Play a story from its beginning, 15 minutes on, and judge it."""
    done = Play()

    async def story() -> None:
        with tempfile.TemporaryDirectory() as home:
            async with stage(Path(home)) as on, contextlib.AsyncExitStack() as stack:
                await _Player(on, stack, done).play(steps, spec)

    run(story)
    judge(done)
    return done


class _Player:
    def __init__(self, on: Stage, stack: contextlib.AsyncExitStack, done: Play) -> None:
        self._on = on
        self._stack = stack
        self._done = done
        self._replicas: list[app.Replica] = []
        self._tags = 0
        self._seeds = 0
        self._curls: list[asyncio.Task[Any]] = []

    async def play(self, steps: Sequence[Step], spec: Obj) -> None:
        on = self._on
        self._replicas = [await self._start(), await self._start()]
        on.sandbox.deploy(NAMESPACE, BYSTANDER, "app:v1")
        more: Obj = {"progressDeadlineSeconds": 60} | spec
        for _ in range(2):
            self._tags += 1
            await on.release(f"v{self._tags}", wait=10, **more)
        for step in steps:
            await self._do(step)
            await asyncio.sleep(step.then)
        await asyncio.sleep(AFTERMATH)
        await asyncio.gather(*self._curls)
        status, answer = await on.ask(self._replicas[0], "GET", "incidents")
        assert status == 200, answer
        self._done.incidents = answer["incidents"]
        self._done.writes = list(on.sandbox.writes)

    async def _start(self) -> app.Replica:
        self._seeds += 1
        # What would refuse a second rollback anyhow must not hide that a rule lets it through.
        lenient: Obj = {"bake": "1s", "budgets": {"per_target": [], "per_cluster": []}}
        replica = await self._stack.enter_async_context(self._on.replica(self._seeds, **lenient))
        object.__setattr__(replica.controller._setup, "timing", TIMING)
        return replica

    def _to(self, step: Step) -> list[app.Replica]:
        first, second = self._replicas
        return {"first": [first], "second": [second], "both": [first, second]}[step.to]

    async def _do(self, step: Step) -> None:
        if step.kind in ("fire", "again", "resolve"):
            await self._alert(step)
        elif step.kind == "curl":
            wish = {"reason": "by hand", "wait": False}
            answer = self._on.rollback(self._to(step)[-1], **wish)
            self._curls.append(asyncio.create_task(answer))
        elif step.kind == "crash":
            which = step.n % 2
            crash(self._replicas[which])
            self._replicas[which] = await self._start()
        elif step.kind != "pass":
            with contextlib.suppress(RolloutError):
                self._kubectl(step)

    def _kubectl(self, step: Step) -> None:
        sandbox, here = self._on.sandbox, (NAMESPACE, NAME)
        if step.kind == "deploy":
            self._tags += 1
            sandbox.deploy(*here, f"app:v{self._tags}")
        elif step.kind == "redeploy":
            sandbox.deploy(*here, f"app:v{1 + step.n % self._tags}")
        elif step.kind == "scale":
            sandbox.scale(*here, 1 + step.n % 4)
        elif step.kind == "pause":
            sandbox.pause(*here)
        elif step.kind == "resume":
            sandbox.resume(*here)
        elif step.kind == "restart":
            sandbox.rollout_restart(*here)
        else:
            before = len(sandbox.writes)
            sandbox.rollout_undo(*here)
            self._done.undone.update(range(before, len(sandbox.writes)))

    async def _alert(self, step: Step) -> None:
        now, firings = self._on.clock.now(), self._done.firings
        if step.kind == "fire":
            new = Firing(ALERTS[step.n % 2], now)
            firings.append(new)
            elsewhere = firing(now, alertname=new.alertname, deployment=BYSTANDER)
            body = webhook(firing(new.since, alertname=new.alertname), elsewhere)
        elif not firings:
            return
        elif step.kind == "again":
            old = firings[step.n % len(firings)]
            body = webhook(firing(old.since, alertname=old.alertname))
        else:
            name = firings[step.n % len(firings)].alertname
            ending = [f for f in firings if f.alertname == name and f.until is None]
            for one in ending:
                one.until = now
            body = webhook(*(resolved(f.since, now, alertname=name) for f in ending))
            if not ending:
                return
        await asyncio.gather(*(self._deliver(replica, body) for replica in self._to(step)))

    async def _deliver(self, replica: app.Replica, body: Obj) -> None:
        """Deliver as Alertmanager does, which comes again after a 503."""
        for _ in range(8):
            status, answer = await self._on.post(replica, body)
            if status == 200:
                return
            assert status == 503, answer
            await asyncio.sleep(2)
        raise AssertionError("eight times 503")


# --- the oracle


def judge(done: Play, cooldown: timedelta = COOLDOWN) -> None:
    """Raise `AssertionError` for each promise that what was written breaks."""
    _only_what_is_ours(done)
    _rollbacks(done, cooldown)
    phases = [(i["id"], i["phase"]) for i in done.incidents]
    assert all(phase in TERMINAL for _, phase in phases), f"not terminal: {phases}"
    left = {_record(w)["id"] for w in done.writes if _swap(w) and w.by == US}
    assert left <= {id_ for id_, _ in phases}, f"a rollback without its incident: {left}, {phases}"


@dataclass
class _Seen:
    """What the log says up to a write. `since`: when the current code became so."""

    code: str = ""
    since: datetime | None = None
    brought_back: bool = False
    left: set[str] = field(default_factory=set)
    left_by_automation: set[tuple[str, str]] = field(default_factory=set)
    last_rollback: datetime | None = None


def _rollbacks(done: Play, cooldown: timedelta) -> None:
    seen, before = _Seen(), None
    alerted = _alerted(done)
    for index, write in enumerate(done.writes):
        if write.kind != "Deployment" or write.name != NAME or write.after is None:
            continue
        if write.by == US and write.before is not None:
            assert before is not None, "written before there was any"
            assert write.before["spec"] == before["spec"], "written over a change not seen"
        if _swap(write) and write.by == US:
            _rollback(write, seen, done, alerted)
            if seen.last_rollback is not None:
                assert write.at - seen.last_rollback >= cooldown, f"two steps back at {write.at}"
            seen.last_rollback = write.at
        code = _code(write.after)
        if code != seen.code:
            back = write.by == US or index in done.undone
            if back:
                seen.left.add(seen.code)
            seen.left.discard(code)
            seen.code, seen.since, seen.brought_back = code, write.at, back
        before = write.after


def _rollback(write: Write, seen: _Seen, done: Play, alerted: dict[str, datetime]) -> None:
    assert write.before is not None
    assert write.after is not None
    bad, good = _code(write.before), _code(write.after)
    record = _record(write)
    what = f"{_image(write.before)} -> {_image(write.after)} at {write.at}, {record}"
    assert bad != good, f"no other code: {what}"
    assert record["from"] == _hash(done, write.before), f"another was to be left: {what}"
    assert good not in seen.left, f"onto what had been rolled away from: {what}"
    at = alerted.get(good)
    assert at is None or at >= write.at, f"onto what alerted at {at}: {what}"
    if record["by"] != US:
        return
    key = (write.before["metadata"]["uid"], bad)
    assert key not in seen.left_by_automation, f"left by automation for the second time: {what}"
    seen.left_by_automation.add(key)
    assert not seen.brought_back, f"away from what was brought back: {what}"
    began = [f.since for f in done.firings if f.since <= write.at]
    assert seen.since is not None
    assert any(at >= seen.since for at in began), f"no alert since it was released: {what}"


def _alerted(done: Play) -> dict[str, datetime]:
    """Return the codes that ran steadily when an alert began, and when that was.

    Steadily: current for a while before, with its controller not paused. What is not as clear may
    be bound to either code.
    """
    found: dict[str, datetime] = {}
    for one in done.firings:
        early = _at(done, one.since - timedelta(seconds=30))
        during = list(_states(done, one.since - timedelta(seconds=30), one.since))
        states = [early, *during]
        if any(state is None or state["spec"].get("paused") for state in states):
            continue
        codes = {_code(state) for state in states if state is not None}
        if len(codes) == 1:
            code = codes.pop()
            found[code] = min(one.since, found.get(code, one.since))
    return found


def _states(done: Play, since: datetime, until: datetime) -> Iterator[Obj]:
    for w in done.writes:
        if w.kind == "Deployment" and w.name == NAME and w.after and since < w.at <= until:
            yield w.after


def _at(done: Play, moment: datetime) -> Obj | None:
    found = list(_states(done, datetime.min.replace(tzinfo=moment.tzinfo), moment))
    return found[-1] if found else None


def _only_what_is_ours(done: Play) -> None:
    for write in done.writes:
        if write.by != US:
            continue
        if write.kind == "ConfigMap":
            assert write.namespace == STATE, f"a ConfigMap elsewhere: {write.path}"
        elif write.kind != "Deployment":
            assert (write.kind, write.verb) in (("Event", "create"), ("Event", "patch")), write.path
        else:
            assert write.before is not None, f"created: {write.path}"
            assert write.after is not None, f"deleted: {write.path}"
            label = write.before["metadata"].get("labels", {}).get(OWN + "enabled")
            assert label == "true", f"not opted in: {write.path}"
            assert _rest(write.before) == _rest(write.after), f"more than ours: {write.path}"


def _rest(deployment: Obj) -> Obj:
    """Return a Deployment without what the service may write and what counts writes."""
    meta = dict(deployment["metadata"])
    for counted in ("generation", "resourceVersion", "managedFields"):
        meta.pop(counted, None)
    annotations = meta.get("annotations") or {}
    meta["annotations"] = {
        k: v for k, v in annotations.items() if not k.startswith(OWN) and k != CAUSE
    }
    spec = {k: v for k, v in deployment["spec"].items() if k != "template"}
    others = {k: v for k, v in deployment.items() if k not in ("metadata", "spec")}
    return others | {"metadata": meta, "spec": spec}


def _swap(write: Write) -> bool:
    return write.kind == "Deployment" and write.template_changed and write.before is not None


def _record(write: Write) -> Obj:
    assert write.after is not None
    record: Obj = json.loads(write.after["metadata"]["annotations"][RECORD])
    return record


def _code(obj: Obj) -> str:
    """Return a template as text, without what a restart writes into it."""
    template = json.loads(json.dumps(obj["spec"]["template"]))
    meta = template.get("metadata") or {}
    (meta.get("annotations") or {}).pop(RESTARTED, None)
    if not meta.get("annotations"):
        meta.pop("annotations", None)
    (meta.get("labels") or {}).pop("pod-template-hash", None)
    return json.dumps(template, sort_keys=True)


def _image(obj: Obj) -> str:
    image: str = obj["spec"]["template"]["spec"]["containers"][0]["image"]
    return image


def _hash(done: Play, deployment: Obj) -> str:
    """Return the hash of the ReplicaSet that the controller once made for this template."""
    wanted = _pure(deployment)
    for write in done.writes:
        if write.kind != "ReplicaSet" or write.after is None:
            continue
        labels = write.after["metadata"].get("labels", {})
        if labels.get("app") == NAME and _pure(write.after) == wanted:
            found: str = labels["pod-template-hash"]
            return found
    raise AssertionError("the template that was left has no ReplicaSet")


def _pure(obj: Obj) -> Obj:
    template: Obj = json.loads(json.dumps(obj["spec"]["template"]))
    template["metadata"]["labels"].pop("pod-template-hash", None)
    return template
