"""What must be so of `alert_rules/release.yaml`: the canary and the stable API of the plan."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.rules.promtool import At, Case, Fires, Labels, Sample, counter, gauge
from tests.rules.watches import CHECKS, ROLLBACKS, Watch, World
from tests.rules.worlds import (
    APP,
    CANARY,
    LONG,
    NEXT,
    STABLE,
    Rates,
    Revision,
    Series,
    calls,
    errors,
    latency,
    messages,
    pool,
    redis,
)


def cases() -> Iterator[Case]:
    """Return all cases."""
    for watch in (*ROLLBACKS, *CHECKS):
        yield _life(watch)
        yield _steady(watch)
    yield from _whose_pod()
    yield from _records()
    yield from _absent()


def _life(watch: Watch) -> Case:
    bad = 40 if watch.alert == "AiSpendAboveBaseline" else 20
    levels = ((watch.good, 10), (watch.bad, bad), (watch.good, 20))
    fires = Fires(labels=watch.labels(CANARY), value=watch.value)
    last = Fires(labels=watch.labels(CANARY), value=watch.last_value)
    return Case(
        name=f"{watch.alert}: fires, goes on firing, resolves",
        series=watch.world(CANARY, levels, 4),
        expects=(
            At(when="9m", alert=watch.alert),
            At(when=watch.not_yet, alert=watch.alert),
            At(when=watch.fires, alert=watch.alert, fires=(fires,)),
            At(when=watch.last_fires, alert=watch.alert, fires=(last,)),
            At(when=watch.resolved, alert=watch.alert),
        ),
        rules=watch.rules,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What goes on in one namespace, all the time, and what fires there with which value."""

    title: str
    series: Series
    fires: tuple[tuple[Revision, float], ...] = ()


def _steady(watch: Watch) -> Case:
    """Return one case with a namespace for each story that does not change."""
    stories = [*_limits(watch)]
    if watch.floor:
        stories += _traffic(watch)
    if watch.tracks:
        stories += _tracks(watch)
    series: Series = {}
    for story in stories:
        series |= story.series
    fires = [
        Fires(labels=watch.labels(who), value=watch.told(value))
        for story in stories
        for who, value in story.fires
    ]
    return Case(
        name=f"{watch.alert}: {'; '.join(story.title for story in stories)}",
        series=series,
        expects=(At(when=watch.steady, alert=watch.alert, fires=tuple(fires)),),
        rules=watch.rules,
    )


def _in(namespace: str) -> tuple[Revision, Revision, Revision]:
    canary, stable, newer = (replace(who, namespace=namespace) for who in (CANARY, STABLE, NEXT))
    return canary, stable, newer


def _limits(watch: Watch) -> Iterator[Story]:
    sign = 1 if watch.bad > watch.threshold else -1
    for title, more in (("just beyond its threshold", 0.06), ("just within", -0.06)):
        canary, _, _ = _in(title.replace(" ", "-"))
        value = watch.threshold * (1 + sign * more)
        yield Story(
            title=title,
            series=watch.world(canary, ((value, LONG),), 4),
            fires=((canary, value),) if more > 0 else (),
        )


def _traffic(watch: Watch) -> Iterator[Story]:
    for title, share in (("enough traffic", 1.05), ("too little traffic", 0.95), ("none", 0)):
        canary, _, _ = _in(title.replace(" ", "-"))
        yield Story(
            title=title,
            series=watch.world(canary, ((watch.bad, LONG),), watch.floor * share),
            fires=((canary, watch.bad),) if share > 1 else (),
        )


