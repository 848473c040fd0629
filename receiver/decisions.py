"""The decision table: one rule after another, the first that applies wins. Pure.

`decide` answers for one episode of one alert, `decide_again` for an incident that has settled,
`decide_manual` for a person. Each reads frozen values and returns a `Decision` with its Reason;
writing it down and acting on it is the controller's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from receiver import rollout as ro
from receiver.alerts import ASSUMED_FOR, Matcher, text
from receiver.freeze import Window, frozen
from receiver.journal import Episode, Incident, Journal, Phase
from receiver.ledger import Breaker, Budgets, Ledger
from receiver.reasons import Manual, Reason, about
from receiver.rollout import Revision, Rollout

Mode: TypeAlias = Literal["shadow", "act"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How careful to be. All spans are positive."""

    mode: Mode = "shadow"
    alert_modes: tuple[tuple[str, Mode], ...] = ()
    settle: timedelta = timedelta(seconds=10)
    window: timedelta = timedelta(hours=2)
    cooldown: timedelta = timedelta(minutes=10)
    verify_within: timedelta = timedelta(minutes=10)
    bake: timedelta = timedelta(minutes=30)
    verify_after: timedelta = timedelta(hours=24)
    target: Literal["previous", "verified"] = "previous"
    assumed_for: timedelta = ASSUMED_FOR
    inherited_after: timedelta = timedelta(minutes=10)
    observe_within: timedelta = timedelta(minutes=1)
    rollout_margin: timedelta = timedelta(seconds=60)
    gitops: Literal["refuse", "act"] = "refuse"
    matchers: tuple[tuple[Matcher, ...], ...] = ()
    budgets: Budgets = Budgets()
    breaker: Breaker | None = Breaker()
    freeze: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """All that a decision about one episode looks at.

    `fresh`: the episode was not known before. `own`: the incident that is being decided again, and
    so does not stand in its own way. `stopped` says why automation is stopped, "" when it is not.
    `ledger`: how much is going on in the whole cluster.
    """

    rollout: Rollout
    journal: Journal
    episode: Episode
    policy: Policy
    now: datetime
    stopped: str = ""
    ledger: Ledger = Ledger()
    fresh: bool = True
    own: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to be done and why. `to`: where to roll back to. `due`: when to decide again."""

    reason: Reason
    to: Revision | None = None
    due: datetime | None = None
    detail: str = ""

    @property
    def final(self) -> bool:
        """Return whether this refusal holds for the whole episode, whatever changes."""
        return self.reason in FINAL


# What people wrote as their why is kept in the journal, which is bounded.
_WHY = 240
# Refusals by a guard: lifting the guard must never fire a late shot.
FINAL = frozenset(
    {
        Reason.STOPPED,
        Reason.PAUSED,
        Reason.PROTECTED,
        Reason.FROZEN,
        Reason.HUMAN_IN_CHARGE,
        Reason.BUDGET_SPENT,
        Reason.BREAKER_OPEN,
    }
)

Rule = Callable[[Case], Decision | None]


def binding(
    rollout: Rollout, journal: Journal, trouble_at: datetime, named: str, track: str
) -> str:
    """Return the code of the revision that an alert is about, "" when that cannot be known.

    The named revision; else the one that ran when the trouble began. A track that is not this
    Deployment's is about none of it; and while the current template has no ReplicaSet yet, nobody
    can say since when it has been current.
    """
    if track and track != rollout.track:
        return ""
    if named:
        if (revision := ro.hashed(rollout, named)) is not None:
            return revision.code
        marks = [i.bad for i in journal.incidents if i.uid == rollout.uid]
        return next((mark.code for mark in marks if mark.hash == named), "")
    if rollout.current is None:
        return ""
    return _ran_at(rollout, journal, trouble_at)


def _ran_at(rollout: Rollout, journal: Journal, moment: datetime) -> str:
    """Return the code that served at `moment`.

    A rollback of ours counts from its completion: until then the bad pods serve, too. When a person
    brought an old ReplicaSet back, no object says when; it cannot have been before the last event.
    """
    # Lowest number first: the API server counts whole seconds, and two may be of the same one.
    events = [(revision.created_at, revision.code) for revision in reversed(rollout.revisions)]
    ours = [i for i in journal.incidents if i.uid == rollout.uid and i.left]
    for incident in ours:
        if incident.to is not None and not incident.open:
            events.append((incident.completed_at or incident.phase_at, incident.to.code))
        elif incident.to is not None and incident.completed_at is not None:
            events.append((incident.completed_at, incident.to.code))
    events.sort(key=lambda event: event[0])
    last_at, last_code = events[-1]
    unfinished = any(i.open and i.completed_at is None for i in ours)
    if moment >= last_at and last_code != rollout.code and not unfinished:
        return rollout.code
    return next((code for at, code in reversed(events) if at <= moment), "")


# --- the rules, by their numbers in the table


def alert_not_allowed(case: Case) -> Decision | None:
    """3: the Deployment narrows the alerts that may roll it back."""
    listed = case.rollout.annotations.get(ro.ALERTS)
    if listed is None:
        return None
    names = {name.strip() for name in listed.split(",")}
    return None if case.episode.alertname in names else Decision(reason=Reason.ALERT_NOT_ALLOWED)


def already_handled(case: Case) -> Decision | None:
    """5: at most one automatic rollback per incident, ever."""
    uid, code = case.rollout.uid, case.episode.code
    if not case.fresh and not case.own and case.episode.reason in FINAL:
        return Decision(reason=Reason.ALREADY_HANDLED)
    dropped = bool(code) and (uid, code) in case.journal.handled
    incident = case.journal.incident_of(uid, code) if code else None
    if incident is None or incident.id == case.own:
        if not dropped:
            return None
        returned = code == case.rollout.code
        return Decision(reason=Reason.BAD_REVISION_RETURNED if returned else Reason.ALREADY_HANDLED)
    if incident.left:
        if code == case.rollout.code:
            return Decision(reason=Reason.BAD_REVISION_RETURNED, detail=incident.id)
        return Decision(reason=Reason.ALREADY_HANDLED, detail=incident.id)
    if _overtaken(case, incident):
        return None  # is it the hotfix that does not help? Rules 11 and 12 know
    if incident.open or not (case.fresh or case.episode.due):
        return Decision(reason=Reason.ALREADY_HANDLED, detail=incident.id)
    return None  # it ended before anything was written; this is a new episode, or was deferred


def _overtaken(case: Case, incident: Incident) -> bool:
    """Return whether somebody replaced the bad revision by a new one before we did anything."""
    current = case.rollout.code
    forward = incident.bad.code != current and not ro.reactivated(case.rollout, current)
    return incident.phase is Phase.SUPERSEDED and forward


def not_this_track(case: Case) -> Decision | None:
    """7: the alert is about another track."""
    track = case.episode.track
    if track and track != case.rollout.track:
        return Decision(
            reason=Reason.NOT_THIS_TRACK,
            detail=f"the alert says {track}, the Deployment is {case.rollout.track}",
        )
    return None


def revision_not_current(case: Case) -> Decision | None:
    """7: the alert names a revision that is not current."""
    if case.episode.named and case.episode.code != case.rollout.code:
        return Decision(reason=Reason.REVISION_NOT_CURRENT, detail=case.episode.named)
    return None


def guarded(case: Case) -> Decision | None:
    """8: a guard says no, and means it for this whole episode."""
    if case.stopped:
        return Decision(reason=Reason.STOPPED, detail=text(case.stopped, _WHY))
    if case.journal.pause is not None:
        pause = case.journal.pause
        return Decision(reason=Reason.PAUSED, detail=text(f"by {pause.by}: {pause.why}", _WHY))
    if (why := case.rollout.annotations.get(ro.PROTECTED)) is not None:
        return Decision(reason=Reason.PROTECTED, detail=text(why, _WHY))
    if why := frozen(case.policy.freeze, case.now):
        return Decision(reason=Reason.FROZEN, detail=text(why, _WHY))
    return None


def human_in_charge(case: Case) -> Decision | None:
    """8: while a rollback of ours is under way, somebody put another template there."""
    flight = case.journal.in_flight
    if flight is None or flight.id == case.own or not flight.left or flight.to is None:
        return None
    if case.rollout.code in (flight.bad.code, flight.to.code):
        return None
    return Decision(reason=Reason.HUMAN_IN_CHARGE, detail=flight.id)


def not_writable(case: Case) -> Decision | None:
    """9: what kubectl would refuse, and what somebody else would revert."""
    rollout = case.rollout
    if rollout.deleting:
        return Decision(reason=Reason.DELETING)
    if rollout.paused:
        return Decision(reason=Reason.DEPLOYMENT_PAUSED)
    if rollout.gitops and case.policy.gitops == "refuse":
        return Decision(reason=Reason.GITOPS_OWNED, detail=rollout.gitops)
    return None


def not_observed(case: Case) -> Decision | None:
    """9: the controller is behind: wait for it a while, then give up."""
    if case.rollout.observed:
        return None
    waited = case.now - case.episode.seen_at
    patient = case.episode.reason is not Reason.NOT_OBSERVED or waited < case.policy.observe_within
    due = case.now + min(timedelta(seconds=2), case.policy.observe_within) if patient else None
    return Decision(reason=Reason.NOT_OBSERVED, due=due)


def cooldown(case: Case) -> Decision | None:
    """10: our own rollback is under way or has just ended."""
    flight = case.journal.in_flight
    if flight is not None and flight.id != case.own:
        due = case.now + min(timedelta(seconds=10), case.policy.cooldown)
        return Decision(reason=Reason.COOLDOWN, due=due, detail=flight.id)
    done = [
        i
        for i in case.journal.incidents
        if i.left and i.uid == case.rollout.uid and i.id != case.own
    ]
    if not done:
        return None
    last = max(done, key=lambda i: i.completed_at or i.phase_at)
    ends = (last.completed_at or last.phase_at) + case.policy.cooldown
    if case.now < ends:
        return Decision(reason=Reason.COOLDOWN, due=ends, detail=last.id)
    waited = case.episode.reason in (Reason.COOLDOWN, Reason.ROLLBACK_DID_NOT_HELP)
    # Whatever it was that resolved, the same alert again so soon says that it was not the release.
    asked = case.journal.episodes_of(last.uid, last.bad.code)
    again = any(e.alertname == case.episode.alertname for e in asked)
    baking = case.now < (last.completed_at or last.phase_at) + case.policy.bake
    counts = waited or (baking and again)
    if counts and last.to is not None and last.to.code == case.rollout.code:
        return Decision(reason=Reason.ROLLBACK_DID_NOT_HELP, detail=last.id)
    return None


def not_a_new_release(case: Case) -> Decision | None:
    """11: the current revision, or a sibling, was left once and brought back."""
    if ro.reactivated(case.rollout, case.rollout.code):
        return Decision(reason=Reason.NOT_A_NEW_RELEASE)
    return None


def outside_window(case: Case) -> Decision | None:
    """12: the release is too old to be the likely cause."""
    started = ro.release_started(case.rollout)
    if started is not None and case.now - started > case.policy.window:
        return Decision(reason=Reason.OUTSIDE_WINDOW, detail=f"it began at {_clock(started)}")
    return None


def predates_release(case: Case) -> Decision | None:
    """12: the trouble began before the release; if that does not end it, people must know."""
    started = ro.release_started(case.rollout)
    episode = case.episode
    if started is None or (episode.trouble_at >= started and episode.code == case.rollout.code):
        return None
    detail = f"the trouble began at {_clock(episode.trouble_at)}, the release {_clock(started)}"
    known = episode.reason in (Reason.PREDATES_RELEASE, Reason.INHERITED_ALERT)
    complete = ro.progress(case.rollout, 0, None).state == "done"
    condition = case.rollout.progressing
    if known and complete:
        # Without a deadline there is no condition that says when the rollout was complete.
        said = condition.updated_at if condition is not None else ""
        completed = datetime.fromisoformat(said) if said else started
        ends = completed + case.policy.inherited_after
        if case.now >= ends:
            return Decision(reason=Reason.INHERITED_ALERT, detail=detail)
        return Decision(reason=Reason.PREDATES_RELEASE, due=ends, detail=detail)
    due = case.now + case.policy.inherited_after
    return Decision(reason=Reason.PREDATES_RELEASE, due=due, detail=detail)


def shared_cause(case: Case) -> Decision | None:
    """13: the predecessor began to alert only since this rollout began."""
    started = ro.release_started(case.rollout)
    suspects = case.journal.suspects(case.rollout.uid, case.now)
    before = ro.destination(case.rollout, quarantined(case.rollout, case.journal))
    if before is None or started is None or before.code not in suspects:
        return None
    if suspects[before.code] >= started:
        return Decision(reason=Reason.SHARED_CAUSE, detail=f"revision {before.number} alerts, too")
    return None


def no_good_revision(case: Case) -> Decision | None:
    """14: nowhere to go."""
    if goal(case.rollout, case.journal, case.policy, case.now) is None:
        return Decision(reason=Reason.NO_GOOD_REVISION, detail=why_none(case.rollout))
    return None


def exhausted(case: Case) -> Decision | None:
    """15: so much alerts, or was rolled back, that one more rollback is not the answer."""
    ledger, breaker = case.ledger, case.policy.breaker
    if breaker is not None and ledger.opening is not None and ledger.is_open(case.now, breaker):
        opening = ledger.opening
        detail = f"{opening.count} targets began to alert since {_clock(opening.at)}"
        return Decision(reason=Reason.BREAKER_OPEN, detail=detail)
    return spent(case.rollout, case.own, ledger, case.policy, case.now)


def spent(
    rollout: Rollout, incident: str, ledger: Ledger, policy: Policy, now: datetime
) -> Decision | None:
    """Return the refusal of a rollback that is one too many; `incident`: the one it is for."""
    target = f"{rollout.namespace}/{rollout.name}"
    limit = ledger.spent(target, incident, now, policy.budgets)
    if limit is None:
        return None
    whose = "this Deployment" if limit in policy.budgets.per_target else "the cluster"
    minutes = limit.within / timedelta(minutes=1)
    detail = f"{whose} has had {limit.count} within {minutes:.0f} minutes"
    return Decision(reason=Reason.BUDGET_SPENT, detail=detail)


def shadow(case: Case) -> Decision | None:
    """16: only say what would have been done."""
    if mode_of(case.rollout, case.episode.alertname, case.policy) == "shadow":
        to = goal(case.rollout, case.journal, case.policy, case.now)
        return Decision(reason=Reason.SHADOW, to=to)
    return None


def mode_of(rollout: Rollout, alertname: str, policy: Policy) -> Mode:
    """Return the mode for one alert about one Deployment.

    What is said about the alert or the Deployment counts more than what is said about all, and
    where the two differ the careful one. A word that is none is careful, too.
    """
    named = dict(policy.alert_modes).get(alertname)
    annotated = rollout.annotations.get(ro.MODE)
    said = [mode for mode in (named, annotated) if mode is not None]
    if not said:
        return policy.mode
    return "act" if all(mode == "act" for mode in said) else "shadow"


def rolled_back(case: Case) -> Decision:
    """17: nothing speaks against it."""
    to = goal(case.rollout, case.journal, case.policy, case.now)
    return Decision(reason=Reason.ROLLED_BACK, to=to)


# Rules 1, 2, 4 and most of 3 need no Deployment: the controller applies them when it routes.
TABLE: tuple[tuple[int, Rule], ...] = (
    (3, alert_not_allowed),
    (5, already_handled),
    # 6: a staged release in progress is aborted. There is none yet.
    (7, not_this_track),
    (7, revision_not_current),
    (8, guarded),
    (8, human_in_charge),
    (9, not_writable),
    (9, not_observed),
    (10, cooldown),
    (11, not_a_new_release),
    (12, outside_window),
    (12, predates_release),
    (13, shared_cause),
    (14, no_good_revision),
    (15, exhausted),
    (16, shadow),
    (17, rolled_back),
)


def decide(case: Case) -> Decision:
    """Return what the first rule that applies says."""
    return next(decision for _, rule in TABLE if (decision := rule(case)) is not None)


def quarantined(rollout: Rollout, journal: Journal) -> frozenset[str]:
    """Return the codes that we, or as far as it shows a person, rolled away from."""
    by_people = ro.left_by_undo(rollout) - journal.spared(rollout.uid)
    return journal.quarantined(rollout.uid) | by_people


def excluded(rollout: Rollout, journal: Journal, now: datetime) -> frozenset[str]:
    """Return the codes that nothing is ever rolled back to by itself."""
    return quarantined(rollout, journal) | frozenset(journal.suspects(rollout.uid, now))


def goal(rollout: Rollout, journal: Journal, policy: Policy, now: datetime) -> Revision | None:
    """Return where to roll back to: the highest revision that is not excluded.

    If the policy says so, the highest verified one; and where there is none, any other.
    """
    bad = excluded(rollout, journal, now)
    if policy.target == "verified":
        unproven = {r.code for r in rollout.revisions} - journal.soaked(rollout.uid)
        if (found := ro.destination(rollout, bad | unproven)) is not None:
            return found
    return ro.destination(rollout, bad)


def why_none(rollout: Rollout) -> str:
    """Say why there is no destination: a short history reads otherwise than a bad one."""
    others = [r for r in rollout.revisions if r.code != rollout.code]
    if not others:
        return "no rollout history: the Deployment has no revision of other code"
    return f"none of {len(others)} other revisions is free of quarantine and alerts"


def _clock(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%SZ")


# --- an incident that has settled


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of an incident: a patch to `to`, its end in `phase`, or waiting until `due`."""

    phase: Phase
    reason: Reason
    to: Revision | None = None
    due: datetime | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What there is to see of one target. `rollout` None: there is no such Deployment."""

    rollout: Rollout | None
    journal: Journal
    policy: Policy
    now: datetime
    stopped: str = ""
    ledger: Ledger = Ledger()


def decide_again(incident: Incident, look: Look) -> Verdict:
    """Decide about an open incident whose patch has not been sent, on a new look at everything."""
    rollout = look.rollout
    if rollout is None or rollout.uid != incident.uid:
        return Verdict(phase=Phase.GONE, reason=incident.reason, detail="the Deployment is gone")
    if incident.actor:
        return _again_by_hand(incident, look, rollout)
    if rollout.code != incident.bad.code:
        detail = "somebody else changed the template first"
        return Verdict(phase=Phase.SUPERSEDED, reason=incident.reason, detail=detail)
    asking = look.journal.episodes_of(incident.uid, incident.bad.code)
    verdicts = [_of_episode(incident, look, rollout, e) for e in asking if e.firing]
    if not verdicts:
        return Verdict(phase=Phase.RESOLVED_BY_ITSELF, reason=incident.reason)
    # One alert that asks is enough; a guard or a rule that stops one stops this incident only
    # when no other alert gets past it.
    order = (Phase.APPLYING, Phase.SETTLING, Phase.REFUSED)
    return min(verdicts, key=lambda verdict: order.index(verdict.phase))


def _refused_before(incident: Incident, journal: Journal, episode: Episode) -> Reason | None:
    """Return why a guard refused this episode before this incident was opened: that is final."""
    if episode.reason in FINAL:
        return episode.reason
    earlier = [
        i
        for i in journal.incidents
        if (i.uid, i.bad.code) == (incident.uid, incident.bad.code) and i.id != incident.id
    ]
    refused = (i for i in earlier if i.phase is Phase.REFUSED and i.reason in FINAL)
    return next((i.reason for i in refused if i.phase_at >= episode.seen_at), None)


def _of_episode(incident: Incident, look: Look, rollout: Rollout, episode: Episode) -> Verdict:
    if (why := _refused_before(incident, look.journal, episode)) is not None:
        detail = "what still fires had been refused before"
        return Verdict(phase=Phase.REFUSED, reason=why, detail=detail)
    case = Case(
        rollout=rollout,
        journal=look.journal,
        episode=episode,
        policy=look.policy,
        now=look.now,
        stopped=look.stopped,
        ledger=look.ledger,
        own=incident.id,
    )
    decision = decide(case)
    phase = Phase.REFUSED
    if decision.reason is Reason.ROLLED_BACK:
        phase = Phase.APPLYING
    elif decision.reason is Reason.NOT_OBSERVED:
        # The episode does not know that it waits: the incident has an end all the same.
        patience = look.policy.settle + look.policy.observe_within
        waiting = look.now - incident.phase_at < patience
        phase = Phase.SETTLING if waiting else Phase.REFUSED
    elif decision.reason is Reason.COOLDOWN:
        phase = Phase.SETTLING
    return Verdict(
        phase=phase,
        reason=decision.reason,
        to=decision.to,
        due=decision.due if phase is Phase.SETTLING else None,
        detail=decision.detail,
    )


def _again_by_hand(incident: Incident, look: Look, rollout: Rollout) -> Verdict:
    if rollout.current is None or rollout.current.hash != incident.pinned:
        detail = "another revision is current than when the rollback was accepted"
        return Verdict(phase=Phase.SUPERSEDED, reason=Reason.CURRENT_CHANGED, detail=detail)
    ask = Ask(to_hash=incident.to.hash if incident.to else None, force=incident.forced)
    decision = decide_manual(ask, rollout, look, own=incident.id)
    phase = Phase.REFUSED if decision.to is None else Phase.APPLYING
    return Verdict(phase=phase, reason=decision.reason, to=decision.to, detail=decision.detail)


# --- a person


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a person asks for. `expect_current`: a revision number or a pod-template-hash.

    `to_hash` names the destination that was accepted: numbers may have moved since.
    """

    to_revision: int | None = None
    to_hash: str | None = None
    expect_current: str | None = None
    force: bool = False

    @property
    def named(self) -> bool:
        """Return whether it names where to."""
        return self.to_revision is not None or self.to_hash is not None


