"""Alertmanager's webhook, version 4: read, checked, and split into alerts that stand alone.

The contract is prometheus/alertmanager notify/webhook/webhook.go and template/template.go. Nothing
here looks at the group: `commonLabels` and the status of the group say nothing about one alert
(with `max_alerts` the group can say "resolved" while alerts of it fire).
"""

import re
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, FailFast, Field, ValidationError
from pydantic_core import from_json

from receiver.errors import Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert of a webhook. `ends_at`: None while it fires, mostly. Text is untrusted.

    `external_url` is where the Alertmanager that sent it says it is found.
    """

    status: Literal["firing", "resolved"]
    fingerprint: str
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: datetime
    ends_at: datetime | None = None
    generator_url: str = ""
    external_url: str = ""

    @property
    def name(self) -> str:
        """Return the label `alertname`, "" where there is none."""
        return self.labels.get("alertname", "")

    @property
    def firing(self) -> bool:
        """Return whether this very alert fires, whatever its group says."""
        return self.status == "firing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """One webhook. `truncated`: so many alerts of the group were cut off by `max_alerts`."""

    group_key: str
    receiver: str
    external_url: str
    truncated: int
    alerts: tuple[Alert, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matcher:
    """One Alertmanager matcher: `severity="critical"`, `team!~"a|b"`."""

    label: str
    operator: Literal["=", "!=", "=~", "!~"]
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetLabels:
    """Which labels name what, each list in order of preference (`targets` of the configuration)."""

    namespace: tuple[str, ...] = ("exported_namespace", "namespace")
    deployment: tuple[str, ...] = ("deployment",)
    replicaset: tuple[str, ...] = ("replicaset",)
    pod: tuple[str, ...] = ("exported_pod", "pod")
    track: tuple[str, ...] = ("track",)
    cluster: tuple[str, ...] = ("cluster",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What the labels of an alert name, before anything was looked up; "" where nothing is named.

    `kind` is another kind of workload that is named instead of a Deployment. `invalid` holds the
    labels that should name something and hold no Kubernetes name.
    """

    namespace: str = ""
    deployment: str = ""
    replicaset: str = ""
    pod: str = ""
    track: str = ""
    cluster: str = ""
    kind: str = ""
    invalid: tuple[str, ...] = field(default=())


ASSUMED_FOR = timedelta(seconds=30)

# --- reading

# RFC 3339 as Go writes it: any number of digits after the second, Z or a numeric offset.
_RFC3339 = re.compile(r"(\d{4})(-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[-+]\d\d:\d\d)", re.ASCII)
_FINGERPRINT = re.compile(r"[0-9a-f]{16}")


def _moment(value: Any) -> datetime | None:
    """Read a time to the microsecond, as UTC. Go's zero time ("not set") is None."""
    if value is None:
        return None
    found = _RFC3339.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("is no RFC 3339 time")
    year, moment, fraction, offset = found.groups()
    if year in ("0000", "0001"):  # it is the first moment of year 1 in UTC: west of it, year 0
        return None
    try:
        moment += f".{(fraction or '0')[:6]:0<6}{offset}"
        return datetime.fromisoformat(year + moment).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is no moment of the calendar") from None


def _texts(value: Any) -> Any:
    # pydantic would list every bad value, and a body can hold millions: the first one is enough.
    items = value.items() if isinstance(value, dict) else ()
    bad = next((name for name, one in items if not isinstance(one, str)), None)
    if bad is not None:
        raise ValueError(f"{bad[:50]!r} is no string")
    return value


_Texts = Annotated[dict[str, str], BeforeValidator(_texts)]


class _Alert(BaseModel, strict=True):
    status: Literal["firing", "resolved"]
    labels: _Texts
    annotations: _Texts = {}
    startsAt: Annotated[datetime, BeforeValidator(_moment)]  # noqa: N815 - the names of the webhook
    endsAt: Annotated[datetime | None, BeforeValidator(_moment)] = None  # noqa: N815 - the same
    generatorURL: str = ""  # noqa: N815 - the same
    fingerprint: str = ""


