"""The Deployment controller: one step per call, each step one visible write or two.

k/k pkg/controller/deployment/{deployment_controller,sync,rolling,recreate}.go. The real one works
on cached copies, so a sync that has changed the new ReplicaSet's annotations loses its next write
and comes again; here such a sync simply ends, and the change itself brings the next one.
"""

from collections.abc import Callable
from typing import NamedTuple

from receiver.sandbox import conditions
from receiver.sandbox.objects import (
    DEPLOYMENTS,
    HASH_LABEL,
    PODS,
    REPLICASETS,
    Key,
    Obj,
    annotations_of,
    clone,
    owned_by,
    owner_reference,
)
from receiver.sandbox.revisions import (
    DESIRED,
    REVISION,
    active,
    annotated,
    by_age,
    counted,
    find_new,
    hash_of,
    is_rolling,
    max_unavailable,
    proportions,
    pure_template,
    revision_of,
    room_for_new,
    saturated,
    size_annotations,
    wanted,
)
from receiver.sandbox.store import Store

WHO = "deployment-controller"


class _View(NamedTuple):
    """What one sync sees: the Deployment, the ReplicaSet of its template, the other ones."""

    deployment: Obj
    new: Obj | None
    old: list[Obj]

    @property
    def all(self) -> list[Obj]:
        return [*self.old, self.new] if self.new else self.old


def sync(store: Store, key: Key, again_after: Callable[[float], None]) -> None:
    """Take one Deployment one step further (syncDeployment)."""
    deployment = store.get(DEPLOYMENTS, *key)
    if deployment is None:
        return
    view = _look(store, deployment)
    if deployment["metadata"].get("deletionTimestamp"):
        _write_status(store, view, _counts(store, view))
    elif not _mark_paused(store, view) and not _sync_revision(store, view):
        if deployment["spec"].get("paused"):
            _scale(store, view)
            view = _look(store, deployment)
            _prune(store, view)
            _write_status(store, view, _counts(store, view))
        elif any(
            annotations_of(rs).get(DESIRED, str(deployment["spec"]["replicas"]))
            != str(deployment["spec"]["replicas"])
            for rs in active(view.all)
        ):
            _scale(store, view)
            view = _look(store, deployment)
            _write_status(store, view, _counts(store, view))
        else:
            step = _roll if is_rolling(deployment) else _recreate
            step(store, view)
            _remind(store, key, again_after)


def _look(store: Store, deployment: Obj) -> _View:
    meta = deployment["metadata"]
    owned = owned_by(deployment, store.all(REPLICASETS, meta["namespace"]))
    new = find_new(deployment, owned)
    return _View(deployment, new, [rs for rs in owned if rs is not new])


def _write_status(
    store: Store, view: _View, status: Obj, annotations: dict[str, str] | None = None
) -> None:
    """Write status, and annotations on the way: /status lets them through, uncounted."""
    meta = view.deployment["metadata"]

    def how(obj: Obj) -> Obj:
        if annotations:
            obj["metadata"]["annotations"] = annotations_of(obj) | annotations
        return obj | {"status": status}

    store.change(DEPLOYMENTS, meta["namespace"], meta["name"], how, by=WHO, subresource="status")


def _counts(store: Store, view: _View) -> Obj:
    return conditions.counts(view.deployment, view.all, view.new, store.clock.now())


def _write_rollout(store: Store, deployment: Obj) -> None:
    view = _look(store, deployment)
    now = store.clock.now()
    status = conditions.rollout_status(deployment, view.all, view.new, now)
    _write_status(store, view, status)


def _mark_paused(store: Store, view: _View) -> bool:
    """Keep the clock of a paused rollout from running (checkPausedConditions)."""
    deployment = view.deployment
    status = clone(deployment.get("status") or {})
    current = conditions.condition_of(status, conditions.PROGRESSING)
    if not conditions.has_deadline(deployment):
        return False
    if current and current.get("reason") == conditions.TIMED_OUT:
        return False
    paused = bool(deployment["spec"].get("paused"))
    if paused == bool(current and current.get("reason") == conditions.PAUSED):
        return False
    reason = conditions.PAUSED if paused else "DeploymentResumed"
    message = f"Deployment is {'paused' if paused else 'resumed'}"
    now = store.clock.now()
    conditions.set_condition(status, conditions.PROGRESSING, "Unknown", reason, message, now)
    _write_status(store, view, status)
    return True


