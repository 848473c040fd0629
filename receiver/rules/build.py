"""From conditions to a PrometheusRule, as text: the same conditions, the same bytes.

Records stand before the alerts that read them, all in one group, because groups run side by side
and the rules of one in order. The guards are those a rule needs before anybody may act on it:
traffic, the stable track, `keep_firing_for`, and an alert of its own for missing data.
"""

import re
from typing import Any, TypeAlias

import yaml

from receiver import alerts as al
from receiver import promql as pq
from receiver.rules.conditions import Condition, Conditions, Metric, camel, labels

Rule: TypeAlias = dict[str, Any]

# Nobody's data is missing because one scrape failed, or because Prometheus has just started.
NO_DATA_FOR = "10m"
# Where an alert is about, in the order in which people look for it.
_SUBJECT = ("namespace", "deployment", "replicaset", "sink")
_WIDTH = 10_000  # a text is one line: what folds it is the screen


def build(conditions: Conditions, source: str, output: str = "") -> str:
    """Return the PrometheusRule; `source` and `output` are the names of the files."""
    into = conditions.rule
    metadata: Rule = {"name": into.name}
    if into.namespace:
        metadata["namespace"] = into.namespace
    if into.labels:
        metadata["labels"] = dict(sorted(into.labels.items()))
    group = {"name": into.group, "interval": into.interval, "rules": rules(conditions)}
    manifest = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": metadata,
        "spec": {"groups": [group]},
    }
    made = f"rollback-receiver rules build {source}{f' -o {output}' if output else ''}"
    text = yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=_WIDTH, allow_unicode=True)
    return f"# Made by `{made}`: do not edit.\n{text}"


def rules(conditions: Conditions) -> list[Rule]:
    """Return the rules, in their order: records, what rolls back, missing data, and the rest."""
    records = [{"record": each.series, "expr": each.expr} for _, each in conditions.defined()]
    return [
        *records,
        *(_alert(each, conditions) for each in conditions.rollback_conditions),
        *_no_data(conditions),
        *(_alert(each, conditions) for each in conditions.health_checks),
    ]


# --- one alert


def _alert(condition: Condition, all_: Conditions) -> Rule:
    rollback = condition.action == "rollback"
    severity = condition.severity or ("critical" if rollback else "warning")
    return {
        "alert": condition.alert,
        "expr": _expression(condition, all_),
        **_spans(condition.duration, condition.keep_firing_for),
        "labels": condition.labels
        | {"rollback": "auto" if rollback else "never", "severity": severity},
        "annotations": _annotations(condition, all_),
    }


def _spans(duration: str, keep_firing_for: str) -> Rule:
    spans = {"for": duration, "keep_firing_for": keep_firing_for}
    return {name: span for name, span in spans.items() if al.duration(span)}


def _expression(condition: Condition, all_: Conditions) -> str:
    if condition.threshold is None:
        return condition.expr
    metric = all_.metric(condition.metric)
    series = metric.series if metric is not None else condition.metric
    beyond = ">" if condition.when == "above" else "<"
    lines = [f"{series} {beyond} {_number(condition.threshold)}"]
    if metric is None:
        return lines[0]
    traffic = _traffic(metric, all_)
    if traffic:
        lines += ["and", traffic]
    if metric.stable is not None and condition.action == "rollback":
        lines += ["unless", "(", *_as_stable(metric, all_), ")"]
    return "\n".join(lines)


def _traffic(metric: Metric, all_: Conditions) -> str:
    needed = all_.metric(metric.traffic.metric) if metric.traffic is not None else None
    if needed is None or metric.traffic is None:
        return ""
    return f"{needed.series} > {_number(metric.traffic.above)}"


def _as_stable(metric: Metric, all_: Conditions) -> list[str]:
    """Return the lines that hold where the stable track is as bad: then it is not the canary.

    Where there is no stable track, or no traffic on it, they hold nowhere: on purpose, for what is
    bad beside nothing is bad.
    """
    if metric.stable is None:
        return []
    same = ", ".join(metric.stable.on)
    stable = f'{metric.series}{{track="stable"}}'
    if traffic := _traffic(metric, all_):
        stable = f"{stable} and {traffic}"
    return [
        f'  {metric.series}{{track="canary"}}',
        f"  < on ({same}) group_left ()",
        f"  {_number(metric.stable.factor)} * max by ({same}) ({stable})",
    ]


def _number(value: float) -> str:
    """Write a number as a person would: 10, 0.05."""
    return str(int(value)) if value == int(value) else repr(value)


# --- what it says

_UNITS = {
    "_percent": ' | printf "%.1f" }}%',
    "_seconds": ' | printf "%.2f" }} s',
    "_per_second": ' | printf "%.3g" }}/s',
}
# What a description says of the value, the annotation `value` says, too.
_VALUE = re.compile(r"\{\{ \$value[^}]*\}\}%?")
_PLAIN = ("", ' | printf "%.4g" }}', "")


