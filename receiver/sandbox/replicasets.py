"""The ReplicaSet controller and the garbage collector: pods come and go, orphans go.

k/k pkg/controller/replicaset/{replica_set,replica_set_utils}.go, pkg/controller/garbagecollector.
"""

from collections.abc import Callable
from datetime import timedelta

from receiver.sandbox.objects import (
    CONFIGMAPS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    REPLICASETS,
    RESOURCES,
    Key,
    Obj,
    clone,
    moment_of,
    owned_by,
    owner_reference,
)
from receiver.sandbox.store import Store

WHO = "replicaset-controller"
COLLECTOR = "garbage-collector"


def ready_since(pod: Obj) -> str | None:
    """Return since when a pod is Ready, None when it is not."""
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Ready" and condition.get("status") == "True":
            # One who leaves out since when (the API lets him) has always been ready.
            since: str = condition.get("lastTransitionTime") or "1970-01-01T00:00:00Z"
            return since
    return None


def sync(store: Store, key: Key, again_after: Callable[[float], None]) -> None:
    """Bring one ReplicaSet's pods and status in line (syncReplicaSet)."""
    replicaset = store.get(REPLICASETS, *key)
    if replicaset is None or replicaset["metadata"].get("deletionTimestamp"):
        return
    namespace, name = key
    pods = owned_by(replicaset, store.all(PODS, namespace))
    if not _resize(store, replicaset, pods):
        # Its own pod events bring it back here; the status is written then, as it is.
        status = _status(store, replicaset, pods, again_after)
        store.change(
            REPLICASETS,
            namespace,
            name,
            lambda obj: obj | {"status": status},
            by=WHO,
            subresource="status",
        )


def _resize(store: Store, replicaset: Obj, pods: list[Obj]) -> bool:
    namespace, name = replicaset["metadata"]["namespace"], replicaset["metadata"]["name"]
    missing = replicaset["spec"]["replicas"] - len(pods)
    template = replicaset["spec"]["template"]
    for _ in range(missing):
        meta = clone(template.get("metadata") or {})
        meta["generateName"] = f"{name}-"
        meta["ownerReferences"] = [owner_reference(REPLICASETS, replicaset)]
        pod = {"metadata": meta, "spec": clone(template["spec"])}
        store.create(PODS, namespace, pod, by=WHO)
    # Unready before ready, young before old (controller_utils.go ActivePodsWithRanks).
    ranked = sorted(pods, key=lambda pod: pod["metadata"]["creationTimestamp"], reverse=True)
    ranked.sort(key=lambda pod: ready_since(pod) is not None)
    for pod in ranked[: max(0, -missing)]:
        store.delete(PODS, namespace, pod["metadata"]["name"], by=WHO)
    return bool(missing)


def _status(
    store: Store, replicaset: Obj, pods: list[Obj], again_after: Callable[[float], None]
) -> Obj:
    """Count the pods (calculateStatus); come back when one has been ready long enough."""
    now = store.clock.now()
    patience = timedelta(seconds=replicaset["spec"].get("minReadySeconds") or 0)
    since = [ready_since(pod) for pod in pods]
    left = [
        (moment_of(text) + patience - now).total_seconds() if patience else 0.0
        for text in since
        if text is not None
    ]
    if waits := [seconds for seconds in left if seconds > 0]:
        again_after(min(waits))
    status: Obj = {
        "replicas": len(pods),
        "fullyLabeledReplicas": len(pods),
        "readyReplicas": len(left),
        "availableReplicas": len(left) - len(waits),
        "observedGeneration": replicaset["metadata"]["generation"],
    }
    return {"replicas": len(pods)} | {field: count for field, count in status.items() if count}


def collect(store: Store, uid: str) -> None:
    """Delete what a deleted owner leaves behind (background propagation)."""
    for resource in (REPLICASETS, PODS, CONFIGMAPS):
        for obj in store.all(resource):
            references = obj["metadata"].get("ownerReferences") or ()
            if any(reference["uid"] == uid for reference in references):
                meta = obj["metadata"]
                store.delete(resource, meta["namespace"], meta["name"], by=COLLECTOR)


def orphan(store: Store, uid: str) -> None:
    """Let what a deleted owner leaves behind live on without an owner (propagation "Orphan")."""

    def how(obj: Obj) -> Obj:
        meta = obj["metadata"]
        meta["ownerReferences"] = [o for o in meta["ownerReferences"] if o["uid"] != uid]
        return obj

    for resource in (REPLICASETS, PODS, CONFIGMAPS):
        for obj in store.all(resource):
            meta = obj["metadata"]
            if any(owner["uid"] == uid for owner in meta.get("ownerReferences") or ()):
                name = meta["name"]
                store.change(resource, meta["namespace"], name, how, by=COLLECTOR, verb="patch")


def empty(store: Store, namespace: str) -> None:
    """Delete what was in a deleted namespace."""
    for resource in (DEPLOYMENTS, *RESOURCES):
        if resource is not NAMESPACES:
            for obj in store.all(resource, namespace):
                store.delete(resource, namespace, obj["metadata"]["name"], by=COLLECTOR)
