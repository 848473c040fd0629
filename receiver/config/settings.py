"""The shape of the configuration: each setting with its type, its default and what it means."""

from datetime import datetime, time, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from receiver import alerts as al
from receiver import ledger as lg
from receiver.config.part import Part, setting
from receiver.config.releases import Release
from receiver.config.sinks import Sink
from receiver.config.values import (
    MIB,
    Audience,
    CaFile,
    Duration,
    HttpAddress,
    Labels,
    Limits,
    MatcherSets,
    Namespace,
    Namespaces,
    PrivateNetworks,
    RbacVerb,
    SecretFile,
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
_Said = Annotated[Text, Field(max_length=100)]
SEVERITIES = ("critical", "warning", "info", "default")


class Server(Part):
    """How we listen."""

    address: Text = setting("0.0.0.0", "address to listen on")  # noqa: S104 - in a pod, all of them
    port: int = Field(
        default=8080, ge=0, le=65535, strict=True, description="port to listen on; 0: any"
    )
    body_limit: Size = setting(32 * MIB, "largest body of a request")
    deadline: Duration = setting(timedelta(seconds=10), "time to read the body of a request")
    drain: Duration = setting(timedelta(seconds=20), "time for requests in flight at the end")


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
    namespaces: tuple[Namespace, ...] = setting((), "limits it to these namespaces; none: no limit")


class Basic(Part):
    """Basic authentication of the webhook."""

    username: Text = Field(description="name")
    password_file: SecretFile = Field(description="file with the password")


class WebhookKubernetes(Part):
    """Tokens of Kubernetes for the webhook: any pod can get one, so who may post is named."""

    audience: Audience = setting("rollback-receiver", "audience that the token must be made for")
    service_accounts: ServiceAccounts = Field(
        description="who may post, as NAMESPACE/NAME, at least one: any pod can get a token for us"
    )


class WebhookAuth(Part):
    """Who may post alerts."""

    bearer_tokens: tuple[WebhookToken, ...] = setting((), "valid tokens, several for rotation")
    basic: Basic | None = setting(None, "user name and password beside the tokens")
    kubernetes: WebhookKubernetes | None = setting(
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

    audience: Audience = setting(
        "rollback-receiver", "audience that a token must be made for; `kubernetes: {}` turns it on"
    )
    verb: RbacVerb = setting(
        "patch", "verb on the Deployment that a person must be allowed, to roll it back"
    )


class PeopleAuth(Part):
    """Who may call the API by hand."""

    tokens: tuple[PersonToken, ...] = setting((), "tokens of people")
    kubernetes: PeopleKubernetes | None = setting(None, "tokens of Kubernetes beside the others")


class Auth(Part):
    """Who is let in."""

    webhook: WebhookAuth = setting(WebhookAuth(), "who may post alerts")
    people: PeopleAuth = setting(PeopleAuth(), "who may call the API by hand")

    @property
    def reviews(self) -> bool:
        """Return whether tokens are reviewed by the Kubernetes API."""
        return self.webhook.kubernetes is not None or self.people.kubernetes is not None


class Kubernetes(Part):
    """Which API, and what of it is ours."""

    context: Text | None = setting(None, "context of the kubeconfig; none: our own cluster")
    kubeconfig: Text | None = setting(None, "file of the kubeconfig; none: the default place")
    namespaces: tuple[Namespace, ...] = setting((), "namespaces we may write in, at least one")
    state_namespace: Namespace = setting("rollback-receiver", "namespace of our ConfigMaps")


class Targets(Part):
    """Which labels of an alert name what, in order of preference."""

    namespace: Labels = setting(("exported_namespace", "namespace"), "the namespace")
    deployment: Labels = setting(("deployment",), "the Deployment")
    replicaset: Labels = setting(("replicaset",), "a ReplicaSet of it")
    pod: Labels = setting(("exported_pod", "pod"), "a pod of it")
    track: Labels = setting(("track",), "the track: canary or stable")
    cluster: Labels = setting(("cluster",), "the cluster")


class Budgets(Part):
    """How often the automation may roll back; people are not counted."""

    per_target: Limits = setting(LIMITS.per_target, "limits of one Deployment; []: none")
    per_cluster: Limits = setting(LIMITS.per_cluster, "limits of all together; []: none")


class Breaker(Part):
    """When too many targets alert at once for a release to be to blame."""

    enabled: bool = Field(default=True, strict=True, description="false: it never opens")
    targets: int = Field(
        default=MASS.targets,
        ge=1,
        strict=True,
        description="it opens when more targets begin to alert",
    )
    share: Share = setting(
        MASS.share, "or more than this share of those opted in, from three targets on"
    )
    within: Duration = setting(MASS.within, "within this time")
    quiet: Duration = setting(MASS.quiet, "it closes when none begins to alert for so long")


class Freeze(Part):
    """A window in which nothing is rolled back by itself: some hours of the week, or once."""

    start: Text = Field(description="HH:MM, or for a window that comes once a date and time")
    end: Text = Field(description="the same; an hour not after `start` is of the next day")
    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = setting(
        (), "days on which it starts; none: every day"
    )
    timezone: Zone = setting("UTC", "whose clocks are meant")
    why: Text = setting("a freeze window of the configuration", "what people are told")

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

    mode: Literal["shadow", "act"] = setting("shadow", "`shadow` only says what it would do")
    alert_modes: dict[Text, Literal["shadow", "act"]] = setting(
        {}, "mode of single alerts by their names; a Deployment has an annotation for it"
    )
    settle: Duration = setting(timedelta(seconds=10), "time to look around before acting")
    window: Duration = setting(timedelta(hours=2), "how old a release may be to be blamed")
    cooldown: Duration = setting(timedelta(minutes=10), "rest after a rollback is complete")
    verify_within: Duration = setting(timedelta(minutes=10), "time for the alert to resolve")
    bake: Duration = setting(
        timedelta(minutes=30), "the same alert so soon after a rollback: it did not help"
    )
    verify_after: Duration = setting(
        timedelta(hours=24), "a revision that was current so long and quiet is verified"
    )
    target: Literal["previous", "verified"] = setting(
        "previous", "where to roll back to; `verified`: to such a revision, if there is one"
    )
    assumed_for: Duration = setting(al.ASSUMED_FOR, "`for` of rules that do not say it")
    inherited_after: Duration = setting(
        timedelta(minutes=10), "when trouble older than a complete release is told as such"
    )
    gitops: Literal["refuse", "act"] = setting("refuse", "what to do about GitOps-owned targets")
    budgets: Budgets = setting(Budgets(), "how often to act")
    breaker: Breaker = setting(Breaker(), "when too much alerts at once")
    freeze: tuple[Freeze, ...] = setting((), "when not to act")
    rollback_matchers: MatcherSets = setting(
        (), "matchers of alerts that ask for a rollback; all must fit. A list of lists: one of them"
    )


class Watchdog(Part):
    """The heartbeat of the monitoring."""

    alertname: Text = setting("Watchdog", "alert that always fires; it is never passed on")
    silent_after: Duration = setting(
        timedelta(minutes=5), "without it for so long, once heard, the monitoring counts as silent"
    )


class Prometheus(Part):
    """What we know of the monitoring."""

    url: HttpAddress = setting(
        "",
        "the Prometheus that evaluates the rules: asked whether a rollback helped, and how a "
        "release is doing; none: nobody",
    )
    token_file: SecretFile = setting("", "file with a bearer token for it")
    watchdog: Watchdog = setting(Watchdog(), "the heartbeat alert")

    @model_validator(mode="after")
    def _token_stays_secret(self) -> "Prometheus":
        if self.token_file and not (self.url and is_private(self.url)):
            raise ValueError("token_file needs a url that begins with https://")
        return self


SinkNames = tuple[SinkName, ...]


class Routes(Part):
    """Which sinks hear of what. Left out: those of `default`."""

    critical: SinkNames | None = setting(None, "sinks for critical")
    warning: SinkNames | None = setting(None, "sinks for warning")
    info: SinkNames | None = setting(None, "sinks for info; []: nobody")
    default: SinkNames | None = setting(None, "sinks for whatever is left out, or of no severity")


# The plan's routing: whatever of these sinks is configured.
USUAL = {
    "critical": ("prod-alerts", "pagerduty"),
    "warning": ("engineering",),
    "info": ("deployments",),
    "default": ("engineering",),
}


# Who else hears of a page that no pager took in time: whatever of these is configured.
USUAL_FALLBACK = ("prod-alerts", "fallback")


class Notify(Part):
    """Who is told."""

    sinks: dict[SinkName, Annotated[Sink, Field(discriminator="kind")]] = setting(
        {}, "the sinks by name"
    )
    routes: Routes | None = setting(None, "sinks by severity; left out: the usual names")
    fallback: SinkNames | None = setting(
        None,
        "sinks of a critical notice that no pager has taken in time; "
        "left out: those of prod-alerts and fallback that there are",
    )
    proxy_url: HttpAddress = setting("", "HTTP proxy for all sinks but email and this machine")
    ca_file: CaFile = setting("", "file with certificate authorities to trust beside the usual")
    private_addresses: PrivateNetworks = setting(
        (), "private networks, such as 10.1.0.0/16, that HTTP sinks may be in"
    )

    def route(self, severity: str) -> tuple[str, ...]:
        """Return the sinks of a severity."""
        if self.routes is None:
            return tuple(name for name in USUAL[severity] if name in self.sinks)
        named: tuple[str, ...] | None = getattr(self.routes, severity)
        return named if named is not None else self.routes.default or ()

    def fallbacks(self) -> tuple[str, ...]:
        """Return the sinks of what no pager has taken in time."""
        if self.fallback is not None:
            return self.fallback
        return tuple(name for name in USUAL_FALLBACK if name in self.sinks)


class Contact(Part):
    """Whom people are told to call."""

    role: _Said = Field(description="who it is: `On-Call Engineer`")
    contact: _Said = Field(description="a telephone number, an address")
    availability: Annotated[str, Field(strict=True, max_length=100)] = setting(
        "", "when that is of use: `24/7`"
    )


class Links(Part):
    """Where the links of messages lead."""

    alertmanager_url: HttpAddress = setting(
        "", "where people find Alertmanager; none: where it says it is"
    )
    prometheus_url: HttpAddress = setting(
        "", "where people find Prometheus; none: where it says it is"
    )
    receiver_url: WebAddress = setting(
        "", "where people find this service; none: through `kubectl port-forward`"
    )


class Settings(Part):
    """The whole configuration."""

    server: Server = setting(Server(), "how we listen")
    cluster: Cluster = setting(Cluster(), "which cluster this is")
    auth: Auth = setting(Auth(), "who is let in")
    kubernetes: Kubernetes = setting(Kubernetes(), "which API, and what of it is ours")
    targets: Targets = setting(Targets(), "which labels name what")
    policy: Policy = setting(Policy(), "how careful to be")
    prometheus: Prometheus = setting(Prometheus(), "what we know of the monitoring")
    notify: Notify = setting(Notify(), "who is told")
    contacts: tuple[Contact, ...] = setting((), "whom to call when a rollback ends badly")
    links: Links = setting(Links(), "where the links of messages lead")
    release: Release = setting(Release(), "how versions are released by stages")
