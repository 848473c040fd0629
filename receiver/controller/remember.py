"""What a delivery changes in a journal: episodes, incidents, refusals, notices owed. Pure."""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from receiver import alerts as al
from receiver.alerts import Alert
from receiver.controller.answers import Action, Answer
from receiver.decisions import FINAL, Case, Decision, Look, Policy, binding, decide
from receiver.journal import (
    SUSPECT_FOR,
    Episode,
    Incident,
    Journal,
    Mark,
    Notice,
    Phase,
    Rehearsal,
    subject_of,
)
from receiver.reasons import TOLD_TOGETHER, Reason, Severity, about, louder
from receiver.rollout import Revision, Rollout, listed

Routes = Callable[[str], tuple[str, ...]]
TEXT, URL, VALUE, LABELS = 240, 1000, 60, 2000
JUST = timedelta(microseconds=1)
# So many alerts of one refusal are known one by one.
REFUSED_TOGETHER = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """An alert that asks for a rollback, and its target. `named`: a pod-template-hash or ""."""

    alert: Alert
    trouble_at: datetime
    named: str = ""
    track: str = ""


_SEVERITIES: dict[str, Severity] = {
    "critical": Severity.CRITICAL,
    "page": Severity.CRITICAL,
    "error": Severity.CRITICAL,
    "warning": Severity.WARNING,
    "info": Severity.INFO,
    "none": Severity.INFO,
}


def severity_of(alert: Alert) -> Severity:
    """Read the label `severity`; what is no word we know is a warning."""
    return _SEVERITIES.get(_severity_word(alert), Severity.WARNING)


def route_of(alert: Alert) -> str:
    """Return the route of an alert that is passed on: its severity, else `default`."""
    return _SEVERITIES.get(_severity_word(alert), "default")


def _severity_word(alert: Alert) -> str:
    return alert.labels.get("severity", "").strip().lower()


def mark(revision: Revision) -> Mark:
    """Return what is remembered of a revision."""
    return Mark(
        code=revision.code,
        hash=revision.hash,
        number=revision.number,
        uid=revision.uid,
        images=revision.images,
        created_at=revision.created_at,
    )


def remember(
    look: Look, rollout: Rollout, arrivals: Iterable[Arrival], routes: Routes
) -> tuple[Journal, tuple[Answer, ...]]:
    """Decide each arrival in turn; return the journal then, and an answer for each."""
    journal = look.journal
    answers = []
    for arrival in arrivals:
        seen = replace(look, journal=journal)
        if arrival.alert.firing:
            journal, decision, incident = _fired(seen, rollout, arrival, routes)
        else:
            journal = _resolved(journal, arrival.alert, look.now)
            decision, incident = Decision(reason=Reason.RESOLVED), ""
        answers.append(answer(arrival.alert, decision, rollout, incident))
    return _with_ends(journal, look.now), tuple(answers)


def end(journal: Journal, alerts: Iterable[Alert], now: datetime) -> Journal:
    """Note that alerts resolved whose target is gone, or ours no more, as far as they are known."""
    firing = {e.fingerprint for e in journal.episodes if e.firing}
    for alert in alerts:
        if not alert.firing and alert.fingerprint in firing:
            journal = _resolved(journal, alert, now)
    return _with_ends(journal, now)


def _resolved(journal: Journal, alert: Alert, now: datetime) -> Journal:
    return end_refusals(close(journal, alert, now), alert, now)


def _with_ends(journal: Journal, now: datetime) -> Journal:
    """Owe the end of every incident that waits for nothing but that of its alerts."""
    for incident in journal.incidents:
        if (after := without_alerts(journal, incident, now)) != incident:
            journal = journal.with_incident(after).owe(after.id, (), now)
    return journal


# Ended, and not well: what was opened at a pager waits for somebody.
_LEFT_OPEN = frozenset({Phase.SUPERSEDED, Phase.REFUSED, Phase.DID_NOT_HELP})


def without_alerts(journal: Journal, incident: Incident, now: datetime) -> Incident:
    """Return an incident noted as resolved, when it did not end well and no alert of it fires now.

    Whoever heard of it hears of that: nobody has to look at what no alert asks for any more.
    """
    if incident.phase not in _LEFT_OPEN or incident.resolved_at is not None:
        return incident
    asking = journal.episodes_of(incident.uid, incident.bad.code)
    over = bool(asking) and not any(episode.firing for episode in asking)
    return replace(incident, resolved_at=now) if over else incident


