"""What a person asks for: the column *manual* of the table. Pure."""

from dataclasses import dataclass

from receiver import rollout as ro
from receiver.decisions.cases import Decision, Look, Policy
from receiver.decisions.destinations import excluded, goal, why_none
from receiver.journal import Phase
from receiver.reasons import Manual, Reason, about
from receiver.rollout import Rollout


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
