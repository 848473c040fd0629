"""What is to be watched, in the form of the rollout plan, checked whole: all problems at once.

    rollback_conditions:
      - name: high_error_rate
        metric: error_rate_percent
        threshold: 10
        duration: 5m
        action: rollback

That is all a plan has to say of a metric that is there. `expr` says how one is computed; or
`metrics` does, and how much traffic it takes to mean anything, and what the stable track has to say
to it. `health_checks` has the same form and never rolls back. Without a metric, `expr` is the whole
condition.
"""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from receiver import alerts as al
from receiver.document import Path, Problem, load
from receiver.promql import Labels, Node, Records, is_scalar, labels_of, names, tree

KEEP_FIRING = "5m"
SEVERITIES = ("critical", "warning", "info", "none")
TARGET = ("namespace", "deployment")

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_SERIES = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def _span(text: str) -> str:
    al.duration(text)
    return text


def _named(pattern: re.Pattern[str], such: str) -> AfterValidator:
    def check(text: str) -> str:
        if pattern.fullmatch(text) is None:
            raise ValueError(f"{text[:40]!r} is no name here (such as {such})")
        return text

    return AfterValidator(check)


def _expression(text: str) -> str:
    try:
        tree(text)
    except ValueError:
        raise ValueError("is no PromQL that can be read") from None
    return text.strip()


