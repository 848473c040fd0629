"""What is remembered of one target: the JSON of its ConfigMap, versioned and bounded.

Memory is the union of this and of our record on the Deployment: `kubectl rollout undo` rewinds
annotations, it does not rewind a ConfigMap. What cannot be read is an error, never "nothing".
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any, TypeVar

from pydantic import AwareDatetime, ConfigDict, TypeAdapter, ValidationError

from receiver.errors import StateUnreadable
from receiver.reasons import Reason, Severity

# Version 2 knows more than version 1. What holds none of it is written as version 1, which an older
# replica still reads: both run side by side, and a downgrade loses nothing unsaid.
VERSION, FIRST = 2, 1
SUSPECT_FOR = timedelta(hours=24)
# A ConfigMap holds 1 MiB.
BYTES_KEPT = 800_000
EPISODES_KEPT, INCIDENTS_KEPT, HANDLED_KEPT, REPLIES_KEPT, TOLD_KEPT = 120, 30, 300, 30, 200
VERIFIED_KEPT, TROUBLED_KEPT, REHEARSALS_KEPT = 100, 100, 100


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

# A frozen dataclass with these is read back exactly, or not at all.
_STRICT = ConfigDict(extra="forbid")


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
    that was current when it was accepted. `quarantine` False: a person said not to.
    """

    id: str
    uid: str
    bad: Mark
    phase: Phase
    reason: Reason
    opened_at: AwareDatetime
    phase_at: AwareDatetime
    severity: Severity = Severity.CRITICAL
    shadow: bool = False
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

    `asks`: it asks for a rollback. `due`: when a deferred decision is made again.
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

    @property
    def firing(self) -> bool:
        """Return whether it fires as far as we were told."""
        return self.ends_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """A notice that a sink has not taken yet: one for a subject and a sink, of its newest state."""

    subject: str
    sink: str
    since: AwareDatetime
    attempts: int = 0
    not_before: AwareDatetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What a subject that is no incident says: a refusal, or an alert passed on."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The state of a subject that a sink took last."""

    subject: str
    sink: str
    state: str
    at: AwareDatetime


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """All that is remembered of one target. `claim` is the replica that works on it, "" for none.

    `handled` are (uid, code) of incidents that were dropped for space; `cleared` are codes that a
    person took out of quarantine. `verified` are (uid, code) that soaked quietly; `troubled` are
    those that an alert asked to leave, with until when: what is left of dropped episodes.
    """

    version: int = VERSION
    namespace: str = ""
    deployment: str = ""
    claim: str = ""
    pause: Pause | None = None
    incidents: tuple[Incident, ...] = ()
    episodes: tuple[Episode, ...] = ()
    notices: tuple[Notice, ...] = ()
    owed: tuple[Owed, ...] = ()
    told: tuple[Told, ...] = ()
    replies: tuple[Reply, ...] = ()
    handled: tuple[tuple[str, str], ...] = ()
    cleared: tuple[str, ...] = ()
    verified: tuple[tuple[str, str], ...] = ()
    rehearsals: tuple[Rehearsal, ...] = ()
    troubled: tuple[tuple[str, str, AwareDatetime], ...] = ()

    @property
    def busy(self) -> bool:
        """Return whether a replica has to work on it."""
        return bool(self.owed) or bool(self.in_flight or self.deferred)

    @property
    def deferred(self) -> tuple[Episode, ...]:
        """Return the firing episodes that are to be decided again."""
        return tuple(e for e in self.episodes if e.due is not None and e.firing)

    @property
    def in_flight(self) -> Incident | None:
        """Return the open incident; there is at most one."""
        return next((i for i in self.incidents if i.open), None)

    def incident(self, id_: str) -> Incident | None:
        """Return the incident of that id."""
        return next((i for i in self.incidents if i.id == id_), None)

    def incident_of(self, uid: str, code: str) -> Incident | None:
        """Return the incident that counts for that code of that Deployment.

        An open one; else one that left it, whatever was refused since; else the newest.
        """
        found = [i for i in self.incidents if (i.uid, i.bad.code) == (uid, code) and not i.shadow]
        return max(reversed(found), key=lambda i: (i.open, i.left), default=None)

    def episodes_of(self, uid: str, code: str) -> tuple[Episode, ...]:
        """Return the episodes that ask for a rollback of that code."""
        return tuple(e for e in self.episodes if e.asks and (e.uid, e.code) == (uid, code))

    def suspects(self, uid: str, now: datetime) -> dict[str, datetime]:
        """Return the suspect codes, each with when its trouble began.

        Suspect: an alert asks for its rollback, until `SUSPECT_FOR` after that resolved.
        """
        found: dict[str, datetime] = {}
        for e in self.episodes:
            if not e.asks or e.uid != uid or not e.code:
                continue
            if e.ends_at is None or now - e.ends_at < SUSPECT_FOR:
                found[e.code] = min(e.trouble_at, found.get(e.code, e.trouble_at))
        return found

    def quarantined(self, uid: str) -> frozenset[str]:
        """Return the codes that we rolled away from and nobody cleared."""
        left = {i.bad.code for i in self.incidents if i.uid == uid and i.left and i.quarantine}
        kept = {code for handled_uid, code in self.handled if handled_uid == uid}
        return frozenset((left | kept) - set(self.cleared))

    def rehearsed(self, rehearsal: Rehearsal) -> "Journal":
        """Return it with this rehearsal, once for each episode."""
        key = (rehearsal.fingerprint, rehearsal.starts_at)
        if any((r.fingerprint, r.starts_at) == key for r in self.rehearsals):
            return self
        return replace(self, rehearsals=(*self.rehearsals, rehearsal)[-REHEARSALS_KEPT:])

    def soaked(self, uid: str) -> frozenset[str]:
        """Return the codes that are verified."""
        return frozenset(code for verified_uid, code in self.verified if verified_uid == uid)

    def spared(self, uid: str) -> frozenset[str]:
        """Return the codes that a person left without quarantine, or cleared."""
        chosen = {i.bad.code for i in self.incidents if i.uid == uid and not i.quarantine}
        return frozenset(chosen | set(self.cleared))

    def with_incident(self, incident: Incident) -> "Journal":
        """Return it with this incident added, or replaced.

        What is left again after a person cleared it is in quarantine again.
        """
        before = self.incident(incident.id)
        cleared = self.cleared
        if incident.left and incident.quarantine and not (before and before.left):
            cleared = tuple(code for code in cleared if code != incident.bad.code)
        incidents = tuple(incident if i.id == incident.id else i for i in self.incidents)
        if before is None:
            incidents = (*incidents, incident)
        return replace(self, incidents=incidents, cleared=cleared)

    def with_episode(self, episode: Episode) -> "Journal":
        """Return it with this episode added, or replaced (by fingerprint and start)."""
        key = (episode.fingerprint, episode.starts_at)
        others = tuple(e for e in self.episodes if (e.fingerprint, e.starts_at) != key)
        return replace(self, episodes=(*others, episode))

    def owe(self, subject: str, sinks: Iterable[str], now: datetime) -> "Journal":
        """Return it owing each sink the newest state of a subject."""
        fresh = tuple(Owed(subject=subject, sink=sink, since=now) for sink in sinks)
        names = {(o.subject, o.sink) for o in fresh}
        others = tuple(o for o in self.owed if (o.subject, o.sink) not in names)
        return replace(self, owed=(*others, *fresh))

    def with_notice(self, notice: Notice) -> "Journal":
        """Return it with this notice added, or replaced."""
        others = tuple(n for n in self.notices if n.subject != notice.subject)
        return replace(self, notices=(*others, notice))

    def told_state(self, subject: str, sink: str) -> str | None:
        """Return the state of a subject that a sink took last, None when it took none."""
        found = (t.state for t in self.told if (t.subject, t.sink) == (subject, sink))
        return next(found, None)

    def tick(self, owed: Owed, state: str | None, now: datetime) -> "Journal":
        """Return it without that debt, unless a newer state came to be owed meanwhile."""
        key = (owed.subject, owed.sink)
        left = tuple(o for o in self.owed if (o.subject, o.sink) != key or o.since != owed.since)
        told = self.told
        if state is not None:
            others = tuple(t for t in told if (t.subject, t.sink) != key)
            told = (*others, Told(subject=owed.subject, sink=owed.sink, state=state, at=now))
        return replace(self, owed=left, told=told)

    def postpone(self, owed: Owed, until: datetime) -> "Journal":
        """Return it with one more attempt at that debt, tried again at `until`."""
        changed = replace(owed, not_before=until, attempts=owed.attempts + 1)
        return replace(self, owed=tuple(changed if o == owed else o for o in self.owed))

    def bounded(self, now: datetime) -> "Journal":
        """Return it within its size: what is old goes, what is open or owed stays.

        A dropped incident leaves its code behind as handled. A refused one is dropped only after
        its episodes resolved: a refusal is for the whole episode. Closed episodes are kept for
        `SUSPECT_FOR`, to recognise late deliveries.
        """
        episodes = _bounded(
            [e for e in self.episodes if e.ends_at is None or now - e.ends_at < SUSPECT_FOR]
        )
        owed = {o.subject for o in self.owed}
        firing = {(e.uid, e.code) for e in episodes if e.firing}
        droppable = [
            i
            for i in self.incidents
            if not i.open
            and i.id not in owed
            and not (i.phase is Phase.REFUSED and (i.uid, i.bad.code) in firing)
        ]
        dropped = droppable[: max(0, len(self.incidents) - INCIDENTS_KEPT)]
        handled = (*self.handled, *((i.uid, i.bad.code) for i in dropped if i.left))
        live = owed | {f"{e.fingerprint}" for e in episodes if e.firing}
        notices = [
            n
            for n in self.notices
            if n.subject in owed or now - n.at < SUSPECT_FOR or set(n.episodes) & live
        ]
        open_ = {i.id for i in self.incidents if i.open}
        bounded = replace(
            self,
            episodes=episodes,
            incidents=tuple(i for i in self.incidents if i not in dropped),
            handled=tuple(dict.fromkeys(handled))[-HANDLED_KEPT:],
            cleared=(*self.cleared, *self._spared_by(dropped)),
            verified=self.verified[-VERIFIED_KEPT:],
            troubled=self._troubled_without(episodes, now),
            notices=_newest(notices, lambda n: n.subject in owed),
            told=_newest(self.told, lambda t: t.subject in open_ | owed),
            replies=self.replies[-REPLIES_KEPT:],
        )
        return _fitted(bounded)

    def _troubled_without(
        self, kept: tuple[Episode, ...], now: datetime
    ) -> tuple[tuple[str, str, datetime], ...]:
        """Return until when each code was in trouble, as far as no episode says so any more."""
        until = {(uid, code): at for uid, code, at in self.troubled}
        known = {id(episode) for episode in kept}
        for episode in self.episodes:
            if id(episode) not in known and episode.asks and episode.code:
                key, ended = (episode.uid, episode.code), episode.ends_at or now
                until[key] = max(ended, until.pop(key, ended))
        newest = list(until.items())[-TROUBLED_KEPT:]
        return tuple((uid, code, at) for (uid, code), at in newest)

    def _spared_by(self, dropped: list[Incident]) -> list[str]:
        """Return the codes of dropped incidents that a person wanted no quarantine for."""
        left = {(i.uid, i.bad.code) for i in self.incidents if i.left and i.quarantine}
        spared = [(i.uid, i.bad.code) for i in dropped if i.left and not i.quarantine]
        return [mark[1] for mark in spared if mark not in left and mark not in self.handled]


