"""A Deployment with its ReplicaSets: history, destination, patch and status. Values in, values out.

It follows kubectl (pkg/polymorphichelpers/{rollback,rollout_status}.go) and the Deployment
controller (pkg/controller/deployment), except where kubectl would do harm: it undoes to the second
highest number whatever that is, tests nothing, and replaces annotations that are not its own.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Literal, TypeAlias

Obj: TypeAlias = dict[str, Any]

PREFIX = "rollback-receiver/"
ENABLED = PREFIX + "enabled"
ALERTS = PREFIX + "alerts"
PROTECTED = PREFIX + "protected"
MODE = PREFIX + "mode"
RECORD = PREFIX + "record"
VOID = PREFIX + "void"
SUSPECTS = PREFIX + "suspects"

ANNOTATIONS: dict[str, str] = {
    ENABLED: 'Label, not annotation: `"true"` opts the Deployment in. Written by you.',
    ALERTS: "Comma-separated alert names that may roll it back; absent: all. Written by you.",
    PROTECTED: "Any value: never roll back by itself; the value says why. Written by you.",
    MODE: "`shadow` or `act` for this Deployment, whatever `policy.mode` says. Written by you.",
    RECORD: "The last rollback, in the same write as the template. Written by the receiver.",
    VOID: "A rollback that can no longer apply. Written by the receiver.",
    SUSPECTS: "Revisions that began to alert during a rollback. Written by the receiver.",
}

CAUSE = "kubernetes.io/change-cause"
NUMBER = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
HASH = "pod-template-hash"
RESTARTED = "kubectl.kubernetes.io/restartedAt"
TRACK_DEFAULT = "stable"
# The API server's default of spec.progressDeadlineSeconds; MaxInt32 means "no deadline".
DEADLINE_DEFAULT, DEADLINE_NONE = 600, 2**31 - 1
_DIGITS = 18

# What a GitOps controller leaves on what it owns: (annotation or label, key).
_GITOPS = (
    ("annotations", "argocd.argoproj.io/tracking-id"),
    ("labels", "argocd.argoproj.io/instance"),
    ("labels", "kustomize.toolkit.fluxcd.io/name"),
    ("labels", "helm.toolkit.fluxcd.io/name"),
)
# Flux leaves an object alone that says so (fluxcd/kustomize-controller#484).
_GITOPS_OFF = ("kustomize.toolkit.fluxcd.io/reconcile", "disabled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One ReplicaSet of a Deployment.

    `code` is what tells revisions apart: equal for siblings, whose templates differ only in
    `restartedAt`. `history` holds the numbers it had before it was re-activated, oldest first.
    """

    code: str
    hash: str
    name: str
    uid: str
    number: int
    history: tuple[int, ...]
    created_at: datetime
    images: tuple[tuple[str, str], ...]
    cause: str
    replicas: int
    annotations: dict[str, str] = field(repr=False)
    template: Obj = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressing:
    """The condition of that type: to recognise a stale `ProgressDeadlineExceeded` by."""

    reason: str
    updated_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Our annotation: which intent of which incident wrote this template."""

    incident: str
    intent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A Deployment as one verified read showed it. `revisions`: highest number first."""

    namespace: str
    name: str
    uid: str
    version: str
    generation: int
    observed_generation: int
    deleting: bool
    paused: bool
    labels: dict[str, str] = field(repr=False)
    annotations: dict[str, str] = field(repr=False)
    template: Obj = field(repr=False)
    revisions: tuple[Revision, ...]
    current: Revision | None
    desired: int
    replicas: int
    updated: int
    available: int
    progressing: Progressing | None
    deadline: timedelta | None
    min_ready: timedelta

    @property
    def code(self) -> str:
        """Return the code of the current template, whether or not it has a ReplicaSet yet."""
        return code_of(self.template)

    @property
    def observed(self) -> bool:
        """Return whether the controller has seen this template and made its ReplicaSet."""
        return self.observed_generation >= self.generation and self.current is not None

    @property
    def track(self) -> str:
        """Return the track of this Deployment, `stable` where it names none."""
        return self.labels.get("track") or TRACK_DEFAULT

    @property
    def gitops(self) -> str:
        """Return the mark of the GitOps controller that owns it, "" for none."""
        key, value = _GITOPS_OFF
        if self.annotations.get(key) == value or self.labels.get(key) == value:
            return ""
        marks = {"annotations": self.annotations, "labels": self.labels}
        return next((key for where, key in _GITOPS if marks[where].get(key)), "")

    def siblings(self, code: str) -> tuple[Revision, ...]:
        """Return the revisions of the same code."""
        return tuple(revision for revision in self.revisions if revision.code == code)


