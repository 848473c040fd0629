"""What people may do with a release that is in progress. Pure.

Each returns the release as it is then, or a `Decision` that says why not.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from receiver.decisions import Decision
from receiver.journal import SAID, Approval, Hold, Release, Step
from receiver.reasons import Reason

# Where a stage has soaked, or does.
_SOAKED = frozenset({Step.SOAKING, Step.WAITING, Step.PROMOTING})


def approve(
    release: Release, by: str, roles: Collection[str], why: str, now: datetime
) -> Release | Decision:
    """Approve the beginning of the next stage, in the first role of it that is lacking.

    Only once it waits for that: an approval is about what has soaked, never given ahead. Not by
    whoever began the release, and by another person for each role.
    """
    if release.step is not Step.WAITING:
        return Decision(reason=Reason.NOT_WAITING, detail=release.step.value)
    if release.held is not None:
        return Decision(reason=Reason.RELEASE_HELD, detail=release.held.detail)
    if release.trouble:
        return Decision(reason=Reason.RELEASE_UNHEALTHY, detail=release.trouble)
    number = release.stage + 1
    if (refused := _may_not(release, by, roles, release.lacking(number))) is not None:
        return refused
    role = next(r for r in release.lacking(number) if r in roles)
    given = Approval(stage=number, role=role, by=by, at=now, why=why[:SAID])
    after = replace(release, approvals=(*release.approvals, given))
    return after.said(f"{by} ({role}) approved the stage {_name(release)}: {why}", now)


def _name(release: Release) -> str:
    return release.following.name if release.following is not None else ""


def _may_not(
    release: Release, by: str, roles: Collection[str], wanted: Collection[str]
) -> Decision | None:
    if not set(wanted) & set(roles):
        return Decision(reason=Reason.NOT_AN_APPROVER, detail=", ".join(wanted))
    others = {a.by for a in release.approvals if a.stage == release.stage + 1}
    if by == release.by or by in others:
        return Decision(reason=Reason.ANOTHER_PERSON, detail=by)
    return None


def promote(
    release: Release, by: str, roles: Collection[str], why: str, now: datetime
) -> Release | Decision:
    """End the soak of the present stage early, for a person who may approve the next one.

    Health counts all the same, and so does every other approval that the next stage needs.
    """
    if release.step not in (Step.SOAKING, Step.WATCHING):
        return Decision(reason=Reason.NOT_WAITING, detail=release.step.value)
    if release.held is not None:
        return Decision(reason=Reason.RELEASE_HELD, detail=release.held.detail)
    if release.trouble:
        return Decision(reason=Reason.RELEASE_UNHEALTHY, detail=release.trouble)
    number = min(release.stage + 1, len(release.plan.stages) - 1)
    every = {role for stage in release.plan.stages for role in stage.approvals}
    wanted = release.plan.stages[number].approvals or sorted(every)
    if wanted and (refused := _may_not(release, by, roles, wanted)) is not None:
        return refused
    whole = release.plan.watch if release.step is Step.WATCHING else release.present.soak
    left = max(timedelta(0), whole - release.soaked)
    after = replace(release, early=True)
    return after.said(f"{by} ended the stage {_left(left)} early: {why}", now)


def _left(left: timedelta) -> str:
    hours, rest = divmod(left, timedelta(hours=1))
    return f"{hours} h {rest // timedelta(minutes=1)} min"


def hold(release: Release, by: str, why: str, now: datetime) -> Release | Decision:
    """Let everything stay as it is, until somebody resumes it. Alerts abort it all the same."""
    if not release.open or release.step is Step.ABORTING:
        return Decision(reason=Reason.NOT_WAITING, detail=release.step.value)
    if release.held is not None:
        return Decision(reason=Reason.RELEASE_HELD, detail=release.held.detail)
    held = Hold(reason=Reason.RELEASE_HELD, at=now, by=by, detail=why[:SAID])
    return replace(release, held=held).said(f"{by} paused it: {why}", now)


def resume(
    release: Release, by: str, why: str, now: datetime, *, drifted: str
) -> Release | Decision:
    """Go on, with what was held. What had drifted soaks anew, and is approved anew.

    `drifted` says which template is still not as the release left it, "" for none: another one
    would be promoted unseen, or a hotfix undone. Then only an abort is left. The number of pods is
    set right by the release itself.
    """
    if release.held is None:
        return Decision(reason=Reason.NOT_HELD)
    if drifted:
        return Decision(reason=Reason.RELEASE_DRIFTED, detail=drifted)
    after = replace(release, held=None, told=None, trouble="", trouble_at=None, waited=timedelta(0))
    if release.held.reason is Reason.RELEASE_DRIFTED:
        after = _anew(replace(after, rescale=True), now)
    return after.said(f"{by} resumed it: {why}", now)


def _anew(release: Release, now: datetime) -> Release:
    """Return it at the beginning of the stage that soaked last, if not everybody has it already."""
    if release.intent is not None or release.step not in _SOAKED:
        return release
    stage = release.stage - (release.step is Step.PROMOTING)
    return replace(
        release,
        step=Step.SCALING,
        step_at=now,
        stage=stage,
        soaked=timedelta(0),
        early=False,
        # What was approved is not what will have soaked.
        approvals=tuple(a for a in release.approvals if a.stage <= stage),
    )


def abort(
    release: Release, reason: Reason, text: str, now: datetime, *, undo: bool = False
) -> Release:
    """Return it on its way back: the canary to 0, and `undo`: what everybody has already, too.

    Whatever is said later, what once was to be undone is. What has ended stays as it ended.
    """
    if not release.open:
        return release
    undo = undo or release.undo
    after = replace(release, reason=reason, detail=text[:SAID], held=None, undo=undo)
    return after.enter(Step.ABORTING, now, text)


def tick(
    release: Release, item: str, by: str, note: str, now: datetime, *, done: bool = True
) -> Release | Decision:
    """Note that a line of a checklist is seen to, or that it is not."""
    found = next((i for i in release.plan.checklist if i.id == item), None)
    if found is None:
        return Decision(reason=Reason.NO_SUCH_CHECK, detail=item)
    ticked = replace(found, by=by if done else "", at=now if done else None, note=note[:SAID])
    lines = tuple(ticked if i.id == item else i for i in release.plan.checklist)
    after = replace(release, plan=replace(release.plan, checklist=lines))
    verb = "ticked" if done else "unticked"
    return after.said(f"{by} {verb} “{found.text}”{f': {note}' if note else ''}", now)