class _Webhook(BaseModel, strict=True):
    version: Literal["4"]
    groupKey: str  # noqa: N815 - the names of the webhook
    receiver: str = ""
    externalURL: str = ""  # noqa: N815 - the same
    truncatedAlerts: int = Field(default=0, ge=0, lt=2**64)  # noqa: N815 - the same
    alerts: Annotated[list[_Alert], FailFast()]


def parse(body: bytes) -> Payload:
    """Read the body of a webhook: alerts in the order they came, also where a fingerprint repeats.

    Unknown keys pass (versions add some); only the size of the body bounds the number of alerts.
    Nothing but `Rejected` (400) is raised. Its reason is `not_json` (also NaN, `null`, bad UTF-8,
    nested too deep), `unsupported_version` (any but the string "4"), `not_a_webhook` (another
    shape: a custom `payload`, another tool) or `bad_alert`, which names the index of the alert.
    """
    try:
        if b"NaN" in body or b"Infinity" in body:
            # pydantic lets them pass in keys that it does not look at. Most often it is text.
            from_json(body, allow_inf_nan=False)
        webhook = _Webhook.model_validate_json(body)
    except ValidationError as error:
        raise _rejected(error, empty=body.strip() == b"null") from None
    except ValueError:
        raise Rejected("the body is not JSON", reason="not_json") from None
    return Payload(
        group_key=webhook.groupKey,
        receiver=webhook.receiver,
        external_url=webhook.externalURL,
        truncated=webhook.truncatedAlerts,
        alerts=tuple(_alert(alert, webhook.externalURL) for alert in webhook.alerts),
    )


def _rejected(error: ValidationError, *, empty: bool) -> Rejected:
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    kind, steps = first["type"], first["loc"]
    if empty or kind == "json_invalid":
        return Rejected("the body is not JSON, or null", reason="not_json")
    if steps[:1] == ("version",) and kind != "missing":
        return Rejected('only version "4" is understood', reason="unsupported_version")
    said = text(f"{'.'.join(map(str, steps)) or 'top level'}: {first['msg']}", 200)
    if steps[:1] == ("alerts",) and len(steps) > 1:
        return Rejected(said, reason="bad_alert")
    return Rejected(f"the body is no Alertmanager webhook: {said}", reason="not_a_webhook")


def _alert(alert: _Alert, external_url: str) -> Alert:
    # Of a firing alert Alertmanager sends none; an end that another sender announces is kept.
    ends_at = alert.endsAt
    if ends_at is None and alert.status == "resolved":
        # Alertmanager always says when. The start is the one moment that surely belongs to this
        # episode: a later guess could swallow the start of the next one.
        ends_at = alert.startsAt
    given = alert.fingerprint
    return Alert(
        status=alert.status,
        # Well-formed, it is believed whatever the labels: it is the sender's name for the alert.
        fingerprint=given if _FINGERPRINT.fullmatch(given) else fingerprint(alert.labels),
        labels=alert.labels,
        annotations=alert.annotations,
        starts_at=alert.startsAt,
        ends_at=ends_at,
        generator_url=alert.generatorURL,
        external_url=external_url,
    )


def fingerprint(labels: Mapping[str, str]) -> str:
    """Return FNV-1a 64 over the sorted labels, as 16 hex digits (common model/signature.go)."""
    state = 0xCBF29CE484222325
    for name in sorted(labels, key=str.encode):
        for byte in name.encode() + b"\xff" + labels[name].encode() + b"\xff":
            state = (state ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{state:016x}"


# --- what an alert says

_UNITS_MS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000}
_UNITS_MS |= {"s": 1_000, "ms": 1}
_DURATION = re.compile("".join(rf"(?:([0-9]{{1,20}}){unit})?" for unit in _UNITS_MS))
_LONGEST_MS = (2**63 - 1) // 1_000_000  # Go counts nanoseconds in 63 bits


