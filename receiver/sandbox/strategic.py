"""Strategic merge patch (staging apimachinery pkg/util/strategicpatch), which kubectl speaks.

Maps are merged; lists are merged by the key that their Go type names, else replaced. Directives:
`$patch`, `$setElementOrder/LIST`, `$deleteFromPrimitiveList/LIST`, `$retainKeys`.
"""

from typing import Any

from receiver.sandbox.objects import Obj, clone
from receiver.sandbox.status import bad_request

# patchMergeKey of staging api core/v1 and meta/v1; a name means the same wherever it stands here.
_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "volumes": "name",
    "imagePullSecrets": "name",
    "resourceClaims": "name",
    "schedulingGates": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "hostAliases": "ip",
    "ports": "containerPort",
    "topologySpreadConstraints": "topologyKey",
    "conditions": "type",
    "ownerReferences": "uid",
}
_PRIMITIVE = frozenset({"finalizers"})
_ORDER, _DROP = "$setElementOrder/", "$deleteFromPrimitiveList/"
# What is below these is a map of strings, in which no name has a meaning.
_PLAIN = frozenset({"labels", "annotations", "matchLabels", "nodeSelector", "data"})


def strategic_merge(document: Obj, patch: Any) -> Obj:
    """Apply a strategic merge patch and return the new document."""
    if not isinstance(patch, dict):
        raise bad_request("the strategic merge patch must be an object")
    return _merge(document, patch)


def _merge(document: Any, patch: Obj, *, plain: bool = False) -> Obj:
    how, kept = patch.get("$patch", "merge"), patch.get("$retainKeys")
    fields = {key: value for key, value in patch.items() if not key.startswith("$")}
    if how == "replace":
        return dict(clone(fields))
    if how == "delete":
        return {}
    if how != "merge":
        raise bad_request(f"unknown patch type: {how}")
    merged = dict(document) if isinstance(document, dict) else {}
    if isinstance(kept, list):
        merged = {key: value for key, value in merged.items() if key in kept}
    for key, value in fields.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = _merge(merged.get(key), value, plain=plain or key in _PLAIN)
        elif isinstance(value, list) and not plain and (key in _KEYS or key in _PRIMITIVE):
            merged[key] = _merge_list(key, merged.get(key), value)
        else:
            merged[key] = clone(value)
    for key, value in patch.items():
        if key.startswith("$") and key not in ("$patch", "$retainKeys"):
            _obey(merged, key, value)
    return merged


def _obey(merged: Obj, directive: str, value: Any) -> None:
    """Drop or sort items of a list, as the directive says."""
    known = directive.startswith((_ORDER, _DROP))
    if not known or not isinstance(value, list):
        raise bad_request(f"unknown directive: {directive}")
    name = directive.partition("/")[2]
    items = merged.get(name)
    if not isinstance(items, list):
        return
    if directive.startswith(_DROP):
        merged[name] = [item for item in items if item not in value]
    else:
        merged[name] = _ordered(_KEYS.get(name), items, value)


def _merge_list(name: str, document: Any, patch: list[Any]) -> list[Any]:
    found = list(document) if isinstance(document, list) else []
    if name in _PRIMITIVE:
        return found + [item for item in patch if item not in found]
    key = _KEYS[name]
    if not all(isinstance(item, dict) for item in [*found, *patch]):
        raise bad_request(f"unable to merge the list {name}: its items must be objects")
    if any(item.get("$patch") == "replace" for item in patch):
        return [clone(item) for item in patch if "$patch" not in item]
    for item in patch:
        if key not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {key}")
        at = next((i for i, old in enumerate(found) if old.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            found = [old for old in found if old.get(key) != item[key]]
        elif at is None:
            found.append(_merge({}, item))
        else:
            found[at] = _merge(found[at], item)
    return found


def _ordered(key: str | None, items: list[Any], order: list[Any]) -> list[Any]:
    """Sort what the order names; what it does not name keeps its place."""

    def of(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, dict) else item

    wanted = [of(item) for item in order]
    named = sorted((i for i in items if of(i) in wanted), key=lambda i: wanted.index(of(i)))
    following = iter(named)
    return [next(following) if of(item) in wanted else item for item in items]
