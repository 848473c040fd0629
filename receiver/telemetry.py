"""Metrics and logs: every name in one place, every label set there from the start.

No label ever comes from the text of an alert: the series of a process are bounded.
"""

import logging
import re
import sys
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from typing import Any, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

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
    ("rollback_duration_seconds", "histogram", ("step",), "How long a step of a rollback took"),
    ("targets_in_work", "gauge", (), "Targets that this replica works on"),
    ("deliveries_total", "counter", ("sink", "delivery"), "Notices sent, by what came of it"),
    ("kubernetes_requests_total", "counter", ("verb", "code"), "Calls of the Kubernetes API"),
    ("kubernetes_request_seconds", "histogram", ("verb",), "How long the Kubernetes API took"),
    ("claims_taken_total", "counter", (), "Targets taken over from a silent replica"),
    ("conflicts_total", "counter", (), "Journal writes lost to another writer"),
    ("stopped", "gauge", (), "1 while the kill switch stops automation"),
    ("last_webhook_timestamp_seconds", "gauge", (), "When the last webhook was accepted"),
    ("auth_failures_total", "counter", ("realm",), "Requests without a valid credential"),
    ("build_info", "gauge", ("version",), "Always 1"),
)

STEPS = ("rollout", "verify")
VERBS = ("get", "list", "watch", "create", "update", "patch")
CODES = ("2xx", "3xx", "4xx", "5xx", "none")
REALMS = ("webhook", "people")


class Metrics:
    """The metrics of one process. Attributes are named as in `METRICS`, without the prefix."""

    http_requests_total: Counter
    http_rejections_total: Counter
    alerts_received_total: Counter
    truncated_alerts_total: Counter
    decisions_total: Counter
    template_writes_total: Counter
    rollbacks_total: Counter
    rollback_duration_seconds: Histogram
    targets_in_work: Gauge
    deliveries_total: Counter
    kubernetes_requests_total: Counter
    kubernetes_request_seconds: Histogram
    claims_taken_total: Counter
    conflicts_total: Counter
    stopped: Gauge
    last_webhook_timestamp_seconds: Gauge
    auth_failures_total: Counter
    build_info: Gauge

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        version: str,
        reasons: Iterable[str],
        outcomes: Iterable[str],
        sinks: Sequence[str],
        deliveries: Sequence[str],
    ) -> None:
        for name, kind, labels, meaning in METRICS:
            setattr(self, name, self._make(registry, name, kind, labels, meaning))
        self.build_info.labels(version).set(1)
        pairs = [(sink, delivery) for sink in sinks for delivery in deliveries]
        calls = [(verb, code) for verb in VERBS for code in CODES]
        for metric, sets in (
            (self.decisions_total, [(reason,) for reason in reasons]),
            (self.rollbacks_total, [(outcome,) for outcome in outcomes]),
            (self.deliveries_total, pairs),
            (self.rollback_duration_seconds, [(step,) for step in STEPS]),
            (self.kubernetes_request_seconds, [(verb,) for verb in VERBS]),
            (self.kubernetes_requests_total, calls),
            (self.alerts_received_total, [("firing",), ("resolved",)]),
            (self.auth_failures_total, [(realm,) for realm in REALMS]),
        ):
            for labels in sets:
                metric.labels(*labels)

    @staticmethod
    def _make(
        registry: CollectorRegistry, name: str, kind: str, labels: tuple[str, ...], meaning: str
    ) -> Counter | Gauge | Histogram:
        if kind == "histogram":
            return Histogram(PREFIX + name, meaning, labels, registry=registry, buckets=_SECONDS)
        made = Counter if kind == "counter" else Gauge
        return made(PREFIX + name, meaning, labels, registry=registry)

    def kubernetes_call(self, verb: str, status: int | None, seconds: float) -> None:
        """Count one call of the Kubernetes API; `status` None: there was no answer."""
        code = "none" if status is None else f"{status // 100}xx"
        self.kubernetes_requests_total.labels(verb, code).inc()
        self.kubernetes_request_seconds.labels(verb).observe(seconds)


# --- logs

_SECRETS = re.compile(
    r"(hooks\.slack\.com/services/)\S+|(\bBearer\s+)\S+|(\bBasic\s+)[A-Za-z0-9+/=]{8,}"
    r"|(\bxox[abp]-)\S+|(?<![0-9a-zA-Z])[0-9a-zA-Z]{32}(?![0-9a-zA-Z])"
)
LONGEST = 2000


def redacted(text: str) -> str:
    """Return text without what looks like a secret: a net below never logging one."""
    return _SECRETS.sub(lambda m: next((g for g in m.groups() if g), "") + "[redacted]", text)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return redacted(value)[:LONGEST]
    if isinstance(value, dict):
        return {str(k): _clean(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return redacted(str(value))[:LONGEST]


def _redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: _clean(value) for key, value in event.items()}


def logger(now: Callable[[], str], out: TextIO | None = None, *, level: int = logging.INFO) -> Any:
    """Return the logger: one event is one line of JSON, whatever its values hold.

    `now` returns the time stamp. Tracebacks are rendered without local variables, which may hold
    secrets.
    """

    def stamp(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["at"] = now()
        return event

    tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=20)
    return structlog.wrap_logger(
        structlog.PrintLogger(out or sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        processors=[
            structlog.processors.add_log_level,
            stamp,
            structlog.processors.ExceptionRenderer(tracebacks),
            _redact,
            structlog.processors.EventRenamer("event"),
            structlog.processors.JSONRenderer(sort_keys=False, ensure_ascii=True),
        ],
    ).bind()


class LibraryLog(logging.Handler):
    """Hands what libraries log (aiohttp, asyncio) to our logger: one way out, redacted."""

    def __init__(self, log: Any) -> None:
        super().__init__(level=logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.warning("library_said", library=record.name, text=record.getMessage())
