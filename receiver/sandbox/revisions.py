"""Which ReplicaSet is which revision, and how many pods each may have. Pure.

k/k pkg/controller/deployment/util/deployment_util.go, unless another file is named.
"""

import hashlib
import json
import math
from collections.abc import Iterable
from typing import Any

from receiver.sandbox.objects import HASH_LABEL, Obj, annotations_of, clone
from receiver.sandbox.patch import same
from receiver.sandbox.store import ALPHABET

REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
# annotationsToSkip: what is the Deployment's or the ReplicaSet's own, and never travels.
SKIPPED = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        HISTORY,
        DESIRED,
        MAXIMUM,
        "deprecated.deployment.rollback.to",
    }
)
MOST_HISTORY_CHARACTERS = 2000  # sync.go: maxRevHistoryLengthInChars


def pure_template(template: Obj) -> Obj:
    """Return a template without the hash label that the controller adds."""
    template = clone(template)
    meta = template.get("metadata") or {}
    labels = meta.get("labels") or {}
    labels.pop(HASH_LABEL, None)
    return template


def same_template(left: Obj, right: Obj) -> bool:
    """Compare templates as EqualIgnoreHash does: null and empty are the same."""
    return same(_filled(pure_template(left)), _filled(pure_template(right)))


def _filled(value: Any) -> Any:
    """Drop what Semantic.DeepEqual takes for nothing."""
    if isinstance(value, dict):
        items = {key: _filled(item) for key, item in value.items()}
        return {key: item for key, item in items.items() if item not in (None, {}, [])}
    if isinstance(value, list):
        return [_filled(item) for item in value]
    return value


def hash_of(template: Obj, collisions: int = 0) -> str:
    """Name a template in ten characters. Stable, though not the FNV of the real controller."""
    text = json.dumps([_filled(pure_template(template)), collisions], sort_keys=True)
    digest = hashlib.sha256(text.encode()).digest()
    return "".join(ALPHABET[byte % len(ALPHABET)] for byte in digest[:10])


def revision_of(obj: Obj) -> int:
    """Return the revision number, 0 where it is missing or cannot be read."""
    text = annotations_of(obj).get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def by_age(replicasets: Iterable[Obj]) -> list[Obj]:
    """Order the oldest first; a second knows no order, so the name decides."""
    return sorted(
        replicasets, key=lambda rs: (rs["metadata"]["creationTimestamp"], rs["metadata"]["name"])
    )


def find_new(deployment: Obj, replicasets: Iterable[Obj]) -> Obj | None:
    """Return the oldest ReplicaSet with the Deployment's template (FindNewReplicaSet)."""
    template = deployment["spec"]["template"]
    for replicaset in by_age(replicasets):
        if same_template(replicaset["spec"]["template"], template):
            return replicaset
    return None


def annotated(deployment: Obj, replicaset: Obj, revision: int, *, exists: bool) -> dict[str, str]:
    """Return the annotations the new ReplicaSet shall have (SetNewReplicaSetAnnotations)."""
    mine = dict(annotations_of(replicaset))
    mine |= {k: v for k, v in annotations_of(deployment).items() if k not in SKIPPED}
    old = mine.get(REVISION)
    if old is not None and not old.isdigit():
        return mine
    if int(old or 0) < revision:
        mine[REVISION] = str(revision)
        if old is not None:
            numbers = [number for number in mine.get(HISTORY, "").split(",") if number]
            numbers.append(old)
            while len(",".join(numbers)) > MOST_HISTORY_CHARACTERS:
                numbers.pop(0)
            mine[HISTORY] = ",".join(numbers)
    if not exists:
        mine |= size_annotations(deployment)
    return mine


def size_annotations(deployment: Obj) -> dict[str, str]:
    """Return what a ReplicaSet remembers of the size it was made for (SetReplicasAnnotations)."""
    replicas = deployment["spec"]["replicas"]
    return {DESIRED: str(replicas), MAXIMUM: str(replicas + max_surge(deployment))}


def _share(value: Any, total: int, *, up: bool) -> int:
    """Read an int or a percentage (intstr.GetScaledValueFromIntOrPercent)."""
    if isinstance(value, str) and value.endswith("%"):
        exact = int(value[:-1]) * total / 100
        return math.ceil(exact) if up else math.floor(exact)
    return int(value or 0)


