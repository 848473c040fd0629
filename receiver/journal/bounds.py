"""A journal within its size: what is old goes, what is open or owed stays. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from receiver.journal.facts import ENDED, Episode, Incident, Notice, Phase
from receiver.journal.stored import dump
from receiver.journal.target import REHEARSALS_KEPT, SUSPECT_FOR, Journal
from receiver.journal.texts import SHORTER

# A ConfigMap holds 1 MiB.
BYTES_KEPT = 800_000
EPISODES_KEPT, INCIDENTS_KEPT, HANDLED_KEPT, REPLIES_KEPT = 120, 30, 300, 30
VERIFIED_KEPT, TROUBLED_KEPT, NOTICES_KEPT, TOLD_KEPT, DEAD_KEPT = 100, 100, 200, 600, 50
ABORTED_KEPT = 100
# Alerts of bundles that are known one by one, and how many of those that ended there is always
# room for: an end comes more than once, and so may a late beginning.
MEMBERS_KEPT, ENDED_KEPT = 12_000, 2_000
# What no alert ends but the receiver itself, and how long it may find that it is over: whoever
# heard of the beginning hears of that (`controller.heartbeats` waits for a week).
STANDING, STANDS = frozenset({"silent", "mass_alert"}), timedelta(days=8)
# What the end of an alert ends.
_OPEN = frozenset({"firing", "refused"})
# Once all texts are gone, one fact of so many is kept, and one notice of so many: somebody may be
# owed a notice, so these go last.
_FEWER = ((2, 1), (2, 2), (4, 4))


def bounded(journal: Journal, now: datetime) -> Journal:
    """Return a journal within its size: what is old goes, what is open or owed stays.

    Texts go before facts. What decides anything of a release that is in progress never goes.
    """
    journal = _newer(journal, now)
    for shorter in (*SHORTER, _without_members):
        if _fits(journal):
            return journal
        journal = shorter(journal)
    for fewer, fewer_notices in _FEWER:
        if _fits(journal):
            return journal
        journal = _newer(journal, now, fewer, fewer_notices)
    return journal


def _fits(journal: Journal) -> bool:
    return len(dump(journal).encode("utf-8", "replace")) <= BYTES_KEPT


def _newer(journal: Journal, now: datetime, fewer: int = 1, fewer_notices: int = 1) -> Journal:
    """Return it with as many facts of each kind as are kept, or only one of `fewer` of them.

    A dropped incident leaves its code behind as handled. A refused one is dropped only after
    its episodes resolved: a refusal is for the whole episode. Closed episodes are kept for
    `SUSPECT_FOR`, to recognise late deliveries.
    """
    alone = {f for n in journal.notices if n.state in _OPEN and not n.bundle for f in n.episodes}
    episodes = _bounded(
        [e for e in journal.episodes if e.ends_at is None or now - e.ends_at < SUSPECT_FOR],
        alone,
        EPISODES_KEPT // fewer,
    )
    owed = {o.subject for o in journal.owed}
    firing = {(e.uid, e.code) for e in episodes if e.firing}
    droppable = [
        i
        for i in journal.incidents
        if not i.open
        and i.id not in owed
        and not (i.phase is Phase.REFUSED and (i.uid, i.bad.code) in firing)
    ]
    dropped = droppable[: max(0, len(journal.incidents) - INCIDENTS_KEPT // fewer)]
    handled = (*journal.handled, *((i.uid, i.bad.code) for i in dropped if i.left))
    live = owed | {f"{e.fingerprint}" for e in episodes if e.firing}

    release = journal.released.id if journal.released is not None else ""

    def matters(notice: Notice) -> bool:
        if notice.subject == release:
            return True
        if notice.state in STANDING and now - notice.at < STANDS:
            return True
        if notice.bundle:
            return notice.subject in owed or (notice.state in _OPEN and notice.firing > 0)
        return notice.subject in owed or bool(set(notice.episodes) & live)

    young = [n for n in journal.notices if matters(n) or now - n.at < SUSPECT_FOR]
    notices = _newest(young, NOTICES_KEPT // fewer_notices, matters)
    incidents = tuple(i for i in journal.incidents if i not in dropped)
    # What was opened at a sink can be closed as long as we know of it.
    spoken_of = owed | {i.id for i in incidents} | {n.subject for n in notices}
    return replace(
        journal,
        episodes=episodes,
        incidents=incidents,
        handled=tuple(dict.fromkeys(handled))[-HANDLED_KEPT:],
        cleared=(*journal.cleared, *_spared_by(journal, dropped)),
        verified=journal.verified[-VERIFIED_KEPT:],
        troubled=_troubled_without(journal, episodes, now),
        notices=_with_members(notices, MEMBERS_KEPT, ENDED_KEPT),
        rehearsals=journal.rehearsals[-(REHEARSALS_KEPT // fewer) :],
        told=_newest(journal.told, TOLD_KEPT // fewer, lambda t: t.subject in spoken_of),
        replies=journal.replies[-(REPLIES_KEPT // fewer) :],
        dead=journal.dead[-(DEAD_KEPT // fewer) :],
        aborted=journal.aborted[-ABORTED_KEPT:],
    )


def _troubled_without(
    journal: Journal, kept: tuple[Episode, ...], now: datetime
) -> tuple[tuple[str, str, datetime], ...]:
    """Return until when each code was in trouble, as far as no episode says so any more."""
    until = {(uid, code): at for uid, code, at in journal.troubled}
    known = {id(episode) for episode in kept}
    for episode in journal.episodes:
        if id(episode) not in known and episode.asks and episode.code:
            key, ended = (episode.uid, episode.code), episode.ends_at or now
            until[key] = max(ended, until.pop(key, ended))
    newest = list(until.items())[-TROUBLED_KEPT:]
    return tuple((uid, code, at) for (uid, code), at in newest)


def _spared_by(journal: Journal, dropped: list[Incident]) -> list[str]:
    """Return the codes of dropped incidents that a person wanted no quarantine for."""
    left = {(i.uid, i.bad.code) for i in journal.incidents if i.left and i.quarantine}
    spared = [(i.uid, i.bad.code) for i in dropped if i.left and not i.quarantine]
    return [mark[1] for mark in spared if mark not in left and mark not in journal.handled]


def _bounded(episodes: list[Episode], alone: set[str], most: int) -> tuple[Episode, ...]:
    """Keep what matters most: of each code the oldest trouble, then what fires, then the newest.

    Of what fires and asks for nothing first those that a notice of their own is about (`alone`).
    """
    if len(episodes) <= most:
        return tuple(episodes)
    first: dict[tuple[str, str], Episode] = {}
    for episode in sorted(episodes, key=lambda e: (not e.firing, e.trouble_at)):
        if episode.asks:
            first.setdefault((episode.uid, episode.code), episode)
    pinned = list(first.values())

    def rank(episode: Episode) -> tuple[bool, bool, bool, bool, datetime]:
        return (
            any(episode is p for p in pinned),
            episode.asks and episode.firing,
            episode.firing and episode.fingerprint in alone,
            episode.firing,
            episode.seen_at,
        )

    kept = sorted(episodes, key=rank, reverse=True)[:most]
    return tuple(e for e in episodes if any(e is k for k in kept))


_Kept = TypeVar("_Kept")


def _newest(items: Sequence[_Kept], most: int, first: Callable[[_Kept], bool]) -> tuple[_Kept, ...]:
    """Keep so many of them: those that come first, then the newest, which are the last."""
    ranked = sorted(range(len(items)), key=lambda at: (first(items[at]), at), reverse=True)
    return tuple(items[at] for at in sorted(ranked[:most]))


def _with_members(notices: Sequence[Notice], most: int, ended: int) -> tuple[Notice, ...]:
    """Keep so many members that fire, of the newest bundles; of the others only the number is kept.

    And so many that `ended` as there is room for beside them, but at least that many.
    """
    firing = {n.subject: [m for m in n.members if ENDED not in m] for n in notices}
    kept: dict[str, set[str]] = {}
    for notice in reversed(notices):
        known = firing[notice.subject][:most]
        most -= len(known)
        kept[notice.subject] = set(known)
    most += ended
    for notice in reversed(notices):
        newest = [m for m in notice.members if ENDED in m][-most:] if most else []
        most -= len(newest)
        kept[notice.subject].update(newest)
    return tuple(
        replace(
            notice,
            members=tuple(m for m in notice.members if m in kept[notice.subject]),
            more=notice.more + sum(m not in kept[notice.subject] for m in firing[notice.subject]),
        )
        if len(kept[notice.subject]) < len(notice.members)
        else notice
        for notice in notices
    )


def _without_members(journal: Journal) -> Journal:
    return replace(journal, notices=_with_members(journal.notices, MEMBERS_KEPT // 4, ENDED_KEPT))
