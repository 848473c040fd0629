"""The shape of the configuration: each setting with its type, its default and what it means."""

from datetime import datetime, time, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, model_validator

from receiver import alerts as al
from receiver import ledger as lg
from receiver.config.values import (
    MIB,
    Audience,
    Duration,
    HttpAddress,
    Labels,
    Limits,
    MatcherSets,
    Namespace,
    Namespaces,
    RbacVerb,
    SecretFile,
    SecretVariable,
    ServiceAccounts,
    Share,
    SinkName,
    Size,
    Text,
    WebAddress,
    Zone,
    is_private,
)
from receiver.freeze import Once, Weekly, Window

LIMITS, MASS = lg.Budgets(), lg.Breaker()
SEVERITIES = ("critical", "warning", "info", "default")


class Part(BaseModel):
    """A part of the configuration: frozen, without a key that is not declared here."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _setting(default: Any, meaning: str) -> Any:
    return Field(default=default, description=meaning)


class Server(Part):
    """How we listen."""

    address: Text = _setting("0.0.0.0", "address to listen on")  # noqa: S104 - in a pod, all of them
    port: int = Field(
        default=8080, ge=0, le=65535, strict=True, description="port to listen on; 0: any"
    )
    body_limit: Size = _setting(32 * MIB, "largest body of a request")
    deadline: Duration = _setting(timedelta(seconds=10), "time to read the body of a request")
    drain: Duration = _setting(timedelta(seconds=20), "time for requests in flight at the end")


class Cluster(Part):
    """Which cluster this is."""

    name: str = Field(
        default="",
        strict=True,
        max_length=253,
        description="name of this cluster; alerts must then carry it in their label",
    )


class WebhookToken(Part):
    """A token that Alertmanager shows."""

    file: SecretFile = Field(description="file with the token")
    namespaces: tuple[Namespace, ...] = _setting(
        (), "limits it to these namespaces; none: no limit"
    )


class Basic(Part):
    """Basic authentication of the webhook."""

    username: Text = Field(description="name")
    password_file: SecretFile = Field(description="file with the password")


class WebhookKubernetes(Part):
    """Tokens of Kubernetes for the webhook: any pod can get one, so who may post is named."""

    audience: Audience = _setting("rollback-receiver", "audience that the token must be made for")
    service_accounts: ServiceAccounts = Field(
        description="who may post, as NAMESPACE/NAME, at least one: any pod can get a token for us"
    )


class WebhookAuth(Part):
    """Who may post alerts."""

    bearer_tokens: tuple[WebhookToken, ...] = _setting((), "valid tokens, several for rotation")
    basic: Basic | None = _setting(None, "user name and password beside the tokens")
    kubernetes: WebhookKubernetes | None = _setting(
        None, "tokens of ServiceAccounts beside the others"
    )


class PersonToken(Part):
    """A person's token."""

    name: Annotated[Text, Field(max_length=100)] = Field(description="who it is, for the record")
    file: SecretFile = Field(description="file with the token")
    namespaces: Namespaces = Field(
        description="where it is good for, at least one; that of the switch: may release it"
    )


class PeopleKubernetes(Part):
    """Tokens of Kubernetes for people: who may do it with kubectl may do it here."""

    audience: Audience = _setting(
        "rollback-receiver", "audience that a token must be made for; `kubernetes: {}` turns it on"
    )
    verb: RbacVerb = _setting(
        "patch", "verb on the Deployment that a person must be allowed, to roll it back"
    )


class PeopleAuth(Part):
    """Who may call the API by hand."""

    tokens: tuple[PersonToken, ...] = _setting((), "tokens of people")
    kubernetes: PeopleKubernetes | None = _setting(None, "tokens of Kubernetes beside the others")


class Auth(Part):
    """Who is let in."""

    webhook: WebhookAuth = _setting(WebhookAuth(), "who may post alerts")
    people: PeopleAuth = _setting(PeopleAuth(), "who may call the API by hand")

    @property
    def reviews(self) -> bool:
        """Return whether tokens are reviewed by the Kubernetes API."""
        return self.webhook.kubernetes is not None or self.people.kubernetes is not None


class Kubernetes(Part):
    """Which API, and what of it is ours."""

    context: Text | None = _setting(None, "context of the kubeconfig; none: our own cluster")
    kubeconfig: Text | None = _setting(None, "file of the kubeconfig; none: the default place")
    namespaces: tuple[Namespace, ...] = _setting((), "namespaces we may write in, at least one")
    state_namespace: Namespace = _setting("rollback-receiver", "namespace of our ConfigMaps")


