"""Bundles: one notice that stands for the many alerts of a storm, and knows which of them fire.

Nobody is told that a single alert of a bundle is over. So what ends there and fires again while it
storms is no news; the end of all of it is told once.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from receiver.alerts import Alert
from receiver.journal import (
    ENDED,
    MEMBERS_KEPT,
    OTHERS,
    Episode,
    Journal,
    Notice,
    ended_at,
    member,
    subject_of,
)
from receiver.reasons import Reason, Severity

# How long a bundle waits for more before it is told at first, and again; and how long after the
# last of them the storm is over.
GATHERS, GATHERS_AGAIN, BLOWS = timedelta(seconds=5), timedelta(seconds=60), timedelta(seconds=60)
# Of a bundle: the alerts that are kept with their texts, and the names that are counted.
SHOWN, NAMES = 10, 20
# What an end can still end.
OPEN_STATES = frozenset({"firing", "refused"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What all in one bundle have in common: what is said of them, how loudly, and to whom."""

    state: str
    reason: Reason
    severity: Severity
    sinks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class New:
    """An alert to be told for the first time: by this notice, or as part of a bundle."""

    notice: Notice
    episode: Episode
    kind: Kind


@dataclass(slots=True)
class _Bundle:
    """One bundle, while a delivery changes it: `members` by fingerprint, what changed last is last.

    `unknown`: so many alerts of this delivery are taken for some of those that it does not know.
    """

    notice: Notice
    kind: Kind
    told: bool
    members: dict[str, str]
    more: int
    unknown: int = 0
    changed: bool = False

    def set(self, fingerprint: str, ended: datetime | None) -> None:
        self.members.pop(fingerprint, None)
        self.members[fingerprint] = member(fingerprint, ended)
        self.changed = True

    def ended_at(self, fingerprint: str) -> datetime | None:
        return ended_at(self.members[fingerprint])

    def written(self) -> Notice:
        return replace(self.notice, members=tuple(self.members.values()), more=self.more)


@dataclass(slots=True)
class Bundles:
    """The bundles of a journal, while a delivery at `now` changes them."""

    journal: Journal
    now: datetime
    _bundles: list[_Bundle] = field(init=False)
    _room: int = field(init=False)

    def __post_init__(self) -> None:
        told = {t.subject for t in self.journal.told}
        self._bundles = [
            _Bundle(
                notice=notice,
                kind=_kind(notice),
                told=notice.subject in told,
                members={m.partition(ENDED)[0]: m for m in notice.members},
                more=notice.more,
            )
            for notice in self.journal.notices
            if notice.bundle
        ]
        known = sum(b.notice.firing - b.more for b in self._bundles)
        self._room = MEMBERS_KEPT - known

    def stand_for(self, alert: Alert, kind: Kind) -> bool:
        """Return whether there is nothing to tell of a firing alert, for it is in a bundle.

        Because it fires there; because this is a late delivery of what ended there; or because its
        end there was told nobody, and it storms still.
        """
        fingerprint = alert.fingerprint
        found = [b for b in self._bundles if fingerprint in b.members]
        for bundle in found:
            ended = bundle.ended_at(fingerprint)
            if ended is not None and alert.starts_at <= ended:
                return True
        for bundle in found:
            if (bundle.kind.state, bundle.kind.reason) != (kind.state, kind.reason):
                continue
            if bundle.ended_at(fingerprint) is None:
                return True
            if not bundle.told or abs(self.now - bundle.notice.at) < BLOWS:
                bundle.set(fingerprint, None)
                return True
        return not found and self._counted(alert, kind, None)

    def end(self, alert: Alert, kind: Kind, ended: datetime) -> bool:
        """Note the end of an alert wherever it is; return whether a bundle knows of it."""
        found = [b for b in self._bundles if alert.fingerprint in b.members]
        for bundle in found:
            fires = bundle.ended_at(alert.fingerprint) is None
            if fires and bundle.notice.started_at <= ended:
                bundle.set(alert.fingerprint, ended)
        return bool(found) or self._counted(alert, kind, ended)

    def _counted(self, alert: Alert, kind: Kind, ended: datetime | None) -> bool:
        """Return whether an alert is taken for one of those of which only the number is known.

        From now on it is known, as long as there is room.
        """
        for bundle in self._bundles:
            if bundle.unknown >= bundle.more or bundle.kind != kind:
                continue
            if not bundle.notice.started_at <= alert.starts_at <= bundle.notice.at:
                continue
            if ended is None and self._room <= 0:
                bundle.unknown += 1
                return True
            bundle.set(alert.fingerprint, ended)
            bundle.more -= 1
            self._room -= ended is None
            return True
        return False

    def written(self, journal: Journal) -> Journal:
        """Return the journal with these bundles; one that is all over is owed as such."""
        for bundle in self._bundles:
            if not bundle.changed:
                continue
            notice = bundle.written()
            over = notice.state in OPEN_STATES and not notice.firing
            if over:
                notice = replace(notice, state="resolved", reason=Reason.RESOLVED, at=self.now)
            journal = journal.with_notice(notice)
            if over:
                # Whoever heard of it hears of its end, and who was about to.
                pending = tuple(o.sink for o in journal.owed if o.subject == notice.subject)
                journal = journal.owe(notice.subject, pending, self.now)
        return journal


