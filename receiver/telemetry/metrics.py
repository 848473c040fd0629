"""Metrics: every name in one place, every label set there from the start.

No label ever comes from the text of an alert: the series of a process are bounded.
"""

import math
from collections.abc import Iterable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

PREFIX = "rollback_receiver_"
_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

# Name, kind, labels, meaning: the table of the README.
METRICS: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("http_requests_total", "counter", ("route", "code"), "Requests answered"),
    ("http_rejections_total", "counter", ("reason",), "Requests answered 4xx or 5xx, by reason"),
    ("alerts_received_total", "counter", ("status",), "Alerts in accepted webhooks"),
    ("truncated_alerts_total", "counter", (), "Alerts cut off by Alertmanager's max_alerts"),
    ("decisions_total", "counter", ("reason",), "Decisions, one for each alert or manual wish"),
    ("template_writes_total", "counter", (), "Pod templates this replica has swapped back"),
    ("rollbacks_total", "counter", ("outcome",), "Incidents that ended, by their final phase"),
    ("releases_total", "counter", ("outcome",), "Staged releases that ended: completed, aborted"),
    ("rollback_duration_seconds", "histogram", ("step",), "How long a step of a rollback took"),
    (
        "alert_to_patch_seconds",
        "histogram",
        (),
        "From the start of an alert to the patch that undoes its release",
    ),
    ("patch_to_recovery_seconds", "histogram", (), "From that patch to the end as recovered"),
    ("targets_in_work", "gauge", (), "Targets that this replica works on"),
    ("incidents_open", "gauge", (), "Incidents not yet ended; NaN while nobody has counted"),
    (
        "releases_open",
        "gauge",
        ("step",),
        "Staged releases not yet ended, by where they are; NaN like the above",
    ),
    (
        "releases_held",
        "gauge",
        (),
        "Those of them that stand still until a person lets them go on; NaN like the above",
    ),
    (
        "oldest_release_step_seconds",
        "gauge",
        ("step",),
        "For how long one of them has been there, at most; NaN like the above",
    ),
    ("deliveries_total", "counter", ("sink", "delivery"), "Notices sent, by what came of it"),
    (
        "delivery_failures_total",
        "counter",
        ("sink", "reason"),
        "Those of them that a sink did not take, by what was in the way",
    ),
    ("delivery_seconds", "histogram", ("sink",), "How long a sink took over one of them"),
    (
        "notices_owed",
        "gauge",
        ("sink",),
        "Notices that a sink has not taken yet; NaN while nobody has counted",
    ),
    (
        "oldest_notice_seconds",
        "gauge",
        ("sink",),
        "Since when a sink takes nothing that it is owed; NaN like the above",
    ),
    ("dead_letters_total", "counter", ("sink",), "Notices given up; the journal keeps the newest"),
    ("fallbacks_total", "counter", ("sink",), "Pages told by the fallback sinks instead of a sink"),
    (
        "kubernetes_requests_total",
        "counter",
        ("verb", "resource", "code_class"),
        "Calls of the Kubernetes API; code_class `none`: there was no answer",
    ),
    ("kubernetes_request_seconds", "histogram", ("verb",), "How long the Kubernetes API took"),
    ("claims_taken_total", "counter", (), "Targets taken over from a silent replica"),
    ("conflicts_total", "counter", (), "Journal writes lost to another writer"),
    ("shadow", "gauge", (), "1 while the mode is shadow, and nothing is rolled back"),
    ("stopped", "gauge", (), "1 while the kill switch stops automation"),
    ("breaker_open", "gauge", (), "1 while too many targets alert for any to be rolled back"),
    ("last_webhook_timestamp_seconds", "gauge", (), "When the last webhook was accepted"),
    (
        "watchdog_timestamp_seconds",
        "gauge",
        (),
        "When the Watchdog was last posted to this replica",
    ),
    ("watchdogs_silent", "gauge", (), "How many Watchdogs were heard once and are missing now"),
    ("auth_failures_total", "counter", ("realm",), "Requests without a valid credential"),
    ("build_info", "gauge", ("version",), "Always 1"),
)

STEPS = ("decide", "patch", "rollout", "verify")
RELEASE_OUTCOMES = ("completed", "aborted")
CODE_CLASSES = ("2xx", "3xx", "4xx", "5xx", "none")
STATUSES = ("firing", "resolved")
REALMS = ("webhook", "people")
OTHER = "other"

# A second series for each counter, with the time of the process's start: the clock of the machine,
# and nothing that `process_start_time_seconds` does not say. There is no switch per registry.
disable_created_metrics()  # type: ignore[no-untyped-call] # the library has no types here