def decide_deferred(look: Look, rollout: Rollout, routes: Routes) -> Journal:
    """Decide again every episode whose time has come."""
    journal = look.journal
    for episode in journal.deferred:
        if wait_of(episode, look.now, look.policy) == timedelta(0):
            seen = replace(look, journal=journal)
            journal, _, _ = _judge(seen, rollout, episode, routes, fresh=False)
    return journal


def wait_of(episode: Episode, now: datetime, policy: Policy) -> timedelta:
    """Return how long a deferred episode has to wait still.

    Nothing is deferred for longer than the longest of our spans: what is due later than that was
    deferred by a clock that is ahead.
    """
    left = timedelta(0) if episode.due is None else episode.due - now
    longest = max(policy.cooldown, policy.inherited_after)
    return left if timedelta(0) < left <= longest else timedelta(0)


def close(journal: Journal, alert: Alert, now: datetime) -> Journal:
    """Close the episodes of a resolved alert; an unknown one leaves a tombstone.

    The tombstone is what a late `firing` of the same episode is recognised by.
    """
    ended = alert.ends_at or now
    found = [e for e in journal.episodes if e.fingerprint == alert.fingerprint]
    for episode in found:
        if episode.firing and episode.starts_at <= ended:
            journal = journal.with_episode(replace(episode, ends_at=ended, due=None))
    rehearsals = tuple(
        replace(r, ended_at=ended)
        if r.fingerprint == alert.fingerprint and r.ended_at is None and r.starts_at <= ended
        else r
        for r in journal.rehearsals
    )
    journal = replace(journal, rehearsals=rehearsals)
    if not any(e.starts_at == alert.starts_at for e in found):
        tombstone = episode_of(alert, trouble_at=alert.starts_at, now=now)
        journal = journal.with_episode(replace(tombstone, ends_at=ended))
    return journal


def _fired(
    look: Look, rollout: Rollout, arrival: Arrival, routes: Routes
) -> tuple[Journal, Decision, str]:
    alert, journal = arrival.alert, look.journal
    same = [e for e in journal.episodes if e.fingerprint == alert.fingerprint]
    if any(e.ends_at is not None and alert.starts_at <= e.ends_at for e in same):
        return journal, Decision(reason=Reason.STALE), ""
    # The start moves: back to the earlier of an HA pair, forward when a flap was not reported.
    open_ = [e for e in same if e.firing]
    known = next((e for e in open_ if alert.starts_at <= e.starts_at), None)
    if known is None:
        for episode in open_:
            journal = journal.with_episode(
                replace(episode, ends_at=alert.starts_at - JUST, due=None)
            )
        fresh = episode_of(alert, trouble_at=arrival.trouble_at, now=look.now)
        known = replace(fresh, asks=True, uid=rollout.uid, named=arrival.named, track=arrival.track)
    first = not any(e is known for e in open_)
    look = replace(look, journal=journal)
    return _judge(look, rollout, known, routes, fresh=first)


def _judge(
    look: Look, rollout: Rollout, episode: Episode, routes: Routes, *, fresh: bool
) -> tuple[Journal, Decision, str]:
    journal = look.journal
    if not episode.code:
        code = binding(rollout, journal, episode.trouble_at, episode.named, episode.track)
        episode = replace(episode, code=code)
    # Suspect before the table, whatever wins: the journal that is judged knows of this episode.
    journal = journal.with_episode(episode)
    case = Case(
        rollout=rollout,
        journal=journal,
        episode=episode,
        policy=look.policy,
        now=look.now,
        stopped=look.stopped,
        ledger=look.ledger,
        release=look.release,
        fresh=fresh,
    )
    decision = decide(case)
    if decision.reason is Reason.SHADOW:
        rehearsal = Rehearsal(
            alertname=episode.alertname,
            fingerprint=episode.fingerprint,
            starts_at=episode.starts_at,
            uid=episode.uid,
            code=episode.code,
            at=look.now,
        )
        journal = journal.rehearsed(rehearsal)
    again = decision.reason is Reason.ALREADY_HANDLED and episode.reason in FINAL
    reason = episode.reason if again else decision.reason
    episode = replace(episode, reason=reason, due=decision.due)
    journal = journal.with_episode(episode)
    if decision.reason is Reason.ROLLED_BACK and rollout.current is not None:
        incident = _incident(look, rollout.uid, rollout.current, episode, decision)
        return journal.with_incident(incident), decision, incident.id
    if decision.final and episode.code == rollout.code and rollout.current is not None:
        if (told := _told_before(journal, episode, look.now)) is not None:
            return journal, decision, told
        incident = _incident(look, rollout.uid, rollout.current, episode, decision)
        incident = incident.enter(Phase.REFUSED, look.now, reason=decision.reason)
        journal = journal.with_incident(incident)
        # What the breaker refuses is told for all targets at once (`controller.guards`).
        sinks = () if decision.reason in TOLD_TOGETHER else routes(incident.severity)
        return journal.owe(incident.id, sinks, look.now), decision, incident.id
    journal = tell_refusal(replace(look, journal=journal), rollout, episode, decision, routes)
    return journal, decision, _incident_named(journal, decision)


