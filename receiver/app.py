"""The wiring: from settings to a service that runs. The only place that knows every name."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from aiohttp.web import Application, AppRunner, TCPSite
from prometheus_client import CollectorRegistry

from receiver import __version__, web
from receiver import notify as nt
from receiver import telemetry as tm
from receiver.alerts import TargetLabels
from receiver.clock import Clock, SystemClock
from receiver.config import Settings
from receiver.config import settings as st
from receiver.config import sinks as kinds
from receiver.config.settings import SEVERITIES
from receiver.controller.ports import Cluster, Delivery, Failure, Receipt
from receiver.controller.service import Controller
from receiver.controller.setup import Setup, Timing
from receiver.decisions import Policy
from receiver.errors import Rejected
from receiver.journal import OPEN, UNDER_WAY, Phase
from receiver.kube import CALLS, KubernetesCluster, connect
from receiver.ledger import Breaker, Budgets
from receiver.messages import Contact, Site
from receiver.notify import Network, Secret, Sinks, Transport
from receiver.prometheus import Naming, PrometheusApi
from receiver.reasons import Reason
from receiver.web import (
    Basic,
    Credentials,
    Identities,
    KubernetesPeople,
    KubernetesSenders,
    Limits,
    People,
    Role,
    StaticPeople,
    Token,
    Web,
    application,
)

DEFAULT_TIMING = Timing()
# Set to a reason, it holds back the automation of this replica, as the switch does that of all.
STOPPED_BY = "ROLLBACK_RECEIVER_STOP"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a replica takes from outside: tests pass a virtual clock and a seeded rng."""

    clock: Clock
    rng: random.Random
    log: Any
    timing: Timing = DEFAULT_TIMING

    def ids(self) -> str:
        """Return a new id of 12 hex digits."""
        return f"{self.rng.getrandbits(48):012x}"


def system_world(level: tm.Level = "info", secrets: Callable[[], Iterable[str]] = tuple) -> World:
    """Return the machine's own clock and randomness, and a log on stderr without `secrets`."""
    clock = SystemClock()
    log = tm.configure_logs(sys.stderr, level, now=clock.now, secrets=secrets)
    return World(clock=clock, rng=random.SystemRandom(), log=log)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One running replica."""

    url: str
    controller: Controller
    cluster: KubernetesCluster
    registry: CollectorRegistry


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A replica that is put together and not started."""

    controller: Controller
    application: Application
    cluster: KubernetesCluster
    sinks: Sinks
    prometheus: PrometheusApi | None
    registry: CollectorRegistry

    async def close(self) -> None:
        """Close the connections."""
        await self.sinks.close()
        if self.prometheus is not None:
            await self.prometheus.close()
        await self.cluster.aclose()


def sinks_alone(settings: Settings, clock: Clock) -> Sinks:
    """Return the sinks of the configuration without a replica around them."""
    return _sinks(settings, clock, _metrics(settings, CollectorRegistry()))


def _metrics(settings: Settings, registry: CollectorRegistry) -> tm.Metrics:
    return tm.Metrics(
        registry,
        version=__version__,
        reasons=list(Reason),
        phases=[phase.value for phase in Phase if phase not in OPEN],
        steps=[step.value for step in UNDER_WAY],
        sinks=list(settings.notify.sinks),
        deliveries=list(Delivery),
        failures=list(Failure),
        calls=CALLS,
    )


async def build(settings: Settings, world: World, *, insecure: bool = False) -> Parts:
    """Put a replica together; nothing is sent or started yet."""
    registry = CollectorRegistry()
    metrics = _metrics(settings, registry)
    metrics.shadow.set(settings.policy.mode == "shadow")
    cluster = await connect(
        state_namespace=settings.kubernetes.state_namespace,
        clock=world.clock,
        observe_call=metrics.kubernetes_call,
        context=settings.kubernetes.context,
        kubeconfig_path=settings.kubernetes.kubeconfig,
        reviewing=settings.auth.reviews,
    )
    identities = Identities(cluster, world.clock, ours=_own_secrets(settings))
    sinks = _sinks(settings, world.clock, metrics)
    setup = _setup(settings, world, cluster, sinks, metrics)
    prometheus = _prometheus(settings, setup.targets)
    controller = Controller(replace(setup, prometheus=prometheus), sinks.health)
    app = application(
        Web(
            service=controller,
            credentials=_credentials(settings, identities, insecure=insecure),
            people=_people(settings, identities),
            limits=Limits(
                body=settings.server.body_limit, seconds=settings.server.deadline.total_seconds()
            ),
            clock=world.clock,
            metrics=metrics,
            registry=registry,
            log=world.log,
            ids=world.ids,
        )
    )
    return Parts(
        controller=controller,
        application=app,
        cluster=cluster,
        sinks=sinks,
        prometheus=prometheus,
        registry=registry,
    )


