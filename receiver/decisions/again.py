"""An incident that has settled is decided again, on a new look at everything. Pure."""

from dataclasses import dataclass
from datetime import datetime

from receiver.decisions.cases import FINAL, Case, Look
from receiver.decisions.manual import Ask, decide_manual
from receiver.decisions.table import decide
from receiver.journal import Episode, Incident, Journal, Phase
from receiver.reasons import Reason
from receiver.rollout import Revision, Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of an incident: a patch to `to`, its end in `phase`, or waiting until `due`."""

    phase: Phase
    reason: Reason
    to: Revision | None = None
    due: datetime | None = None
    detail: str = ""


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
        release=look.release,
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
