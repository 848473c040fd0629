"""What can be told: a story, its alerts, its two revisions, and where we are."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from receiver.reasons import Reason, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertLine:
    """One alert of a story, as Alertmanager sent it. Text is untrusted.

    `external_url` is where the Alertmanager that sent it says it is found.
    """

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
    fingerprint: str = ""
    external_url: str = ""
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionLine:
    """One revision of a story. `images` are (container, image)."""

    number: int
    hash: str
    images: tuple[tuple[str, str], ...]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """Whom to call, and when that is of use (`contacts` of the configuration)."""

    role: str
    contact: str
    availability: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the configuration says of this installation: whom to call, and where things are.

    An URL that is "" is not configured: then what came with the alert is taken. `namespace` is
    where our Service is.
    """

    contacts: tuple[Contact, ...] = ()
    alertmanager_url: str = ""
    prometheus_url: str = ""
    receiver_url: str = ""
    namespace: str = "rollback-receiver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """All that can be told now of one subject: an incident, a refusal, an alert, a release.

    `state` is the phase of an incident (`receiver.journal.Phase`), `refused` for a refusal without
    an incident, `firing` or `resolved` for alerts passed on, `failing` for a fault of our own,
    `test` for nothing but a test, `release_...` for a staged release (`receiver.release.news`).
    `subject` is stable for the life of the subject: the PagerDuty `dedup_key`. Of `alerts` there
    are `more` than are listed; `tally` counts those of a storm by name. `undo_to` is the number
    that the bad revision has now, 0 when it is not known or gone. `instead_of` are the sinks that
    should have been the first to take it, and have not, for `instead_for`.
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
    more: int = 0
    tally: tuple[tuple[str, int], ...] = ()
    bad: RevisionLine | None = None
    good: RevisionLine | None = None
    applied_at: datetime | None = None
    completed_at: datetime | None = None
    undo_to: int = 0
    actor: str = ""
    why: str = ""
    detail: str = ""
    until: datetime | None = None
    instead_of: tuple[str, ...] = ()
    instead_for: timedelta | None = None
    site: Site = Site()