def _tracks(watch: Watch) -> Iterator[Story]:
    """Return the canary beside the stable track, and the stable track alone."""
    bad, half, floor = watch.bad, watch.bad / 2, watch.floor
    beside: tuple[tuple[str, float, float, bool], ...] = (
        # Below its own threshold the stable track is silent, and still has its say.
        ("more than twice as bad as stable", half * 0.95, 20, True),
        ("less than twice as bad as stable", half * 1.05, 20, False),
        ("hardly anybody uses stable", half * 1.05, floor * 0.95, True),
        ("some use stable", half * 1.05, floor * 1.05, False),
    )
    for title, level, traffic, fires in beside:
        canary, stable, _ = _in(title.replace(" ", "-"))
        found = [(canary, bad)] if fires else []
        if level > watch.threshold and traffic > floor:
            found.append((stable, level))
        yield Story(
            title=title,
            series=watch.world(canary, ((bad, LONG),), 4)
            | watch.world(stable, ((level, LONG),), traffic),
            fires=tuple(found),
        )
    title = "stable as bad as the canary"
    canary, stable, _ = _in(title.replace(" ", "-"))
    yield Story(
        title=title,
        series=watch.world(canary, ((bad, LONG),), 4) | watch.world(stable, ((bad, LONG),), 20),
        fires=((stable, bad),),
    )
    title = "no canary, stable is well"
    _, stable, _ = _in("no-canary")
    yield Story(title=title, series=watch.world(stable, ((watch.good, LONG),), 20))
    title = "the bad one of two revisions of a Deployment"
    _, stable, newer = _in("two-revisions")
    yield Story(
        title=title,
        series=watch.world(stable, ((watch.good, LONG),), 20)
        | watch.world(newer, ((bad, LONG),), 4),
        fires=((newer, bad),),
    )
    title = "another application is as bad"
    canary, _, _ = _in("another-application")
    other = Revision(
        deployment="web", app="web", hash="5f6b7c8d9f", namespace="another-application"
    )
    level = watch.threshold * 0.9
    yield Story(
        title=title,
        series=watch.world(canary, ((bad, LONG),), 4) | watch.world(other, ((level, LONG),), 20),
        fires=((canary, bad),),
    )


def _whose_pod() -> Iterator[Case]:
    yes, no = ((CANARY.labels | {"pod": CANARY.pod}),), ()

    def info(when: str, *gives: Labels) -> Sample:
        written = [", ".join(f'{n}="{v}"' for n, v in labels.items()) for labels in gives]
        return Sample(
            when=when,
            expr="pod:release:info",
            gives=tuple((f"pod:release:info{{{each}}}", 1) for each in written),
        )

    gap: Rates = ((1, 10), (None, 50))
    for name, pods, sets in (
        ("pods", CANARY.owners(gap), CANARY.owners()),
        ("ReplicaSets", CANARY.owners(), CANARY.owners(gap)),
    ):
        series = {n: v for n, v in pods.items() if n.startswith("kube_pod")}
        series |= {n: v for n, v in sets.items() if n.startswith("kube_rep")}
        yield Case(
            name=f"an exporter that says nothing of {name} is believed for five minutes",
            series=series,
            expects=(info("9m", *yes), info("14m", *yes), info("15m", *no)),
        )
    target = {"namespace": "shop", "pod": "api-1"}
    own = target | {"deployment": CANARY.deployment}
    tracked = target | {"deployment": APP, "track": "canary"}

    def up(labels: Labels) -> Series:
        written = ", ".join(f'{name}="{value}"' for name, value in labels.items())
        return {f'up{{{written}, job="api"}}': gauge(*gap)}

    labelled = own | {"app": APP, "track": "canary"}
    yield Case(
        name="without kube-state-metrics the labels of the scrape say whose a pod is",
        series=up(own) | up({"namespace": "shop", "pod": "api-2"}) | up({"deployment": "x"}),
        expects=(info("9m", labelled), info("14m", labelled), info("15m")),
    )
    yield Case(
        name="a track that the scrape says is believed",
        series=up(tracked),
        expects=(info("9m", tracked | {"app": APP}),),
    )
    yield Case(
        name="kube-state-metrics is believed before the labels of the scrape",
        series=CANARY.owners() | up({"namespace": "shop", "pod": CANARY.pod, "deployment": "x"}),
        expects=(info("9m", *yes),),
    )
    other = target | {"deployment": APP, "job": "sidecar"}
    quarrel = {
        "up{" + ", ".join(f'{n}="{v}"' for n, v in labels.items()) + "}": gauge((1, minutes))
        for labels, minutes in ((tracked, LONG), (other, 10))
    }
    rate = "release:http_requests:rate2m"
    yield Case(
        name="a pod of which two targets say different things is nobody's, and in nobody's way",
        series=quarrel
        | CANARY.owners()
        | CANARY.of("http_requests_total", counter((4, LONG)), code="200"),
        expects=(
            info("9m", *yes),
            info("14m", *yes),
            info("15m", tracked | {"app": APP}, *yes),
            Sample(when="9m", expr=rate, gives=((f"{rate}{{{CANARY.written}}}", 4),)),
        ),
    )
    job = f'pod="{STABLE.pod}", owner_kind="Job", owner_name="migrate"'
    replicas = f'replicaset="{NEXT.replicaset}", owner_kind="Rollout", owner_name="api"'
    pod = f'pod="{NEXT.pod}", owner_kind="ReplicaSet", owner_name="{NEXT.replicaset}"'
    named_so = 'replicaset="migrate", owner_kind="Deployment", owner_name="migrate"'
    nobodys = (
        f'kube_pod_owner{{namespace="shop", {job}}}',
        f'kube_replicaset_owner{{namespace="shop", {replicas}}}',
        f'kube_pod_owner{{namespace="shop", {pod}}}',
        f'kube_replicaset_owner{{namespace="shop", {named_so}}}',
    )
    yield Case(
        name="a pod of a Job, and a ReplicaSet of something else, are nobody's",
        series=dict.fromkeys(nobodys, gauge((1, LONG))),
        expects=(info("9m"),),
    )


