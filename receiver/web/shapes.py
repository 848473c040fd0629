"""The forms of what is sent and answered, for the document of the API alone.

Nothing is read or written through them: the webhook is read by `receiver.alerts`, and the answers
are made by `receiver.controller.views` and its neighbours. The tests hold them against both.
"""

from datetime import datetime
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, RootModel
from pydantic.json_schema import SkipJsonSchema

from receiver.controller.answers import Answer
from receiver.journal import Phase, Step
from receiver.reasons import Reason

# A field that is not always there; where it is, it is not null.
_Not: TypeAlias = SkipJsonSchema[None]


class Shape(BaseModel):
    """A JSON object."""

    # At the start nobody needs them.
    model_config = ConfigDict(defer_build=True)


# --- the webhook


class SentAlert(Shape):
    """One alert of a webhook."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    startsAt: datetime  # noqa: N815 - the names of the webhook
    endsAt: datetime | None = Field(  # noqa: N815 - the same
        default=None, description='"0001-01-01T00:00:00Z" while it fires'
    )
    generatorURL: str = ""  # noqa: N815 - the same
    fingerprint: str = Field(
        default="", description="16 hex digits; else it is worked out from the labels"
    )


class Webhook(Shape):
    """The body of Alertmanager's webhook, version 4; keys that are not named here pass."""

    version: Literal["4"]
    groupKey: str  # noqa: N815 - the names of the webhook
    receiver: str = ""
    externalURL: str = ""  # noqa: N815 - the same
    truncatedAlerts: int = Field(  # noqa: N815 - the same
        default=0, ge=0, lt=2**64, description="so many alerts `max_alerts` has cut off"
    )
    alerts: list[SentAlert]


class Decided(Shape):
    """What was decided about each alert, in the order they came."""

    alerts: list[Answer]
    truncated: int = Field(description="so many alerts Alertmanager had cut off")


# --- Deployments and incidents


class Image(Shape):
    """The image of a container."""

    container: str
    image: str


class RevisionMark(Shape):
    """A revision, as an incident remembers it."""

    revision: int
    hash: str = Field(description="pod-template-hash")
    images: list[Image]


class Revision(RevisionMark):
    """A revision in the history of a Deployment."""

    created_at: datetime
    age_seconds: int
    replicas: int
    change_cause: str
    marks: list[str]


class Incident(Shape):
    """A rollback, from what led to it until what came of it."""

    id: str
    namespace: str
    deployment: str
    phase: Phase
    open: bool
    reason: Reason
    text: str
    detail: str
    by: str
    why: str
    from_: RevisionMark = Field(alias="from")
    to: RevisionMark | None
    opened_at: datetime
    phase_at: datetime
    applied_at: datetime | None
    completed_at: datetime | None
    alerts: list[str]
    notices_owed: list[str] = Field(description="the sinks that are still to be told")


class Incidents(Shape):
    """The remembered incidents, newest first."""

    incidents: list[Incident]


class Summary(Shape):
    """One Deployment in short."""

    namespace: str
    name: str
    enabled: bool
    automation_paused: bool
    protected: str | None
    current: Revision | None
    rollout: str
    incident: str | None = Field(description="the id of the incident in progress")
    release: str | None = Field(description="the id of the release in progress")


class Deployments(Shape):
    """The opted-in Deployments."""

    deployments: list[Summary]


class SeenAlert(Shape):
    """An alert that fires."""

    alertname: str
    starts_at: datetime
    asks_for_rollback: bool
    revision_hash: str
    reason: Reason


class DeadLetter(Shape):
    """A notice that was given up."""

    incident: str
    sink: str
    state: str
    severity: str
    at: datetime
    why: str


class Deployment(Summary):
    """One Deployment with its history."""

    generation: int
    history: list[Revision]
    incidents: list[Incident]
    alerts: list[SeenAlert]
    dead_letters: list[DeadLetter]