class Targets(Part):
    """Which labels of an alert name what, in order of preference."""

    namespace: Labels = _setting(("exported_namespace", "namespace"), "the namespace")
    deployment: Labels = _setting(("deployment",), "the Deployment")
    replicaset: Labels = _setting(("replicaset",), "a ReplicaSet of it")
    pod: Labels = _setting(("exported_pod", "pod"), "a pod of it")
    track: Labels = _setting(("track",), "the track: canary or stable")
    cluster: Labels = _setting(("cluster",), "the cluster")


class Budgets(Part):
    """How often the automation may roll back; people are not counted."""

    per_target: Limits = _setting(LIMITS.per_target, "limits of one Deployment; []: none")
    per_cluster: Limits = _setting(LIMITS.per_cluster, "limits of all together; []: none")


class Breaker(Part):
    """When too many targets alert at once for a release to be to blame."""

    enabled: bool = Field(default=True, strict=True, description="false: it never opens")
    targets: int = Field(
        default=MASS.targets,
        ge=1,
        strict=True,
        description="it opens when more targets begin to alert",
    )
    share: Share = _setting(
        MASS.share, "or more than this share of those opted in, from three targets on"
    )
    within: Duration = _setting(MASS.within, "within this time")
    quiet: Duration = _setting(MASS.quiet, "it closes when none begins to alert for so long")


class Freeze(Part):
    """A window in which nothing is rolled back by itself: some hours of the week, or once."""

    start: Text = Field(description="HH:MM, or for a window that comes once a date and time")
    end: Text = Field(description="the same; an hour not after `start` is of the next day")
    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = _setting(
        (), "days on which it starts; none: every day"
    )
    timezone: Zone = _setting("UTC", "whose clocks are meant")
    why: Text = _setting("a freeze window of the configuration", "what people are told")

    @model_validator(mode="after")
    def _readable(self) -> "Freeze":
        self.window()
        return self

    def window(self) -> Window:
        """Return it as the decisions know it; raises `ValueError` when it cannot be one."""
        zone = ZoneInfo(self.timezone)
        try:
            if ":" in self.start[:3]:
                days = frozenset(map(_DAYS.index, self.days)) or frozenset(range(7))
                start, end = time.fromisoformat(self.start), time.fromisoformat(self.end)
                return Weekly(days=days, start=start, end=end, zone=zone, why=self.why)
            begin, over = datetime.fromisoformat(self.start), datetime.fromisoformat(self.end)
        except ValueError:
            text = "start and end are both like 18:30, or both like 2026-12-24T12:00"
            raise ValueError(text) from None
        if self.days:
            raise ValueError("a window that comes once has no days")
        begin = begin if begin.tzinfo else begin.replace(tzinfo=zone)
        over = over if over.tzinfo else over.replace(tzinfo=zone)
        if over <= begin:
            raise ValueError("it ends before it starts")
        return Once(start=begin, end=over, why=self.why)


_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Policy(Part):
    """How careful to be."""

    mode: Literal["shadow", "act"] = _setting("shadow", "`shadow` only says what it would do")
    alert_modes: dict[Text, Literal["shadow", "act"]] = _setting(
        {}, "mode of single alerts by their names; a Deployment has an annotation for it"
    )
    settle: Duration = _setting(timedelta(seconds=10), "time to look around before acting")
    window: Duration = _setting(timedelta(hours=2), "how old a release may be to be blamed")
    cooldown: Duration = _setting(timedelta(minutes=10), "rest after a rollback is complete")
    verify_within: Duration = _setting(timedelta(minutes=10), "time for the alert to resolve")
    bake: Duration = _setting(
        timedelta(minutes=30), "the same alert so soon after a rollback: it did not help"
    )
    verify_after: Duration = _setting(
        timedelta(hours=24), "a revision that was current so long and quiet is verified"
    )
    target: Literal["previous", "verified"] = _setting(
        "previous", "where to roll back to; `verified`: to such a revision, if there is one"
    )
    assumed_for: Duration = _setting(al.ASSUMED_FOR, "`for` of rules that do not say it")
    inherited_after: Duration = _setting(
        timedelta(minutes=10), "when trouble older than a complete release is told as such"
    )
    gitops: Literal["refuse", "act"] = _setting("refuse", "what to do about GitOps-owned targets")
    budgets: Budgets = _setting(Budgets(), "how often to act")
    breaker: Breaker = _setting(Breaker(), "when too much alerts at once")
    freeze: tuple[Freeze, ...] = _setting((), "when not to act")
    rollback_matchers: MatcherSets = _setting(
        (), "matchers of alerts that ask for a rollback; all must fit. A list of lists: one of them"
    )


