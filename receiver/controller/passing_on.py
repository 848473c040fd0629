"""Alerts that have no target of ours: passed on by severity, or refused, each told once. Pure.

They are kept in the receiver's own journal. Many at a time are no news one by one: in a storm they
become one notice, a bundle, which grows while it goes on. What is critical is told by itself as
long as a journal has room to follow it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from receiver import alerts as al
from receiver.alerts import Alert
from receiver.controller.remember import JUST, Routes, close, episode_of, route_of, severity_of
from receiver.journal import ENDED, Episode, Journal, Notice, subject_of
from receiver.reasons import Reason, Severity, about, louder

# So many of a kind within so long are told one by one.
SINGLES, WITHIN = 5, timedelta(seconds=10)
# However grave they are: what is told one by one is followed one by one, and a journal is bounded.
FOLLOWED = 100
# How long a bundle waits for more before it is told at first, and again; and how long after the
# last of them the storm is over.
GATHERS, GATHERS_AGAIN, BLOWS = timedelta(seconds=5), timedelta(seconds=60), timedelta(seconds=60)
# Of a bundle: the alerts that are kept with their texts, and the names that are counted.
SHOWN, NAMES = 10, 20
OTHERS = "others"
# Of one delivery: ends of what is not known that are remembered, for a late beginning.
TOMBSTONES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A refusal before any Deployment was found, and what the alert named."""

    reason: Reason
    namespace: str = ""
    deployment: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _New:
    """Something to be told for the first time. `member`: what a bundle knows it by."""

    notice: Notice
    episode: Episode
    member: str
    sinks: tuple[str, ...]

    @property
    def kind(self) -> tuple[str, Reason, Severity, tuple[str, ...]]:
        """Return what all in one bundle have in common."""
        notice = self.notice
        return notice.state, notice.reason, notice.severity, self.sinks


@dataclass(slots=True)
class _Delivery:
    """One delivery on its way into the journal."""

    journal: Journal
    now: datetime
    routes: Routes
    bundles: Mapping[str, tuple[Notice, bool]]
    known: set[str] = field(init=False)
    new: dict[str, _New] = field(default_factory=dict)
    ended: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    again: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    tombstones: int = 0

    def __post_init__(self) -> None:
        self.known = {notice.subject for notice in self.journal.notices}


def pass_on(
    journal: Journal,
    alerts: Iterable[tuple[Alert, Refused | None]],
    now: datetime,
    routes: Routes,
) -> Journal:
    """Note alerts that ask for no rollback, and those that were refused one without a target.

    Each is told once when it fires, and what was passed on once more when it resolves.
    """
    delivery = _Delivery(journal, now, routes, _members(journal))
    for alert, why in alerts:
        if why is not None:
            _refused(delivery, alert, why)
        elif alert.firing:
            _fired(delivery, alert)
        else:
            _resolved(delivery, alert)
    journal = _marked(delivery)
    kinds: defaultdict[object, list[_New]] = defaultdict(list)
    for one in delivery.new.values():
        kinds[one.kind].append(one)
    for group in kinds.values():
        journal = _told(journal, group, now)
    return journal


def _members(journal: Journal) -> dict[str, tuple[Notice, bool]]:
    """Return what is in bundles: the newest one that it is in, and whether it ended there."""
    return {
        member.removesuffix(ENDED): (notice, member.endswith(ENDED))
        for notice in journal.notices
        for member in notice.members
    }


# --- each on its own


def _refused(delivery: _Delivery, alert: Alert, why: Refused) -> None:
    """Note a refusal that concerns no Deployment of ours: told once per name and reason."""
    tell = about(why.reason).tell
    if not alert.firing:
        if any(e.fingerprint == alert.fingerprint for e in delivery.journal.episodes):
            delivery.journal = close(delivery.journal, alert, delivery.now)
        return
    if tell is None:
        return
    severity = louder(tell, severity_of(alert))
    what = f"{why.namespace}/{why.deployment}/{alert.name}/{why.reason}"
    notice = Notice(
        subject=subject_of("ref", what),
        state="refused",
        reason=why.reason,
        severity=severity,
        at=delivery.now,
        started_at=alert.starts_at,
        namespace=why.namespace,
        deployment=why.deployment,
        episodes=(alert.fingerprint,),
        detail=why.detail,
    )
    if notice.subject not in delivery.bundles:
        _add(delivery, alert, notice, notice.subject, delivery.routes(severity))