def blowing(journal: Journal, kind: Kind, now: datetime) -> Notice | None:
    """Return the bundle of a storm that goes on, None when there is none."""
    for notice in reversed(journal.notices):
        if notice.bundle and _kind(notice) == kind and abs(now - notice.at) < BLOWS:
            return notice
    return None


def _kind(notice: Notice) -> Kind:
    return Kind(
        state=notice.state, reason=notice.reason, severity=notice.severity, sinks=notice.sinks
    )


def gathered(journal: Journal, bundle: Notice | None, new: Sequence[New], now: datetime) -> Journal:
    """Put these, all of one kind, into a bundle, and owe it: soon, but not with each of them."""
    first = new[0].notice
    if bundle is None:
        what = f"{now.isoformat()}/{first.subject}"
        bundle = replace(
            first,
            subject=subject_of("many", what),
            episodes=(),
            detail="",
            sinks=new[0].kind.sinks,
        )
    shown = new[: max(0, SHOWN - len(bundle.episodes))]
    for one in shown:
        journal = journal.with_episode(one.episode)
    grown = replace(
        bundle,
        at=now,
        started_at=min(bundle.started_at, *(one.notice.started_at for one in new)),
        namespace=_common(bundle.namespace, (one.notice.namespace for one in new)),
        deployment=_common(bundle.deployment, (one.notice.deployment for one in new)),
        episodes=tuple(dict.fromkeys((*bundle.episodes, *_fingerprints(shown)))),
        members=tuple(dict.fromkeys((*bundle.members, *_fingerprints(new)))),
        tally=_tally(bundle, new),
    )
    wait = GATHERS_AGAIN if journal.heard(bundle.subject) else GATHERS
    journal = journal.with_notice(grown)
    return journal.owe(grown.subject, grown.sinks, now, now + wait)


def _fingerprints(new: Iterable[New]) -> Iterator[str]:
    return (one.episode.fingerprint for one in new)


def _common(name: str, others: Iterable[str]) -> str:
    return name if all(other == name for other in others) else ""


def _tally(bundle: Notice, new: Iterable[New]) -> tuple[tuple[str, int], ...]:
    """Return the names that are counted most, and how many the others are."""
    counted = Counter(dict(bundle.tally))
    counted.update(one.episode.alertname for one in new)
    others = counted.pop(OTHERS, 0)
    ranked = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
    others += sum(count for _, count in ranked[NAMES:])
    return (*ranked[:NAMES], *([(OTHERS, others)] if others else ()))