def duration(text: str) -> timedelta:
    """Read a Prometheus duration (`1h30m`, `250ms`, `0`): prometheus/common model/time.go.

    A day is 24 h, a year 365 days. Raises `ValueError` for anything else, and above 292 years.
    """
    if text == "0":
        return timedelta(0)
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError(f"not a duration: {text[:40]!r} (such as 90s, 10m, 1h30m)")
    total = sum(int(n or 0) * ms for n, ms in zip(match.groups(), _UNITS_MS.values(), strict=True))
    if total > _LONGEST_MS:
        raise ValueError(f"too long a duration: {text[:40]!r}")
    return timedelta(milliseconds=total)


def trouble_at(alert: Alert, assumed: timedelta) -> datetime:
    """Return when the trouble began: `startsAt` minus the rule's `for`, at most 7 days earlier.

    Its condition has held that long by then (prometheus rules/alerting.go). The webhook does not
    carry it: our rules say it in the annotation `for`; if absent or unreadable, `assumed` is taken.
    """
    try:
        held = duration(alert.annotations["for"].strip())
    except (KeyError, ValueError):
        held = assumed
    return alert.starts_at - min(held, timedelta(days=7))


_VALUES = ("value", "current_value")


def value(alert: Alert) -> str:
    """Return what the alert has measured, as its rule writes it, "" when it does not.

    The webhook does not carry it; rules put it into an annotation: `value: "{{ $value }}"`.
    """
    found = (alert.annotations.get(name, "").strip() for name in _VALUES)
    return next(filter(None, found), "")


# Kubernetes names: apimachinery pkg/util/validation (RFC 1123 label and subdomain).
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
WORD = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"(?=.{{1,253}}\Z){WORD}(\.{WORD})*")
_OTHER_KINDS = {"statefulset": "StatefulSet", "daemonset": "DaemonSet"}


def is_namespace(name: str) -> bool:
    """Return whether it can be the name of a namespace."""
    return LABEL.fullmatch(name) is not None


def is_name(name: str) -> bool:
    """Return whether it can be the name of a Deployment, ReplicaSet or pod."""
    return _SUBDOMAIN.fullmatch(name) is not None


def named(alert: Alert, labels: TargetLabels) -> Named:
    """Read what the labels name: of each list the first label that is not empty.

    Where that one holds no valid name (a template error, say), it is reported in `invalid`; the
    next of the list is not tried: it may name something else than the rule meant.
    """
    invalid: list[str] = []

    def first(names: Iterable[str], check: Callable[[str], bool]) -> str:
        label = next((name for name in names if alert.labels.get(name)), None)
        if label is None or check(alert.labels[label]):
            return alert.labels[label] if label else ""
        invalid.append(label)
        return ""

    wanted = any(alert.labels.get(name) for name in labels.deployment)
    kinds = [kind for label, kind in _OTHER_KINDS.items() if alert.labels.get(label)]
    return Named(
        namespace=first(labels.namespace, is_namespace),
        deployment=first(labels.deployment, is_name),
        replicaset=first(labels.replicaset, is_name),
        pod=first(labels.pod, is_name),
        track=first(labels.track, bool)[:253],
        cluster=first(labels.cluster, bool)[:253],
        kind=kinds[0] if kinds and not wanted else "",
        invalid=tuple(invalid),
    )


# --- which alerts ask for a rollback

_OPERATORS: dict[str, Literal["=", "!=", "=~", "!~"]] = {o: o for o in ("=", "!=", "=~", "!~")}
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_MATCHER = re.compile(
    rf"\s*([a-zA-Z_:][a-zA-Z0-9_:]*|(?!\"\"){_QUOTED})\s*(=~|!~|!=|=)\s*"
    rf'({_QUOTED}|(?:[^",{{}}\\]|\\[^,{{}}])*?\\?)\s*',
    re.DOTALL | re.ASCII,
)
_PART = re.compile(rf'(?:{_QUOTED}|\\["\\]|[^,])*', re.DOTALL)
_ESCAPES = {"n": "\n", '"': '"', "\\": "\\"}