def _fired(delivery: _Delivery, alert: Alert) -> None:
    journal = delivery.journal
    same = [e for e in journal.episodes if e.fingerprint == alert.fingerprint]
    if any(e.ends_at is not None and alert.starts_at <= e.ends_at for e in same):
        return
    if _is_in_a_bundle(delivery, alert):
        return
    # The start moves: back to the earlier of an HA pair, forward when a flap was not reported.
    open_ = [e for e in same if e.firing and e.reason is Reason.NOTIFY_ONLY]
    if any(alert.starts_at <= e.starts_at for e in open_):
        return
    ended, sinks = alert.starts_at - JUST, delivery.routes(route_of(alert))
    for earlier in open_:
        journal = journal.with_episode(replace(earlier, ends_at=ended))
    delivery.journal = _tell_end(journal, alert, ended, delivery.now, sinks)
    notice = Notice(
        subject=subject_of("alert", f"{alert.fingerprint}/{alert.starts_at.isoformat()}"),
        state="firing",
        reason=Reason.NOTIFY_ONLY,
        severity=severity_of(alert),
        at=delivery.now,
        started_at=alert.starts_at,
        namespace=al.text(alert.labels.get("namespace", ""), 63),
        deployment=al.text(alert.labels.get("deployment", ""), 253),
        episodes=(alert.fingerprint,),
    )
    _add(delivery, alert, notice, alert.fingerprint, sinks)


def _is_in_a_bundle(delivery: _Delivery, alert: Alert) -> bool:
    """Return whether a bundle stands for this firing; one that fires anew there is noted."""
    bundle, ended = delivery.bundles.get(alert.fingerprint, (None, False))
    if bundle is None:
        # Of some that began before it a bundle knows the number alone.
        severity = severity_of(alert)
        counting = (n for n in delivery.journal.notices if n.more and n.severity is severity)
        return any(n.state == "firing" and alert.starts_at <= n.at for n in counting)
    if ended and alert.starts_at > bundle.at:
        return False
    gathering = any(o.subject == bundle.subject for o in delivery.journal.owed)
    if ended and gathering and not delivery.journal.heard(bundle.subject):
        delivery.again[bundle.subject].add(alert.fingerprint)
    return True


def _add(
    delivery: _Delivery, alert: Alert, notice: Notice, member: str, sinks: tuple[str, ...]
) -> None:
    if notice.subject in delivery.known:
        return
    episode = replace(
        episode_of(alert, trouble_at=alert.starts_at, now=delivery.now), reason=notice.reason
    )
    delivery.new[member] = _New(notice=notice, episode=episode, member=member, sinks=sinks)


# --- ends


def _resolved(delivery: _Delivery, alert: Alert) -> None:
    journal, now = delivery.journal, delivery.now
    ended = alert.ends_at or now
    new = delivery.new.get(alert.fingerprint)
    if new is not None and new.notice.started_at <= ended:
        # Over before anybody was told.
        del delivery.new[alert.fingerprint]
    bundle, _ = delivery.bundles.get(alert.fingerprint, (None, False))
    if bundle is not None and bundle.started_at <= ended:
        delivery.ended[bundle.subject].add(alert.fingerprint)
    known = any(e.fingerprint == alert.fingerprint for e in journal.episodes)
    if known or bundle is None:
        delivery.tombstones += not known
        if known or delivery.tombstones <= TOMBSTONES:
            journal = close(journal, alert, now)
    delivery.journal = _tell_end(journal, alert, ended, now, delivery.routes(route_of(alert)))


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


