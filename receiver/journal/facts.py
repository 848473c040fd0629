"""The facts a journal is made of: frozen values, as they are stored. Pure."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator

from receiver.reasons import Reason, Severity

# What once was only whether, and not since when, is read as "not yet": it is done once more.
_Since = Annotated[
    AwareDatetime | None, BeforeValidator(lambda said: None if isinstance(said, bool) else said)
]


class Phase(StrEnum):
    """Where an incident is: the first four are open, the others final."""

    SETTLING = "settling"
    APPLYING = "applying"
    FOLLOWING = "following"
    VERIFYING = "verifying"
    RECOVERED = "recovered"
    UNCONFIRMED = "unconfirmed"
    DID_NOT_HELP = "did_not_help"
    ROLLOUT_FAILED = "rollout_failed"
    REFUSED = "refused"
    RESOLVED_BY_ITSELF = "resolved_by_itself"
    SUPERSEDED = "superseded"
    GONE = "gone"


OPEN = frozenset({Phase.SETTLING, Phase.APPLYING, Phase.FOLLOWING, Phase.VERIFYING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A revision as it is remembered after its ReplicaSet is gone."""

    code: str
    hash: str
    number: int
    uid: str
    images: tuple[tuple[str, str], ...]
    created_at: AwareDatetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One patch that is about to be sent: where to, and the generation that it tests."""

    id: str
    to: Mark
    generation: int
    at: AwareDatetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What the patch did. `stale_*` is the Progressing condition seen before it."""

    at: AwareDatetime
    generation: int
    until: AwareDatetime
    stale_reason: str = ""
    stale_updated_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """A bad revision of a target, and what became of it.

    `actor` is "" for an automatic one, else who asked for it by hand; then `pinned` is the hash
    that was current when it was accepted. `quarantine` False: a person said not to. `resolved_at`:
    it did not end well, and since then none of its alerts fires any more.
    """

    id: str
    uid: str
    bad: Mark
    phase: Phase
    reason: Reason
    opened_at: AwareDatetime
    phase_at: AwareDatetime
    severity: Severity = Severity.CRITICAL
    actor: str = ""
    why: str = ""
    forced: bool = False
    pinned: str = ""
    named: int | None = None
    quarantine: bool = True
    to: Mark | None = None
    intent: Intent | None = None
    applied: Applied | None = None
    completed_at: AwareDatetime | None = None
    detail: str = ""
    resolved_at: AwareDatetime | None = None

    @property
    def open(self) -> bool:
        """Return whether anything is left to do for it."""
        return self.phase in OPEN

    @property
    def left(self) -> bool:
        """Return whether its bad revision was indeed rolled away from."""
        return self.applied is not None

    def enter(self, phase: Phase, now: datetime, **changes: Any) -> "Incident":
        """Return it in another phase."""
        return replace(self, phase=phase, phase_at=now, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One firing of one alert. `code` is the revision it was first bound to; that never changes.

    `asks`: it asks for a rollback. `due`: when a deferred decision is made again. `labels` are
    bounded, and the same as those of the fingerprint only when none was cut.
    """

    fingerprint: str
    starts_at: AwareDatetime
    ends_at: AwareDatetime | None
    trouble_at: AwareDatetime
    seen_at: AwareDatetime
    alertname: str
    severity: Severity
    asks: bool
    uid: str
    code: str
    named: str
    reason: Reason
    track: str = ""
    due: AwareDatetime | None = None
    summary: str = ""
    description: str = ""
    runbook_url: str = ""
    dashboard_url: str = ""
    generator_url: str = ""
    external_url: str = ""
    value: str = ""
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def firing(self) -> bool:
        """Return whether it fires as far as we were told."""
        return self.ends_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """A notice that a sink has not taken yet: one for a subject and a sink, of its newest state.

    Since `doubt` it may have been taken all the same. `instead_of` is the sink that should have
    taken it and did not, "" when this one is owed it for its own sake. `waiting`: since when this
    sink takes nothing of the subject, when that is longer than this state is owed; `fell_back`:
    the `since` of the debt that the fallback sinks came to be owed instead, this one or an older.
    """

    subject: str
    sink: str
    since: AwareDatetime
    attempts: int = 0
    not_before: AwareDatetime | None = None
    doubt: AwareDatetime | None = None
    instead_of: str = ""
    waiting: AwareDatetime | None = None
    fell_back: _Since = None

    @property
    def key(self) -> tuple[str, str]:
        """Return the subject and the sink: of these there is one debt at a time."""
        return self.subject, self.sink

    @property
    def unheard_since(self) -> datetime:
        """Return since when this sink has taken nothing of what it is owed of the subject."""
        return self.waiting or self.since

    def renewed(self, newer: "Owed") -> "Owed":
        """Return the debt of a newer state, with all that the sink may have heard or not.

        It is to be met at once; or, if the newer one has time, when the older one was to be.
        """
        # `since` tells the two apart, also where one reading of a clock serves both.
        since = newer.since
        if since == self.since:
            since += timedelta(microseconds=1)
        return replace(
            self,
            since=since,
            waiting=self.unheard_since,
            attempts=0,
            not_before=None if newer.not_before is None else self.not_before,
            instead_of=newer.instead_of or self.instead_of,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dead:
    """A notice that was given up: the sink will not take it, or it came too late. `why` is short.

    `state` is what would have been told.
    """

    subject: str
    sink: str
    state: str
    severity: Severity
    at: AwareDatetime
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What a subject that is no incident says: a refusal, an alert passed on, or a bundle of those.

    A bundle is one notice of many in a storm. `members` are its alerts (`member`); so many `more`
    fire of which only the number is known. `tally` counts all that were ever in it by name, and
    `sinks` are those that its alerts are routed to.
    """

    subject: str
    state: str
    reason: Reason
    severity: Severity
    at: AwareDatetime
    started_at: AwareDatetime
    namespace: str = ""
    deployment: str = ""
    episodes: tuple[str, ...] = ()
    detail: str = ""
    members: tuple[str, ...] = ()
    more: int = 0
    tally: tuple[tuple[str, int], ...] = ()
    sinks: tuple[str, ...] = ()

    @property
    def bundle(self) -> bool:
        """Return whether it stands for many."""
        return bool(self.tally)

    @property
    def firing(self) -> int:
        """Return how many members fire still."""
        return self.more + sum(ENDED not in member for member in self.members)


# What stands between the fingerprint of a member that resolved and when it did so.
ENDED = "-"
# In the tally of a bundle: all the names that are not counted one by one.
OTHERS = "others"


def member(fingerprint: str, ended: datetime | None = None) -> str:
    """Return an alert as a member of a bundle; `ended`: when it resolved, to the millisecond."""
    return fingerprint if ended is None else f"{fingerprint}{ENDED}{int(ended.timestamp() * 1000)}"


def ended_at(member: str) -> datetime | None:
    """Return when a member resolved, None while it fires."""
    _, ended, moment = member.partition(ENDED)
    # Once nobody wrote down when: long ago.
    return datetime.fromtimestamp(int(moment or 0) / 1000, UTC) if ended else None


def subject_of(kind: str, what: str) -> str:
    """Return the subject of a notice: the same for the same matter, whichever replica tells of it.

    `kind` is a short word before it, `what` all that tells one matter from another.
    """
    return f"{kind}-{sha256(what.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The state of a subject that a sink took last, and the mark it gave for the next message."""

    subject: str
    sink: str
    state: str
    at: AwareDatetime
    mark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The first answer to an Idempotency-Key: repeated for the same body, refused for another."""

    key: str
    digest: str
    status: int
    at: AwareDatetime
    incident: str = ""
    reason: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """A rollback that shadow mode held back, and when the alert resolved all the same."""

    alertname: str
    fingerprint: str
    starts_at: AwareDatetime
    uid: str
    code: str
    at: AwareDatetime
    ended_at: AwareDatetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Automation of this target is paused."""

    by: str
    why: str
    at: AwareDatetime
