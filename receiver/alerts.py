"""Alertmanager's webhook, version 4: read, checked, and split into alerts that stand alone.

The contract is prometheus/alertmanager notify/webhook/webhook.go and template/template.go. Nothing
here looks at the group: `commonLabels` and the status of the group say nothing about one alert
(with `max_alerts` the group can say "resolved" while alerts of it fire).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field, ValidationError
from pydantic_core import from_json

from receiver.errors import Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert of a webhook. `ends_at` is None while it fires. Text is untrusted."""

    status: Literal["firing", "resolved"]
    fingerprint: str
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: datetime
    ends_at: datetime | None = None
    generator_url: str = ""

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


def _moment(value: Any) -> Any:
    """Cut nanoseconds: Alertmanager writes nine digits where it set the time itself."""
    return re.sub(r"(\.\d{6})\d+", r"\1", value) if isinstance(value, str) else value


_Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]
_Text = Annotated[str, Field(strict=True)]


class _Alert(BaseModel):
    status: Literal["firing", "resolved"]
    labels: dict[str, _Text]
    annotations: dict[str, _Text] = {}
    startsAt: _Moment  # noqa: N815 - the names of the webhook
    endsAt: _Moment | None = None  # noqa: N815 - the same
    generatorURL: _Text = ""  # noqa: N815 - the same
    fingerprint: _Text = ""


class _Webhook(BaseModel):
    version: Literal["4"]
    groupKey: _Text  # noqa: N815 - the names of the webhook
    receiver: _Text = ""
    externalURL: _Text = ""  # noqa: N815 - the same
    truncatedAlerts: int = Field(default=0, ge=0)  # noqa: N815 - the same
    alerts: list[_Alert]


def parse(body: bytes) -> Payload:
    """Read the body of a webhook. Keys that are new to us are let pass: versions add some.

    Raises `Rejected` (400): `not_json`, `not_a_webhook`, `unsupported_version` or `bad_alert`.
    """
    try:
        # Not validated while it is read: that way NaN would pass in a key we do not look at.
        document = from_json(body, allow_inf_nan=False)
    except ValueError:
        raise Rejected("the body is not JSON", reason="not_json") from None
    try:
        webhook = _Webhook.model_validate(document)
    except ValidationError as error:
        raise _rejected(error) from None
    return Payload(
        group_key=webhook.groupKey,
        receiver=webhook.receiver,
        external_url=webhook.externalURL,
        truncated=webhook.truncatedAlerts,
        alerts=tuple(_alert(alert) for alert in webhook.alerts),
    )


def _rejected(error: ValidationError) -> Rejected:
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    where = ".".join(str(step)[:50] for step in first["loc"][:5])
    if first["loc"][:1] == ("version",) and first["type"] != "missing":
        text = 'only version "4" of the webhook is understood'
        return Rejected(text, reason="unsupported_version")
    if first["loc"][:1] == ("alerts",) and len(first["loc"]) > 1:
        return Rejected(f"{where}: {first['msg']}", reason="bad_alert")
    text = f"the body is no Alertmanager webhook: {where or 'top level'}: {first['msg']}"
    return Rejected(text, reason="not_a_webhook")


def _alert(alert: _Alert) -> Alert:
    starts_at = _utc(alert.startsAt)
    ends_at = None
    if alert.status == "resolved":
        # Alertmanager always knows when; the zero time here would come from somebody else.
        ends_at = _utc(alert.endsAt) if alert.endsAt and alert.endsAt.year > 1 else starts_at
    given = alert.fingerprint
    return Alert(
        status=alert.status,
        fingerprint=given if _FINGERPRINT.fullmatch(given) else fingerprint(alert.labels),
        labels=alert.labels,
        annotations=alert.annotations,
        starts_at=starts_at,
        ends_at=ends_at,
        generator_url=alert.generatorURL,
    )