def decide_manual(ask: Ask, rollout: Rollout, look: Look, own: str = "") -> Decision:
    """Decide about a rollback by hand: the column *manual* of the table.

    `own` is the incident that this person's rollback has become, while it is decided again.
    """
    refused = (
        _expected(ask, rollout)
        or _too_soon(ask, rollout, look, own)
        or _forbidden(ask, rollout, look.policy)
    )
    if refused is not None:
        return refused
    if ask.named:
        return _to_named(ask, rollout, look)
    to = goal(rollout, look.journal, look.policy, look.now)
    if to is None:
        return Decision(reason=Reason.NO_GOOD_REVISION, detail=why_none(rollout))
    return Decision(reason=Reason.ROLLED_BACK, to=to)


def _expected(ask: Ask, rollout: Rollout) -> Decision | None:
    current = rollout.current
    if ask.expect_current is None:
        return None
    if current is not None and ask.expect_current in (current.hash, str(current.number)):
        return None
    seen = f"{current.number} ({current.hash})" if current is not None else "unknown"
    return Decision(reason=Reason.CURRENT_CHANGED, detail=f"current is {seen}")


def _too_soon(ask: Ask, rollout: Rollout, look: Look, own: str) -> Decision | None:
    """Never two steps back by a person and us: "previous" is refused around a rollback."""
    flight = look.journal.in_flight
    if flight is not None and flight.id != own:
        sending = flight.phase is Phase.APPLYING
        if sending or (flight.left and not ask.named):
            return Decision(reason=Reason.COOLDOWN, detail=flight.id)
    if ask.named:
        return None
    for incident in look.journal.incidents:
        if incident.uid != rollout.uid or not incident.left or incident.id == own:
            continue
        if look.now < (incident.completed_at or incident.phase_at) + look.policy.cooldown:
            return Decision(reason=Reason.COOLDOWN, detail=incident.id)
    return None


