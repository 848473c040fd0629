"""All that is remembered of one target, and how it changes. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pydantic import AwareDatetime

from receiver.journal.facts import (
    Dead,
    Episode,
    Incident,
    Notice,
    Owed,
    Pause,
    Rehearsal,
    Reply,
    Told,
)
from receiver.journal.releases import Release
from receiver.reasons import Severity

# Each version knows more than the one before. What holds none of it is written as the older one,
# which an older replica still reads: both run side by side, and a downgrade loses nothing unsaid.
VERSIONS = FIRST, SECOND, VERSION = 1, 2, 3
SUSPECT_FOR = timedelta(hours=24)
REHEARSALS_KEPT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """All that is remembered of one target. `claim` is the replica that works on it, "" for none.

    `handled` are (uid, code) of incidents that were dropped for space; `cleared` are codes that a
    person took out of quarantine. `verified` are (uid, code) that soaked quietly; `troubled` are
    those that an alert asked to leave, with until when: what is left of dropped episodes. `dead`
    are notices given up, the newest last. `release` is the staged release in progress, or the last
    one; `aborted` are (uid, code) of the canary templates that did not make it.
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
    dead: tuple[Dead, ...] = ()
    release: Release | None = None
    aborted: tuple[tuple[str, str], ...] = ()

    @property
    def busy(self) -> bool:
        """Return whether a replica has to work on it."""
        return bool(self.owed or self.in_flight or self.deferred or self.released)

    @property
    def released(self) -> Release | None:
        """Return the release in progress."""
        return self.release if self.release is not None and self.release.open else None

    @property
    def changed_at(self) -> datetime | None:
        """Return the newest moment that it speaks of, None when it speaks of none."""
        moments = [
            *(i.phase_at for i in self.incidents),
            *(e.ends_at or e.seen_at for e in self.episodes),
            *(n.at for n in self.notices),
            *(t.at for t in self.told),
            *(r.at for r in self.replies),
            *(r.ended_at or r.at for r in self.rehearsals),
            *(until for _, _, until in self.troubled),
        ]
        if self.pause is not None:
            moments.append(self.pause.at)
        if self.release is not None:
            moments.append(self.release.step_at)
        return max(moments, default=None)

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

    def notice(self, subject: str) -> Notice | None:
        """Return the notice of that subject."""
        return next((n for n in self.notices if n.subject == subject), None)

    def incident_of(self, uid: str, code: str) -> Incident | None:
        """Return the incident that counts for that code of that Deployment.

        An open one; else one that left it, whatever was refused since; else the newest.
        """
        found = [i for i in self.incidents if (i.uid, i.bad.code) == (uid, code)]
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

    def owe(
        self, subject: str, sinks: Iterable[str], now: datetime, not_before: datetime | None = None
    ) -> "Journal":
        """Return it owing the newest state of a subject, each sink once.

        Owed to these sinks, and to every one that has heard of the subject: whatever became of the
        routes meanwhile, who was told the beginning is told the end. `not_before`: it has time
        until then; what is owed already keeps its own time.
        """
        return self._owing(
            Owed(subject=subject, sink=sink, since=now, not_before=not_before)
            for sink in dict.fromkeys((*sinks, *self.heard(subject)))
        )

    def owe_instead(self, owed: Owed, sinks: Iterable[str], now: datetime) -> "Journal":
        """Return it owing these sinks what another has not taken.

        That is noted, for it is done once for each state.
        """
        after = self._owing(
            Owed(subject=owed.subject, sink=sink, since=now, instead_of=owed.sink)
            for sink in dict.fromkeys(sinks)
            if sink != owed.sink
        )
        noted = (replace(o, fell_back=o.since) if o.key == owed.key else o for o in after.owed)
        return replace(after, owed=tuple(noted))

    def _owing(self, wanted: Iterable[Owed]) -> "Journal":
        """Return it with these debts, the newest last; one that is there already is renewed."""
        before = {o.key: o for o in self.owed}
        fresh = {o.key: before[o.key].renewed(o) if o.key in before else o for o in wanted}
        others = (o for o in self.owed if o.key not in fresh)
        return replace(self, owed=(*others, *fresh.values()))

    def with_notice(self, notice: Notice) -> "Journal":
        """Return it with this notice added, or replaced."""
        others = tuple(n for n in self.notices if n.subject != notice.subject)
        return replace(self, notices=(*others, notice))

    def told_of(self, subject: str, sink: str) -> Told | None:
        """Return what a sink took last of a subject, None when it took nothing."""
        return next((t for t in self.told if (t.subject, t.sink) == (subject, sink)), None)

    def debt(self, owed: Owed) -> Owed | None:
        """Return a debt as it is now, None when it is met, or a newer state is owed."""
        return next((o for o in self.owed if (o.key, o.since) == (owed.key, owed.since)), None)

    def heard(self, subject: str) -> tuple[str, ...]:
        """Return the sinks that have taken something of a subject."""
        return tuple(t.sink for t in self.told if t.subject == subject)

    def tick(self, owed: Owed, state: str | None, now: datetime, mark: str = "") -> "Journal":
        """Return it without that debt, unless a newer state came to be owed meanwhile.

        `state` None: the sink took nothing, the debt is given up or pointless. A sink that has
        taken something is in no doubt, and not waited for any more.
        """
        left = tuple(o for o in self.owed if o.key != owed.key or o.since != owed.since)
        told = self.told
        if state is not None:
            left = tuple(
                replace(o, doubt=None, waiting=None, fell_back=None) if o.key == owed.key else o
                for o in left
            )
            others = tuple(t for t in told if (t.subject, t.sink) != owed.key)
            told = (
                *others,
                Told(subject=owed.subject, sink=owed.sink, state=state, at=now, mark=mark),
            )
        return replace(self, owed=left, told=told)

    def postpone(self, owed: Owed, until: datetime, doubt: datetime | None = None) -> "Journal":
        """Return it with one more attempt at that debt, tried again at `until`.

        `doubt`: since then the sink may have taken something of the subject; that stays true when
        a newer state is owed by now.
        """
        return replace(self, owed=tuple(_postponed(o, owed, until, doubt) for o in self.owed))

    def give_up(
        self, owed: Owed, state: str, severity: Severity, why: str, now: datetime
    ) -> "Journal":
        """Return it without that debt, whose state nobody is told there; a trace of it is kept.

        When a newer state is owed by now, nothing is lost, and nothing changes.
        """
        if self.debt(owed) is None:
            return self
        dead = Dead(
            subject=owed.subject, sink=owed.sink, state=state, severity=severity, at=now, why=why
        )
        return replace(self.tick(owed, None, now), dead=(*self.dead, dead))


def _postponed(debt: Owed, tried: Owed, until: datetime, doubt: datetime | None) -> Owed:
    if debt.key != tried.key:
        return debt
    debt = replace(debt, doubt=debt.doubt or doubt)
    if debt.since != tried.since:
        return debt
    return replace(debt, not_before=until, attempts=debt.attempts + 1)