def read(deployment: Obj, replicasets: Iterable[Obj]) -> Rollout:
    """Read one verified read. ReplicaSets without a readable number are no revisions (kubectl)."""
    meta, spec = deployment["metadata"], deployment["spec"]
    status = deployment.get("status") or {}
    found = [r for rs in replicasets if (r := _revision(rs)) is not None]
    found.sort(key=lambda r: (-r.number, r.created_at, r.name))
    template = pure(spec["template"])
    # FindNewReplicaSet (pkg/controller/deployment/util): the oldest whose template is the same.
    same = [r for r in found if _canonical(r.template) == _canonical(template)]
    seconds = spec.get("progressDeadlineSeconds", DEADLINE_DEFAULT)
    return Rollout(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        version=meta.get("resourceVersion", ""),
        generation=meta.get("generation", 0),
        observed_generation=status.get("observedGeneration", 0),
        deleting=bool(meta.get("deletionTimestamp")),
        paused=bool(spec.get("paused")),
        labels=meta.get("labels") or {},
        annotations=meta.get("annotations") or {},
        template=template,
        revisions=tuple(found),
        current=min(same, key=lambda r: (r.created_at, r.name)) if same else None,
        desired=spec.get("replicas", 1),
        replicas=status.get("replicas", 0),
        updated=status.get("updatedReplicas", 0),
        available=status.get("availableReplicas", 0),
        progressing=_progressing(status),
        deadline=None if seconds >= DEADLINE_NONE else timedelta(seconds=seconds),
        min_ready=timedelta(seconds=spec.get("minReadySeconds", 0)),
    )


def _revision(replicaset: Obj) -> Revision | None:
    meta = replicaset["metadata"]
    annotations: dict[str, str] = meta.get("annotations") or {}
    number = _number(annotations.get(NUMBER, ""))
    if number is None:
        return None
    template = pure(replicaset["spec"]["template"])
    labels = meta.get("labels") or {}
    history = annotations.get(HISTORY, "").split(",")
    return Revision(
        code=code_of(template),
        hash=labels.get(HASH, ""),
        name=meta["name"],
        uid=meta["uid"],
        number=number,
        history=tuple(n for text in history if (n := _number(text.strip())) is not None),
        created_at=datetime.fromisoformat(meta["creationTimestamp"]).astimezone(UTC),
        images=images_of(template),
        cause=annotations.get(CAUSE, ""),
        replicas=(replicaset.get("status") or {}).get("replicas", 0),
        annotations=annotations,
        template=template,
    )


def _number(text: str) -> int | None:
    """Read a revision number: anybody may edit it, and the controller's is of 64 bits."""
    readable = text.isascii() and text.isdecimal() and len(text) <= _DIGITS
    return int(text) if readable else None


def _progressing(status: Obj) -> Progressing | None:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Progressing":
            return Progressing(
                reason=condition.get("reason", ""), updated_at=condition.get("lastUpdateTime", "")
            )
    return None


def images_of(template: Obj) -> tuple[tuple[str, str], ...]:
    """Return (container, image) of every container, init containers first."""
    spec = template.get("spec") or {}
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    return tuple((c.get("name", ""), c.get("image", "")) for c in containers)


def listed(images: Iterable[tuple[str, str]]) -> str:
    """Name images for people; which container each is for is left out."""
    return ", ".join(image for _, image in images)


# --- which revisions are the same code