class Watchdog(Part):
    """The heartbeat of the monitoring."""

    alertname: Text = _setting("Watchdog", "alert that always fires; it is never passed on")
    silent_after: Duration = _setting(
        timedelta(minutes=5), "without it for so long, once heard, the monitoring counts as silent"
    )


class Prometheus(Part):
    """What we know of the monitoring."""

    url: HttpAddress = _setting(
        "", "the Prometheus that evaluates the rules: asked whether a rollback helped; none: nobody"
    )
    token_file: SecretFile = _setting("", "file with a bearer token for it")
    watchdog: Watchdog = _setting(Watchdog(), "the heartbeat alert")

    @model_validator(mode="after")
    def _token_stays_secret(self) -> "Prometheus":
        if self.token_file and not (self.url and is_private(self.url)):
            raise ValueError("token_file needs a url that begins with https://")
        return self


class SlackWebhook(Part):
    """A Slack incoming webhook: one channel."""

    kind: Literal["slack-webhook"]
    url_file: SecretFile = _setting("", "file with the URL of the incoming webhook")
    url_env: SecretVariable = _setting("", "or the environment variable that holds it")

    @model_validator(mode="after")
    def _one_place(self) -> "SlackWebhook":
        if bool(self.url_file) is bool(self.url_env):
            raise ValueError("needs url_file or url_env, one of the two")
        return self


class PagerDuty(Part):
    """A PagerDuty service (Events API v2)."""

    kind: Literal["pagerduty"]
    routing_key_file: SecretFile = _setting("", "file with the routing key")
    routing_key_env: SecretVariable = _setting("", "or the environment variable that holds it")
    endpoint: WebAddress = _setting(
        "https://events.pagerduty.com", "where the Events API is (the EU has another one)"
    )

    @model_validator(mode="after")
    def _one_place(self) -> "PagerDuty":
        if bool(self.routing_key_file) is bool(self.routing_key_env):
            raise ValueError("needs routing_key_file or routing_key_env, one of the two")
        return self


KINDS: dict[str, type[Part]] = {"slack-webhook": SlackWebhook, "pagerduty": PagerDuty}
Sink = Annotated[SlackWebhook | PagerDuty, Field(discriminator="kind")]
SinkNames = tuple[SinkName, ...]


class Routes(Part):
    """Which sinks hear of what. Left out: those of `default`."""

    critical: SinkNames | None = _setting(None, "sinks for critical")
    warning: SinkNames | None = _setting(None, "sinks for warning")
    info: SinkNames | None = _setting(None, "sinks for info; []: nobody")
    default: SinkNames | None = _setting(None, "sinks for whatever is left out, or of no severity")


# The plan's routing: whatever of these sinks is configured.
USUAL = {
    "critical": ("prod-alerts", "pagerduty"),
    "warning": ("engineering",),
    "info": ("deployments",),
    "default": ("engineering",),
}


class Notify(Part):
    """Who is told."""

    sinks: dict[SinkName, Sink] = _setting({}, "the sinks by name")
    routes: Routes | None = _setting(None, "sinks by severity; left out: the usual names")

    def route(self, severity: str) -> tuple[str, ...]:
        """Return the sinks of a severity."""
        if self.routes is None:
            return tuple(name for name in USUAL[severity] if name in self.sinks)
        named: tuple[str, ...] | None = getattr(self.routes, severity)
        return named if named is not None else self.routes.default or ()


class Settings(Part):
    """The whole configuration."""

    server: Server = _setting(Server(), "how we listen")
    cluster: Cluster = _setting(Cluster(), "which cluster this is")
    auth: Auth = _setting(Auth(), "who is let in")
    kubernetes: Kubernetes = _setting(Kubernetes(), "which API, and what of it is ours")
    targets: Targets = _setting(Targets(), "which labels name what")
    policy: Policy = _setting(Policy(), "how careful to be")
    prometheus: Prometheus = _setting(Prometheus(), "what we know of the monitoring")
    notify: Notify = _setting(Notify(), "who is told")