def _records() -> Iterator[Case]:
    """Return what records hold: 0 where all is well, and nothing where there is nothing."""
    who = CANARY.written
    ratios: tuple[tuple[str, World], ...] = (
        ("release:http_request_errors_per_http_requests:percent_rate2m", errors),
        ("release:whatsapp_failures_per_whatsapp_messages:percent_rate2m", messages),
        ("release:ai_errors_per_ai_requests:percent_rate5m", calls),
    )
    for record, world in ratios:
        for traffic, gives in ((0.5, ((f"{record}{{{who}}}", 0.0),)), (0, ())):
            yield Case(
                name=f"{record}: nothing failed, {traffic} a second",
                series=world(CANARY, ((0, LONG),), traffic),
                expects=(Sample(when="20m", expr=record, gives=gives),),
            )
    p95 = "release:http_request_duration_seconds:p95_rate2m"
    for traffic, found in ((0.5, ((f"{p95}{{{who}}}", 0.5),)), (0, ())):
        yield Case(
            name=f"{p95}: half a second, {traffic} a second",
            series=latency(CANARY, ((0.5, LONG),), traffic),
            expects=(Sample(when="20m", expr=f"round({p95}, 0.001)", gives=_round(found)),),
        )
    full = "release:db_pool_connections_in_use_per_db_pool_connections_max:percent"
    yield Case(
        name=f"{full}: the fullest of all pods, one of a single connection, none of no size",
        series=pool(CANARY, ((90, LONG),))
        | {n.replace("-x7k2p", "-b-x7k2p"): v for n, v in pool(CANARY, ((10, LONG),)).items()}
        | _sized(STABLE, 0)
        | _sized(NEXT, 1),
        expects=(
            Sample(
                when="20m",
                expr=full,
                gives=((f"{full}{{{who}}}", 90.0), (f"{full}{{{NEXT.written}}}", 100.0)),
            ),
        ),
    )
    hits = "namespace:redis_keyspace_hits_per_redis_keyspace_lookups:percent_rate5m"
    for traffic, found in ((0.5, ((f'{hits}{{namespace="shop"}}', 100.0),)), (0, ())):
        yield Case(
            name=f"{hits}: all hits, {traffic} a second",
            series=redis(CANARY, ((100, LONG),), traffic),
            expects=(Sample(when="20m", expr=hits, gives=found),),
        )
    yield from _rates()
    yield from _spending()