def pure(template: Obj) -> Obj:
    """Return a pod template without the label `pod-template-hash`, which is the controller's."""
    meta = dict(template.get("metadata") or {})
    labels = {k: v for k, v in (meta.get("labels") or {}).items() if k != HASH}
    return template | {"metadata": meta | {"labels": labels}}


def code_of(template: Obj) -> str:
    """Return the identity of a template without `restartedAt`: 16 hex digits.

    `kubectl rollout restart` writes that annotation and nothing else
    (pkg/polymorphichelpers/objectrestarter.go): it makes a revision, but no new code.
    """
    template = pure(template)
    meta = template["metadata"]
    kept = {k: v for k, v in (meta.get("annotations") or {}).items() if k != RESTARTED}
    text = _canonical(template | {"metadata": meta | {"annotations": kept}})
    return sha256(text.encode()).hexdigest()[:16]


def _canonical(template: Obj) -> str:
    """Write a template so that equal ones are equal text; null is absent (Semantic.DeepEqual)."""
    meta = {k: v for k, v in (template.get("metadata") or {}).items() if v not in (None, {})}
    return json.dumps(_without_null(template | {"metadata": meta}), sort_keys=True)


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_null(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_null(item) for item in value]
    return value


# --- what the history says


def release_started(rollout: Rollout) -> datetime | None:
    """Return when the current release began: when its oldest contiguous sibling was made.

    A restart of a release is no new release: it must not look younger than it is, nor hide it.
    """
    if rollout.current is None:
        return None
    started = rollout.current.created_at
    for revision in rollout.revisions:
        if revision.number > rollout.current.number:
            continue
        if revision.code != rollout.current.code:
            break
        started = min(started, revision.created_at)
    return started


def reactivated(rollout: Rollout, code: str) -> bool:
    """Return whether a revision of this code was ever left and brought back.

    The controller appends the old number to `revision-history` when it re-uses a ReplicaSet
    (pkg/controller/deployment/util SetNewReplicaSetAnnotations).
    """
    return any(revision.history for revision in rollout.siblings(code))


def left_by_undo(rollout: Rollout) -> frozenset[str]:
    """Return the codes that somebody rolled away from, as far as the ReplicaSets show it.

    An undo re-uses an old ReplicaSet and gives it the next number: whatever is numbered one below
    such a number was left for it, unless it has been brought back (and so renumbered) since.
    """
    activations = {
        number: revision.code
        for revision in rollout.revisions
        if revision.history
        for number in (*revision.history[1:], revision.number)
    }
    return frozenset(
        revision.code
        for revision in rollout.revisions
        if activations.get(revision.number + 1, revision.code) != revision.code
    )


def destination(rollout: Rollout, excluded: Collection[str]) -> Revision | None:
    """Return the highest revision that is neither the current code nor excluded."""
    return next(
        (r for r in rollout.revisions if r.code != rollout.code and r.code not in excluded), None
    )


def numbered(rollout: Rollout, number: int) -> Revision | None:
    """Return the revision whose *present* number it is; old numbers are not searched (kubectl)."""
    return next((r for r in rollout.revisions if r.number == number), None)


def hashed(rollout: Rollout, hash_: str) -> Revision | None:
    """Return the revision of a pod-template-hash."""
    return next((r for r in rollout.revisions if r.hash == hash_), None)


# --- what is written


def undo(
    rollout: Rollout,
    to: Revision,
    *,
    record: Obj,
    cause: str,
) -> list[Obj]:
    """Return the one JSON Patch of a rollback: guard, swap and record in a single write.

    `generation` is the compare-and-set token: spec and annotation changes move it (registry/apps/
    deployment/strategy.go), status writes of the running rollout do not. No annotation but our own
    and the change-cause is touched; the latter would otherwise call the good revision by the bad
    one's text, for the controller copies it (k/k#23087).
    """
    annotations = {CAUSE: cause, RECORD: json.dumps(record, sort_keys=True)}
    return [
        *_guard(rollout.uid, rollout.generation),
        {"op": "replace", "path": "/spec/template", "value": pure(to.template)},
        *_annotate(rollout, annotations),
        *_drop(rollout, SUSPECTS),  # its fence has done its work
    ]


