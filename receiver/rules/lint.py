"""The linter: files in, findings out. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from receiver.document import Problem
from receiver.rules import firing as fi
from receiver.rules import naming as na
from receiver.rules import routing as ro
from receiver.rules.files import Place, Read, read
from receiver.rules.findings import Check, Finding, Looked, table
from receiver.rules.trigger import Known, Trigger

_ALERTING = "https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/"
_RECORDING = "https://prometheus.io/docs/prometheus/latest/configuration/recording_rules/"
_OPERATORS = "https://prometheus.io/docs/prometheus/latest/querying/operators/"
_FUNCTIONS = "https://prometheus.io/docs/prometheus/latest/querying/functions/"
_PRACTICES = "https://prometheus.io/docs/practices/"
_KUBE_STATE = "https://github.com/kubernetes/kube-state-metrics/tree/main/docs"

_NAMES = "https://monitoring.mixins.dev/#guidelines-for-alert-names-labels-and-annotations"

# For any alert, whatever it asks for.
ALL: tuple[Check[Trigger], ...] = table(
    ("unreadable-expr", "error", f"{_PRACTICES}rules/", fi.unreadable),
    ("value-in-label", "error", f"{_ALERTING}#templating", na.value_in_label),
    ("record-after-alert", "error", f"{_RECORDING}#recording-rules", fi.before_its_record),
    (
        "unknown-severity",
        "warning",
        _NAMES,
        na.severity_unknown,
    ),
    ("unknown-rollback", "error", "README.md#wire-alertmanager", na.rollback_unknown),
    ("for-differs", "error", "README.md#wire-alertmanager", na.for_differs),
)
# For those that ask for a rollback.
TRIGGERS: tuple[Check[Trigger], ...] = table(
    ("no-for", "error", f"{_ALERTING}#defining-alerting-rules", fi.no_for),
    (
        "no-keep-firing-for",
        "warning",
        f"{_ALERTING}#defining-alerting-rules",
        fi.no_keep_firing_for,
    ),
    ("no-comparison", "error", f"{_OPERATORS}#comparison-binary-operators", fi.no_comparison),
    ("fires-on-absence", "error", f"{_FUNCTIONS}#absent", fi.fires_on_absence),
    ("absence-untold", "warning", f"{_FUNCTIONS}#absent", fi.absence_untold),
    ("nan-unguarded", "error", f"{_OPERATORS}#arithmetic-binary-operators", fi.nan_unguarded),
    (
        "numerator-missing",
        "warning",
        f"{_PRACTICES}instrumentation/#avoid-missing-metrics",
        fi.numerator_missing,
    ),
    (
        "no-traffic-floor",
        "error",
        "https://sre.google/workbook/alerting-on-slos/",
        fi.no_traffic_floor,
    ),
    (
        "stable-not-compared",
        "warning",
        "https://sre.google/workbook/canarying-releases/",
        fi.stable_not_compared,
    ),
    ("window-short", "warning", f"{_FUNCTIONS}#rate", fi.window_short),
    ("cannot-be-verified", "warning", "README.md#did-it-help", fi.cannot_be_verified),
    ("no-namespace", "error", "README.md#wire-alertmanager", na.no_namespace),
    ("no-deployment", "error", "README.md#wire-alertmanager", na.no_deployment),
    ("exporter-named", "error", _KUBE_STATE, na.exporter_named),
    ("one-alert-each", "warning", f"{_PRACTICES}rules/#aggregation", na.one_alert_each),
    (
        "not-critical",
        "warning",
        "https://prometheus.io/docs/alerting/latest/configuration/#inhibition-related-settings",
        na.not_critical,
    ),
    ("for-not-said", "warning", "README.md#wire-alertmanager", na.for_not_said),
    (
        "no-runbook",
        "warning",
        _NAMES,
        na.no_runbook,
    ),
    ("record-elsewhere", "warning", f"{_RECORDING}#recording-rules", fi.in_another_group),
    ("group-limited", "error", f"{_RECORDING}#limiting-alerts-and-series", fi.limited),
)

CHECKS: tuple[Check[Any], ...] = (*ALL, *TRIGGERS, *ro.WHOLE, *ro.ROUTES, *ro.WEBHOOKS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found, and what could not be read, both in the order of the files."""

    findings: tuple[Finding, ...]
    unreadable: tuple[tuple[str, Problem], ...]
    rules: int
    triggers: int
    routes: int

    def text(self) -> str:
        """Return it for people, one finding after another, a sum at the end."""
        lines = [f"{file}: {problem}" for file, problem in self.unreadable]
        lines += map(str, self.findings)
        count = len(self.findings)
        seen = f"{self.rules} rules, of which {self.triggers} ask for a rollback"
        routes = f"{self.routes} route{'s' * (self.routes != 1)} to the service"
        lines.append(f"{count} finding{'s' * (count != 1)} in {seen}, and {routes}")
        return "\n".join(lines)

    def json(self) -> dict[str, Any]:
        """Return it as JSON can write it."""
        return {
            "findings": [
                {name: getattr(each, name) for name in Finding.__slots__} for each in self.findings
            ],
            "unreadable": [
                {"file": file, "line": problem.line, "text": str(problem)}
                for file, problem in self.unreadable
            ],
            "rules": self.rules,
            "triggers": self.triggers,
            "routes": self.routes,
        }


def lint(texts: Mapping[str, str], unread: Iterable[tuple[str, Problem]] = ()) -> Report:
    """Judge files, by their names; rules may read the records of another one.

    `unread`: files that the caller could not even read.
    """
    found = read(texts)
    order = {name: at for at, name in enumerate(texts)}
    findings = [*_rules(found), *_routings(found)]
    findings.sort(key=lambda each: (order[each.file], each.line or 0, each.check, each.text))
    return Report(
        findings=tuple(findings),
        unreadable=(*unread, *found.problems),
        rules=len(found.rules),
        triggers=sum(rule.asks for rule in found.rules),
        routes=sum(len(ro.routes(each)) for each in found.routings),
    )


def _rules(found: Read) -> Iterator[Finding]:
    known = Known(found.rules)
    for rule in found.rules:
        if rule.alerts:
            checks = (*ALL, *TRIGGERS) if rule.asks else ALL
            yield from _look(checks, Trigger(rule, known), rule.place, rule.name)
        else:
            yield from _look(ALL[:1], Trigger(rule, known), rule.place, rule.name)


def _routings(found: Read) -> Iterator[Finding]:
    for routing in found.routings:
        yield from _look(ro.WHOLE, routing, routing.place, "")
        for route in ro.routes(routing):
            yield from _look(ro.ROUTES, route, route.place, f"route to {route.receiver}")
        for name, webhook in ro.webhooks(routing):
            yield from _look(ro.WEBHOOKS, webhook, webhook.place, f"receiver {name}")


def _look(
    checks: Iterable[Check[Looked]], at: Looked, place: Place, about: str
) -> Iterator[Finding]:
    for check in checks:
        for below, text in check.look(at):
            yield Finding(
                check=check.id,
                severity=check.severity,
                file=place.file,
                line=place.line(below),
                about=about,
                text=text,
                link=check.link,
            )