Span = Annotated[str, AfterValidator(_span)]
Name = Annotated[str, _named(_NAME, "high_error_rate")]
Series = Annotated[str, _named(_SERIES, "error_rate_percent")]
Label = Annotated[str, _named(_LABEL, "namespace")]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Expression = Annotated[str, AfterValidator(_expression)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Traffic(_Part):
    """So much of this metric it takes for another one to mean anything."""

    metric: Series
    above: Annotated[Number, Field(ge=0)]


class Stable(_Part):
    """The canary has to be so many times as bad as the stable track, of what `on` identifies."""

    on: tuple[Label, ...] = Field(min_length=1)
    factor: Annotated[Number, Field(ge=1)]


class Metric(_Part):
    """How a metric is computed: a recording rule, whose name is `record` or else its own."""

    name: Series
    expr: Expression
    record: Series = ""
    traffic: Traffic | None = None
    stable: Stable | None = None
    dashboard: str = ""

    @property
    def series(self) -> str:
        """Return the name of the series that it is recorded as."""
        return self.record or self.name


class Condition(_Part):
    """One condition: a metric beyond its threshold, or an expression that is all of it."""

    name: Name
    action: Literal["rollback", "notify"]
    duration: Span
    metric: Series = ""
    threshold: Number | None = None
    when: Literal["above", "below"] = "above"
    expr: Expression = ""
    severity: Literal["critical", "warning", "info", "none"] | None = None
    keep_firing_for: Span = KEEP_FIRING
    labels: dict[Label, str] = {}
    annotations: dict[Label, str] = {}
    summary: str = ""
    description: str = ""
    dashboard: str = ""

    @property
    def alert(self) -> str:
        """Return the name of the alert: `high_error_rate` is HighErrorRate."""
        return camel(self.name)


class _Check(Condition):
    action: Literal["notify"] = "notify"


class Into(_Part):
    """The PrometheusRule that is made; `labels` are those by which Prometheus selects it."""

    name: str = "rollback-conditions"
    namespace: str = ""
    labels: dict[str, str] = {}
    group: str = "rollback-conditions"
    interval: Span = "30s"


class Conditions(_Part):
    """The whole file. `runbooks` and `dashboards`: what their addresses begin with."""

    rule: Into = Into()
    runbooks: str = ""
    dashboards: str = ""
    metrics: tuple[Metric, ...] = ()
    rollback_conditions: tuple[Condition, ...] = ()
    health_checks: tuple[_Check, ...] = ()

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Return all conditions, those that may roll back first."""
        return self.rollback_conditions + self.health_checks

    @property
    def lists(self) -> tuple[tuple[str, tuple[Condition, ...]], ...]:
        """Return the conditions, and where in the file they stand."""
        return (
            ("rollback_conditions", self.rollback_conditions),
            ("health_checks", self.health_checks),
        )

    def defined(self) -> Iterator[tuple[Path, Metric]]:
        """Return all metrics that are computed here, and where in the file it says how."""
        for index, metric in enumerate(self.metrics):
            yield ("metrics", index), metric
        for where, conditions in self.lists:
            for index, each in enumerate(conditions):
                if each.metric and each.expr:
                    yield (where, index), Metric(name=each.metric, expr=each.expr)

    def metric(self, name: str) -> Metric | None:
        """Return how a metric is computed; None: it is a series that is there already."""
        return next((each for _, each in self.defined() if each.name == name), None)

    def records(self) -> dict[str, Node]:
        """Return what the recording rules compute, by the names of their series."""
        return {each.series: tree(each.expr) for _, each in self.defined()}


def camel(name: str) -> str:
    """Write a name as alerts are named: `p95_latency_seconds` is P95LatencySeconds."""
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))


def parse(text: str) -> Conditions | list[Problem]:
    """Read a file of conditions; return them, or every problem, each with its path and line."""
    document = load(text)
    problems = list(document.problems)
    conditions: Conditions | None = None
    try:
        conditions = Conditions.model_validate(document.value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        problems += [document.problem(one["loc"], _said(one)) for one in found]
    else:
        problems += [document.problem(path, text) for path, text in _across(conditions)]
    if conditions is None or problems:
        return sorted(dict.fromkeys(problems), key=lambda each: (each.line or 0, each.path))
    return conditions


def _said(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "is no word of a condition"
    if error["type"] == "missing":
        return "is missing"
    text = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    return text.replace("a valid dictionary or instance of", "a mapping:")


# --- what is said in different places


def _across(all_: Conditions) -> Iterator[tuple[Path, str]]:
    if not all_.conditions:
        yield ("rollback_conditions",), "names none"
    yield from _metrics(all_)
    taken: set[str] = set()
    for where, conditions in all_.lists:
        for index, condition in enumerate(conditions):
            if condition.name in taken:
                yield (where, index, "name"), f"{condition.name} is there twice"
            taken.add(condition.name)
            for path, text in _condition(condition, all_):
                yield (where, index, *path), text


def _metrics(all_: Conditions) -> Iterator[tuple[Path, str]]:
    known: set[str] = set()
    series = {each.series for _, each in all_.defined()}
    for here, metric in all_.defined():
        if metric.name in known or metric.series in known:
            yield (*here, "name"), f"{metric.name} is there twice"
        for name in sorted((names(tree(metric.expr)) & series) - known):
            # Rules of a group run in order: it would read the value of the time before.
            yield (*here, "expr"), f"reads {name}, which is recorded only here or further down"
        known |= {metric.name, metric.series}
        if metric.traffic is not None and all_.metric(metric.traffic.metric) is None:
            yield (*here, "traffic", "metric"), f"{metric.traffic.metric} is none of the metrics"


def _condition(condition: Condition, all_: Conditions) -> Iterator[tuple[Path, str]]:
    if bool(condition.metric) != (condition.threshold is not None):
        yield ("metric",), "and threshold belong together: without them, expr is the condition"
    elif not condition.metric and not condition.expr:
        yield ("metric",), "is missing, and so is expr"
    metric = all_.metric(condition.metric)
    if metric is not None and metric.stable is not None and condition.when == "below":
        yield ("when",), f"below: the stable track of {metric.name} is compared only from above"
    if condition.metric and metric is None and condition.metric in all_.records():
        yield ("metric",), f"{condition.metric} is the record of a metric: say the metric"
    for name, value in condition.labels.items():
        if name in ("rollback", "severity", "alertname"):
            yield ("labels", name), "follows from the action, the severity and the name"
        elif "$value" in value or ".Value" in value:
            yield ("labels", name), "holds the value: each one would be another alert"
    if condition.action != "rollback":
        return
    if al.duration(condition.duration) < timedelta(minutes=1):
        yield ("duration",), "is too short to roll back on: a minute at least"
    found = labels(condition, all_)
    missing = [n for n in TARGET if found is not None and n not in found | set(condition.labels)]
    if missing:
        yield ("metric",), f"has no label {' and '.join(missing)}: nobody could tell whom it means"


def labels(condition: Condition, all_: Conditions) -> Labels | None:
    """Return the labels that the alert of a condition takes from its series; None: unknown."""
    records: Records = all_.records()
    metric = all_.metric(condition.metric)
    if metric is not None:
        return labels_of(tree(metric.expr), records)
    if condition.metric or is_scalar(tree(condition.expr)):
        return None
    return labels_of(tree(condition.expr), records)
