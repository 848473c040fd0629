"""Whether a release may begin, and how it looks when it does. Pure."""

from dataclasses import dataclass
from datetime import datetime

from receiver.decisions import Decision, Look
from receiver.freeze import frozen
from receiver.journal import SAID, Journal, Plan, Release, Step
from receiver.reasons import Reason
from receiver.release.shares import promoted
from receiver.rollout import ENABLED, Obj, Rollout, code_of, images_of, listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A release that a person wants. `template` is what the canary is to get.

    `force` is needed for a template that an earlier release was aborted for, or a rollback left.
    """

    plan: Plan
    template: Obj
    by: str
    why: str
    version: str = ""
    force: bool = False


def why_not(
    start: Start, look: Look, stable: Rollout, canary: Rollout | None, theirs: Journal
) -> Decision | None:
    """Return why a release may not begin, None when it may. `theirs` is the canary's journal."""
    if canary is None or canary.canary_of != stable.name:
        return Decision(reason=Reason.NO_CANARY)
    for check in (_not_ours, _held_back, _not_writable, _in_trouble):
        if (decision := check(look, stable, canary, theirs)) is not None:
            return decision
    if not stable.desired:
        return Decision(reason=Reason.NOT_RUNNING)
    if code_of(promoted(stable.template, start.template)) == stable.code:
        return Decision(reason=Reason.SAME_TEMPLATE)
    return None if start.force else _was_left(start, look, stable, canary, theirs)


def _was_left(
    start: Start, look: Look, stable: Rollout, canary: Rollout, theirs: Journal
) -> Decision | None:
    """Return what is held against the template: a release, or a rollback of either Deployment."""
    code = code_of(start.template)
    if (canary.uid, code) in look.journal.aborted:
        return Decision(reason=Reason.RELEASE_WAS_ABORTED)
    everybody = code_of(promoted(stable.template, start.template))
    if everybody in look.journal.quarantined(stable.uid):
        return Decision(reason=Reason.RELEASE_WAS_ABORTED, detail=f"{stable.name} left it")
    if code in theirs.quarantined(canary.uid):
        return Decision(reason=Reason.RELEASE_WAS_ABORTED, detail=f"{canary.name} left it")
    return None


def _not_ours(look: Look, stable: Rollout, canary: Rollout, theirs: Journal) -> Decision | None:
    del theirs
    for each in (stable, canary):
        if each.labels.get(ENABLED) != "true":
            return Decision(reason=Reason.NOT_OPTED_IN, detail=each.name)
    if look.journal.released is not None:
        return Decision(reason=Reason.RELEASE_IN_PROGRESS, detail=look.journal.released.id)
    return None


def _held_back(look: Look, stable: Rollout, canary: Rollout, theirs: Journal) -> Decision | None:
    """Return what holds automation back: that a release is begun by a person changes nothing."""
    del stable, canary
    if look.stopped:
        return Decision(reason=Reason.STOPPED, detail=look.stopped[:SAID])
    pause = look.journal.pause or theirs.pause
    if pause is not None:
        return Decision(reason=Reason.PAUSED, detail=f"by {pause.by}: {pause.why}"[:SAID])
    if why := frozen(look.policy.freeze, look.now):
        return Decision(reason=Reason.FROZEN, detail=why[:SAID])
    return None


def _not_writable(look: Look, stable: Rollout, canary: Rollout, theirs: Journal) -> Decision | None:
    del theirs
    for each in (stable, canary):
        if each.deleting:
            return Decision(reason=Reason.DELETING, detail=each.name)
        if each.paused:
            return Decision(reason=Reason.DEPLOYMENT_PAUSED, detail=each.name)
        if each.gitops and look.policy.gitops == "refuse":
            return Decision(reason=Reason.GITOPS_OWNED, detail=f"{each.name}: {each.gitops}")
        if not each.observed:
            return Decision(reason=Reason.NOT_OBSERVED, detail=each.name)
    return None


def _in_trouble(look: Look, stable: Rollout, canary: Rollout, theirs: Journal) -> Decision | None:
    """Return what is wrong already: nothing new is begun on top of that."""
    for journal, rollout in ((look.journal, stable), (theirs, canary)):
        if journal.in_flight is not None:
            return Decision(reason=Reason.COOLDOWN, detail=journal.in_flight.id)
        firing = [e for e in journal.episodes if e.asks and e.firing and e.uid == rollout.uid]
        if firing:
            return Decision(reason=Reason.TARGET_ALERTING, detail=firing[0].alertname)
    return None


def begin(start: Start, id_: str, stable: Rollout, canary: Rollout, now: datetime) -> Release:
    """Return the release as it begins: nothing is written anywhere yet."""
    images = images_of(start.template)
    version = start.version or listed(i for i in images if i not in images_of(stable.template))
    release = Release(
        id=id_,
        plan=start.plan,
        version=(version or listed(images))[:SAID],
        uid=stable.uid,
        canary=canary.name,
        canary_uid=canary.uid,
        canary_before=canary.code,
        code=code_of(start.template),
        base=stable.code,
        images=images,
        by=start.by,
        why=start.why[:SAID],
        opened_at=now,
        step=Step.PREPARING,
        step_at=now,
        reason=Reason.RELEASING,
    )
    return release.said(f"begun by {start.by}: {start.why}", now)