def _forbidden(ask: Ask, rollout: Rollout, policy: Policy) -> Decision | None:
    """Refuse what kubectl refuses, and without `force` what needs it."""
    protected = rollout.annotations.get(ro.PROTECTED)
    owned = rollout.gitops if policy.gitops == "refuse" else ""
    found = (
        (protected is not None and not ask.force, Reason.PROTECTED, protected or ""),
        (rollout.deleting, Reason.DELETING, ""),
        (rollout.paused, Reason.DEPLOYMENT_PAUSED, ""),
        (bool(owned) and not ask.force, Reason.GITOPS_OWNED, owned),
        (not rollout.observed, Reason.NOT_OBSERVED, ""),
    )
    return next((Decision(reason=why, detail=text) for no, why, text in found if no), None)


def _to_named(ask: Ask, rollout: Rollout, look: Look) -> Decision:
    if ask.to_hash is not None:
        to = ro.hashed(rollout, ask.to_hash)
    else:
        to = ro.numbered(rollout, ask.to_revision or 0)
    if to is None:
        numbers = ", ".join(str(r.number) for r in rollout.revisions)
        return Decision(reason=Reason.UNKNOWN_REVISION, detail=f"the history holds {numbers}")
    if to.code == rollout.code:
        return Decision(reason=Reason.SAME_TEMPLATE, detail=f"revision {to.number}")
    if to.code in excluded(rollout, look.journal, look.now) and not ask.force:
        detail = f"revision {to.number} is quarantined or alerts; force overrides that"
        return Decision(reason=Reason.NO_GOOD_REVISION, detail=detail)
    return Decision(reason=Reason.ROLLED_BACK, to=to)


def forceable(reason: Reason, *, named: bool) -> bool:
    """Return whether `force` would get past this refusal."""
    if reason is Reason.NO_GOOD_REVISION:
        return named
    return about(reason).manual is Manual.NEEDS_FORCE