class WouldRollBack(Shape):
    """The answer to a rollback with `dry_run`."""

    dry_run: Literal[True]
    reason: Reason
    namespace: str
    deployment: str
    from_: RevisionMark = Field(alias="from")
    to: RevisionMark | None
    by: str
    why: str


class Forgotten(Shape):
    """An incident that is no longer remembered: the key of the request was used for it."""

    # Else it would be any object with an id.
    model_config = ConfigDict(extra="forbid")

    id: str


class RolledBack(RootModel[Incident | WouldRollBack | Forgotten]):
    """What came of a rollback by hand."""

    model_config = ConfigDict(defer_build=True)


class Score(Shape):
    """What shadow mode would have done about one alert."""

    alertname: str
    would_have_rolled_back: int
    undone_by_people: int
    resolved_soon: int
    resolved_later: int
    still_firing: int
    median_minutes_saved: float | None
    first_at: datetime
    deployments: list[str]


class Scorecard(Shape):
    """One row for each alert name, the one that would have acted most often first."""

    rules: list[Score]


class Switch(Shape):
    """The kill switch."""

    stopped: bool
    why: str


class Breaker(Shape):
    """The mass-alert breaker."""

    open: bool
    since: datetime | None
    count: int
    targets: list[str]


# --- staged releases


class HeldFor(Shape):
    """Why a release does not go on by itself."""

    reason: Reason
    text: str
    detail: str
    by: str
    at: datetime


class HealthCheck(Shape):
    """How a health check of a release was last seen."""

    name: str
    state: str
    text: str
    at: datetime


class Approved(Shape):
    """Who approved a stage."""

    stage: str
    role: str
    by: str
    at: datetime
    why: str


class Check(Shape):
    """A line of a checklist."""

    id: str
    text: str
    when: str
    done: bool
    by: str
    at: datetime | None
    note: str


class Happened(Shape):
    """What happened to a release."""

    at: datetime
    text: str


class Release(Shape):
    """A staged release."""

    id: str
    plan: str
    version: str
    images: list[Image]
    by: str
    why: str
    open: bool
    step: Step
    stage: str
    percent: int
    canary: str
    canary_replicas: int
    opened_at: datetime
    step_at: datetime
    age_seconds: int
    soaked_seconds: int
    soak_left_seconds: int
    healthy: bool
    trouble: str
    held: HeldFor | None
    waits_for: list[str] = Field(description="roles to approve, or lines to tick")
    reason: Reason
    text: str
    detail: str
    health_checks: list[HealthCheck]
    approvals: list[Approved]
    checks: list[Check]
    story: list[Happened]


class StageAhead(Shape):
    """What a stage would be with the pods that there are."""

    name: str
    percent: int
    canary_replicas: int
    share_percent: float
    soak_seconds: float
    approvals: list[str]


class BegunRelease(Release):
    """A release that begins, or would with `dry_run`."""

    dry_run: Literal[True] | _Not = None
    stages: list[StageAhead]
    differs: list[str] = Field(description="where the two pod templates differ")


# --- how we are


class Health(Shape):
    """How we are; degraded is still alive."""

    status: str
    version: str
    timestamp: datetime
    dependencies: dict[str, str]
    sinks: dict[str, str]


class Readiness(Shape):
    """Whether to send us work."""

    ready: bool
    checks: dict[str, str]


class Document(Shape):
    """An OpenAPI document: this one."""

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
    components: dict[str, Any]


# --- what is refused


class Refusal(Shape):
    """Why it was refused: `docs/reasons.md` has every reason."""

    reason: str = Field(description="one constant word, for machines")
    message: str = Field(description="for people")


class Error(Shape):
    """Any answer that is a no."""

    error: Refusal
    incident: Incident | _Not = Field(
        default=None, description="of a rollback: the incident that it is about"
    )
    release: str | _Not = Field(
        default=None, description="of a release that cannot begin: the id of the one in progress"
    )
