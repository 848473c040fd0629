"""What a person does at the command line, as kubectl does it."""

from typing import Any

from receiver.sandbox.objects import (
    DEPLOYMENTS,
    REPLICASETS,
    Obj,
    annotations_of,
    clone,
    labels_of,
    owned_by,
    stamp,
)
from receiver.sandbox.patch import json_patch
from receiver.sandbox.revisions import REVISION, SKIPPED, pure_template, same_template
from receiver.sandbox.selectors import fits, requirements_of
from receiver.sandbox.status import not_found
from receiver.sandbox.store import Store

WHO = "person"
RESTARTED = "kubectl.kubernetes.io/restartedAt"


class RolloutError(Exception):
    """What kubectl prints when it refuses."""


def deploy(
    store: Store,
    namespace: str,
    name: str,
    image: str,
    *,
    replicas: int | None = None,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    track: str | None = None,
    by: str = WHO,
    **spec: Any,
) -> Obj:
    """Create a Deployment, or give it another image, labels, annotations, spec fields."""
    if store.get(DEPLOYMENTS, namespace, name) is None:
        pod_labels = {"app": name} | ({"track": track} if track else {})
        obj: Obj = {
            "metadata": {
                "name": name,
                "labels": pod_labels | (labels or {}),
                "annotations": dict(annotations or {}),
            },
            "spec": {
                "replicas": 3 if replicas is None else replicas,
                "selector": {"matchLabels": dict(pod_labels)},
                "template": {
                    "metadata": {"labels": dict(pod_labels)},
                    "spec": {"containers": [{"name": "app", "image": image}]},
                },
            }
            | spec,
        }
        return store.create(DEPLOYMENTS, namespace, obj, by=by)

    def how(obj: Obj) -> Obj:
        meta = obj["metadata"]
        meta["labels"] = labels_of(obj) | (labels or {})
        meta["annotations"] = annotations_of(obj) | (annotations or {})
        obj["spec"] |= spec | ({} if replicas is None else {"replicas": replicas})
        obj["spec"]["template"]["spec"]["containers"][0]["image"] = image
        return obj

    return store.change(DEPLOYMENTS, namespace, name, how, by=by, verb="patch")


def scale(store: Store, namespace: str, name: str, replicas: int, by: str = WHO) -> Obj:
    """`kubectl scale`."""

    def how(obj: Obj) -> Obj:
        obj["spec"]["replicas"] = replicas
        return obj

    return store.change(DEPLOYMENTS, namespace, name, how, by=by, verb="patch", subresource="scale")


def set_paused(store: Store, namespace: str, name: str, *, paused: bool) -> Obj:
    """`kubectl rollout pause` and `resume`."""

    def how(obj: Obj) -> Obj:
        obj["spec"].pop("paused", None)
        obj["spec"] |= {"paused": True} if paused else {}
        return obj

    return store.change(DEPLOYMENTS, namespace, name, how, by=WHO, verb="patch")


def restart(store: Store, namespace: str, name: str) -> Obj:
    """`kubectl rollout restart` (pkg/polymorphichelpers/objectrestarter.go)."""

    def how(obj: Obj) -> Obj:
        if obj["spec"].get("paused"):
            raise RolloutError("can't restart paused deployment (run rollout resume first)")
        meta = obj["spec"]["template"].setdefault("metadata", {})
        meta["annotations"] = (meta.get("annotations") or {}) | {
            RESTARTED: stamp(store.clock.now())
        }
        return obj

    return store.change(DEPLOYMENTS, namespace, name, how, by=WHO, verb="patch")


def undo(store: Store, namespace: str, name: str, to_revision: int = 0) -> str:
    """`kubectl rollout undo`, and what it prints (pkg/polymorphichelpers/rollback.go).

    The whole annotation map is replaced by the ReplicaSet's: what only the Deployment had is lost.
    """
    if to_revision < 0:
        raise RolloutError(f"unable to find specified revision {to_revision} in history")
    deployment = store.get(DEPLOYMENTS, namespace, name)
    if deployment is None:
        raise not_found(DEPLOYMENTS, name)
    target = _target(store, deployment, to_revision)
    if deployment["spec"].get("paused"):
        raise RolloutError(
            f"cannot rollback a paused deployment; resume it first with "
            f"'kubectl rollout resume deployment/{name}' and try again"
        )
    template = pure_template(target["spec"]["template"])
    if same_template(template, deployment["spec"]["template"]):
        return f"skipped rollback (current template already matches revision {to_revision})"
    annotations = {k: v for k, v in annotations_of(deployment).items() if k in SKIPPED}
    annotations |= {k: v for k, v in annotations_of(target).items() if k not in SKIPPED}
    operations = [
        {"op": "replace", "path": "/spec/template", "value": template},
        {"op": "replace", "path": "/metadata/annotations", "value": clone(annotations)},
    ]

    def how(obj: Obj) -> Any:
        return json_patch(obj, operations)

    store.change(DEPLOYMENTS, namespace, name, how, by=WHO, verb="patch")
    return "rolled back"


def _target(store: Store, deployment: Obj, to_revision: int) -> Obj:
    """Choose by number alone: neither the Deployment's own number nor health is looked at."""
    meta = deployment["metadata"]
    selector = requirements_of(deployment["spec"]["selector"])
    numbered: dict[int, Obj] = {}
    for replicaset in owned_by(deployment, store.all(REPLICASETS, meta["namespace"])):
        text = annotations_of(replicaset).get(REVISION, "0")
        if text.isdigit() and fits(selector, labels_of(replicaset)):
            numbered[int(text)] = replicaset
    if to_revision:
        if to_revision not in numbered:
            raise RolloutError(f"unable to find specified revision {to_revision} in history")
        return numbered[to_revision]
    if len(numbered) < 2:  # noqa: PLR2004 - the latest, and one to go back to
        raise RolloutError(f'no rollout history found for deployment "{meta["name"]}"')
    return numbered[sorted(numbered)[-2]]
