"""Small builders: raw objects as an API server sends them, and the values of the core.

Times are minutes relative to `T0`. A revision is named by its image tag, `v1`, `v2`, ...
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from receiver import rollout as ro
from receiver.alerts import Alert
from receiver.decisions import Look, Policy
from receiver.journal import (
    Applied,
    Episode,
    Incident,
    Intent,
    Journal,
    Mark,
    Pause,
    Phase,
)
from receiver.reasons import Reason, Severity
from receiver.rollout import Obj, Rollout

T0 = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
UID = "0d1c7f0e-6f4e-4a57-9a0b-3a1f5f6c0001"
NAMESPACE, NAME = "shop", "checkout"


def at(minutes: float) -> datetime:
    """Return the moment so many minutes after T0."""
    return T0 + timedelta(minutes=minutes)


def iso(moment: datetime) -> str:
    """Write a moment as the API server does: whole seconds, Z."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


# --- raw objects


def template(tag: str = "v1", *, restarted: str = "", hash_: str = "", **spec: Any) -> Obj:
    """Return a pod template, with `creationTimestamp: null` as the API server sends it."""
    labels = {"app": NAME} | ({ro.HASH: hash_} if hash_ else {})
    meta: Obj = {"creationTimestamp": None, "labels": labels}
    if restarted:
        meta["annotations"] = {ro.RESTARTED: restarted}
    container = {
        "name": "app",
        "image": f"registry.example/checkout:{tag}",
        "imagePullPolicy": "IfNotPresent",
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
    }
    return {
        "metadata": meta,
        "spec": {
            "containers": [container],
            "restartPolicy": "Always",
            "securityContext": {},
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        }
        | spec,
    }


def code(tag: str) -> str:
    """Return the code of a revision by its tag."""
    return ro.code_of(template(tag))


def hash_of(tag: str, restarted: str = "") -> str:
    """Return the pod-template-hash that our ReplicaSets of that tag carry."""
    return f"7c9f{tag}" + ("r" if restarted else "")


def replicaset(
    number: int | str | None,
    tag: str,
    *,
    created: float,
    history: str = "",
    restarted: str = "",
    cause: str = "",
    pods: int = 0,
    suffix: str = "",
    annotations: Mapping[str, str] | None = None,
) -> Obj:
    """Return a ReplicaSet. `number` None: without the annotation."""
    hash_ = hash_of(tag, restarted) + suffix
    notes = dict(annotations or {})
    if number is not None:
        notes[ro.NUMBER] = str(number)
    if history:
        notes[ro.HISTORY] = history
    if cause:
        notes[ro.CAUSE] = cause
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{NAME}-{hash_}",
            "namespace": NAMESPACE,
            "uid": f"rs-{hash_}",
            "creationTimestamp": iso(at(created)),
            "labels": {"app": NAME, ro.HASH: hash_},
            "annotations": notes,
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME, "uid": UID}
                | {"controller": True, "blockOwnerDeletion": True}
            ],
        },
        "spec": {
            "replicas": pods,
            "selector": {"matchLabels": {"app": NAME, ro.HASH: hash_}},
            "template": template(tag, restarted=restarted, hash_=hash_),
        },
        "status": {"replicas": pods, "observedGeneration": 1},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The numbers of a Deployment's status."""

    desired: int = 3
    total: int = 3
    updated: int = 3
    available: int = 3


def deployment(
    tag: str = "v3",
    *,
    restarted: str = "",
    uid: str = UID,
    generation: int = 7,
    observed: int | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    counts: Counts | None = None,
    progressing: tuple[str, str] | None = ("NewReplicaSetAvailable", iso(at(-4))),
    spec: Mapping[str, Any] | None = None,
    deleting: bool = False,
) -> Obj:
    """Return a Deployment whose template is that of `tag`."""
    n = counts or Counts()
    meta: Obj = {
        "name": NAME,
        "namespace": NAMESPACE,
        "uid": uid,
        "resourceVersion": "4711",
        "generation": generation,
        "creationTimestamp": iso(at(-10_000)),
        "labels": {"app": NAME, ro.ENABLED: "true"} | dict(labels or {}),
        "annotations": {ro.NUMBER: "3"} | dict(annotations or {}),
    }
    if deleting:
        meta["deletionTimestamp"] = iso(T0)
    status: Obj = {
        "observedGeneration": generation if observed is None else observed,
        "replicas": n.total,
        "updatedReplicas": n.updated,
        "readyReplicas": n.available,
        "availableReplicas": n.available,
    }
    # The API server leaves out what is zero.
    status = {key: value for key, value in status.items() if value}
    conditions = [{"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"}]
    if progressing is not None:
        reason, updated_at = progressing
        conditions.append(
            {
                "type": "Progressing",
                "status": "False" if reason == "ProgressDeadlineExceeded" else "True",
                "reason": reason,
                "lastUpdateTime": updated_at,
                "lastTransitionTime": iso(at(-9_000)),
            }
        )
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {
            "replicas": n.desired,
            "progressDeadlineSeconds": 600,
            "revisionHistoryLimit": 10,
            "selector": {"matchLabels": {"app": NAME}},
            "template": template(tag, restarted=restarted),
        }
        | dict(spec or {}),
        "status": status | {"conditions": conditions},
    }


# --- rollouts


