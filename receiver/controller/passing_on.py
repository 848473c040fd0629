"""Alerts that have no target of ours: passed on by severity, or refused. Pure.

Each is told once when it fires and once when it is over, and again when it fires again. They are
kept in the receiver's own journal. Many at a time are no news one by one: in a storm they become
one notice, a bundle, which grows while it goes on. What is critical is told by itself as long as a
journal has room to follow it.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from receiver import alerts as al
from receiver.alerts import Alert
from receiver.controller.bundles import OPEN_STATES, Bundles, Kind, New, blowing, gathered
from receiver.controller.remember import (
    JUST,
    REFUSED_TOGETHER,
    Routes,
    close,
    episode_of,
    route_of,
    severity_of,
)
from receiver.journal import Journal, Notice, subject_of
from receiver.reasons import Reason, Severity, about, louder

# So many of a kind within so long are told one by one.
SINGLES, WITHIN = 5, timedelta(seconds=10)
# However grave they are: what is told one by one is followed one by one, and a journal is bounded.
FOLLOWED = 100
# Of one delivery: ends of what is not known that are remembered, for a late beginning.
TOMBSTONES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A refusal before any Deployment was found, and what the alert named."""

    reason: Reason
    namespace: str = ""
    deployment: str = ""
    detail: str = ""


@dataclass(slots=True)
class _Delivery:
    """One delivery on its way into the journal.

    `refusals` are those that stand alone, by subject: the fingerprints of what fires of each.
    """

    journal: Journal
    now: datetime
    routes: Routes
    bundles: Bundles = field(init=False)
    refusals: dict[str, list[str]] = field(init=False)
    shown: set[str] = field(init=False)
    new: dict[str, New] = field(default_factory=dict)
    tombstones: int = 0

    def __post_init__(self) -> None:
        self.bundles = Bundles(self.journal, self.now)
        self.refusals = {
            notice.subject: [*notice.episodes]
            for notice in self.journal.notices
            if notice.state == "refused" and not notice.bundle
        }
        self.shown = {e.fingerprint for e in self.journal.episodes if e.firing}


def pass_on(
    journal: Journal,
    alerts: Iterable[tuple[Alert, Refused | None]],
    now: datetime,
    routes: Routes,
) -> Journal:
    """Note alerts that ask for no rollback, and those that were refused one without a target."""
    delivery = _Delivery(journal, now, routes)
    for alert, why in alerts:
        kind = _kind(alert, why, routes)
        if not alert.firing:
            _resolved(delivery, alert, kind)
        elif why is None:
            _fired(delivery, alert, kind)
        elif about(why.reason).tell is not None:
            _refused(delivery, alert, why, kind)
    journal = _with_refusals(delivery)
    journal = delivery.bundles.written(journal)
    kinds: defaultdict[Kind, list[New]] = defaultdict(list)
    for one in delivery.new.values():
        kinds[one.kind].append(one)
    for group in kinds.values():
        journal = _told(journal, group, now)
    return journal


def speaks_of(journal: Journal, fingerprint: str) -> bool:
    """Return whether the receiver's own journal says that an alert fires, as far as it is known."""
    return any(
        fingerprint in (notice.members if notice.bundle else notice.episodes)
        for notice in journal.notices
        if notice.state in OPEN_STATES
    )


def _kind(alert: Alert, why: Refused | None, routes: Routes) -> Kind:
    severity = severity_of(alert)
    if why is None:
        sinks = routes(route_of(alert))
        return Kind(state="firing", reason=Reason.NOTIFY_ONLY, severity=severity, sinks=sinks)
    severity = louder(about(why.reason).tell or severity, severity)
    return Kind(state="refused", reason=why.reason, severity=severity, sinks=routes(severity))


# --- each on its own


def _refused(delivery: _Delivery, alert: Alert, why: Refused, kind: Kind) -> None:
    """Note a refusal that concerns no Deployment of ours: told once per name and reason.

    That is, as long as an alert of it fires.
    """
    if _is_late(delivery, alert) or delivery.bundles.stand_for(alert, kind):
        return
    subject = subject_of("ref", f"{why.namespace}/{why.deployment}/{alert.name}/{why.reason}")
    known = delivery.refusals.get(subject)
    if known is None:
        _add(
            delivery,
            alert,
            kind,
            subject,
            namespace=why.namespace,
            deployment=why.deployment,
            detail=why.detail,
        )
        return
    if alert.fingerprint not in known and len(known) < REFUSED_TOGETHER:
        known.append(alert.fingerprint)
    if delivery.shown.isdisjoint(known):
        # One of them is kept with its texts, and that one is over.
        episode = episode_of(alert, trouble_at=alert.starts_at, now=delivery.now)
        delivery.journal = delivery.journal.with_episode(replace(episode, reason=why.reason))
        delivery.shown.add(alert.fingerprint)


