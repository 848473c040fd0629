"""Alertmanager's webhook, version 4: read, checked, and split into alerts that stand alone.

The contract is prometheus/alertmanager notify/webhook/webhook.go and template/template.go. Nothing
here looks at the group: `commonLabels` and the status of the group say nothing about one alert
(with `max_alerts` the group can say "resolved" while alerts of it fire).
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal


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
    """One webhook. Alerts that could not be read are in `unreadable`, with what is wrong."""

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
    """What the labels of an alert name, before anything was looked up. "" where nothing is named.

    `names` are valid Kubernetes names. `kind` is the kind of workload named besides Deployments
    ("StatefulSet", "DaemonSet"), "" for none.
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