class Metrics:
    """The metrics of one process. Attributes are named as in `METRICS`, without the prefix."""

    http_requests_total: Counter
    http_rejections_total: Counter
    alerts_received_total: Counter
    truncated_alerts_total: Counter
    decisions_total: Counter
    template_writes_total: Counter
    rollbacks_total: Counter
    releases_total: Counter
    rollback_duration_seconds: Histogram
    alert_to_patch_seconds: Histogram
    patch_to_recovery_seconds: Histogram
    targets_in_work: Gauge
    incidents_open: Gauge
    releases_open: Gauge
    releases_held: Gauge
    oldest_release_step_seconds: Gauge
    deliveries_total: Counter
    delivery_failures_total: Counter
    delivery_seconds: Histogram
    notices_owed: Gauge
    oldest_notice_seconds: Gauge
    dead_letters_total: Counter
    fallbacks_total: Counter
    kubernetes_requests_total: Counter
    kubernetes_request_seconds: Histogram
    claims_taken_total: Counter
    conflicts_total: Counter
    shadow: Gauge
    stopped: Gauge
    breaker_open: Gauge
    last_webhook_timestamp_seconds: Gauge
    watchdog_timestamp_seconds: Gauge
    watchdogs_silent: Gauge
    auth_failures_total: Counter
    build_info: Gauge

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        version: str,
        reasons: Iterable[str],
        phases: Iterable[str],
        steps: Iterable[str] = (),
        sinks: Iterable[str] = (),
        deliveries: Iterable[str] = (),
        failures: Iterable[str] = (),
        calls: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Register everything, and make every series there will be.

        `reasons`: each Reason. `phases`: the final ones. `steps`: those of a release in progress.
        `calls`: (verb, resource) asked of the Kubernetes API. What can be asked over HTTP is for
        `foresee`.
        """
        for name, kind, labels, meaning in METRICS:
            setattr(self, name, _make(registry, name, kind, labels, meaning))
        calls, sinks = tuple(calls), tuple(sinks)
        deliveries, failures = tuple(deliveries), tuple(failures)
        self._rejections: frozenset[str] = frozenset()
        sets: Mapping[Counter | Gauge | Histogram, Iterable[tuple[str, ...]]] = {
            self.alerts_received_total: ((each,) for each in STATUSES),
            self.decisions_total: ((each,) for each in reasons),
            self.rollbacks_total: ((each,) for each in phases),
            self.releases_total: ((each,) for each in RELEASE_OUTCOMES),
            self.rollback_duration_seconds: ((each,) for each in STEPS),
            self.dead_letters_total: ((sink,) for sink in sinks),
            self.fallbacks_total: ((sink,) for sink in sinks),
            self.deliveries_total: ((sink, each) for sink in sinks for each in deliveries),
            self.delivery_failures_total: ((sink, each) for sink in sinks for each in failures),
            self.delivery_seconds: ((sink,) for sink in sinks),
            self.kubernetes_requests_total: ((*c, each) for c in calls for each in CODE_CLASSES),
            self.kubernetes_request_seconds: ((verb,) for verb, _ in calls),
            self.auth_failures_total: ((each,) for each in REALMS),
            self.build_info: ((version,),),
        }
        for metric, label_sets in sets.items():
            for labels in label_sets:
                metric.labels(*labels)
        self.foresee((), ())
        self.build_info.labels(version).set(1)
        # 0 would say that all is well before anybody has looked.
        self.incidents_open.set(math.nan)
        self.releases_held.set(math.nan)
        for step in steps:
            self.releases_open.labels(step).set(math.nan)
            self.oldest_release_step_seconds.labels(step).set(math.nan)
        for sink in sinks:
            self.notices_owed.labels(sink).set(math.nan)
            self.oldest_notice_seconds.labels(sink).set(math.nan)

    def foresee(self, routes: Iterable[tuple[str, str]], rejections: Iterable[str]) -> None:
        """Make the series of HTTP: (route, code) that can be answered, and reasons of errors."""
        for route, code in routes:
            self.http_requests_total.labels(route, code)
        self._rejections |= frozenset(str(each) for each in rejections)
        for reason in (*sorted(self._rejections), OTHER):
            self.http_rejections_total.labels(reason)

    def rejected(self, reason: str) -> None:
        """Count one request that was answered with an error; an unforeseen reason is `other`."""
        known = reason if reason in self._rejections else OTHER
        self.http_rejections_total.labels(known).inc()

    def kubernetes_call(self, verb: str, resource: str, status: int | None, seconds: float) -> None:
        """Count one call of the Kubernetes API; `status` None: there was no answer."""
        code_class = "none" if status is None else f"{status // 100}xx"
        self.kubernetes_requests_total.labels(verb, resource, code_class).inc()
        self.kubernetes_request_seconds.labels(verb).observe(seconds)


def _make(
    registry: CollectorRegistry, name: str, kind: str, labels: tuple[str, ...], meaning: str
) -> Counter | Gauge | Histogram:
    if kind == "histogram":
        return Histogram(PREFIX + name, meaning, labels, registry=registry, buckets=_SECONDS)
    made = Counter if kind == "counter" else Gauge
    return made(PREFIX + name, meaning, labels, registry=registry)