def _rates() -> Iterator[Case]:
    """Return traffic that begins after ten minutes: half a window later it reads one half."""
    begins: Rates = ((0, 10), (4, 20))
    counters: tuple[tuple[str, str, str, float], ...] = (
        ("release:http_requests:rate2m", "http_requests_total", "11m", 2),
        ("release:whatsapp_messages:rate2m", "whatsapp_messages_total", "11m", 2),
        ("release:ai_requests:rate5m", "ai_requests_total", "12m30s", 2),
    )
    for record, metric, when, value in counters:
        yield Case(
            name=f"{record}: traffic begins",
            series=CANARY.owners() | CANARY.of(metric, counter(*begins)),
            expects=(
                Sample(when=when, expr=record, gives=((f"{record}{{{CANARY.written}}}", value),)),
            ),
        )
    record = "namespace:redis_keyspace_lookups:rate5m"
    for metric in ("hits", "misses"):
        name = 'redis_keyspace_{}_total{{namespace="shop"}}'
        yield Case(
            name=f"{record}: {metric} begin",
            series={
                name.format("hits"): counter((0, 30)),
                name.format("misses"): counter((0, 30)),
                name.format(metric): counter(*begins),
            },
            expects=(
                Sample(when="12m30s", expr=record, gives=((f'{record}{{namespace="shop"}}', 2),)),
            ),
        )


def _round(found: tuple[tuple[str, float], ...]) -> tuple[tuple[str, float], ...]:
    return tuple((name[name.index("{") :], value) for name, value in found)


def _sized(who: Revision, size: float) -> Series:
    """Return a pool of so many connections, one of which is in use."""
    return (
        who.owners()
        | who.of("db_pool_connections_in_use", gauge((1, LONG)))
        | who.of("db_pool_connections_max", gauge((size, LONG)))
    )


def _spending() -> Iterator[Case]:
    """Return a day and more of money: 2, 4, then 6 dollars an hour, for twelve hours each."""
    step, hour = 600, 1 / 3600
    more = "namespace:ai_spend_usd_per_day_before:percent_increase1h"
    spent = "namespace:ai_spend_usd:increase1h"
    name = 'ai_spend_usd_total{namespace="shop", pod="api-1"}'

    def money(*rates: float) -> Series:
        return {name: counter(*((rate * hour, 12 * 60) for rate in rates), step=step)}

    def so(record: str, when: str, *values: float) -> Sample:
        gives = tuple(('{namespace="shop"}', value) for value in values)
        return Sample(when=when, expr=f"round({record}, 0.01)", gives=gives)

    yield Case(
        name="AI spend is counted by the hour, and compared with the same hour of the day before",
        step=step,
        series=money(2, 4, 6, 5),
        expects=(
            so(spent, "11h", 2),
            so(spent, "12h30m", 3),
            so(more, "20h"),
            so(more, "34h", 200),
            so(more, "46h", 25),
        ),
    )
    for rate, found in ((1.05, (0.0,)), (0.95, ())):
        yield Case(
            name=f"AI spend of {rate} dollars an hour as a baseline",
            step=step,
            series=money(rate, rate, rate),
            expects=(so(more, "34h", *found),),
        )


def _absent() -> Iterator[Case]:
    for alert, series in (
        ("RequestsDataAbsent", errors(CANARY, ((0, 10),))),
        ("WhatsappMessagesDataAbsent", messages(CANARY, ((0, 10),))),
    ):
        quiet = {
            name: values for name, values in series.items() if not name.startswith("kube")
        } | CANARY.owners()
        world = errors if alert.startswith("Req") else messages
        yield Case(
            name=f"{alert}: the series end",
            series=quiet,
            # The rate outlives its series by a minute and a half.
            expects=(
                At(when="9m", alert=alert),
                At(when="21m", alert=alert),
                At(when="21m30s", alert=alert, fires=(Fires(labels={}),)),
            ),
        )
        yield Case(
            name=f"{alert}: nobody comes, but the series are there",
            series=world(CANARY, ((0, LONG),), 0),
            expects=(At(when="15m", alert=alert),),
        )
    # Requests that nobody times: the histogram is gone, or was never there.
    alert = "P95LatencyDataAbsent"
    for traffic, fires in ((1.05, (Fires(labels={}),)), (0.95, ()), (0, ())):
        yield Case(
            name=f"{alert}: {traffic} requests a second, and no histogram",
            series=errors(CANARY, ((0, LONG),), traffic),
            expects=(
                At(when="11m30s", alert=alert),
                At(when="12m", alert=alert, fires=fires),
                At(when="30m", alert=alert, fires=fires),
            ),
        )
    yield Case(
        name=f"{alert}: one of two revisions has the histogram",
        series=errors(STABLE, ((0, LONG),)) | latency(CANARY, ((0.5, LONG),)),
        expects=(At(when="30m", alert=alert),),
    )
