"""The alerts of `alert_rules/release.yaml` that watch a metric, and how to bring each about.

A window of two minutes holds a change of rate to one quarter after 30 s, to one half after a
minute, and so on: every value can be worked out by hand.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from tests.rules.promtool import Labels
from tests.rules.worlds import (
    Levels,
    Revision,
    Series,
    calls,
    errors,
    latency,
    messages,
    pool,
    queries,
    redis,
    spend,
)

World: TypeAlias = Callable[[Revision, Levels, float], Series]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """An alert, and how to bring it about.

    Good for ten minutes, `bad` for 20, good again: pending at `pending`, firing at `fires` with
    that value, last true at 30 minutes and `last`, and gone five minutes after that.
    """

    alert: str
    world: World
    threshold: float
    bad: float
    good: float
    fires: str
    not_yet: str
    value: str
    last_fires: str
    last_value: str
    resolved: str
    unit: str = "{:.1f}"
    floor: float = 0
    tracks: bool = False
    namespace_only: bool = False
    rules: frozenset[str] = frozenset()

    steady: str = "14m"

    def labels(self, who: Revision) -> Labels:
        return {"namespace": who.namespace} if self.namespace_only else who.labels

    def told(self, value: float) -> str:
        return self.unit.format(value)


# Two minutes: 16% of a share reads 4, 8, 12, 16 in the four steps after it begins, and so back.
ROLLBACKS = (
    Watch(
        alert="HighErrorRate",
        steady="9m",
        world=errors,
        threshold=10,
        bad=16,
        good=0,
        not_yet="16m",
        fires="16m30s",
        value="16.0",
        last_fires="35m30s",
        last_value="12.0",
        resolved="36m",
        floor=1,
        tracks=True,
    ),
    Watch(
        alert="WhatsappFailures",
        world=messages,
        threshold=5,
        bad=8,
        good=0,
        not_yet="21m",
        fires="21m30s",
        value="8.0",
        last_fires="35m30s",
        last_value="6.0",
        resolved="36m",
        floor=0.1,
        tracks=True,
    ),
    # The 95th hundredth is in the bad bucket as soon as more than a twentieth is.
    Watch(
        alert="HighLatency",
        world=latency,
        threshold=3,
        bad=4,
        good=0.95,
        unit="{:.2f}",
        not_yet="20m",
        fires="20m30s",
        value="4.00",
        last_fires="36m30s",
        last_value="3.85",
        resolved="37m",
        floor=1,
        tracks=True,
    ),
)
CHECKS = (
    Watch(
        alert="ErrorRateAboveTarget",
        steady="9m",
        world=errors,
        threshold=5,
        bad=8,
        good=0,
        not_yet="16m",
        fires="16m30s",
        value="8.0",
        last_fires="35m30s",
        last_value="6.0",
        resolved="36m",
        floor=1,
    ),
    Watch(
        alert="WhatsappDeliveryBelowTarget",
        world=messages,
        threshold=2,
        bad=3.2,
        good=0,
        not_yet="21m",
        fires="21m30s",
        value="3.2",
        last_fires="35m30s",
        last_value="2.4",
        resolved="36m",
        floor=0.1,
    ),
    Watch(
        alert="LatencyAboveTarget",
        world=latency,
        threshold=2,
        bad=3,
        good=0.95,
        unit="{:.2f}",
        not_yet="20m",
        fires="20m30s",
        value="3.00",
        last_fires="36m30s",
        last_value="2.85",
        resolved="37m",
        floor=1,
    ),
    # Five minutes: a tenth more of it in each step.
    Watch(
        alert="AiErrorRateAboveTarget",
        steady="18m",
        world=calls,
        threshold=2,
        bad=3.2,
        good=0,
        not_yet="23m",
        fires="23m30s",
        value="3.2",
        last_fires="36m30s",
        last_value="2.2",
        resolved="37m",
        floor=0.1,
    ),
    Watch(
        alert="DbPoolNearlyFull",
        world=pool,
        threshold=80,
        bad=90,
        good=20,
        not_yet="19m30s",
        fires="20m",
        value="90.0",
        last_fires="34m30s",
        last_value="90.0",
        resolved="35m",
    ),
    Watch(
        alert="SlowQueries",
        steady="18m",
        world=queries,
        threshold=0.1,
        bad=0.16,
        good=0,
        unit="{:.3g}",
        not_yet="23m",
        fires="23m30s",
        value="0.16",
        last_fires="36m30s",
        last_value="0.112",
        resolved="37m",
    ),
    Watch(
        alert="RedisHitRateLow",
        steady="22m",
        world=redis,
        threshold=90,
        bad=82,
        good=100,
        not_yet="27m30s",
        fires="28m",
        value="82.0",
        last_fires="37m",
        last_value="89.2",
        resolved="37m30s",
        floor=1,
        namespace_only=True,
    ),
    Watch(
        alert="AiSpendAboveBaseline",
        steady="31m",
        world=spend,
        threshold=20,
        bad=25,
        good=0,
        not_yet="39m30s",
        fires="40m",
        value="25.0",
        last_fires="54m30s",
        last_value="25.0",
        resolved="55m",
        namespace_only=True,
        rules=frozenset({"AiSpendAboveBaseline"}),
    ),
)
