"""Series of the canary and the stable API of the plan, as bad as a test wants them."""

from dataclasses import dataclass
from typing import TypeAlias

from tests.rules.promtool import Labels, counter, gauge

Series: TypeAlias = dict[str, str]
Rates: TypeAlias = tuple[tuple[float | None, float], ...]

APP = "api-deployment"
LONG = 40.0  # minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A ReplicaSet with one pod."""

    deployment: str
    hash: str
    track: str = "stable"
    namespace: str = "shop"
    app: str = APP

    @property
    def replicaset(self) -> str:
        return f"{self.deployment}-{self.hash}"

    @property
    def pod(self) -> str:
        return f"{self.replicaset}-x7k2p"

    @property
    def labels(self) -> Labels:
        """Return the labels that an alert about it has."""
        return {
            "namespace": self.namespace,
            "app": self.app,
            "deployment": self.deployment,
            "replicaset": self.replicaset,
            "track": self.track,
        }

    @property
    def written(self) -> str:
        return ", ".join(f'{name}="{value}"' for name, value in self.labels.items())

    def owners(self, minutes: Rates = ((1, LONG),)) -> Series:
        """Return what kube-state-metrics says of it."""
        pod = f'namespace="{self.namespace}", pod="{self.pod}", owner_kind="ReplicaSet"'
        own = (
            f'namespace="{self.namespace}", replicaset="{self.replicaset}", owner_kind="Deployment"'
        )
        return {
            f'kube_pod_owner{{{pod}, owner_name="{self.replicaset}"}}': gauge(*minutes),
            f'kube_replicaset_owner{{{own}, owner_name="{self.deployment}"}}': gauge(*minutes),
        }

    def of(self, metric: str, values: str, **labels: str) -> Series:
        """Return a series of its pod."""
        more = "".join(f', {name}="{value}"' for name, value in labels.items())
        return {f'{metric}{{namespace="{self.namespace}", pod="{self.pod}"{more}}}': values}


CANARY = Revision(deployment=f"{APP}-canary", hash="7d9f8b6c5d", track="canary")
STABLE = Revision(deployment=APP, hash="5f6b7c8d9f")
NEXT = Revision(deployment=APP, hash="6c7d8f9b5d")

# How bad something is in per cent (seconds for latency), and for how many minutes.
Levels: TypeAlias = tuple[tuple[float, float], ...]


# --- worlds: series in which a revision is so bad, with so many requests a second


def _shares(
    who: Revision, metric: str, traffic: float, levels: Levels, bad: Labels, good: Labels
) -> Series:
    series = who.owners()
    failed = tuple((traffic * level / 100, minutes) for level, minutes in levels)
    well = tuple((traffic * (100 - level) / 100, minutes) for level, minutes in levels)
    series |= who.of(metric, counter(*well), **good)
    if any(level for level, _ in levels):  # without an error there is no series of errors
        series |= who.of(metric, counter(*failed), **bad)
    return series


def errors(who: Revision, levels: Levels, traffic: float = 4) -> Series:
    return _shares(who, "http_requests_total", traffic, levels, {"code": "503"}, {"code": "200"})


def messages(who: Revision, levels: Levels, traffic: float = 4) -> Series:
    bad, good = {"status": "failed"}, {"status": "delivered"}
    return _shares(who, "whatsapp_messages_total", traffic, levels, bad, good)


def calls(who: Revision, levels: Levels, traffic: float = 4) -> Series:
    return _shares(who, "ai_requests_total", traffic, levels, {"status": "error"}, {"status": "ok"})


def latency(who: Revision, levels: Levels, traffic: float = 4) -> Series:
    """All requests of a level stand in one bucket of a second, whose 95th hundredth it is."""
    total = sum(minutes for _, minutes in levels)
    series = who.owners() | who.of("http_requests_total", counter((traffic, total)), code="200")
    bounds = sorted({round(v + d, 4) for v, _ in levels for d in (-0.95, 0.05)})
    for bound in (*bounds, float("inf")):
        rates = tuple((traffic if bound > v else 0, minutes) for v, minutes in levels)
        le = "+Inf" if bound == float("inf") else f"{bound:g}"
        series |= who.of("http_request_duration_seconds_bucket", counter(*rates), le=le)
    return series


def pool(who: Revision, levels: Levels, traffic: float = 0) -> Series:
    used = gauge(*((level / 5, minutes) for level, minutes in levels))
    most = gauge((20, sum(minutes for _, minutes in levels)))
    return (
        who.owners()
        | who.of("db_pool_connections_in_use", used)
        | who.of("db_pool_connections_max", most)
    )


def queries(who: Revision, levels: Levels, traffic: float = 0) -> Series:
    return who.owners() | who.of("db_slow_queries_total", counter(*levels))


def redis(who: Revision, levels: Levels, traffic: float = 4) -> Series:
    name = f'redis_keyspace_{{}}_total{{{{namespace="{who.namespace}", pod="redis-0"}}}}'
    hits = counter(*((traffic * level / 100, minutes) for level, minutes in levels))
    misses = counter(*((traffic * (100 - level) / 100, minutes) for level, minutes in levels))
    return {name.format("hits"): hits, name.format("misses"): misses}


def spend(who: Revision, levels: Levels, traffic: float = 0) -> Series:
    """Return the record itself: what it is made of takes a day, and has a case of its own."""
    name = "namespace:ai_spend_usd_per_day_before:percent_increase1h"
    return {f'{name}{{namespace="{who.namespace}"}}': gauge(*levels)}
