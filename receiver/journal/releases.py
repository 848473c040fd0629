"""A staged release as it is remembered: frozen values, as they are stored. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal

from pydantic import AwareDatetime

from receiver.journal.facts import Applied, Episode, Intent
from receiver.reasons import Reason

# So many lines of its story are kept: the first, which say how it began, and the newest.
HAPPENED_KEPT = 200
# The longest text that a person or an API server can put into it, and the longest line with it.
SAID, LINE = 240, 480


class Step(StrEnum):
    """Where a release is: the last two are final."""

    PREPARING = "preparing"  # the checklist before it is open
    SCALING = "scaling"  # the canary gets the pods of the stage
    SOAKING = "soaking"
    WAITING = "waiting"  # for the approval of the next stage
    PROMOTING = "promoting"  # the stable Deployment gets the template
    WATCHING = "watching"  # everybody has it
    ABORTING = "aborting"
    COMPLETED = "completed"
    ABORTED = "aborted"


ENDED = frozenset({Step.COMPLETED, Step.ABORTED})
UNDER_WAY = tuple(step for step in Step if step not in ENDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """An alert whose expression has to be false, with data, for a soak to count."""

    name: str
    alert: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of a plan: a share of the traffic, and for how long it has to go well.

    `percent` 100 is the last: the stable Deployment itself. `approvals` are the roles that have to
    approve before it begins. `health_checks` are asked in this stage beside those of the plan.
    """

    name: str
    percent: int
    soak: timedelta = timedelta(0)
    approvals: tuple[str, ...] = ()
    health_checks: tuple[HealthCheck, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A line of a checklist. `by` "": it is open still."""

    id: str
    text: str
    when: Literal["before", "after"]
    by: str = ""
    at: AwareDatetime | None = None
    note: str = ""

    @property
    def done(self) -> bool:
        """Return whether somebody has seen to it."""
        return bool(self.by)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a version gets to everybody."""

    name: str
    stages: tuple[Stage, ...]
    watch: timedelta = timedelta(0)
    health_checks: tuple[HealthCheck, ...] = ()
    checklist: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A person with that role has approved the beginning of a stage (its number, from 0)."""

    stage: int
    role: str
    by: str
    at: AwareDatetime
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Nothing goes on until a person says so: `by` is who held it, "" the service itself."""

    reason: Reason
    at: AwareDatetime
    by: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What a health check said last. `state`: `ok`, `failing`, or `unknown`."""

    name: str
    state: Literal["ok", "failing", "unknown"]
    text: str
    at: AwareDatetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """One line of the story of a release. Text is untrusted where a person wrote it."""

    at: AwareDatetime
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A version on its way to everybody, by a plan that was copied when it began.

    The canary Deployment (`canary`, `canary_uid`) had the template `canary_before` and gets the
    one whose code is `code`; `base` is the code of the stable Deployment's template, which nobody
    else may change meanwhile. `replicas` is what we gave the canary last, and `generation` the one
    that this write made; `stale` is its Progressing condition from before. `rescale`: a person let
    it go on although somebody had scaled the canary, which is set right next. `waited` is for how
    long the rollout of this step was watched. `soaked` only ever counts healthy time of the present
    stage, and `early`: a person with the role ended its soak. `trouble` says why it does not count
    just now and since when, "" when it does; `told` is the reason for which people were told of it.
    `promoted` is the code of the template that `intent` gives the stable Deployment; an abort has
    to leave it again if `undo`.
    """

    id: str
    plan: Plan
    version: str
    uid: str
    canary: str
    canary_uid: str
    canary_before: str
    code: str
    base: str
    images: tuple[tuple[str, str], ...]
    by: str
    opened_at: AwareDatetime
    step: Step
    step_at: AwareDatetime
    reason: Reason
    why: str = ""
    stage: int = 0
    replicas: int = 0
    generation: int = 0
    stale: tuple[str, str] = ("", "")
    rescale: bool = False
    waited: timedelta = timedelta(0)
    soaked: timedelta = timedelta(0)
    early: bool = False
    trouble: str = ""
    trouble_at: AwareDatetime | None = None
    told: Reason | None = None
    held: Hold | None = None
    approvals: tuple[Approval, ...] = ()
    measures: tuple[Measure, ...] = ()
    intent: Intent | None = None
    applied: Applied | None = None
    promoted: str = ""
    undo: bool = False
    detail: str = ""
    happened: tuple[Happened, ...] = ()

    @property
    def open(self) -> bool:
        """Return whether it is in progress."""
        return self.step not in ENDED

    @property
    def present(self) -> Stage:
        """Return the stage it is in."""
        return self.plan.stages[self.stage]

    @property
    def following(self) -> Stage | None:
        """Return the next stage, None after the last."""
        rest = self.plan.stages[self.stage + 1 :]
        return rest[0] if rest else None

    @property
    def health_checks(self) -> tuple[HealthCheck, ...]:
        """Return what is asked in the present stage."""
        return (*self.plan.health_checks, *self.present.health_checks)

    def is_passed_over_by(self, episode: Episode) -> bool:
        """Return whether an alert about the canary names a revision, and not that of this one."""
        return bool(episode.named) and episode.code not in ("", self.code)

    def lacking(self, number: int) -> tuple[str, ...]:
        """Return the roles that have not approved a stage yet."""
        given = {a.role for a in self.approvals if a.stage == number}
        return tuple(r for r in self.plan.stages[number].approvals if r not in given)

    def unticked(self, when: Literal["before", "after"]) -> tuple[Item, ...]:
        """Return the open lines of a checklist."""
        return tuple(i for i in self.plan.checklist if i.when == when and not i.done)

    def enter(self, step: Step, now: datetime, text: str, **changes: Any) -> "Release":
        """Return it in another step, which `text` says for people."""
        return replace(self, step=step, step_at=now, **changes).said(text, now)

    def said(self, text: str, now: datetime) -> "Release":
        """Return it with one more line of its story, which is cut where it is too long."""
        lines = (*self.happened, Happened(at=now, text=text[:LINE]))
        if len(lines) > HAPPENED_KEPT:
            half = HAPPENED_KEPT // 2
            lines = (*lines[:half], *lines[-half:])
        return replace(self, happened=lines)
