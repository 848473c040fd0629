"""Metrics and logs: every name in one place, every label set there from the start.

No label ever comes from the text of an alert: the series of a process are bounded. One event is one
line, whatever its values hold.
"""

import json
import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO, TypeAlias

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

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


# --- what may be written

Format: TypeAlias = Literal["json", "console"]
Level: TypeAlias = Literal["debug", "info", "warning", "error"]

REDACTED = "[redacted]"
LONGEST, MOST_ITEMS, DEEPEST = 2000, 50, 12
# Container runtimes cut a line at 16 KiB and make two of it.
LONGEST_LINE = 16_000
# So much of a text is looked at; what is longer is no log field.
_LOOKED_AT = 64 * 1024
# A shorter "secret" is a word that stands everywhere.
_SHORTEST_SECRET = 4

_PATTERNS = re.compile(
    r"(hooks\.slack(?:-gov)?\.com/[a-z]+/)\S+"
    r"|((?i:\bBearer)\s+)\S+"
    r"|((?i:\bBasic)\s+)[A-Za-z0-9+/=]{8,}"
    r"|(\bxox[a-z]-)\S+"
    r"|(://)[^\s/@]+(?=@)"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]+"  # a JSON Web Token, such as a ServiceAccount's
    r"|(?<![0-9a-zA-Z])[0-9a-zA-Z]{32}(?![0-9a-zA-Z])"  # a PagerDuty routing key
)
_TELLING_KEY = re.compile(r"(?i)authorization|passw|secret|routing_?key|api_?key|cookie")


def _kept(found: re.Match[str]) -> str:
    """Return what stays of a pattern: its beginning says what was there."""
    return (found[found.lastindex] if found.lastindex else "") + REDACTED


class Redaction:
    """Takes out of text what is secret, or looks like it: the net below never logging a secret.

    `secrets` returns the values known right now; it is asked once for each event.
    """

    def __init__(self, secrets: Callable[[], Iterable[str]] = tuple) -> None:
        self._secrets = secrets
        self._known: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None

    def refresh(self) -> None:
        """Ask anew which values are secret."""
        known = frozenset(each for each in self._secrets() if len(each) >= _SHORTEST_SECRET)
        if known != self._known:
            # The longest first: one secret may begin with another.
            ordered = sorted(known, key=lambda each: (-len(each), each))
            self._pattern = re.compile("|".join(map(re.escape, ordered))) if known else None
            self._known = known

    def __call__(self, text: str) -> str:
        """Return the text without what was secret at the last `refresh`, or looks like it."""
        text = text[:_LOOKED_AT]
        if self._pattern is not None:
            text = self._pattern.sub(REDACTED, text)
        return _PATTERNS.sub(_kept, text)

    def clean(self, value: Any, limit: int = LONGEST, depth: int = DEEPEST) -> Any:
        """Return a value that JSON can write: bounded, and redacted in every text of it."""
        if value is None or isinstance(value, bool | int):
            return value if not isinstance(value, int) or abs(value) < 2**64 else "[large]"
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if depth == 0:
            return "[deep]"
        if isinstance(value, dict):
            pairs = list(value.items())[:MOST_ITEMS]
            return {
                self(str(key))[:limit]: REDACTED
                if _TELLING_KEY.search(str(key))
                else self.clean(each, limit, depth - 1)
                for key, each in pairs
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self.clean(each, limit, depth - 1) for each in list(value)[:MOST_ITEMS]]
        try:
            text = value if isinstance(value, str) else str(value)
        except Exception as error:  # noqa: BLE001 - whatever a value does, its event is written
            text = f"[unprintable: {type(error).__name__}]"
        return self(text)[:limit]


# --- writing it


class _Lines:
    """What structlog hands its lines to. A stream that is gone takes no request down with it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            pass  # closed or full, and there is no other place to say so

    debug = info = warning = warn = error = exception = critical = fatal = log = msg


def _json(event: Mapping[str, Any]) -> str:
    return json.dumps(event, ensure_ascii=True)


_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+\-]+")


def _console(event: Mapping[str, Any]) -> str:
    shown = dict(event)
    head = f"{shown.pop('at')} {shown.pop('level'):<7} {shown.pop('event')}"
    return " ".join([head, *(f"{_word(key)}={_word(value)}" for key, value in shown.items())])


def _word(value: Any) -> str:
    plain = isinstance(value, str) and _PLAIN.fullmatch(value)
    return str(value) if plain else json.dumps(value, ensure_ascii=True)


def configure_logs(
    stream: TextIO,
    level: Level = "info",
    fmt: Format = "json",
    *,
    now: Callable[[], datetime],
    secrets: Callable[[], Iterable[str]] = tuple,
) -> FilteringBoundLogger:
    """Return the logger, and let what libraries log come out of it, too.

    One event is one line of at most `LONGEST_LINE` characters, in ASCII: `json`, or `console` for
    people. Its name is a constant `noun_verb`, facts are fields. `now` is the clock's; `secrets`
    returns the values that must never be seen. Exceptions are rendered without local variables,
    which may hold secrets.
    """
    redaction = Redaction(secrets)
    render = _json if fmt == "json" else _console

    def finish(_: WrappedLogger, __: str, event: EventDict) -> str:
        redaction.refresh()
        at = now().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        head = {"at": at, "level": event.pop("level"), "event": event.pop("event")}
        for limit in (LONGEST, LONGEST // 10):
            line = render(redaction.clean(head | _without(event, head), limit))
            if len(line) <= LONGEST_LINE:
                return line
        return render(redaction.clean(head | {"cut": True}, LONGEST // 10))

    log: FilteringBoundLogger = structlog.wrap_logger(
        _Lines(stream),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=20)
            ),
            finish,
        ],
    ).bind()
    _listen_to_libraries(log)
    return log


def _without(event: EventDict, head: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields; one that is called like our own is kept under another name."""
    return {f"{key}_" if key in head else key: value for key, value in event.items()}


def _listen_to_libraries(log: FilteringBoundLogger) -> None:
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, LibraryLog)]:
        root.removeHandler(handler)
    root.addHandler(LibraryLog(log))
    logging.captureWarnings(capture=True)


class LibraryLog(logging.Handler):
    """Hands what libraries log (aiohttp, asyncio) to our logger: one way out, redacted.

    Their tracebacks become one field: aiohttp writes a whole one, with bytes of the sender in it,
    for each request that is no HTTP.
    """

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__(level=logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record as the event `library_said`."""
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - a library's wrong format must not hide what it says
            text = str(record.msg)
        fields: dict[str, str] = {"library": record.name, "text": text[:LONGEST]}
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            fields["error"] = f"{type(error).__name__}: {error}"[:200]
            trace = error.__traceback__
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            if trace is not None:
                code = trace.tb_frame.f_code
                fields["where"] = f"{code.co_filename}:{trace.tb_lineno} {code.co_name}"
        say = self._log.error if record.levelno >= logging.ERROR else self._log.warning
        say("library_said", **fields)