def _utc(moment: datetime) -> datetime:
    """Convert to UTC; years 1 and 9999 may leave the calendar on the way."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return moment.replace(tzinfo=UTC)


_FINGERPRINT = re.compile(r"[0-9a-f]{16}")


def fingerprint(labels: Mapping[str, str]) -> str:
    """Return FNV-1a 64 over the sorted labels, as 16 hex digits (prometheus/common model)."""
    state = 0xCBF29CE484222325
    for name in sorted(labels, key=lambda name: name.encode()):
        for byte in name.encode() + b"\xff" + labels[name].encode() + b"\xff":
            state = (state ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{state:016x}"


# --- what an alert says

_DURATION = re.compile(
    r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?"
)
_UNITS_MS = (31_536_000_000, 604_800_000, 86_400_000, 3_600_000, 60_000, 1_000, 1)
_LONGEST = timedelta(days=7)
_DIGITS = 12


def duration(text: str) -> timedelta:
    """Read a Prometheus duration (`1h30m`, `250ms`, `0`): prometheus/common model/time.go.

    Raises `ValueError` for anything else.
    """
    if text == "0":
        return timedelta(0)
    match = _DURATION.fullmatch(text)
    if not text or match is None or any(len(part or "") > _DIGITS for part in match.groups()):
        raise ValueError(f"not a duration: {text[:40]!r} (such as 90s, 10m, 1h30m)")
    parts = zip(match.groups(), _UNITS_MS, strict=True)
    try:
        return timedelta(milliseconds=sum(int(part or 0) * unit for part, unit in parts))
    except OverflowError:
        raise ValueError(f"too long a duration: {text[:40]!r}") from None


def trouble_at(alert: Alert, assumed: timedelta) -> datetime:
    """Return when the trouble began: `startsAt` minus the rule's `for`.

    An alert starts to fire when its condition has held for that long. The webhook does not carry
    it: rules written for this service say it in the annotation `for`; else `assumed` stands in.
    """
    try:
        held = duration(alert.annotations["for"].strip())
    except (KeyError, ValueError):
        held = assumed
    try:
        return alert.starts_at - min(held, _LONGEST)
    except OverflowError:
        return alert.starts_at


# Kubernetes names: apimachinery pkg/util/validation (RFC 1123 label and subdomain).
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
)
_OTHER_KINDS = {"statefulset": "StatefulSet", "daemonset": "DaemonSet"}
_FREE_TEXT = 253


def is_namespace(name: str) -> bool:
    """Return whether it can be the name of a namespace."""
    return _LABEL.fullmatch(name) is not None


def is_name(name: str) -> bool:
    """Return whether it can be the name of a Deployment, ReplicaSet or pod."""
    return _SUBDOMAIN.fullmatch(name) is not None


def named(alert: Alert, labels: TargetLabels) -> Named:
    """Read what the labels name. A label that holds no valid name is never used, only reported."""
    invalid: list[str] = []

    def first(names: Iterable[str], check: Any = is_name) -> str:
        found = next(((n, alert.labels[n]) for n in names if alert.labels.get(n)), None)
        if found is None:
            return ""
        if not check(found[1]):
            invalid.append(found[0][:100])
            return ""
        return found[1]

    deployment = first(labels.deployment)
    wants = any(alert.labels.get(name) for name in labels.deployment)
    kinds = (kind for label, kind in _OTHER_KINDS.items() if alert.labels.get(label))
    return Named(
        namespace=first(labels.namespace, is_namespace),
        deployment=deployment,
        replicaset=first(labels.replicaset),
        pod=first(labels.pod),
        track=first(labels.track, bool)[:_FREE_TEXT],
        cluster=first(labels.cluster, bool)[:_FREE_TEXT],
        kind="" if wants else next(kinds, ""),
        invalid=tuple(invalid),
    )


# --- which alerts ask for a rollback

_MATCHER = re.compile(
    r'\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|([^",{}]*?))\s*'
)
_ESCAPES = {"n": "\n", '"': '"', "\\": "\\"}


def matcher(text: str) -> Matcher:
    """Read one matcher as amtool does: `team="a"`, `team=~a|b` (alertmanager pkg/labels/parse.go).

    Raises `ValueError`, also for a pattern that Python's `re` cannot read: Alertmanager's is RE2,
    and what both understand is what people write.
    """
    found = _MATCHER.fullmatch(text)
    if found is None:
        raise ValueError(f'not a matcher: {text[:80]!r} (such as team="shop")')
    label, operator, quoted, plain = found.groups()
    value = (
        plain if quoted is None else re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), quoted)
    )
    if operator in ("=~", "!~"):
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a pattern: {value[:80]!r}: {error}") from None
    return Matcher(label=label, operator=operator, value=value)  # type: ignore[arg-type] # by _MATCHER


def fits(matcher: Matcher, labels: Mapping[str, str]) -> bool:
    """Return whether a matcher fits; patterns are anchored, a missing label is "" (Prometheus)."""
    value = labels.get(matcher.label, "")
    if matcher.operator in ("=", "!="):
        return (value == matcher.value) is (matcher.operator == "=")
    return (re.fullmatch(matcher.value, value) is not None) is (matcher.operator == "=~")


_ASKS = frozenset({"auto", "true", "yes"})
_FORBIDS = frozenset({"never", "false", "no", "none", "manual"})


def asks(alert: Alert, matchers: Sequence[Sequence[Matcher]]) -> bool:
    """Return whether an alert asks for a rollback: by its label `rollback`, else by a matcher set.

    All matchers of one set have to fit.
    """
    word = alert.labels.get("rollback", "").strip().lower()
    if word in _ASKS or word in _FORBIDS:
        return word in _ASKS
    return any(all(fits(one, alert.labels) for one in each) for each in matchers)


def text(value: str, limit: int) -> str:
    """Return untrusted text on one line, without control characters, at most `limit` long."""
    line = " ".join(value[: 4 * limit].split())
    line = "".join(c if c.isprintable() or c == " " else "\ufffd" for c in line)
    line = line.encode("utf-8", "replace").decode()
    return line if len(line) <= limit else line[: limit - 1] + "…"
