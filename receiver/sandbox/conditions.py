"""The status of a Deployment: counts, conditions, and when a rollout is late. Pure.

k/k pkg/controller/deployment/{sync,progress}.go and util/deployment_util.go.
"""

from datetime import datetime, timedelta

from receiver.sandbox.objects import Obj, clone, moment_of, stamp
from receiver.sandbox.revisions import counted, max_unavailable, wanted

PROGRESSING = "Progressing"
AVAILABLE = "Available"
COMPLETE = "NewReplicaSetAvailable"
TIMED_OUT = "ProgressDeadlineExceeded"
PAUSED = "DeploymentPaused"
NO_DEADLINE = 2**31 - 1


def condition_of(status: Obj, kind: str) -> Obj | None:
    """Return a condition by its type."""
    for condition in status.get("conditions") or ():
        if condition.get("type") == kind:
            found: Obj = condition
            return found
    return None


def has_deadline(deployment: Obj) -> bool:
    """Say whether this rollout can be late at all (HasProgressDeadline)."""
    return bool(deployment["spec"]["progressDeadlineSeconds"] != NO_DEADLINE)


def set_condition(
    status: Obj, kind: str, state: str, reason: str, message: str, now: datetime
) -> None:
    """Set a condition (SetDeploymentCondition).

    One that says the same already keeps its times: so an old ProgressDeadlineExceeded outlives
    the rollback that cures it, until something progresses.
    """
    current = condition_of(status, kind)
    if current and (current.get("status"), current.get("reason")) == (state, reason):
        return
    changed = stamp(now)
    if current and current.get("status") == state:
        changed = current.get("lastTransitionTime") or changed
    kept = [item for item in status.get("conditions") or () if item.get("type") != kind]
    status["conditions"] = [
        *kept,
        {
            "type": kind,
            "status": state,
            "reason": reason,
            "message": message,
            "lastUpdateTime": stamp(now),
            "lastTransitionTime": changed,
        },
    ]


def drop_condition(status: Obj, kind: str) -> None:
    """Remove a condition (RemoveDeploymentCondition)."""
    status["conditions"] = [c for c in status.get("conditions") or () if c.get("type") != kind]


def is_complete(deployment: Obj, status: Obj) -> bool:
    """Say whether all pods are new and available (DeploymentComplete)."""
    replicas = deployment["spec"]["replicas"]
    return bool(
        all(
            (status.get(field) or 0) == replicas
            for field in ("updatedReplicas", "replicas", "availableReplicas")
        )
        and (status.get("observedGeneration") or 0) >= deployment["metadata"]["generation"]
    )


def _progressed(old: Obj, new: Obj) -> bool:
    """Say whether anything got better (DeploymentProgressing)."""

    def of(status: Obj, field: str) -> int:
        return status.get(field) or 0

    def outdated(status: Obj) -> int:
        return of(status, "replicas") - of(status, "updatedReplicas")

    return outdated(new) < outdated(old) or any(
        of(new, field) > of(old, field)
        for field in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )


def deadline_of(deployment: Obj, status: Obj) -> datetime | None:
    """Return when this rollout becomes late; None when it cannot any more."""
    condition = condition_of(status, PROGRESSING)
    if not has_deadline(deployment) or condition is None:
        return None
    if condition.get("reason") in (COMPLETE, TIMED_OUT):
        return None
    since = condition.get("lastUpdateTime")
    if since is None:
        return None
    allowed = timedelta(seconds=deployment["spec"]["progressDeadlineSeconds"])
    return moment_of(since) + allowed


def _timed_out(deployment: Obj, status: Obj, now: datetime) -> bool:
    """Say whether it is late (DeploymentTimedOut). Once said, it stays said."""
    condition = condition_of(status, PROGRESSING)
    if condition and condition.get("reason") == TIMED_OUT:
        return True
    deadline = deadline_of(deployment, status)
    return deadline is not None and deadline < now


def counts(deployment: Obj, all_sets: list[Obj], new: Obj | None, now: datetime) -> Obj:
    """Return the status without judging progress (calculateStatus)."""
    available = counted(all_sets, "availableReplicas")
    old = deployment.get("status") or {}
    status: Obj = {
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": counted(all_sets, "replicas"),
        "updatedReplicas": counted([new], "replicas"),
        "readyReplicas": counted(all_sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, wanted(all_sets) - available),
    }
    # Zeros are left out, as Go's omitempty does.
    status = {field: count for field, count in status.items() if count}
    for kept in ("collisionCount", "conditions"):
        if kept in old:
            status[kept] = clone(old[kept])
    if available >= deployment["spec"]["replicas"] - max_unavailable(deployment):
        message = "Deployment has minimum availability."
        set_condition(status, AVAILABLE, "True", "MinimumReplicasAvailable", message, now)
    else:
        message = "Deployment does not have minimum availability."
        set_condition(status, AVAILABLE, "False", "MinimumReplicasUnavailable", message, now)
    return status


def rollout_status(deployment: Obj, all_sets: list[Obj], new: Obj | None, now: datetime) -> Obj:
    """Return the status of a rollout, progress judged (syncRolloutStatus)."""
    old = deployment.get("status") or {}
    status = counts(deployment, all_sets, new, now)
    if not has_deadline(deployment):
        drop_condition(status, PROGRESSING)
        return status
    current = condition_of(old, PROGRESSING)
    was_complete = (
        status.get("replicas", 0) == status.get("updatedReplicas", 0)
        and current is not None
        and current.get("reason") == COMPLETE
    )
    if was_complete:
        return status
    name = new["metadata"]["name"] if new else deployment["metadata"]["name"]
    what = f'ReplicaSet "{name}"' if new else f'Deployment "{name}"'
    if is_complete(deployment, status):
        message = f"{what} has successfully progressed."
        set_condition(status, PROGRESSING, "True", COMPLETE, message, now)
    elif _progressed(old, status):
        # Removed first, so that the time of the last progress moves though the reason may not.
        drop_condition(status, PROGRESSING)
        message = f"{what} is progressing."
        set_condition(status, PROGRESSING, "True", "ReplicaSetUpdated", message, now)
        if current is not None and current.get("status") == "True":
            since = current.get("lastTransitionTime") or stamp(now)
            status["conditions"][-1]["lastTransitionTime"] = since
    elif _timed_out(deployment, status, now):
        message = f"{what} has timed out progressing."
        set_condition(status, PROGRESSING, "False", TIMED_OUT, message, now)
    return status
