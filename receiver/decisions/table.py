"""The decision table: one rule after another, the first that applies wins. Pure."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeAlias

from receiver import rollout as ro
from receiver.alerts import text
from receiver.decisions.cases import FINAL, Case, Decision, Mode, Policy
from receiver.decisions.destinations import goal, quarantined, why_none
from receiver.freeze import frozen
from receiver.journal import Incident, Phase, Step
from receiver.ledger import Ledger
from receiver.reasons import Reason
from receiver.rollout import Rollout

# What people wrote as their why is kept in the journal, which is bounded.
_WHY = 240

Rule: TypeAlias = Callable[[Case], Decision | None]


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


def release_aborted(case: Case) -> Decision | None:
    """6: a staged release is in progress, and goes back: that is smaller than any rollback.

    Once everybody has it, an alert about the stable Deployment is one like any other. What a canary
    ran that was aborted is dealt with, until something else runs there.
    """
    release, rollout = case.release, case.rollout
    if release is None or rollout.uid not in (release.uid, release.canary_uid):
        return None
    canary = rollout.uid == release.canary_uid
    if canary and release.is_passed_over_by(case.episode):
        return None
    if release.step is Step.ABORTED and canary and rollout.code == release.code:
        return Decision(reason=Reason.ALREADY_HANDLED, detail=release.id)
    if not release.open or (not canary and release.applied is not None):
        return None
    if release.step is Step.ABORTING:
        return Decision(reason=Reason.ALREADY_HANDLED, detail=release.id)
    return Decision(reason=Reason.RELEASE_ABORTED, detail=release.id)


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
    completed = last.completed_at or last.phase_at
    ends = completed + case.policy.cooldown
    # What is complete in the future was noted by a clock that is ahead: nobody knows when it was.
    if completed <= case.now < ends:
        return Decision(reason=Reason.COOLDOWN, due=ends, detail=last.id)
    waited = case.episode.reason in (Reason.COOLDOWN, Reason.ROLLBACK_DID_NOT_HELP)
    # Whatever it was that resolved, the same alert again so soon says that it was not the release.
    asked = case.journal.episodes_of(last.uid, last.bad.code)
    again = any(e.alertname == case.episode.alertname for e in asked)
    baking = case.now < completed + case.policy.bake
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
    (6, release_aborted),
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


def _clock(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%SZ")
