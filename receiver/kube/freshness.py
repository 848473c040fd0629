"""Whether a list of ReplicaSets of unknown age is as new as the Deployment beside it: pure."""

from collections.abc import Iterable
from typing import Any

from receiver.kube.answers import Obj

REVISION = "deployment.kubernetes.io/revision"
HASH = "pod-template-hash"


def is_fresh(deployment: Obj, replicasets: Iterable[Obj]) -> bool:
    """Return whether the list holds the ReplicaSet that the (fresh) Deployment speaks of.

    That is the one with the Deployment's revision number *and* its template: the number alone is
    behind right after a template changed, the template alone does not move when an undo renumbers.
    """
    number = _revision(deployment)
    if number is None:
        return False
    template = _pure(deployment["spec"]["template"])
    return any(
        _revision(replicaset) == number and _pure(replicaset["spec"]["template"]) == template
        for replicaset in replicasets
    )


def owned_by(deployment: Obj, replicasets: Iterable[Obj]) -> tuple[Obj, ...]:
    """Return those whose controller is this Deployment, by UID: a namesake of old owns nothing."""
    uid = deployment["metadata"]["uid"]
    return tuple(
        replicaset
        for replicaset in replicasets
        if any(
            reference.get("controller") and reference.get("uid") == uid
            for reference in replicaset["metadata"].get("ownerReferences") or ()
        )
    )


def selector_text(selector: Obj) -> str:
    """Write a LabelSelector as a query: matchLabels and matchExpressions.

    As apimachinery's LabelSelectorAsSelector; raises `ValueError` for an operator that is none.
    """
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for item in selector.get("matchExpressions") or ():
        key, values = item["key"], ",".join(item.get("values") or ())
        match item["operator"]:
            case "In":
                parts.append(f"{key} in ({values})")
            case "NotIn":
                parts.append(f"{key} notin ({values})")
            case "Exists":
                parts.append(key)
            case "DoesNotExist":
                parts.append(f"!{key}")
            case other:
                raise ValueError(f"no operator of a label selector: {other!r}")
    return ",".join(parts)


def _revision(obj: Obj) -> str | None:
    found: str | None = (obj["metadata"].get("annotations") or {}).get(REVISION)
    return found


def _pure(template: Obj) -> dict[str, Any]:
    """Return a template without what the controller adds to a ReplicaSet's."""
    meta = dict(template.get("metadata") or {})
    meta.pop("creationTimestamp", None)  # null, where an older API server or client wrote it
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if key != HASH}
    return template | {"metadata": meta | {"labels": labels}}
