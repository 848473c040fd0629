"""The shape of the configuration: each setting with its type, its default and what it means."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from receiver import alerts as al
from receiver.alerts import Matcher

MIB = 2**20
_SIZES = {"": 1, "B": 1, "KiB": 2**10, "MiB": MIB, "GiB": 2**30, "kB": 10**3, "MB": 10**6}
SEVERITIES = ("critical", "warning", "info", "default")


def _duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise ValueError("a duration is written with its unit, such as 90s or 10m")  # noqa: TRY004 - pydantic's way
    return al.duration(value)


def _size(value: Any) -> Any:
    if isinstance(value, int):
        return value
    match = re.fullmatch(r"(\d{1,9})\s*([A-Za-z]*)", str(value))
    if match is None or match[2] not in _SIZES:
        raise ValueError("a size is written with its unit, such as 32MiB")
    return int(match[1]) * _SIZES[match[2]]


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than 0")
    return value


def _namespace(value: str) -> str:
    if not al.is_namespace(value):
        raise ValueError("is no name of a namespace")
    return value


def _matchers(value: Any) -> Any:
    if not isinstance(value, list):
        raise ValueError('is a list of matchers, such as [team="shop"]')  # noqa: TRY004 - pydantic's way
    return tuple(one if isinstance(one, Matcher) else al.matcher(str(one)) for one in value)


def _secret_file(value: str) -> str:
    path = Path(value)
    try:
        found = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot be read: {type(error).__name__}") from None
    if not found:
        raise ValueError("is empty")
    return value


Duration = Annotated[timedelta, BeforeValidator(_duration), AfterValidator(_positive)]
Size = Annotated[int, BeforeValidator(_size), Field(gt=0)]
Namespace = Annotated[str, Field(strict=True), AfterValidator(_namespace)]
SecretFile = Annotated[str, Field(strict=True, min_length=1), AfterValidator(_secret_file)]
Labels = Annotated[tuple[str, ...], Field(min_length=1)]
MatcherSet = Annotated[tuple[Matcher, ...], BeforeValidator(_matchers)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _setting(default: Any, meaning: str) -> Any:
    return Field(default=default, description=meaning)


class Server(_Part):
    """How we listen."""

    address: str = _setting("0.0.0.0", "address to listen on")  # noqa: S104 - in a pod, all of them
    port: int = Field(default=8080, ge=0, le=65535, description="port to listen on; 0: any")
    body_limit: Size = _setting(32 * MIB, "largest body of a request")
    deadline: Duration = _setting(timedelta(seconds=10), "time to read the body of a request")
    drain: Duration = _setting(timedelta(seconds=20), "time for requests in flight at the end")


class Cluster(_Part):
    """Which cluster this is."""

    name: str = _setting("", "name of this cluster; alerts must then carry it in their label")


class WebhookToken(_Part):
    """A token that Alertmanager shows."""

    file: SecretFile = Field(description="file with the token")
    namespaces: tuple[Namespace, ...] = _setting((), "limits it to these namespaces")


class Basic(_Part):
    """Basic authentication of the webhook."""

    username: str = Field(min_length=1, description="name")
    password_file: SecretFile = Field(description="file with the password")


class WebhookAuth(_Part):
    """Who may post alerts."""

    bearer_tokens: tuple[WebhookToken, ...] = _setting((), "valid tokens, several for rotation")
    basic: Basic | None = _setting(None, "user name and password instead of a token")


class PersonToken(_Part):
    """A person's token."""

    name: str = Field(min_length=1, max_length=100, description="who it is, for the record")
    file: SecretFile = Field(description="file with the token")
    namespaces: Annotated[tuple[Namespace, ...], Field(min_length=1)] = Field(
        description="where it is good for; at least one"
    )


class PeopleAuth(_Part):
    """Who may call the API by hand."""

    tokens: tuple[PersonToken, ...] = _setting((), "tokens of people")


class Auth(_Part):
    """Who is let in."""

    webhook: WebhookAuth = _setting(WebhookAuth(), "who may post alerts")
    people: PeopleAuth = _setting(PeopleAuth(), "who may call the API by hand")


class Kubernetes(_Part):
    """Which API, and what of it is ours."""

    context: str | None = _setting(None, "context of the kubeconfig; none: our own cluster")
    kubeconfig: str | None = _setting(None, "file of the kubeconfig; none: the default place")
    namespaces: tuple[Namespace, ...] = _setting((), "namespaces we may write in; empty: all")
    state_namespace: Namespace = _setting("rollback-receiver", "namespace of our ConfigMaps")


class Targets(_Part):
    """Which labels of an alert name what, in order of preference."""

    namespace: Labels = _setting(("exported_namespace", "namespace"), "the namespace")
    deployment: Labels = _setting(("deployment",), "the Deployment")
    replicaset: Labels = _setting(("replicaset",), "a ReplicaSet of it")
    pod: Labels = _setting(("exported_pod", "pod"), "a pod of it")
    track: Labels = _setting(("track",), "the track: canary or stable")
    cluster: Labels = _setting(("cluster",), "the cluster")


