"""What can be told: a story, its alerts and its two revisions."""

from dataclasses import dataclass
from datetime import datetime

from receiver.reasons import Reason, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertLine:
    """One alert of a story, as Alertmanager sent it. Text is untrusted."""

    alertname: str
    severity: str
    starts_at: datetime
    firing: bool
    summary: str = ""
    description: str = ""
    runbook_url: str = ""
    dashboard_url: str = ""
    generator_url: str = ""
    value: str = ""
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionLine:
    """One revision of a story. `images` are (container, image)."""

    number: int
    hash: str
    images: tuple[tuple[str, str], ...]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """All that can be told now about one subject: an incident, a refusal, an alert passed on.

    `state` is the phase of an incident (`receiver.journal.Phase`), `refused` for a refusal without
    an incident, `firing` or `resolved` for an alert passed on, `failing` for a fault of our own.
    `subject` is stable for the life of the subject: the PagerDuty `dedup_key`. `instead_of` are the
    sinks that should have been the first to take it, and have not.
    """

    subject: str
    state: str
    reason: Reason
    severity: Severity
    cluster: str
    namespace: str
    deployment: str
    at: datetime
    started_at: datetime
    alerts: tuple[AlertLine, ...] = ()
    bad: RevisionLine | None = None
    good: RevisionLine | None = None
    actor: str = ""
    why: str = ""
    detail: str = ""
    until: datetime | None = None
    instead_of: tuple[str, ...] = ()
