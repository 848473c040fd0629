"""A pair of Deployments as an API server and its controller keep them, and a release of theirs.

`Pair` obeys: patches are applied, tested and counted in `generation`; pods become ready when told.
"""

import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from receiver import release as rl
from receiver import rollout as ro
from receiver.journal import (
    Applied,
    HealthCheck,
    Intent,
    Item,
    Mark,
    Measure,
    Plan,
    Release,
    Stage,
)
from receiver.release import Act, Move, Sight, Start
from receiver.rollout import Obj, Rollout
from receiver.sandbox.patch import json_patch
from receiver.sandbox.status import ApiError
from tests.builders import NAME, T0, Counts, deployment, iso, replicaset, template

HOUR = timedelta(hours=1)
STABLE_UID, CANARY_UID = "uid-of-the-stable", "uid-of-the-canary"
CHECK = HealthCheck(name="p95 latency", alert="ReleaseLatencyHigh")
PLAN = Plan(
    name="standard",
    stages=(
        Stage(name="canary", percent=10, soak=24 * HOUR),
        Stage(name="beta", percent=50, soak=24 * HOUR, approvals=("engineering-lead",)),
        Stage(name="full", percent=100, approvals=("cto", "engineering-lead")),
    ),
    watch=4 * HOUR,
    health_checks=(CHECK,),
    checklist=(
        Item(id="ci", text="All tests passing in CI", when="before"),
        Item(id="smoke", text="User-facing features tested", when="after"),
    ),
)
OK = Measure(name=CHECK.name, state="ok", text="0.2 s", at=T0)