class Policy(_Part):
    """How careful to be."""

    mode: Literal["shadow", "act"] = _setting("shadow", "`shadow` only says what it would do")
    settle: Duration = _setting(timedelta(seconds=10), "time to look around before acting")
    window: Duration = _setting(timedelta(hours=2), "how old a release may be to be blamed")
    cooldown: Duration = _setting(timedelta(minutes=10), "rest after a rollback is complete")
    verify_within: Duration = _setting(timedelta(minutes=10), "time for the alert to resolve")
    assumed_for: Duration = _setting(al.ASSUMED_FOR, "`for` of rules that do not say it")
    inherited_after: Duration = _setting(
        timedelta(minutes=10), "when trouble older than a complete release is told as such"
    )
    gitops: Literal["refuse", "act"] = _setting("refuse", "what to do about GitOps-owned targets")
    rollback_matchers: tuple[MatcherSet, ...] = _setting(
        (), "sets of matchers; an alert that one set fits asks for a rollback"
    )


class Watchdog(_Part):
    """The heartbeat of the monitoring."""

    alertname: str = _setting("Watchdog", "alert that always fires; it is never passed on")


class Prometheus(_Part):
    """What we know of the monitoring."""

    watchdog: Watchdog = _setting(Watchdog(), "the heartbeat alert")


class SlackWebhook(_Part):
    """A Slack incoming webhook: one channel."""

    kind: Literal["slack-webhook"]
    url_file: SecretFile = Field(description="file with the URL of the incoming webhook")


class PagerDuty(_Part):
    """A PagerDuty service (Events API v2)."""

    kind: Literal["pagerduty"]
    routing_key_file: SecretFile = Field(description="file with the routing key")
    endpoint: str = Field(
        default="https://events.pagerduty.com",
        pattern=r"https?://\S+",
        description="where the Events API is (the EU has another one)",
    )


Sink = Annotated[SlackWebhook | PagerDuty, Field(discriminator="kind")]


class Routes(_Part):
    """Which sinks hear of what."""

    critical: tuple[str, ...] = _setting((), "sinks for critical")
    warning: tuple[str, ...] = _setting((), "sinks for warning")
    info: tuple[str, ...] = _setting((), "sinks for info")
    default: tuple[str, ...] = _setting((), "sinks for alerts of other severities")


# The plan's routing: whatever of these sinks is configured.
USUAL = {
    "critical": ("prod-alerts", "pagerduty"),
    "warning": ("engineering",),
    "info": ("deployments",),
    "default": ("engineering",),
}


class Notify(_Part):
    """Who is told."""

    sinks: dict[str, Sink] = _setting({}, "the sinks by name")
    routes: Routes | None = _setting(None, "sinks by severity; none: the usual names")

    @model_validator(mode="after")
    def _known(self) -> "Notify":
        for severity in SEVERITIES:
            if unknown := set(self.route(severity)) - set(self.sinks):
                raise ValueError(f"routes.{severity} names unknown sinks: {sorted(unknown)}")
        return self

    def route(self, severity: str) -> tuple[str, ...]:
        """Return the sinks of a severity."""
        if self.routes is not None:
            found: tuple[str, ...] = getattr(self.routes, severity)
            return found
        return tuple(name for name in USUAL[severity] if name in self.sinks)


class Settings(_Part):
    """The whole configuration."""

    server: Server = _setting(Server(), "how we listen")
    cluster: Cluster = _setting(Cluster(), "which cluster this is")
    auth: Auth = _setting(Auth(), "who is let in")
    kubernetes: Kubernetes = _setting(Kubernetes(), "which API, and what of it is ours")
    targets: Targets = _setting(Targets(), "which labels name what")
    policy: Policy = _setting(Policy(), "how careful to be")
    prometheus: Prometheus = _setting(Prometheus(), "what we know of the monitoring")
    notify: Notify = _setting(Notify(), "who is told")


def described(part: type[BaseModel] = Settings, path: str = "") -> list[tuple[str, str, str]]:
    """Return (path, default, meaning) of every setting: the table of the README."""
    rows: list[tuple[str, str, str]] = []
    for name, field in part.model_fields.items():
        here = f"{path}.{name}" if path else name
        inner = [one for one in parts_of(field.annotation) if one is not part]
        if not inner or (len(inner) == 1 and name in ("routes", "basic")):
            default = "required" if field.is_required() else _shown(field.default)
            if name != "kind":
                rows.append((here, default, field.description or ""))
        for one in inner:
            many = get_origin(field.annotation) in (tuple, dict)
            rows += described(one, f"{here}[]" if many else here)
    return rows


def parts_of(annotation: Any) -> list[type[_Part]]:
    """Return the parts of the configuration that a type holds, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, _Part):
        return [annotation]
    return [part for argument in get_args(annotation) for part in parts_of(argument)]


def _shown(value: Any) -> str:
    if isinstance(value, timedelta):
        return _span(value)
    if value in (None, "", (), {}):
        return "none"
    if isinstance(value, tuple):
        return "[" + ", ".join(str(one) for one in value) + "]"
    return f"{value // MIB}MiB" if value == 32 * MIB else str(value)


def _span(value: timedelta) -> str:
    seconds = int(value.total_seconds())
    for unit, size in (("h", 3600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
