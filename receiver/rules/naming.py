"""Whom an alert means, and what it says of itself: checks of labels and annotations. Pure."""

import re
from collections.abc import Iterator, Sequence

from receiver import alerts as al
from receiver.rules.files import word_unknown
from receiver.rules.findings import Said
from receiver.rules.trigger import Trigger, span

SEVERITIES = frozenset({"critical", "warning", "info", "none", "page", "error"})
LOUD = frozenset({"critical", "page", "error"})
# What a scrape adds, and what is of the exporter's or of one pod.
_OF_SCRAPE = ("job", "instance", "endpoint", "service", "prometheus")
_OF_ONE = ("pod", "exported_pod", "instance", "container", "exported_container", "node", "uid")
_COPIED = re.compile(r"\$labels\.(\w+)")
_TARGET = al.TargetLabels()


def no_namespace(trigger: Trigger) -> Iterator[Said]:
    """Find an alert whose labels name no namespace."""
    if _misses(trigger, _TARGET.namespace):
        yield ("labels",), "its alerts have no label `namespace`: nobody can tell whom they mean"


def no_deployment(trigger: Trigger) -> Iterator[Said]:
    """Find an alert whose labels name no Deployment, ReplicaSet or pod."""
    if _misses(trigger, (*_TARGET.deployment, *_TARGET.replicaset, *_TARGET.pod)):
        text = "its alerts have no label `deployment` (or `replicaset`, or `pod`)"
        yield ("labels",), f"{text}: nobody can tell whom they mean"


def _misses(trigger: Trigger, wanted: Sequence[str]) -> bool:
    return trigger.labels is not None and not trigger.labels & set(wanted)


def exporter_named(trigger: Trigger) -> Iterator[Said]:
    """Find labels of the scrape: they name the exporter, not the target."""
    naming = (*_TARGET.namespace, *_TARGET.deployment, *_TARGET.replicaset, *_TARGET.pod)
    for name, value in trigger.rule.labels.items():
        of = _COPIED.search(value)
        if name in naming and of is not None and of[1] in _OF_SCRAPE:
            text = f"takes `{name}` from `{of[1]}`, which names the exporter and not the target"
            yield ("labels", name), text
    if trigger.rule.tree is not None and trigger.labels is None and not trigger.recorded_elsewhere:
        text = "keeps the labels of the scrape: `namespace` and `pod` may be the exporter's"
        yield ("expr",), f"{text}; aggregate `by (namespace, deployment)`"
    elif scraped := sorted((trigger.labels or frozenset()) & set(_OF_SCRAPE) - {"instance"}):
        text = f"keeps `{scraped[0]}`, which says who was scraped and not what is bad"
        yield ("expr",), text


def one_alert_each(trigger: Trigger) -> Iterator[Said]:
    """Find an alert for each pod or instance of one release."""
    if single := sorted((trigger.labels or frozenset()) & set(_OF_ONE)):
        text = f"makes an alert for each `{single[0]}`: one release is one alert"
        yield ("expr",), f"{text}; aggregate it away"


def value_in_label(trigger: Trigger) -> Iterator[Said]:
    """Find a label that changes with the value: each value is another alert."""
    for name, value in trigger.rule.labels.items():
        if "$value" in value or re.search(r"\{\{[^}]*\.Value", value):
            text = f"the label `{name}` holds the value: each new value is another alert"
            yield ("labels", name), f"{text}, and `for` begins anew; put it into an annotation"


# --- what it says


def severity_unknown(trigger: Trigger) -> Iterator[Said]:
    """Find no `severity`, or one that nobody is told of."""
    word = trigger.rule.labels.get("severity", "").strip().lower()
    if not word:
        yield ("labels",), "has no `severity`: who is told depends on it"
    elif word not in SEVERITIES and "{{" not in word:
        known = "critical, warning, info, none"
        yield ("labels", "severity"), f"`severity: {word[:40]}` is none that is routed ({known})"


def not_critical(trigger: Trigger) -> Iterator[Said]:
    """Find a rollback by an alert that a critical one may inhibit."""
    word = trigger.rule.labels.get("severity", "").strip().lower()
    if word in SEVERITIES - LOUD:
        text = f"asks for a rollback and is only `{word}`: a critical alert of the same name"
        yield ("labels", "severity"), f"{text} may inhibit it (kube-prometheus does)"


def rollback_unknown(trigger: Trigger) -> Iterator[Said]:
    """Find a label `rollback` that neither asks nor forbids."""
    if word_unknown(trigger.rule.labels):
        word = trigger.rule.labels["rollback"][:40]
        text = f"`rollback: {word}` is no word that is known: auto asks, never forbids"
        yield ("labels", "rollback"), text


def for_not_said(trigger: Trigger) -> Iterator[Said]:
    """Find no annotation `for`, which says when the trouble began."""
    if trigger.rule.held and "for" not in trigger.rule.annotations:
        yield (
            ("annotations",),
            (
                f"has no annotation `for: {trigger.rule.held}`: the webhook does not carry it, and "
                "trouble that is older than the release would be blamed on it"
            ),
        )


def for_differs(trigger: Trigger) -> Iterator[Said]:
    """Find an annotation `for` that is not the rule's `for`."""
    said = trigger.rule.annotations.get("for")
    if said is not None and span(said.strip()) != span(trigger.rule.held):
        held = trigger.rule.held or "0s"
        yield ("annotations", "for"), f"the annotation says {said[:40]}, the rule {held}"


def no_runbook(trigger: Trigger) -> Iterator[Said]:
    """Find no `summary` or no `runbook_url`."""
    missing = [n for n in ("summary", "runbook_url") if not trigger.rule.annotations.get(n)]
    if missing:
        text = f"has no {' and no '.join(missing)}: who is paged must know what to do"
        yield ("annotations",), text
