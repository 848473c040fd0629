"""What every part of the controller is given: the ports, the settings, the measures of time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random  # noqa: TID251 - only its type; the generator is handed in
from typing import Any, NamedTuple

from receiver.alerts import TargetLabels
from receiver.clock import Clock
from receiver.controller.ports import Cluster, Outbox, Prometheus
from receiver.decisions import Policy
from receiver.journal import Plan
from receiver.messages import Site
from receiver.telemetry import Metrics

SWITCH = "rollback-receiver-switch"
BEATS = "rollback-receiver-replicas"
KIND_LABEL = "rollback-receiver/kind"
OPEN_LABEL = "rollback-receiver/open"
OPEN_JOURNALS = f"{KIND_LABEL}=journal,{OPEN_LABEL}=true"
JOURNALS = f"{KIND_LABEL}=journal"


class Ref(NamedTuple):
    """A target by name. The journal of the receiver itself has none."""

    namespace: str
    deployment: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.deployment}" if self.namespace else "the receiver"


OWN = Ref("", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds. A claim whose owner was not heard of for `lasts` is taken over.

    Without a sign that one is left, the open journals are looked through every `poll` seconds while
    there are any, else every `sweep`.
    """

    beat: float = 1.5
    lasts: float = 5.0
    sweep: float = 30.0
    forget: float = 120.0
    poll: float = 5.0
    health: float = 15.0
    rights: float = 60.0
    answer: float = 8.0
    linger: float = 900.0
    retry_first: float = 0.5
    retry_most: float = 15.0
    notice_first: float = 1.0
    notice_most: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The world of one replica. `replica` is its name, new with every start.

    `stopped`: why the environment holds automation back, "" when it does not.
    """

    replica: str
    cluster: Cluster
    outbox: Outbox
    clock: Clock
    rng: Random
    metrics: Metrics
    log: Any
    ids: Callable[[], str]
    policy: Policy
    targets: TargetLabels
    cluster_name: str = ""
    namespaces: tuple[str, ...] = ()
    state_namespace: str = "rollback-receiver"
    watchdog: str = "Watchdog"
    silent_after: float = 300.0
    stopped: str = ""
    timing: Timing = Timing()
    prometheus: Prometheus | None = None
    site: Site = field(default_factory=Site)
    plans: Mapping[str, Plan] = field(default_factory=dict)

    @property
    def installation(self) -> str:
        """Return what all replicas of one installation have in common, and no other has."""
        return f"{self.cluster_name}/{self.state_namespace}"