def _setup(
    settings: Settings, world: World, cluster: Cluster, sinks: Sinks, metrics: tm.Metrics
) -> Setup:
    policy, targets = settings.policy, settings.targets
    return Setup(
        replica=f"{socket.gethostname()[:40]}-{world.ids()}",
        cluster=cluster,
        outbox=sinks,
        clock=world.clock,
        rng=world.rng,
        metrics=metrics,
        log=world.log,
        ids=world.ids,
        policy=Policy(
            mode=policy.mode,
            alert_modes=tuple(policy.alert_modes.items()),
            settle=policy.settle,
            window=policy.window,
            cooldown=policy.cooldown,
            verify_within=policy.verify_within,
            bake=policy.bake,
            verify_after=policy.verify_after,
            target=policy.target,
            assumed_for=policy.assumed_for,
            inherited_after=policy.inherited_after,
            gitops=policy.gitops,
            matchers=policy.rollback_matchers,
            budgets=Budgets(
                per_target=policy.budgets.per_target, per_cluster=policy.budgets.per_cluster
            ),
            breaker=_breaker(policy.breaker),
            freeze=tuple(freeze.window() for freeze in policy.freeze),
        ),
        targets=TargetLabels(
            namespace=targets.namespace,
            deployment=targets.deployment,
            replicaset=targets.replicaset,
            pod=targets.pod,
            track=targets.track,
            cluster=targets.cluster,
        ),
        cluster_name=settings.cluster.name,
        namespaces=settings.kubernetes.namespaces,
        state_namespace=settings.kubernetes.state_namespace,
        watchdog=settings.prometheus.watchdog.alertname,
        stopped=os.environ.get(STOPPED_BY, "")[:200],
        silent_after=settings.prometheus.watchdog.silent_after.total_seconds(),
        timing=world.timing,
        site=_site(settings),
        plans={plan.name: plan.value() for plan in settings.release.plans},
    )


def _site(settings: Settings) -> Site:
    return Site(
        contacts=tuple(
            Contact(role=each.role, contact=each.contact, availability=each.availability)
            for each in settings.contacts
        ),
        alertmanager_url=settings.links.alertmanager_url,
        prometheus_url=settings.links.prometheus_url,
        receiver_url=settings.links.receiver_url,
        namespace=settings.kubernetes.state_namespace,
    )


def _breaker(breaker: st.Breaker) -> Breaker | None:
    if not breaker.enabled:
        return None
    return Breaker(
        targets=breaker.targets, share=breaker.share, within=breaker.within, quiet=breaker.quiet
    )


def _prometheus(settings: Settings, labels: TargetLabels) -> PrometheusApi | None:
    """Return the Prometheus to ask, None when none is configured."""
    configured = settings.prometheus
    if not configured.url:
        return None
    naming = Naming(labels=labels, cluster=settings.cluster.name)
    return PrometheusApi(configured.url, configured.token_file, naming)


def _sinks(settings: Settings, clock: Clock, metrics: tm.Metrics) -> Sinks:
    notify = settings.notify
    network = Network(
        proxy=notify.proxy_url, ca_file=notify.ca_file, private=notify.private_addresses
    )
    transport = Transport(clock, network)

    def observe(sink: str, receipt: Receipt, seconds: float) -> None:
        metrics.deliveries_total.labels(sink, receipt.delivery.value).inc()
        metrics.delivery_seconds.labels(sink).observe(seconds)
        if receipt.failure is not None:
            metrics.delivery_failures_total.labels(sink, receipt.failure.value).inc()

    return Sinks(
        {name: _sink(name, sink, clock, transport) for name, sink in notify.sinks.items()},
        {severity: notify.route(severity) for severity in SEVERITIES},
        clock,
        transport=transport,
        fallbacks=notify.fallbacks(),
        observe=observe,
    )


