"""Label and field selectors, as a query and as a field of an object.

Staging apimachinery pkg/labels/selector.go, pkg/fields/selector.go, apis/meta/v1/helpers.go.
"""

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from receiver.sandbox.objects import Obj, labels_of
from receiver.sandbox.status import bad_request

Matcher: TypeAlias = Callable[[Obj], bool]
Requirement: TypeAlias = tuple[str, str, frozenset[str]]  # key, operator, values

_KEY = r"[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?"
_SET = re.compile(rf"^({_KEY})\s+(in|notin)\s*\(([^()]*)\)$")
_EQUAL = re.compile(rf"^({_KEY})\s*(==|!=|=)\s*([-A-Za-z0-9_.]*)$")
_EXISTS = re.compile(rf"^(!?)\s*({_KEY})$")
_FIELD = re.compile(r"^([^=!]+)(==|!=|=)(.*)$")


def label_query(text: str) -> Matcher:
    """Read a `labelSelector` parameter: equality and set based."""
    requirements = [_requirement(part.strip()) for part in _split(text) if part.strip()]
    return lambda obj: fits(requirements, labels_of(obj))


def field_query(text: str) -> Matcher:
    """Read a `fieldSelector` parameter: the two fields that every resource has."""
    wanted: list[tuple[str, bool, str]] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        read = _FIELD.match(part)
        if read is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        field, operator, value = read.groups()
        if field not in ("metadata.name", "metadata.namespace"):
            raise bad_request(f"field label not supported: {field}")
        wanted.append((field.removeprefix("metadata."), operator != "!=", value))
    return lambda obj: all(
        (obj["metadata"].get(field, "") == value) is equal for field, equal, value in wanted
    )


def named(text: str) -> str:
    """Return the one name that a `fieldSelector` leaves, "" where it leaves many."""
    for part in text.split(","):
        read = _FIELD.match(part.strip())
        if read and read[1] == "metadata.name" and read[2] != "!=":
            return read[3]
    return ""


def requirements_of(selector: Obj) -> list[Requirement]:
    """Read a LabelSelector: matchLabels and matchExpressions (LabelSelectorAsSelector)."""
    equal: list[Requirement] = [
        (key, "in", frozenset([value]))
        for key, value in (selector.get("matchLabels") or {}).items()
    ]
    names = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}
    return equal + [
        (item["key"], names[item["operator"]], frozenset(item.get("values") or ()))
        for item in selector.get("matchExpressions") or ()
    ]


def fits(requirements: list[Requirement], labels: Mapping[str, str]) -> bool:
    """Say whether labels meet all requirements. `notin` and `!=` are met by a missing label."""
    return all(_meets(requirement, labels) for requirement in requirements)


def text_of(selector: Obj) -> str:
    """Write a LabelSelector as a query, as /scale shows it."""
    parts = []
    for key, operator, values in requirements_of(selector):
        listed = ",".join(sorted(values))
        if operator == "in" and len(values) == 1:
            parts.append(f"{key}={listed}")
        elif operator in ("in", "notin"):
            parts.append(f"{key} {operator} ({listed})")
        else:
            parts.append(f"!{key}" if operator == "!" else key)
    return ",".join(sorted(parts))


def _meets(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    key, operator, values = requirement
    if operator == "in":
        return key in labels and labels[key] in values
    if operator == "notin":
        return key not in labels or labels[key] not in values
    return (key in labels) is (operator == "exists")


def _split(text: str) -> list[str]:
    return re.split(r",(?![^(]*\))", text)


def _requirement(part: str) -> Requirement:
    if read := _SET.match(part):
        key, operator, listed = read.groups()
        return key, operator, frozenset(value.strip() for value in listed.split(","))
    if read := _EQUAL.match(part):
        key, operator, value = read.groups()
        return key, "notin" if operator == "!=" else "in", frozenset([value])
    if read := _EXISTS.match(part):
        absent, key = read.groups()
        return key, "!" if absent else "exists", frozenset()
    raise bad_request(f"unable to parse requirement: found '{part}'")