def _bounded(episodes: list[Episode]) -> tuple[Episode, ...]:
    """Keep what matters most: of each code the oldest trouble, then what fires, then the newest."""
    if len(episodes) <= EPISODES_KEPT:
        return tuple(episodes)
    first: dict[tuple[str, str], Episode] = {}
    for episode in sorted(episodes, key=lambda e: (not e.firing, e.trouble_at)):
        if episode.asks:
            first.setdefault((episode.uid, episode.code), episode)
    pinned = list(first.values())

    def rank(episode: Episode) -> tuple[bool, bool, bool, datetime]:
        return (
            any(episode is p for p in pinned),
            episode.asks and episode.firing,
            episode.firing,
            episode.seen_at,
        )

    kept = sorted(episodes, key=rank, reverse=True)[:EPISODES_KEPT]
    return tuple(e for e in episodes if any(e is k for k in kept))


_Kept = TypeVar("_Kept")


def _newest(items: Sequence[_Kept], first: Callable[[_Kept], bool]) -> tuple[_Kept, ...]:
    """Keep `TOLD_KEPT` of them: those that come first, then the newest, which are the last."""
    ranked = sorted(range(len(items)), key=lambda at: (first(items[at]), at), reverse=True)
    return tuple(items[at] for at in sorted(ranked[:TOLD_KEPT]))