def void(rollout: Rollout, generation: int, intent: str) -> list[Obj]:
    """Return the patch that makes sure an intent which tests `generation` can never apply."""
    return [*_guard(rollout.uid, generation), *_annotate(rollout, {VOID: intent})]


def fence(rollout: Rollout, codes: Collection[str]) -> list[Obj]:
    """Return the patch that names suspects on the Deployment, and so moves its generation."""
    value = ",".join(sorted(set(codes) | suspects_named(rollout)))
    guard = _guard(rollout.uid, rollout.generation)[:1]
    return [*guard, *_annotate(rollout, {SUSPECTS: value})]


def suspects_named(rollout: Rollout) -> frozenset[str]:
    """Return the codes that the fence on the Deployment names."""
    return frozenset(filter(None, rollout.annotations.get(SUSPECTS, "").split(",")))


def _guard(uid: str, generation: int) -> list[Obj]:
    return [
        {"op": "test", "path": "/metadata/uid", "value": uid},
        {"op": "test", "path": "/metadata/generation", "value": generation},
    ]


def _annotate(rollout: Rollout, annotations: dict[str, str]) -> list[Obj]:
    if not rollout.annotations:
        return [{"op": "add", "path": "/metadata/annotations", "value": annotations}]
    return [
        {"op": "add", "path": "/metadata/annotations/" + _pointer(key), "value": value}
        for key, value in annotations.items()
    ]


def _drop(rollout: Rollout, key: str) -> list[Obj]:
    if key not in rollout.annotations:
        return []
    return [{"op": "remove", "path": "/metadata/annotations/" + _pointer(key)}]


def _pointer(key: str) -> str:
    """Escape one step of a JSON Pointer (RFC 6901, section 3)."""
    return key.replace("~", "~0").replace("/", "~1")


# --- whether an intent was applied


def record_in(annotations: dict[str, str]) -> Record | None:
    """Return our record; None where there is none or it cannot be read (anybody may edit it)."""
    try:
        found = json.loads(annotations.get(RECORD, ""))
        return Record(incident=str(found["id"]), intent=str(found["intent"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def fate(rollout: Rollout, intent: str) -> Literal["applied", "voided", "unknown"]:
    """Return what the objects say of an intent: the controller copies our annotations to the RS."""
    places = [rollout.annotations, *(revision.annotations for revision in rollout.revisions)]
    if any((record := record_in(place)) and record.intent == intent for place in places):
        return "applied"
    if any(place.get(VOID) == intent for place in places):
        return "voided"
    return "unknown"


# --- rollout status


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a rollout is. `failed`: the controller says that the deadline has passed."""

    state: Literal["waiting", "done", "failed"]
    text: str


def progress(rollout: Rollout, generation: int, before: Progressing | None) -> Progress:
    """Judge a rollout as `kubectl rollout status` does, in its order (rollout_status.go).

    `generation` is the one our patch answered. A `ProgressDeadlineExceeded` identical to the one
    seen `before` the patch belongs to the rollout that was undone; kubectl stumbles over it.
    """
    if rollout.observed_generation < max(generation, rollout.generation):
        return Progress(state="waiting", text="waiting for the controller to see the change")
    exceeded = rollout.progressing
    if exceeded and exceeded.reason == "ProgressDeadlineExceeded" and exceeded != before:
        return Progress(state="failed", text="the rollout exceeded its progress deadline")
    if rollout.updated < rollout.desired:
        text = f"{rollout.updated} of {rollout.desired} replicas are updated"
    elif rollout.replicas > rollout.updated:
        text = f"{rollout.replicas - rollout.updated} old replicas are pending termination"
    elif rollout.available < rollout.updated:
        text = f"{rollout.available} of {rollout.updated} updated replicas are available"
    else:
        return Progress(state="done", text=f"{rollout.updated} replicas are updated and available")
    return Progress(state="waiting", text=text)


def patience(rollout: Rollout, margin: timedelta) -> timedelta:
    """Return how long we wait for a rollout: the controller may never re-arm its own deadline."""
    base = rollout.deadline or timedelta(seconds=DEADLINE_DEFAULT)
    return base + rollout.min_ready + margin
