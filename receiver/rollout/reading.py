"""A Deployment with its ReplicaSets as one read shows them; which revisions are the same code."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, TypeAlias

Obj: TypeAlias = dict[str, Any]

PREFIX = "rollback-receiver/"
ENABLED = PREFIX + "enabled"
ALERTS = PREFIX + "alerts"
PROTECTED = PREFIX + "protected"
MODE = PREFIX + "mode"
RECORD = PREFIX + "record"
VOID = PREFIX + "void"
SUSPECTS = PREFIX + "suspects"
RELEASE = PREFIX + "release"

ANNOTATIONS: dict[str, str] = {
    ENABLED: 'Label, not annotation: `"true"` opts the Deployment in. Written by you.',
    ALERTS: "Comma-separated alert names that may roll it back; absent: all. Written by you.",
    PROTECTED: "Any value: never roll back by itself; the value says why. Written by you.",
    MODE: "`shadow` or `act` for this Deployment, whatever `policy.mode` says. Written by you.",
    RECORD: "The last rollback, in the same write as the template. Written by the receiver.",
    VOID: "A rollback that can no longer apply. Written by the receiver.",
    SUSPECTS: "Revisions that began to alert during a rollback. Written by the receiver.",
    RELEASE: "The staged release, and how many pods it gave the canary. Written by the receiver.",
}

CAUSE = "kubernetes.io/change-cause"
NUMBER = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
HASH = "pod-template-hash"
RESTARTED = "kubectl.kubernetes.io/restartedAt"
TRACK_DEFAULT = "stable"
# The canary of `x` is the Deployment `x-canary` with the label `track: canary`.
CANARY, CANARY_SUFFIX = "canary", "-canary"
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
    def canary_of(self) -> str:
        """Return the name of the Deployment that this is the canary of, "" when it is none."""
        stable = self.name.removesuffix(CANARY_SUFFIX)
        return stable if self.track == CANARY and stable != self.name else ""

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