@dataclass(slots=True)
class Pair:
    """Two Deployments, an alert or none, and whoever works on the release."""

    plan: Plan = PLAN
    pods: int = 10
    now: datetime = T0
    objects: dict[str, Obj] = field(default_factory=dict)
    release: Release = field(init=False)
    writes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, uid, tag, desired in (
            (NAME, STABLE_UID, "v1", self.pods),
            (f"{NAME}-canary", CANARY_UID, "v1", 0),
        ):
            track = "canary" if uid == CANARY_UID else "stable"
            raw = deployment(
                tag,
                uid=uid,
                generation=7,
                labels={"track": track},
                counts=Counts(desired=desired, total=desired, updated=desired, available=desired),
            )
            raw["metadata"]["name"] = name
            raw["spec"]["template"]["metadata"]["labels"]["track"] = track
            self.objects[uid] = raw
        self.release = self.begin()

    def begin(self, **changes: Any) -> Release:
        """Return the release of v2 as it begins."""
        start = Start(plan=self.plan, template=self.wanted_template(), by="dave", why="ship it")
        start = replace(start, **changes)
        return rl.begin(start, "rel-1", self.stable, self.canary, self.now)

    def wanted_template(self) -> Obj:
        """Return what the canary is to get."""
        return rl.templates(self.canary.template, {"app": "registry.example/checkout:v2"})

    @property
    def stable(self) -> Rollout:
        """Return the stable Deployment."""
        return self.seen(STABLE_UID)

    @property
    def canary(self) -> Rollout:
        """Return the canary."""
        return self.seen(CANARY_UID)

    def seen(self, uid: str) -> Rollout:
        """Return a Deployment as a read shows it, with a ReplicaSet of its template."""
        raw = self.objects[uid]
        revision = replicaset(1, "v1", created=-100)
        revision["spec"]["template"] = raw["spec"]["template"]
        return ro.read(raw, [revision])

    # --- what the cluster does

    def patch(self, uid: str, operations: list[Obj]) -> bool:
        """Apply a patch as the API server does; return whether it applied."""
        try:
            after = json_patch(self.objects[uid], operations)
        except ApiError:
            return False
        before = self.objects[uid]
        moved = before["spec"] != after["spec"] or before["metadata"] != after["metadata"]
        if moved:
            after["metadata"]["generation"] += 1
        self.objects[uid] = after
        return True

    def ready(self, uid: str, *, short: int = 0) -> None:
        """Let the controller see what there is, with so many pods less than wanted."""
        raw = self.objects[uid]
        desired = raw["spec"]["replicas"]
        raw["status"] |= {
            "observedGeneration": raw["metadata"]["generation"],
            "replicas": desired,
            "updatedReplicas": desired,
            "availableReplicas": max(0, desired - short),
        }

    def scale(self, uid: str, replicas: int) -> None:
        """Scale as an autoscaler or a person does."""
        self.objects[uid]["spec"]["replicas"] = replicas
        self._touch(uid)

    def swap(self, uid: str, tag: str) -> None:
        """Deploy another image by hand."""
        spec = template(tag)["spec"]
        self.objects[uid]["spec"]["template"]["spec"] = spec
        self._touch(uid)

    def _touch(self, uid: str) -> None:
        self.objects[uid]["metadata"]["generation"] += 1

    def condition(self, uid: str, reason: str, minutes: float) -> None:
        """Set the Progressing condition."""
        (found,) = (
            c
            for c in self.objects[uid]["status"]["conditions"]
            if c["reason"] and c["type"] == "Progressing"
        )
        found |= {"reason": reason, "lastUpdateTime": iso(T0 + timedelta(minutes=minutes))}

    # --- what whoever works on it does

    def sight(self, **changes: Any) -> Sight:
        """Return what is seen: all is well, and a minute has passed."""
        usual: dict[str, Any] = {
            "now": self.now,
            "stable": self.stable if STABLE_UID in self.objects else None,
            "canary": self.canary if CANARY_UID in self.objects else None,
            "measures": (OK,),
            "critical": (),
            "elapsed": timedelta(minutes=1),
        }
        return Sight(**(usual | changes))

    def look(self, **changes: Any) -> Move:
        """Advance once; what is to be remembered is."""
        move = rl.advance(self.release, self.sight(**changes))
        self.release = move.release
        return move

    def act(self, move: Move, *, noted: bool = True) -> bool:
        """Do what a move wants; `noted` False: the replica dies before it writes that down."""
        match move.act:
            case Act.CANARY:
                return self.apply_share(self.share(), noted=noted)
            case Act.PROMOTE:
                self.intend()
                return self.apply_promotion(self.promotion(), noted=noted)
            case Act.LEARN:
                self.learn()
            case Act.UNDO:
                self.swap(STABLE_UID, "v1")
                self.writes.append("undo")
                self.release = rl.aborted(self.release, self.now)
            case Act.NONE:
                pass
        return True

    def share(self) -> list[Obj]:
        """Return the patch of the canary that its present state asks for."""
        release, canary = self.release, self.canary
        aborting = release.step == "aborting"
        replicas = 0 if aborting else rl.wanted(release, self.stable)
        new = canary.code != release.code and not aborting
        return ro.share(
            canary,
            replicas,
            note=rl.note_of(release, replicas),
            cause="a release",
            template=rl.templates(canary.template, dict(release.images)) if new else None,
        )

    def apply_share(self, operations: list[Obj], *, noted: bool = True) -> bool:
        """Send it; remember what it did."""
        said = self.canary.progressing
        if not self.patch(CANARY_UID, operations):
            return False
        self.writes.append(f"canary {self.canary.desired}")
        if noted:
            self.release = replace(
                self.release,
                replicas=self.canary.desired,
                generation=self.canary.generation,
                stale=(said.reason, said.updated_at) if said else ("", ""),
            )
        return True

    def intend(self) -> None:
        """Write the intent of the promotion."""
        code = ro.code_of(rl.promoted(self.stable.template, self.canary.template))
        to = Mark(code=code, hash="", number=0, uid="", images=(), created_at=self.now)
        intent = Intent(id="intent-1", to=to, generation=self.stable.generation, at=self.now)
        self.release = replace(self.release, intent=intent, promoted=code)

    def promotion(self) -> list[Obj]:
        """Return the patch of the promotion."""
        found = rl.promoted(self.stable.template, self.canary.template)
        assert self.release.intent is not None
        record = {"id": self.release.id, "intent": self.release.intent.id}
        return ro.promote(self.stable, found, record=record, cause="a release")

    def apply_promotion(self, operations: list[Obj], *, noted: bool = True) -> bool:
        """Send it; remember what it did."""
        if not self.patch(STABLE_UID, operations):
            return False
        self.writes.append("promoted")
        if noted:
            self.learn()
        return True

    def learn(self) -> None:
        """Find out what became of the intent."""
        intent = self.release.intent
        assert intent is not None
        fate = ro.fate(self.stable, intent.id)
        if fate == "unknown" and self.patch(
            STABLE_UID, ro.void(self.stable, intent.generation, intent.id)
        ):
            fate = "voided"
        applied = Applied(
            at=self.now, generation=intent.generation + 1, until=self.now + timedelta(minutes=11)
        )
        self.release = rl.learned(self.release, fate, applied, self.now)

    # --- as far as

    def tick(self) -> None:
        """See to the checklist before it begins."""
        after = rl.tick(self.release, "ci", "dave", "", self.now)
        assert isinstance(after, Release)
        self.release = after

    def until(self, step: str, most: int = 120, **changes: Any) -> Release:
        """Go on, with a cluster that obeys, long soaks and everybody approving, up to a step."""
        for _ in range(most):
            if self.release.step == step:
                return self.release
            if self.release.step == "preparing":
                self.tick()
            if self.release.step == "waiting":
                self.approve_all()
            usual: dict[str, Any] = {"elapsed": HOUR if self.release.step in SOAKS else HOUR / 60}
            self.act(self.look(**(usual | changes)))
            for uid in self.objects:
                self.ready(uid)
        raise AssertionError(self.release)

    def approve_all(self) -> None:
        """Let a person of each role approve what is next."""
        for person, role in (("bob", "engineering-lead"), ("carol", "cto")):
            after = rl.approve(self.release, person, {role}, "well done", self.now)
            if isinstance(after, Release):
                self.release = after


SOAKS = frozenset({"soaking", "watching"})


def at_step(step: str, **changes: Any) -> Pair:
    """Return a pair whose release has just come to a step."""
    pair = Pair(**changes)
    pair.until(step)
    return pair


def said(pair: Pair) -> str:
    """Return the story of a release as one text."""
    return "\n".join(line.text for line in pair.release.happened)


def note(pair: Pair) -> Any:
    """Return what stands on the canary."""
    return json.loads(pair.canary.annotations[ro.RELEASE])