def _bounds(deployment: Obj) -> tuple[int, int]:
    """Return (surge, unavailable) (ResolveFenceposts): never both 0."""
    replicas = deployment["spec"]["replicas"]
    rolling = deployment["spec"]["strategy"].get("rollingUpdate") or {}
    surge = _share(rolling.get("maxSurge"), replicas, up=True)
    unavailable = _share(rolling.get("maxUnavailable"), replicas, up=False)
    return (surge, unavailable) if surge or unavailable else (0, 1)


def is_rolling(deployment: Obj) -> bool:
    """Say whether pods are replaced step by step."""
    return bool(deployment["spec"]["strategy"]["type"] == "RollingUpdate")


def max_surge(deployment: Obj) -> int:
    """Return how many pods there may be beyond the wanted ones (MaxSurge)."""
    return _bounds(deployment)[0] if is_rolling(deployment) else 0


def max_unavailable(deployment: Obj) -> int:
    """Return how many of the wanted pods may be missing (MaxUnavailable)."""
    replicas: int = deployment["spec"]["replicas"]
    if not is_rolling(deployment) or replicas == 0:
        return 0
    return min(_bounds(deployment)[1], replicas)


def wanted(replicasets: Iterable[Obj | None]) -> int:
    """Sum the pods they ask for (GetReplicaCountForReplicaSets)."""
    return sum(rs["spec"]["replicas"] for rs in replicasets if rs)


def counted(replicasets: Iterable[Obj | None], field: str) -> int:
    """Sum a number of their status."""
    return sum((rs.get("status") or {}).get(field) or 0 for rs in replicasets if rs)


def active(replicasets: Iterable[Obj | None]) -> list[Obj]:
    """Return those that ask for pods (FilterActiveReplicaSets)."""
    return [rs for rs in replicasets if rs and rs["spec"]["replicas"] > 0]


def room_for_new(deployment: Obj, all_sets: list[Obj], size: int) -> int:
    """Return the size the new ReplicaSet may take now (NewRSNewReplicas)."""
    replicas: int = deployment["spec"]["replicas"]
    if not is_rolling(deployment):
        return replicas
    room = replicas + max_surge(deployment) - wanted(all_sets)
    return size + max(0, min(room, replicas - size))


def saturated(deployment: Obj, replicaset: Obj | None) -> bool:
    """Say whether one ReplicaSet has all pods, and available ones (IsSaturated)."""
    if replicaset is None:
        return False
    replicas = deployment["spec"]["replicas"]
    return (
        replicaset["spec"]["replicas"] == replicas
        and annotations_of(replicaset).get(DESIRED) == str(replicas)
        and counted([replicaset], "availableReplicas") == replicas
    )


def proportions(deployment: Obj, replicasets: list[Obj]) -> list[tuple[Obj, int]]:
    """Spread a new size over the ReplicaSets of a half-done rollout (sync.go scale)."""
    replicas = deployment["spec"]["replicas"]
    allowed = replicas + max_surge(deployment) if replicas > 0 else 0
    to_add = allowed - wanted(replicasets)
    # The largest first; among equals the newer when growing, the older when shrinking.
    ordered = by_age(replicasets)
    if to_add > 0:
        ordered.reverse()
    ordered.sort(key=lambda rs: rs["spec"]["replicas"], reverse=True)
    added, sizes = 0, []
    for replicaset in ordered:
        size = replicaset["spec"]["replicas"]
        share = 0
        if size and to_add and to_add != added:
            if replicas == 0:
                share = -size
            else:
                was = annotations_of(replicaset).get(MAXIMUM, "0")
                was_most = int(was) or counted([deployment], "replicas") or 1
                grown = size * (replicas + max_surge(deployment)) / was_most
                share = math.floor(grown + 0.5) - size
            left = to_add - added
            share = min(share, left) if to_add > 0 else max(share, left)
        added += share
        sizes.append(size + share)
    if to_add and sizes:
        sizes[0] = max(0, sizes[0] + to_add - added)
    return list(zip(ordered, sizes, strict=True))