def _fitted(journal: Journal) -> Journal:
    """Make it fit into a ConfigMap, whatever the texts are: they go before any fact does."""
    for shorter in (_without_old_texts, _without_texts, _without_details):
        if len(dump(journal).encode("utf-8", "replace")) <= BYTES_KEPT:
            break
        journal = shorter(journal)
    return journal


def _bare(episode: Episode) -> Episode:
    return replace(
        episode, summary="", description="", runbook_url="", dashboard_url="", generator_url=""
    )


def _without_old_texts(journal: Journal) -> Journal:
    return replace(journal, episodes=tuple(e if e.firing else _bare(e) for e in journal.episodes))


def _without_texts(journal: Journal) -> Journal:
    return replace(journal, episodes=tuple(_bare(e) for e in journal.episodes))


def _without_details(journal: Journal) -> Journal:
    return replace(journal, notices=tuple(replace(n, detail="") for n in journal.notices))


_SINCE_2 = frozenset({"rehearsals", "troubled", "verified"})
Journal.__pydantic_config__ = _STRICT  # type: ignore[attr-defined]
_JOURNAL: TypeAdapter[Journal] = TypeAdapter(Journal)


def load(text: str | None) -> Journal:
    """Read a journal; None is an empty one.

    Raises `StateUnreadable` for what is damaged or of a newer version: it is kept as it is.
    """
    if text is None:
        return Journal()
    try:
        version = json.loads(text).get("version")
    except (ValueError, AttributeError, RecursionError):
        raise StateUnreadable("the journal is damaged: it is no JSON object") from None
    if version not in (FIRST, VERSION):
        raise StateUnreadable(f"the journal is of version {version}, known is {VERSION}")
    try:
        return replace(_JOURNAL.validate_json(text), version=VERSION)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"][:4])
        raise StateUnreadable(f"the journal is damaged: {where}: {first['msg']}") from None


def dump(journal: Journal) -> str:
    """Write a journal as JSON; what is as it is by default is left out."""
    found = _JOURNAL.dump_python(journal, mode="json", exclude_defaults=True)
    found["version"] = VERSION if found.keys() & _SINCE_2 else FIRST
    return json.dumps(found, separators=(",", ":"), ensure_ascii=False)


def name_of(namespace: str, deployment: str) -> str:
    """Return the name of a target's ConfigMap: readable, unique, at most 253 characters."""
    digest = sha256(f"{namespace}/{deployment}".encode()).hexdigest()[:10]
    return f"journal-{namespace}-{deployment[:150].rstrip('.-')}-{digest}"


OWN = "journal-of-the-receiver"