def _sync_revision(store: Store, view: _View) -> bool:
    """Give the new ReplicaSet its number; a step later, the Deployment (getNewReplicaSet)."""
    deployment, new = view.deployment, view.new
    if new is None:
        return False
    number = max((revision_of(rs) for rs in view.old), default=0) + 1
    annotations = annotated(deployment, new, number, exists=True)
    patience = deployment["spec"].get("minReadySeconds") or 0
    if annotations != annotations_of(new) or patience != (new["spec"].get("minReadySeconds") or 0):

        def how(obj: Obj) -> Obj:
            obj["metadata"]["annotations"] = annotations
            obj["spec"]["minReadySeconds"] = patience
            return obj

        meta = new["metadata"]
        store.change(REPLICASETS, meta["namespace"], meta["name"], how, by=WHO)
        return True
    status = clone(deployment.get("status") or {})
    kind = conditions.PROGRESSING
    told = False
    if conditions.has_deadline(deployment) and conditions.condition_of(status, kind) is None:
        message = f'Found new replica set "{new["metadata"]["name"]}"'
        now = store.clock.now()
        conditions.set_condition(status, kind, "True", "FoundNewReplicaSet", message, now)
        told = True
    revision = annotations_of(new).get(REVISION, "")
    if told or annotations_of(deployment).get(REVISION) != revision:
        _write_status(store, view, status, {REVISION: revision})
        return True
    return False


def _create_new(store: Store, view: _View) -> None:
    """Create the ReplicaSet of the template (getNewReplicaSet, the second half)."""
    deployment = view.deployment
    meta, spec = deployment["metadata"], deployment["spec"]
    status = clone(deployment.get("status") or {})
    digest = hash_of(spec["template"], status.get("collisionCount") or 0)
    name = f"{meta['name']}-{digest}"
    if store.get(REPLICASETS, meta["namespace"], name) is not None:
        # Taken by somebody else's: count the collision, which changes the hash, and come again.
        status["collisionCount"] = (status.get("collisionCount") or 0) + 1
        _write_status(store, view, status)
        return
    template = pure_template(spec["template"])
    template.setdefault("metadata", {}).setdefault("labels", {})[HASH_LABEL] = digest
    selector = clone(spec["selector"])
    selector.setdefault("matchLabels", {})[HASH_LABEL] = digest
    number = max((revision_of(rs) for rs in view.old), default=0) + 1
    replicaset: Obj = {
        "metadata": {
            "name": name,
            "labels": clone(template["metadata"]["labels"]),
            "ownerReferences": [owner_reference(DEPLOYMENTS, deployment)],
        },
        "spec": {
            "replicas": room_for_new(deployment, view.old, 0),
            "selector": selector,
            "template": template,
        },
    }
    if patience := spec.get("minReadySeconds"):
        replicaset["spec"]["minReadySeconds"] = patience
    annotations = annotated(deployment, replicaset, number, exists=False)
    replicaset["metadata"]["annotations"] = annotations
    store.create(REPLICASETS, meta["namespace"], replicaset, by=WHO)
    if conditions.has_deadline(deployment):
        kind, reason = conditions.PROGRESSING, "NewReplicaSetCreated"
        message = f'Created new replica set "{name}"'
        conditions.set_condition(status, kind, "True", reason, message, store.clock.now())
    _write_status(store, view, status, {REVISION: str(number)})


def _resize(store: Store, deployment: Obj, replicaset: Obj, size: int) -> bool:
    """Give a ReplicaSet a size, and note what it was made for (scaleReplicaSet)."""
    grown = size_annotations(deployment)
    had = annotations_of(replicaset)
    resized: bool = replicaset["spec"]["replicas"] != size
    if resized or any(had.get(key) != value for key, value in grown.items()):

        def how(obj: Obj) -> Obj:
            obj["metadata"]["annotations"] = annotations_of(obj) | grown
            obj["spec"]["replicas"] = size
            return obj

        meta = replicaset["metadata"]
        store.change(REPLICASETS, meta["namespace"], meta["name"], how, by=WHO)
    return resized