def three() -> list[Obj]:
    """Return v1 and v2 of the last two days, and v3, made five minutes before T0."""
    return [
        replicaset(1, "v1", created=-2880),
        replicaset(2, "v2", created=-1440),
        replicaset(3, "v3", created=-5, pods=3),
    ]


def rollout(*replicasets: Obj, tag: str = "v3", **deployment_: Any) -> Rollout:
    """Return a Rollout read from raw objects; `three()` where none are given."""
    return ro.read(deployment(tag, **deployment_), replicasets or three())


def undone(**deployment_: Any) -> Rollout:
    """Return the rollout after v3 was rolled back to v2: numbers 1, 3, 4."""
    return rollout(
        replicaset(1, "v1", created=-2880),
        replicaset(4, "v2", created=-1440, history="2", pods=3),
        replicaset(3, "v3", created=-5),
        tag="v2",
        **deployment_,
    )


# --- what is remembered


def mark(tag: str, number: int | None = None, created: float | None = None) -> Mark:
    """Return a mark of a revision of `three()`."""
    made = {"v1": -2880.0, "v2": -1440.0, "v3": -5.0}.get(tag, -1.0)
    return Mark(
        code=code(tag),
        hash=hash_of(tag),
        number=int(tag.removeprefix("v")) if number is None else number,
        uid=f"rs-{hash_of(tag)}",
        images=(("app", f"registry.example/checkout:{tag}"),),
        created_at=at(made if created is None else created),
    )


def episode(
    tag: str = "v3",
    *,
    fingerprint: str = "00000000000000a1",
    starts: float = -2,
    ends: float | None = None,
    trouble: float | None = None,
    seen: float | None = None,
    reason: Reason = Reason.RESOLVED,
    severity: Severity = Severity.CRITICAL,
    asks: bool = True,
    named: str = "",
    track: str = "",
    due: float | None = None,
    alertname: str = "CheckoutErrors",
    uid: str = UID,
) -> Episode:
    """Return an episode bound to `tag` ("": to none), firing since two minutes before T0."""
    return Episode(
        fingerprint=fingerprint,
        starts_at=at(starts),
        ends_at=None if ends is None else at(ends),
        trouble_at=at(starts if trouble is None else trouble),
        seen_at=at(starts if seen is None else seen),
        alertname=alertname,
        severity=severity,
        asks=asks,
        uid=uid,
        code=code(tag) if tag else "",
        named=named,
        reason=reason,
        track=track,
        due=None if due is None else at(due),
    )


def incident(
    tag: str = "v3",
    phase: Phase = Phase.SETTLING,
    *,
    id_: str = "",
    to: str = "v2",
    opened: float = -1,
    entered: float | None = None,
    applied: float | None = None,
    completed: float | None = None,
    reason: Reason = Reason.ROLLED_BACK,
    actor: str = "",
    pinned: str = "",
    forced: bool = False,
    quarantine: bool = True,
    uid: str = UID,
    detail: str = "",
) -> Incident:
    """Return an incident about `tag`; `applied`: when its patch was."""
    intent = None
    if applied is not None or phase is Phase.APPLYING:
        intent = Intent(id=f"intent-{tag}", to=mark(to), generation=7, at=at(opened))
    sent = None
    if applied is not None:
        sent = Applied(at=at(applied), generation=8, until=at(applied + 11))
    return Incident(
        id=id_ or f"inc-{tag}",
        uid=uid,
        bad=mark(tag),
        phase=phase,
        reason=reason,
        opened_at=at(opened),
        phase_at=at(opened if entered is None else entered),
        actor=actor,
        pinned=pinned,
        forced=forced,
        quarantine=quarantine,
        to=mark(to),
        intent=intent,
        applied=sent,
        completed_at=None if completed is None else at(completed),
        detail=detail,
    )


def journal(*parts: Episode | Incident | Pause, **more: Any) -> Journal:
    """Return the journal of our target with these in it."""
    return Journal(
        namespace=NAMESPACE,
        deployment=NAME,
        claim="replica-a",
        episodes=tuple(p for p in parts if isinstance(p, Episode)),
        incidents=tuple(p for p in parts if isinstance(p, Incident)),
        pause=next((p for p in parts if isinstance(p, Pause)), None),
        **more,
    )


def policy(**changes: Any) -> Policy:
    """Return a policy that acts."""
    return Policy(**({"mode": "act"} | changes))


def look(
    rollout_: Rollout | None,
    journal_: Journal | None = None,
    *,
    now: datetime = T0,
    stopped: str = "",
    **changes: Any,
) -> Look:
    """Return all there is to see of the target."""
    return Look(
        rollout=rollout_,
        journal=journal_ or journal(),
        policy=policy(**changes),
        now=now,
        stopped=stopped,
    )


# --- alerts


def alert(
    *,
    starts: float = -2,
    ends: float | None = None,
    fingerprint: str = "00000000000000a1",
    name: str = "CheckoutErrors",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Alert:
    """Return an alert: firing, or with `ends` resolved."""
    return Alert(
        status="firing" if ends is None else "resolved",
        fingerprint=fingerprint,
        labels={"alertname": name, "severity": "critical"} | dict(labels or {}),
        annotations={"summary": "Checkout fails"} | dict(annotations or {}),
        starts_at=at(starts),
        ends_at=None if ends is None else at(ends),
    )