def _told_before(journal: Journal, episode: Episode, now: datetime) -> str | None:
    """Return the incident that told of this very refusal already: once for all alerts of it."""
    known = journal.incident_of(episode.uid, episode.code)
    if known is None or known.phase is not Phase.REFUSED or known.reason is not episode.reason:
        return None
    asking = journal.episodes_of(episode.uid, episode.code)
    others = (e for e in asking if e is not episode and e.firing and e.reason is known.reason)
    return known.id if now - known.phase_at < SUSPECT_FOR or any(others) else None


def _incident_named(journal: Journal, decision: Decision) -> str:
    return decision.detail if journal.incident(decision.detail) else ""


def by_hand(
    journal: Journal,
    uid: str,
    bad: Revision,
    to: Mark,
    now: datetime,
    *,
    actor: str,
    why: str,
    **asked: Any,
) -> Incident:
    """Return the incident of a rollback that no alert asked for: pinned to what is current now."""
    return Incident(
        id=incident_id(journal, uid, bad.code).replace("inc-", "man-"),
        uid=uid,
        bad=mark(bad),
        phase=Phase.SETTLING,
        reason=Reason.ROLLED_BACK,
        opened_at=now,
        phase_at=now,
        actor=actor,
        why=why,
        pinned=bad.hash,
        to=to,
        **asked,
    )


def _incident(
    look: Look, uid: str, bad: Revision, episode: Episode, decision: Decision
) -> Incident:
    now = look.now
    return Incident(
        id=incident_id(look.journal, uid, bad.code),
        uid=uid,
        bad=mark(bad),
        phase=Phase.SETTLING,
        reason=decision.reason,
        opened_at=now,
        phase_at=now,
        severity=louder(Severity.CRITICAL, episode.severity),
        to=mark(decision.to) if decision.to is not None else None,
        detail=decision.detail,
    )


def incident_id(journal: Journal, uid: str, code: str) -> str:
    """Return an id that every replica finds alike: of the n-th incident about this code."""
    count = sum((i.uid, i.bad.code) == (uid, code) for i in journal.incidents)
    count += (uid, code) in journal.handled
    # Some of those before may have been dropped: no id is given twice.
    taken = {i.id.partition("-")[2] for i in journal.incidents}
    numbers = itertools.count(count)
    digests = (sha256(f"{uid}/{code}/{n}".encode()).hexdigest()[:12] for n in numbers)
    return "inc-" + next(digest for digest in digests if digest not in taken)


def tell_refusal(
    look: Look, rollout: Rollout, episode: Episode, decision: Decision, routes: Routes
) -> Journal:
    """Owe what the table says is told: once per target, revision and reason, as long as it fires.

    What had resolved and fires again is told again: people may have gone back to sleep.
    """
    journal, now = look.journal, look.now
    tell = about(decision.reason).tell
    waiting = decision.reason is Reason.NOT_OBSERVED and decision.due is not None
    if tell is None or waiting or decision.reason in TOLD_TOGETHER:
        return journal
    severity = tell if tell is Severity.INFO else louder(tell, episode.severity)
    what = f"{rollout.uid}/{episode.code or episode.named}/{decision.reason}"
    notice = Notice(
        subject=subject_of("ref", what),
        state="shadow" if decision.reason is Reason.SHADOW else "refused",
        reason=decision.reason,
        severity=severity,
        at=now,
        started_at=episode.starts_at,
        namespace=rollout.namespace,
        deployment=rollout.name,
        episodes=(episode.fingerprint,),
        detail=_would(decision) if decision.to is not None else decision.detail,
    )
    known = journal.notice(notice.subject)
    if known is None or known.state == "resolved":
        return journal.with_notice(notice).owe(notice.subject, routes(severity), now)
    if episode.fingerprint in known.episodes or len(known.episodes) >= REFUSED_TOGETHER:
        return journal
    return journal.with_notice(replace(known, episodes=(*known.episodes, episode.fingerprint)))