def _marked(delivery: _Delivery) -> Journal:
    """Return the journal with the ends in its bundles; one that is all over is told so."""
    journal, now = delivery.journal, delivery.now
    for notice in journal.notices:
        ended, again = delivery.ended[notice.subject], delivery.again[notice.subject]
        if not ended and not again:
            continue
        members = tuple(_as_it_is(member, ended, again) for member in notice.members)
        marked = replace(notice, members=members)
        over = not marked.firing and notice.state == "firing"
        if over:
            marked = replace(marked, state="resolved", reason=Reason.RESOLVED, at=now)
        journal = journal.with_notice(marked)
        if over:
            # Whoever heard of it hears of its end, and who was about to.
            pending = tuple(o.sink for o in journal.owed if o.subject == notice.subject)
            journal = journal.owe(notice.subject, pending, now)
    return journal


def _as_it_is(member: str, ended: set[str], again: set[str]) -> str:
    known = member.removesuffix(ENDED)
    if known in again:
        return known
    return known + ENDED if known in ended else member


# --- one by one, or together


def _told(journal: Journal, new: Sequence[_New], now: datetime) -> Journal:
    """Owe what is new, all of one kind: one by one, or as a bundle."""
    bundle = _blowing(journal, new[0], now)
    room = _room(journal, new, now, blows=bundle is not None)
    for one in new[:room]:
        journal = journal.with_episode(one.episode).with_notice(one.notice)
        journal = journal.owe(one.notice.subject, one.sinks, now)
    return _gathered(journal, bundle, new[room:], now) if new[room:] else journal


def _blowing(journal: Journal, one: _New, now: datetime) -> Notice | None:
    """Return the bundle of a storm that goes on, None when there is none."""
    kind = one.notice.state, one.notice.reason, one.notice.severity
    for notice in reversed(journal.notices):
        same = notice.bundle and (notice.state, notice.reason, notice.severity) == kind
        if same and abs(now - notice.at) < BLOWS:
            return notice
    return None


def _room(journal: Journal, new: Sequence[_New], now: datetime, *, blows: bool) -> int:
    """Return how many of these are told one by one."""
    alone = [n for n in journal.notices if n.state in ("firing", "refused") and not n.bundle]
    room = max(0, FOLLOWED - len(alone))
    kind = new[0].notice
    if kind.severity is Severity.CRITICAL:
        return room
    just = sum(
        (n.state, n.reason, n.severity) == (kind.state, kind.reason, kind.severity)
        and now - n.at < WITHIN
        for n in alone
    )
    return 0 if blows or just + len(new) > SINGLES else room


def _gathered(
    journal: Journal, bundle: Notice | None, new: Sequence[_New], now: datetime
) -> Journal:
    """Put these into a bundle, and owe it: soon, but not with each of them anew."""
    first = new[0].notice
    if bundle is None:
        what = f"{now.isoformat()}/{first.subject}"
        bundle = replace(first, subject=subject_of("many", what), episodes=(), detail="")
    shown = new[: max(0, SHOWN - len(bundle.episodes))]
    for one in shown:
        journal = journal.with_episode(one.episode)
    namespaces = {bundle.namespace, *(one.notice.namespace for one in new)}
    deployments = {bundle.deployment, *(one.notice.deployment for one in new)}
    counted = Counter(dict(bundle.tally))
    counted.update(one.episode.alertname for one in new)
    grown = replace(
        bundle,
        at=now,
        started_at=min(bundle.started_at, *(one.notice.started_at for one in new)),
        namespace=bundle.namespace if len(namespaces) == 1 else "",
        deployment=bundle.deployment if len(deployments) == 1 else "",
        episodes=tuple(dict.fromkeys((*bundle.episodes, *(e.episode.fingerprint for e in shown)))),
        members=tuple(dict.fromkeys((*bundle.members, *(one.member for one in new)))),
        tally=_tally(counted),
    )
    wait = GATHERS_AGAIN if journal.heard(bundle.subject) else GATHERS
    journal = journal.with_notice(grown)
    return journal.owe(grown.subject, new[0].sinks, now, now + wait)


def _tally(counted: Counter[str]) -> tuple[tuple[str, int], ...]:
    """Return the names that are counted most, and how many the others are."""
    others = counted.pop(OTHERS, 0)
    ranked = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
    others += sum(count for _, count in ranked[NAMES:])
    return (*ranked[:NAMES], *([(OTHERS, others)] if others else ()))