def matcher(text: str) -> Matcher:
    r"""Read one matcher: `team="a"`, `team=~a|b`, `"a.b"!=c` (alertmanager pkg/labels/parse.go).

    Escapes are `\\`, `\"` and `\n`, quoted or not. Stricter than amtool: a value with a comma or
    brace has to be quoted. Raises `ValueError`, also for a pattern that is of no use: see `fits`.
    """
    found = _MATCHER.fullmatch(text)
    if found is None:
        raise ValueError(f'not a matcher: {text[:80]!r} (such as team="shop")')
    label, operator, value = _unquoted(found[1]), _OPERATORS[found[2]], _unquoted(found[3])
    if operator.endswith("~"):
        try:
            # Python warns of what other engines read otherwise, such as [[:alpha:]].
            with warnings.catch_warnings(action="error"):
                re.compile(value, re.ASCII)
        except (re.error, ValueError, OverflowError, RecursionError, Warning) as error:
            raise ValueError(f"not a pattern: {value[:80]!r}: {error}") from None
    return Matcher(label=label, operator=operator, value=value)


def _unquoted(token: str) -> str:
    inner = token[1:-1] if token.startswith('"') else token
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), inner, flags=re.DOTALL)


def matchers(text: str) -> tuple[Matcher, ...]:
    """Read matchers separated by commas, in braces or not; raises `ValueError` as `matcher` does.

    No text is no matcher, and a comma may stand at the end (alertmanager pkg/labels/parse.go).
    """
    rest, found = text.strip().removeprefix("{").removesuffix("}"), []
    while rest.strip():
        part = _PART.findall(rest)[0]
        found.append(matcher(part))
        rest = rest[len(part) + 1 :]
    return tuple(found)


def fits(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    r"""Return whether all matchers fit (none at all: yes); a missing label counts as "".

    A pattern has to match the whole value (alertmanager pkg/labels/matcher.go). It is read by
    `re`, there by RE2: `matcher` refuses what only RE2 knows (`\pL`, `[[:alpha:]]`); lookaround and
    `x{,3}` work here only; and `re` backtracks: `(a+)+` can take very long.
    """
    for one in matchers:
        same = one.value == (value := labels.get(one.label, ""))
        if one.operator.endswith("~"):
            same = re.fullmatch(one.value, value, re.ASCII) is not None
        if same is one.operator.startswith("!"):
            return False
    return True


_ASKS = frozenset({"auto", "true", "yes"})
_FORBIDS = frozenset({"never", "false", "no", "none", "manual"})


def asks(alert: Alert, matchers: Sequence[Sequence[Matcher]]) -> bool:
    """Return whether an alert asks for a rollback: by its label `rollback`, else by a matcher set.

    Case does not matter in the label. An empty set fits nothing here: it would roll back on all.
    """
    word = alert.labels.get("rollback", "").strip().lower()
    if word in _ASKS or word in _FORBIDS:
        return word in _ASKS
    return any(each and fits(each, alert.labels) for each in matchers)


# Control characters, format characters (they turn text around or hide it), half surrogates.
_UNSEEN = frozenset({"Cc", "Cf", "Cs"})


def text(value: str, limit: int) -> str:
    """Return untrusted text on one line, without unseen characters, at most `limit` characters.

    White space of any kind and length becomes one blank; what is cut ends in "…".
    """
    # Looking at four times the limit bounds the work, and leaves room for white space to shrink.
    seen = (c for c in value[: 4 * limit] if c.isspace() or unicodedata.category(c) not in _UNSEEN)
    line = " ".join("".join(seen).split())
    if len(line) <= limit and len(value) <= 4 * limit:
        return line
    return (line[: limit - 1] + "…")[: max(limit, 0)]