def end_refusals(journal: Journal, alert: Alert, now: datetime) -> Journal:
    """Owe the end of every refusal of this alert that no other alert asks for any more."""
    firing = {e.fingerprint for e in journal.episodes if e.firing}
    for notice in journal.notices:
        ours = notice.state == "refused" and not notice.bundle
        if ours and alert.fingerprint in notice.episodes and not firing & {*notice.episodes}:
            ended = replace(notice, state="resolved", reason=Reason.RESOLVED, at=now)
            journal = journal.with_notice(ended).owe(notice.subject, (), now)
    return journal


def _would(decision: Decision) -> str:
    to = decision.to
    if to is None:
        return ""
    images = listed(to.images)
    return al.text(f"it would have been rolled back to revision {to.number} ({images})", TEXT)


def episode_of(alert: Alert, *, trouble_at: datetime, now: datetime) -> Episode:
    """Return what is remembered of the firing of an alert that asks for nothing so far."""
    notes = alert.annotations
    return Episode(
        fingerprint=alert.fingerprint,
        starts_at=alert.starts_at,
        ends_at=None,
        trouble_at=trouble_at,
        seen_at=now,
        alertname=al.text(alert.name, 200),
        severity=severity_of(alert),
        asks=False,
        uid="",
        code="",
        named="",
        reason=Reason.RESOLVED,
        summary=al.text(notes.get("summary", ""), TEXT),
        description=al.text(notes.get("description", notes.get("message", "")), TEXT),
        runbook_url=_url(notes.get("runbook_url", "")),
        dashboard_url=_url(notes.get("dashboard_url", "")),
        generator_url=_url(alert.generator_url),
        external_url=_url(alert.external_url),
        value=al.text(al.value(alert), VALUE),
        labels=_labels(alert),
    )


def _url(text: str) -> str:
    """Return a URL, "" for anything else: part of one leads nowhere."""
    line = text.strip()[: URL + 1]
    plain = len(line) <= URL and line.isprintable() and " " not in line
    return line if plain and line.startswith(("http://", "https://")) else ""


def _labels(alert: Alert) -> tuple[tuple[str, str], ...]:
    """Return as many labels as there is room for, each cut."""
    found, left = [], LABELS
    for name, value in sorted(alert.labels.items()):
        pair = al.text(name, TEXT), al.text(value, TEXT)
        left -= len(pair[0]) + len(pair[1])
        if left < 0:
            break
        found.append(pair)
    return tuple(found)


# --- answers


def answer(
    alert: Alert, decision: Decision, rollout: Rollout | None = None, incident: str = ""
) -> Answer:
    """Say what was decided about one alert."""
    text = about(decision.reason).text
    if decision.reason is Reason.ROLLED_BACK and decision.to is not None:
        text = f"It is to be rolled back to revision {decision.to.number}."
    elif decision.reason is Reason.SHADOW and decision.to is not None:
        text = f"{text} To revision {decision.to.number}."
    elif decision.detail:
        text = f"{text} ({decision.detail})"
    return Answer(
        fingerprint=alert.fingerprint,
        alertname=al.text(alert.name, 200),
        action=_action(decision),
        reason=decision.reason,
        text=text,
        namespace=rollout.namespace if rollout else "",
        deployment=rollout.name if rollout else "",
        incident=incident,
    )


_QUIET = frozenset(
    {Reason.RESOLVED, Reason.WATCHDOG, Reason.STALE, Reason.ALREADY_HANDLED, Reason.SHADOW}
)


def _action(decision: Decision) -> Action:
    if decision.reason is Reason.ROLLED_BACK:
        return Action.ROLL_BACK
    if decision.reason is Reason.NOTIFY_ONLY:
        return Action.NOTIFY
    if decision.due is not None:
        return Action.WAIT
    return Action.NONE if decision.reason in _QUIET else Action.REFUSE
