"""What the HTTP API of Prometheus said, and what of it is about one target. Pure.

Shapes: https://prometheus.io/docs/prometheus/latest/querying/api (rules, instant queries); the
tests hold answers of a real one. What has another shape is a `ValueError`.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel, ValidationError

from receiver.alerts import TargetLabels
from receiver.controller.ports import Subject

# Errors of the query itself; the others (timeout, canceled, unavailable, ...) may pass.
QUERY_FAULTS = frozenset({"bad_data", "execution"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An alerting rule: its expression, and the labels it adds (templates, not yet filled in)."""

    query: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One element of an instant vector. `value` is NaN where there is none (a histogram)."""

    labels: Mapping[str, str]
    value: float


class _Error(BaseModel):
    errorType: str = ""  # noqa: N815 - the names of the API


class _Rule(BaseModel):
    name: str = ""
    type: str = "alerting"
    query: str = ""
    labels: dict[str, str] = {}


class _Group(BaseModel):
    rules: list[_Rule] = []


class _Groups(BaseModel):
    groups: list[_Group]


class _Rules(BaseModel):
    data: _Groups


class _Warned(BaseModel):
    warnings: list[Any] | None = None


class _Element(BaseModel):
    metric: dict[str, str]
    value: tuple[float, str] | None = None


class _Kind(BaseModel):
    resultType: str  # noqa: N815 - the names of the API
    result: Any


class _Query(BaseModel):
    data: _Kind


class _Vector(BaseModel):
    result: list[_Element]


def error_type(body: bytes) -> str:
    """Return the word of Prometheus for what went wrong, "" when it is not Prometheus that spoke.

    Its sentence is left alone: it can be long, and quotes series.
    """
    try:
        word = _Error.model_validate_json(body).errorType
    except ValidationError:
        return ""
    return word if re.fullmatch(r"[a-z_]{1,30}", word) else ""


def rules_named(body: bytes, name: str) -> tuple[Rule, ...]:
    """Return the alerting rules of that name: all, also where the API does not filter."""
    try:
        groups = _Rules.model_validate_json(body).data.groups
    except ValidationError:
        raise ValueError("the list of rules has another shape") from None
    return tuple(
        Rule(query=rule.query, labels=rule.labels)
        for group in groups
        for rule in group.rules
        if (rule.type, rule.name) == ("alerting", name)
    )


def vector(body: bytes) -> tuple[Sample, ...] | None:
    """Return the elements of an instant vector; None: the answer is a single number, or a text."""
    try:
        data = _Query.model_validate_json(body).data
        if data.resultType in ("scalar", "string"):
            return None
        if data.resultType != "vector":
            raise ValueError("the result is no instant vector")
        elements = _Vector.model_validate({"result": data.result}).result
    except ValidationError:
        raise ValueError("the result of a query has another shape") from None
    return tuple(Sample(labels=e.metric, value=_number(e)) for e in elements)


def whole(body: bytes) -> bool:
    """Return whether the answer comes without a warning.

    With one it is what there is when some of several stores did not answer.
    """
    try:
        return not _Warned.model_validate_json(body).warnings
    except ValidationError:
        raise ValueError("the result of a query has another shape") from None


def _number(element: _Element) -> float:
    # Go writes NaN, +Inf and -Inf; Python reads them.
    return float(element.value[1]) if element.value is not None else math.nan


# --- whose elements


_COPIED = re.compile(r"\{\{-?\s*\$labels\.([a-zA-Z_][a-zA-Z0-9_]*)\s*-?\}\}")
# The suffixes of the names that controllers make (apimachinery pkg/util/rand: no vowels).
_RANDOM = "[bcdfghjklmnpqrstvwxz2456789]"
_REPLICASET = re.compile(rf"-{_RANDOM}{{1,10}}")
_POD = re.compile(rf"-{_RANDOM}{{1,10}}-{_RANDOM}{{5}}")
# What a pod has in common with its ReplicaSet is cut to so much, and five random characters follow
# (apiserver pkg/storage/names).
_STEM, _LONGEST = 58, 63
_CUT_POD = re.compile(rf"{_RANDOM}{{0,10}}-?{_RANDOM}{{5}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """How labels name a target: as in the configuration."""

    labels: TargetLabels = field(default_factory=TargetLabels)
    cluster: str = ""


def alert_labels(rule: Rule, labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of the alert that an element makes, as far as they can be known.

    A template that only copies a label is followed; any other leaves its label unknown.
    """
    found = {name: value for name, value in labels.items() if name not in rule.labels}
    for name, value in rule.labels.items():
        if (copied := _COPIED.fullmatch(value.strip())) is not None:
            found[name] = labels.get(copied[1], "")
        elif "{{" not in value:
            found[name] = value
    return found


def concerns(subject: Subject, labels: Mapping[str, str], naming: Naming) -> bool:
    """Return whether an alert with these labels may be about a target.

    It may be unless a label says otherwise: an aggregate over everything names nobody.
    """
    names = naming.labels

    def says(which: tuple[str, ...], want: str) -> bool:
        """Return whether the first of these labels that is there says so, or none is there."""
        word = next((labels[name] for name in which if labels.get(name)), "")
        return not (word and want) or word == want

    if not says(names.cluster, naming.cluster) or not says(names.namespace, subject.namespace):
        return False
    if not says(names.track, subject.track):
        return False
    if any(labels.get(name) for name in names.deployment):
        return says(names.deployment, subject.deployment)
    for which, is_of in ((names.replicaset, _replicaset_of), (names.pod, _pod_of)):
        word = next((labels[name] for name in which if labels.get(name)), "")
        if word:
            return is_of(word, subject.deployment)
    return True


def _replicaset_of(name: str, deployment: str) -> bool:
    return _follows(name, deployment, _REPLICASET)


def _pod_of(name: str, deployment: str) -> bool:
    if len(name) == _LONGEST:
        return _follows(name, f"{deployment}-"[:_STEM], _CUT_POD)
    return _follows(name, deployment, _POD)


def _follows(name: str, start: str, rest: re.Pattern[str]) -> bool:
    return name.startswith(start) and rest.fullmatch(name, len(start)) is not None


def troubles(subjects: tuple[Subject, ...], labels: Mapping[str, str], naming: Naming) -> bool:
    """Return whether an alert is trouble for one of these targets.

    It names their namespace, and no Deployment, ReplicaSet or pod that is none of theirs. A track
    alone excuses nothing: what is wrong with the canary or its stable sibling is so for both.
    """
    namespace = next((labels[n] for n in naming.labels.namespace if labels.get(n)), "")
    return any(
        namespace == subject.namespace and concerns(replace(subject, track=""), labels, naming)
        for subject in subjects
    )