def _fired(delivery: _Delivery, alert: Alert, kind: Kind) -> None:
    journal = delivery.journal
    if _is_late(delivery, alert) or delivery.bundles.stand_for(alert, kind):
        return
    # The start moves: back to the earlier of an HA pair, forward when a flap was not reported.
    same = (e for e in journal.episodes if e.fingerprint == alert.fingerprint)
    open_ = [e for e in same if e.firing and e.reason is Reason.NOTIFY_ONLY]
    if any(alert.starts_at <= e.starts_at for e in open_):
        return
    ended = alert.starts_at - JUST
    for earlier in open_:
        journal = journal.with_episode(replace(earlier, ends_at=ended))
    delivery.journal = _tell_end(journal, alert, ended, delivery.now, kind.sinks)
    subject = subject_of("alert", f"{alert.fingerprint}/{alert.starts_at.isoformat()}")
    if journal.notice(subject) is None:
        namespace = al.text(alert.labels.get("namespace", ""), 63)
        deployment = al.text(alert.labels.get("deployment", ""), 253)
        _add(delivery, alert, kind, subject, namespace=namespace, deployment=deployment)


def _is_late(delivery: _Delivery, alert: Alert) -> bool:
    """Return whether this firing is over already, as far as episodes tell."""
    return any(
        e.fingerprint == alert.fingerprint
        and e.ends_at is not None
        and alert.starts_at <= e.ends_at
        for e in delivery.journal.episodes
    )


def _add(
    delivery: _Delivery,
    alert: Alert,
    kind: Kind,
    subject: str,
    *,
    namespace: str,
    deployment: str,
    detail: str = "",
) -> None:
    notice = Notice(
        subject=subject,
        state=kind.state,
        reason=kind.reason,
        severity=kind.severity,
        at=delivery.now,
        started_at=alert.starts_at,
        namespace=namespace,
        deployment=deployment,
        episodes=(alert.fingerprint,),
        detail=detail,
    )
    episode = episode_of(alert, trouble_at=alert.starts_at, now=delivery.now)
    episode = replace(episode, reason=kind.reason)
    delivery.new[alert.fingerprint] = New(notice=notice, episode=episode, kind=kind)


# --- ends


def _resolved(delivery: _Delivery, alert: Alert, kind: Kind) -> None:
    """Note the end of an alert, whatever was said of it."""
    journal, now = delivery.journal, delivery.now
    ended, fingerprint = alert.ends_at or now, alert.fingerprint
    new = delivery.new.get(fingerprint)
    if new is not None and new.notice.started_at <= ended:
        # Over before anybody was told.
        del delivery.new[fingerprint]
    bundled = delivery.bundles.end(alert, kind, ended)
    known = any(e.fingerprint == fingerprint for e in journal.episodes)
    if known or not bundled:
        delivery.tombstones += not known
        if known or delivery.tombstones <= TOMBSTONES:
            journal = close(journal, alert, now)
    delivery.journal = _tell_end(journal, alert, ended, now, kind.sinks)
    fires = any(e.fingerprint == fingerprint and e.firing for e in journal.episodes)
    for asking in delivery.refusals.values() if not fires else ():
        if fingerprint in asking:
            asking.remove(fingerprint)
            delivery.shown.discard(fingerprint)


def _tell_end(
    journal: Journal, alert: Alert, ended: datetime, now: datetime, sinks: tuple[str, ...]
) -> Journal:
    """Owe the end of every firing of this alert that was passed on, however its start has moved."""
    for notice in journal.notices:
        passed_on = notice.state == "firing" and not notice.bundle
        if passed_on and alert.fingerprint in notice.episodes and notice.started_at <= ended:
            told = replace(notice, state="resolved", reason=Reason.RESOLVED, at=now)
            journal = journal.with_notice(told).owe(notice.subject, sinks, now)
    return journal


def _with_refusals(delivery: _Delivery) -> Journal:
    """Return the journal with the refusals as they are now; who heard of one hears of its end."""
    journal, now = delivery.journal, delivery.now
    for subject, asking in delivery.refusals.items():
        notice = journal.notice(subject)
        if notice is None or notice.episodes == tuple(asking):
            continue
        if asking:
            journal = journal.with_notice(replace(notice, episodes=tuple(asking)))
        else:
            ended = replace(notice, state="resolved", reason=Reason.RESOLVED, at=now)
            journal = journal.with_notice(ended).owe(subject, (), now)
    return journal


# --- one by one, or together


def _told(journal: Journal, new: Sequence[New], now: datetime) -> Journal:
    """Owe what is new, all of one kind: one by one, or as a bundle."""
    kind = new[0].kind
    bundle = blowing(journal, kind, now)
    subjects: defaultdict[str, list[New]] = defaultdict(list)
    for one in new:
        subjects[one.notice.subject].append(one)
    room = _room(journal, kind, len(subjects), now, blows=bundle is not None)
    groups = list(subjects.values())
    for group in groups[:room]:
        first = group[0]
        asking = tuple(one.episode.fingerprint for one in group[:REFUSED_TOGETHER])
        notice = replace(first.notice, episodes=asking)
        journal = journal.with_episode(first.episode).with_notice(notice)
        journal = journal.owe(notice.subject, kind.sinks, now)
    rest = [one for group in groups[room:] for one in group]
    return gathered(journal, bundle, rest, now) if rest else journal


def _room(journal: Journal, kind: Kind, count: int, now: datetime, *, blows: bool) -> int:
    """Return how many of so many are told one by one."""
    alone = [n for n in journal.notices if n.state in OPEN_STATES and not n.bundle]
    room = max(0, FOLLOWED - len(alone))
    if kind.severity is Severity.CRITICAL:
        return room
    just = sum(
        (n.state, n.reason, n.severity) == (kind.state, kind.reason, kind.severity)
        and now - n.at < WITHIN
        for n in alone
    )
    return 0 if blows or just + count > SINGLES else room