def _scale(store: Store, view: _View) -> None:
    """Follow a change of spec.replicas without a rollout (sync.go scale)."""
    deployment, running = view.deployment, active(view.all)
    replicas = deployment["spec"]["replicas"]
    if len(running) <= 1:
        newest = sorted(view.old, key=lambda rs: rs["metadata"]["creationTimestamp"])
        only = running[0] if running else view.new or (newest[-1] if newest else None)
        if only is not None:
            # The annotation too, even where the size fits: else this would come back for ever.
            _resize(store, deployment, only, replicas)
    elif saturated(deployment, view.new):
        for replicaset in active(view.old):
            _resize(store, deployment, replicaset, 0)
    elif is_rolling(deployment):
        for replicaset, size in proportions(deployment, running):
            _resize(store, deployment, replicaset, size)


def _roll(store: Store, view: _View) -> None:
    """Go on with a rolling update (rolloutRolling)."""
    deployment, new = view.deployment, view.new
    if new is None:
        _create_new(store, view)
        return
    size, replicas = new["spec"]["replicas"], deployment["spec"]["replicas"]
    room = replicas if size > replicas else room_for_new(deployment, view.all, size)
    if not (size != replicas and _resize(store, deployment, new, room)) and not _shrink_old(
        store, view, new
    ):
        _prune_if_complete(store, view)
    _write_rollout(store, deployment)


def _shrink_old(store: Store, view: _View, new: Obj) -> bool:
    """Take old pods away, broken ones first (reconcileOldReplicaSets)."""
    deployment, old = view.deployment, by_age(active(view.old))
    least = deployment["spec"]["replicas"] - max_unavailable(deployment)
    unavailable = new["spec"]["replicas"] - counted([new], "availableReplicas")
    most = wanted(view.all) - least - unavailable
    if not old or most <= 0:
        return False
    sizes = {rs["metadata"]["name"]: rs["spec"]["replicas"] for rs in old}
    # cleanupUnhealthyReplicas: those that serve nobody cost nothing.
    for replicaset in old:
        name = replicaset["metadata"]["name"]
        broken = sizes[name] - counted([replicaset], "availableReplicas")
        fewer = max(0, min(broken, most))
        sizes[name] -= fewer
        most -= fewer
    # scaleDownOldReplicaSetsForRollingUpdate: then what the availability allows.
    spare = counted(view.all, "availableReplicas") - least
    for replicaset in old:
        name = replicaset["metadata"]["name"]
        fewer = max(0, min(sizes[name], spare))
        sizes[name] -= fewer
        spare -= fewer
    resized = [
        _resize(store, deployment, rs, sizes[rs["metadata"]["name"]])
        for rs in old
        if sizes[rs["metadata"]["name"]] != rs["spec"]["replicas"]
    ]
    return any(resized)


def _recreate(store: Store, view: _View) -> None:
    """End all old pods, then start the new ones (rolloutRecreate)."""
    deployment = view.deployment
    namespace = deployment["metadata"]["namespace"]
    resized = [_resize(store, deployment, rs, 0) for rs in active(view.old)]
    pods = store.all(PODS, namespace)
    if not any(resized) and not any(owned_by(rs, pods) for rs in view.old):
        if view.new is None:
            _create_new(store, view)
            return
        _resize(store, deployment, view.new, deployment["spec"]["replicas"])
        _prune_if_complete(store, view)
    _write_rollout(store, deployment)


def _prune_if_complete(store: Store, view: _View) -> None:
    if conditions.is_complete(view.deployment, view.deployment.get("status") or {}):
        _prune(store, view)


def _prune(store: Store, view: _View) -> None:
    """Forget the lowest revisions beyond the limit, never one with pods (cleanupDeployment)."""
    limit = view.deployment["spec"]["revisionHistoryLimit"]
    old = [rs for rs in view.old if not rs["metadata"].get("deletionTimestamp")]
    surplus = max(0, len(old) - limit)
    for replicaset in sorted(old, key=revision_of)[:surplus]:
        meta = replicaset["metadata"]
        seen = counted([replicaset], "observedGeneration")
        if wanted([replicaset]) or counted([replicaset], "replicas") or meta["generation"] > seen:
            continue
        store.delete(REPLICASETS, meta["namespace"], meta["name"], by=WHO)


def _remind(store: Store, key: Key, again_after: Callable[[float], None]) -> None:
    """Come back when the deadline has passed (requeueStuckDeployment)."""
    deployment = store.get(DEPLOYMENTS, *key)
    if deployment is None:
        return
    deadline = conditions.deadline_of(deployment, deployment.get("status") or {})
    if deadline is not None:
        again_after((deadline - store.clock.now()).total_seconds() + 0.001)