def _sink(name: str, sink: kinds.Sink, clock: Clock, transport: Transport) -> nt.Sink:
    """Return the sink of a setting: the only place that knows which kind is which."""
    match sink:
        case kinds.Slack():
            return nt.SlackBot(
                name=name,
                token=Secret(file=sink.token_file, environment=sink.token_env),
                channel=sink.channel,
                mention=sink.mention,
                endpoint=sink.endpoint,
                transport=transport,
            )
        case kinds.SlackWebhook():
            return nt.SlackWebhook(url=_url(sink), mention=sink.mention, transport=transport)
        case kinds.PagerDuty():
            return nt.PagerDuty(
                routing_key=Secret(file=sink.routing_key_file, environment=sink.routing_key_env),
                endpoint=sink.endpoint,
                transport=transport,
            )
        case kinds.Webhook():
            return nt.Webhook(
                url=_url(sink),
                secret=Secret(file=sink.secret_file, environment=sink.secret_env),
                transport=transport,
                clock=clock,
            )
        case kinds.Email():
            password = Secret(file=sink.password_file) if sink.password_file else None
            return nt.Email(
                host=sink.host,
                port=sink.port,
                tls=nt.Tls(sink.tls),
                username=sink.username or "",
                password=password,
                sender=sink.sender,
                to=sink.to,
                clock=clock,
                network=transport.network,
                local_name=socket.gethostname(),
            )
        case kinds.Apprise():
            return nt.LongTail(url=_url(sink))


def _url(sink: kinds.UrlSink) -> Secret:
    return Secret(file=sink.url_file, environment=sink.url_env)


def _own_secrets(settings: Settings) -> tuple[str, ...]:
    """Return the files of what only we may know: none of it is for the API server."""
    webhook, people = settings.auth.webhook, settings.auth.people
    files = [token.file for token in webhook.bearer_tokens]
    files += [token.file for token in people.tokens]
    if webhook.basic is not None:
        files.append(webhook.basic.password_file)
    if settings.prometheus.token_file:
        files.append(settings.prometheus.token_file)
    return tuple(files)


def _people(settings: Settings, identities: Identities) -> People:
    people, state_namespace = settings.auth.people, settings.kubernetes.state_namespace
    tokens = [
        Token(name=token.name, file=token.file, namespaces=token.namespaces)
        for token in people.tokens
    ]
    static = StaticPeople(tokens, state_namespace=state_namespace)
    if people.kubernetes is None:
        return static
    return KubernetesPeople(
        identities,
        static,
        audience=people.kubernetes.audience,
        verb=people.kubernetes.verb,
        namespaces=settings.kubernetes.namespaces,
        state_namespace=state_namespace,
        roles=[
            Role(name=name, users=frozenset(role.users), groups=frozenset(role.groups))
            for name, role in settings.release.roles.items()
        ],
    )


def _credentials(settings: Settings, identities: Identities, *, insecure: bool) -> Credentials:
    webhook = settings.auth.webhook
    tokens = [
        Token(name=f"token-{index}", file=token.file, namespaces=token.namespaces)
        for index, token in enumerate(webhook.bearer_tokens)
    ]
    basic = None
    if webhook.basic is not None:
        basic = Basic(username=webhook.basic.username, password_file=webhook.basic.password_file)
    kubernetes = None
    if webhook.kubernetes is not None:
        kubernetes = KubernetesSenders(
            identities=identities,
            audience=webhook.kubernetes.audience,
            service_accounts=webhook.kubernetes.service_accounts,
        )
    return Credentials(tokens, basic, insecure=insecure, kubernetes=kubernetes)


async def _listen(runner: AppRunner, server: st.Server) -> None:
    """Begin to listen; raises `Rejected` where that address or port is not to be had."""
    try:
        await TCPSite(runner, server.address, server.port).start()
    except OSError as error:
        number = error.errno or 0
        why = os.strerror(number) if number > 0 else error.strerror
        text = f"cannot listen on {server.address}, port {server.port}: {why}"
        raise Rejected(text, reason="address") from None


@contextlib.asynccontextmanager
async def running(
    settings: Settings, world: World, *, insecure: bool = False
) -> AsyncIterator[Replica]:
    """Run a replica until the end of the block, then drain it and give its claims up."""
    parts = await build(settings, world, insecure=insecure)
    server = settings.server
    runner = web.runner(parts.application, drain=server.drain.total_seconds())
    await runner.setup()
    try:
        await _listen(runner, server)
        await parts.controller.start_up()
        host, port = runner.addresses[0][:2]
        world.log.info("service_started", address=host, port=port, mode=settings.policy.mode)
        yield Replica(
            url=f"http://{host}:{port}",
            controller=parts.controller,
            cluster=parts.cluster,
            registry=parts.registry,
        )
    finally:
        parts.controller.drain()
        await runner.cleanup()
        await parts.controller.close()
        await parts.close()
        world.log.info("service_stopped")


async def serve(settings: Settings, world: World, *, insecure: bool = False) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings, world, insecure=insecure):
        await stop.wait()
        world.log.info("service_draining")