def _measure(metric: str) -> tuple[str, str, str]:
    """Return the words for a metric, the template of a value of it, and its unit."""
    for suffix in sorted(_UNITS, key=len, reverse=True):
        if metric.endswith(suffix):
            words, template = metric.removesuffix(suffix), _UNITS[suffix]
            return words.replace("_", " "), template, template.rpartition("}}")[2]
    return metric.replace("_", " "), _PLAIN[1], _PLAIN[2]


def _annotations(condition: Condition, all_: Conditions) -> dict[str, str]:
    words, template, unit = _measure(condition.metric)
    told = _VALUE.search(condition.description)
    value = told.group() if told is not None else "{{ $value" + template
    subject = _subject(condition, all_)
    summary = condition.summary or condition.name.capitalize().replace("_", " ")
    description = condition.description
    if not description and condition.threshold is not None:
        limit = f"{condition.when} {_number(condition.threshold)}{unit}"
        description = f"{words} {value}, {limit} for {condition.duration}."
    elif not description:
        description = f"{summary}, for {condition.duration}."
    said = {
        "for": condition.duration,
        "value": value,
        "summary": summary,
        "description": f"{subject}: {description}" if subject else _sentence(description),
    }
    metric = all_.metric(condition.metric)
    dashboard = condition.dashboard or (metric.dashboard if metric is not None else "")
    said |= _links(condition.alert, all_, dashboard, labels(condition, all_) or frozenset())
    return said | condition.annotations


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _subject(condition: Condition, all_: Conditions) -> str:
    known = labels(condition, all_)
    if known is None:
        known = frozenset({"namespace", "deployment"} if condition.metric else ())
    return "/".join(f"{{{{ $labels.{name} }}}}" for name in _SUBJECT if name in known)


def _links(alert: str, all_: Conditions, dashboard: str, known: frozenset[str]) -> dict[str, str]:
    links = {}
    if all_.runbooks:
        links["runbook_url"] = f"{all_.runbooks.rstrip('/')}/{alert}.md"
    if all_.dashboards and dashboard:
        asked = "&".join(
            f"var-{name}={{{{ $labels.{name} }}}}"
            for name in ("namespace", "deployment")
            if name in known
        )
        address = f"{all_.dashboards.rstrip('/')}/{dashboard}"
        links["dashboard_url"] = f"{address}?{asked}" if asked else address
    return links


# --- missing data


def _no_data(all_: Conditions) -> list[Rule]:
    """Return an alert for each metric without which a condition can never fire.

    It is the traffic where that is known: without requests there is no share of bad ones, which is
    no fault. What has series of its own, as a histogram has, is missed while there is traffic.
    """
    watched: dict[str, list[str]] = {}
    beside: dict[str, list[str]] = {}
    for condition in all_.rollback_conditions:
        if condition.action == "rollback" and condition.metric:
            metric = all_.metric(condition.metric)
            needed = metric.traffic.metric if metric and metric.traffic else condition.metric
            watched.setdefault(needed, []).append(condition.alert)
            if metric is not None and metric.traffic and _has_own_series(metric, all_):
                beside.setdefault(metric.name, []).append(condition.alert)
    return [_no_data_of(name, alerts, all_) for name, alerts in (beside | watched).items()]


def _has_own_series(metric: Metric, all_: Conditions) -> bool:
    """Return whether a metric reads series that its traffic does not read."""
    needed = all_.metric(metric.traffic.metric) if metric.traffic is not None else None
    return needed is not None and bool(_read(metric, all_) - _read(needed, all_) - {needed.series})


def _read(metric: Metric, all_: Conditions) -> frozenset[str]:
    nodes = pq.whole(pq.tree(metric.expr), all_.records())
    return frozenset(node.name for node in nodes if isinstance(node, pq.Selector))


def _no_data_of(name: str, alerts: list[str], all_: Conditions) -> Rule:
    metric = all_.metric(name)
    words, _, _ = _measure(name)
    alert = f"{camel(words.replace(' ', '_'))}DataAbsent"
    expr = f"absent({metric.series if metric is not None else name})"
    if metric is not None and (traffic := _traffic(metric, all_)):
        expr = f"{expr}\nand on ()\n{traffic}"
    return {
        "alert": alert,
        "expr": expr,
        "for": NO_DATA_FOR,
        "labels": {"rollback": "never", "severity": "warning"},
        "annotations": {
            "for": NO_DATA_FOR,
            "summary": f"There are no data about {words}",
            "description": f"{' and '.join(alerts)} cannot fire, whatever is released.",
        }
        | _links(alert, all_, "", frozenset()),
    }


class _Dumper(yaml.SafeDumper):
    """Writes lines as lines."""


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
