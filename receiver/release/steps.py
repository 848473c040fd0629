"""What comes next in a release, from what is remembered and what is seen. Pure.

It looks at what is, not at what happened, so any replica can go on from any point. Nothing is ever
promoted on a doubt: what is unknown lets the soak stand still, what others changed holds it all.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from receiver import rollout as ro
from receiver.journal import SAID, Applied, Hold, Measure, Release, Step
from receiver.reasons import Reason
from receiver.release.people import abort
from receiver.release.shares import FULL, note_of, share_of, wanted
from receiver.rollout import Progressing, Rollout

# A soak that stands still for so long is told; what passes by itself is not worth a message.
TELL_AFTER = timedelta(minutes=5)


class Act(StrEnum):
    """What has to be done at the cluster, after the release is written down."""

    NONE = "none"
    CANARY = "canary"  # one patch: the pods it is to have, and its template
    PROMOTE = "promote"  # write the intent, then one patch of the stable Deployment
    LEARN = "learn"  # find out what became of that patch
    UNDO = "undo"  # roll the stable Deployment back, as one incident


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What is seen of a release now; None: there is no such Deployment.

    `rollback` is the incident in flight of the stable one. `stopped` and `frozen` say why nothing
    new may be begun. `asking` are the alerts on the canary, or on the stable Deployment as long as
    it is the old one, that ask for a rollback. `critical` are the critical alerts that fire for one
    of the two, None: nobody knows. `elapsed` is for how long this process has watched without a
    gap since it looked last. `margin`: how much longer than its own deadline a rollout may take.
    """

    now: datetime
    stable: Rollout | None
    canary: Rollout | None
    rollback: str = ""
    stopped: str = ""
    frozen: str = ""
    asking: tuple[str, ...] = ()
    measures: tuple[Measure, ...] = ()
    critical: tuple[str, ...] | None = None
    elapsed: timedelta = timedelta(0)
    margin: timedelta = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The release as it is to be remembered, what to do then, and whether people are told."""

    release: Release
    act: Act = Act.NONE
    tell: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """What is seen where the stable Deployment is that of the release. `canary` None: it is gone.

    It can only be gone where everybody has the version, or may have it.
    """

    stable: Rollout
    canary: Rollout | None
    sight: Sight


def advance(release: Release, sight: Sight) -> Move:
    """Return what comes next for a release that is in progress."""
    if not release.open:
        return Move(release=release)
    if release.step is Step.ABORTING:
        return _aborting(release, sight)
    if isinstance(pair := _pair(release, sight), str):
        return _abort(release, sight, Reason.TARGET_NOT_FOUND, pair)
    if sight.rollback:
        text = f"a rollback is in progress ({sight.rollback})"
        return _abort(release, sight, Reason.RELEASE_ABORTED, text)
    if sight.asking:
        text = f"{', '.join(sight.asking)} asks for a rollback"
        return _abort(release, sight, Reason.RELEASE_ABORTED, text, undo=True)
    if release.held is not None:
        return Move(release=release)
    if drifted := drift(release, pair.stable, pair.canary):
        return _drifted(release, pair, drifted)
    step = _everybody if release.intent is not None else _STEPS[release.step]
    return step(_adopted(release, pair.canary), pair)


def _pair(release: Release, sight: Sight) -> _Pair | str:
    stable = _own(sight.stable, release.uid)
    canary = _own(sight.canary, release.canary_uid)
    if stable is None:
        return "the stable Deployment is gone"
    if canary is None and release.intent is None:
        return f"{release.canary} is gone"
    return _Pair(stable=stable, canary=canary, sight=sight)


def _own(rollout: Rollout | None, uid: str) -> Rollout | None:
    """Return a Deployment if it is the very one that the release began with."""
    ours = rollout is not None and rollout.uid == uid and not rollout.deleting
    return rollout if ours else None


def _abort(
    release: Release, sight: Sight, reason: Reason, text: str, *, undo: bool = False
) -> Move:
    return Move(release=abort(release, reason, text, sight.now, undo=undo), tell=True)


# --- what others have changed


def drift(release: Release, stable: Rollout, canary: Rollout | None) -> str:
    """Return what is not as the release left it, "" for nothing."""
    return _stable_drift(release, stable) or _canary_drift(release, canary)


def _stable_drift(release: Release, stable: Rollout) -> str:
    before = (release.base, release.promoted) if release.intent is not None else (release.base,)
    ours = (release.promoted,) if release.applied is not None else before
    if stable.code not in ours:
        return f"somebody changed the template of {stable.name}"
    return _opted_out(stable)


def _canary_drift(release: Release, canary: Rollout | None) -> str:
    if canary is None:
        return ""
    if left := _opted_out(canary):
        return left
    untouched = not release.generation and canary.code == release.canary_before
    if untouched and release.step in (Step.PREPARING, Step.SCALING):
        return ""
    if canary.code != release.code:
        return f"somebody changed the template of {canary.name}"
    scaled = canary.desired != release.replicas and not _noted(release, canary, canary.desired)
    if scaled and not release.rescale:
        return f"{canary.name} was scaled from {release.replicas} to {canary.desired} pods"
    return ""


def _opted_out(rollout: Rollout) -> str:
    """Return that it may not be written to any more, "" when it may."""
    opted_in = rollout.labels.get(ro.ENABLED) == "true"
    return "" if opted_in else f"{rollout.name} is not opted in any more"


def _noted(release: Release, canary: Rollout, replicas: int) -> bool:
    """Return whether the canary says that this very release gave it so many pods."""
    return canary.annotations.get(ro.RELEASE) == note_of(release, replicas)


def _adopted(release: Release, canary: Rollout | None) -> Release:
    """Return the release with a write of ours that was not noted: whoever sent it died."""
    if canary is None or canary.code != release.code:
        return release
    if not _noted(release, canary, canary.desired):
        return release
    if canary.desired == release.replicas and release.generation:
        return release
    return replace(release, replicas=canary.desired, generation=canary.generation)


def _drifted(release: Release, pair: _Pair, text: str) -> Move:
    sight = pair.sight
    if release.applied is not None and _stable_drift(release, pair.stable):
        # Everybody has it already, and somebody has gone on from there: that is theirs.
        return _abort(release, sight, Reason.RELEASE_DRIFTED, text)
    held = Hold(reason=Reason.RELEASE_DRIFTED, at=sight.now, detail=text)
    return Move(release=replace(release, held=held).said(f"held: {text}", sight.now), tell=True)


# --- one step after the other: to the canary


def _preparing(release: Release, pair: _Pair) -> Move:
    if release.unticked("before") or _may_not_begin(pair):
        return Move(release=release)
    text = f"the stage {release.present.name} begins"
    return Move(release=release.enter(Step.SCALING, pair.sight.now, text))


def _may_not_begin(pair: _Pair) -> str:
    return pair.sight.stopped or pair.sight.frozen or _no_share(pair.stable)


def _no_share(stable: Rollout) -> str:
    """Return why no share can be kept: beside no others, a single pod has all of the traffic."""
    return "" if stable.desired else f"{stable.name} has no pods"


def _scaling(release: Release, pair: _Pair) -> Move:
    sight, canary = pair.sight, pair.canary
    replicas = wanted(release, pair.stable)
    if canary is None or not _has(release, canary, replicas):
        return Move(release=release) if _may_not_begin(pair) else _give(release, canary)
    release = replace(release, rescale=False, waited=release.waited + _since(sight))
    state = _ready(release, canary).state
    if state == "done":
        share = f"{share_of(pair.stable.desired, replicas):.0f} %"
        text = f"{release.present.name}: {replicas} canary pods are ready, {share} of all"
        began = timedelta(0)
        after = release.enter(Step.SOAKING, sight.now, text, soaked=began, waited=began)
        return Move(release=after, tell=True)
    if state == "failed" or release.waited >= ro.patience(canary, sight.margin):
        text = f"{canary.available} of {replicas} canary pods became ready in time"
        return _abort(release, sight, Reason.CANARY_NOT_READY, text)
    return Move(release=release)


def _since(sight: Sight) -> timedelta:
    """Return the time that was watched; wall clocks step, and are never compared for that."""
    return max(timedelta(0), sight.elapsed)


def _give(release: Release, canary: Rollout | None) -> Move:
    """Let the canary get its pods. What it said before that is remembered first: it is stale."""
    said = canary.progressing if canary is not None else None
    stale = (said.reason, said.updated_at) if said is not None else ("", "")
    return Move(release=replace(release, stale=stale, waited=timedelta(0)), act=Act.CANARY)


def _has(release: Release, canary: Rollout, replicas: int) -> bool:
    return (
        canary.code == release.code
        and _noted(release, canary, replicas)
        and (canary.desired == replicas)
    )


def _ready(release: Release, canary: Rollout) -> ro.Progress:
    """Return how far the canary's pods are; a deadline missed before our write is stale."""
    reason, updated_at = release.stale
    before = Progressing(reason=reason, updated_at=updated_at)
    return ro.progress(canary, release.generation, before)


def _soaking(release: Release, pair: _Pair) -> Move:
    return _rescaled(release, pair) or _soaked(release, pair, release.present.soak)


def _waiting(release: Release, pair: _Pair) -> Move:
    return _rescaled(release, pair) or _soaked(release, pair, timedelta(0))


def _rescaled(release: Release, pair: _Pair) -> Move | None:
    """Keep the share while the stable Deployment is scaled, by whomever."""
    canary = pair.canary
    if canary is None or _has(release, canary, wanted(release, pair.stable)):
        return None
    return None if _may_not_begin(pair) else _give(release, canary)


def _soaked(release: Release, pair: _Pair, whole: timedelta) -> Move:
    """Count healthy time; once there is enough of it, go on if nobody has to approve that.

    Time counts where it was well at its beginning and at its end.
    """
    sight, well = pair.sight, not release.trouble
    release, told = _judged(release, pair)
    if well and not release.trouble:
        release = replace(release, soaked=release.soaked + _since(sight))
    enough = release.early or release.soaked >= whole
    if release.trouble or not enough:
        return Move(release=release, tell=told)
    if release.step is Step.WATCHING:
        return Move(release=_completed(release, sight), tell=True)
    if lacking := release.lacking(release.stage + 1):
        if release.step is Step.WAITING:
            return Move(release=release, tell=told)
        text = f"{release.present.name} has soaked: it waits for {' and '.join(lacking)}"
        return Move(release=release.enter(Step.WAITING, sight.now, text), tell=True)
    if sight.frozen:
        return Move(release=release, tell=told)
    after = _next(release, sight)
    return Move(release=after, tell=told or after.step is Step.PROMOTING)


def _next(release: Release, sight: Sight) -> Release:
    number = release.stage + 1
    stage = release.plan.stages[number]
    step = Step.PROMOTING if stage.percent >= FULL else Step.SCALING
    return release.enter(
        step,
        sight.now,
        f"the stage {stage.name} begins",
        stage=number,
        soaked=timedelta(0),
        early=False,
        measures=(),
        waited=timedelta(0),
    )


def _promoting(release: Release, pair: _Pair) -> Move:
    release, told = _judged(release, pair)
    ready = not (release.trouble or _may_not_begin(pair))
    return Move(release=release, act=Act.PROMOTE if ready else Act.NONE, tell=told)


_STEPS: Mapping[Step, Callable[[Release, _Pair], Move]] = MappingProxyType(
    {
        Step.PREPARING: _preparing,
        Step.SCALING: _scaling,
        Step.SOAKING: _soaking,
        Step.WAITING: _waiting,
        Step.PROMOTING: _promoting,
    }
)


# --- to everybody


def _everybody(release: Release, pair: _Pair) -> Move:
    if release.applied is None:
        return Move(release=release, act=Act.LEARN)
    if release.step is Step.WATCHING:
        return _watching(release, pair)
    return _following(release, release.applied, pair)


def _following(release: Release, applied: Applied, pair: _Pair) -> Move:
    sight, stable = pair.sight, pair.stable
    release = replace(release, waited=release.waited + _since(sight))
    progress = _rolled_out(applied, stable)
    if progress.state == "done":
        text = f"everybody has {release.version}"
        began = timedelta(0)
        after = release.enter(Step.WATCHING, sight.now, text, soaked=began, waited=began)
        return Move(release=after, tell=True)
    if progress.state == "failed" or release.waited >= ro.patience(stable, sight.margin):
        return _abort(release, sight, Reason.PROMOTION_FAILED, progress.text, undo=True)
    return Move(release=release)


def _rolled_out(applied: Applied, stable: Rollout) -> ro.Progress:
    stale = Progressing(reason=applied.stale_reason, updated_at=applied.stale_updated_at)
    return ro.progress(stable, applied.generation, stale)


def _watching(release: Release, pair: _Pair) -> Move:
    canary = pair.canary
    if canary is not None and not pair.sight.stopped:
        if not _has(release, canary, 0):
            return _give(release, canary)
        release = replace(release, rescale=False)
    return _soaked(release, pair, release.plan.watch)


def _completed(release: Release, sight: Sight) -> Release:
    left = len(release.unticked("after"))
    rest = f"; {left} lines of the checklist are open" if left else ""
    return release.enter(Step.COMPLETED, sight.now, f"complete: everybody has it{rest}")


# --- and back


def _aborting(release: Release, sight: Sight) -> Move:
    """Take the canary back first, which users notice; then what everybody has, if it must go."""
    canary, stable = sight.canary, sight.stable
    if canary is not None and canary.uid == release.canary_uid:
        if _opted_out(canary):
            text = f"{_opted_out(canary)}: it keeps its {canary.desired} pods"
            release = release if _said(release, text) else release.said(text, sight.now)
        elif canary.desired or not _noted(release, canary, 0):
            return Move(release=release, act=Act.CANARY)
    if stable is not None and stable.uid == release.uid and release.intent is not None:
        if release.applied is None:
            return Move(release=release, act=Act.LEARN)
        if release.undo and not sight.rollback and stable.code == release.promoted:
            return Move(release=release, act=Act.UNDO)
    return Move(release=aborted(release, sight.now), tell=True)


def _said(release: Release, text: str) -> bool:
    return any(line.text == text for line in release.happened)


def learned(
    release: Release,
    fate: Literal["applied", "voided", "unknown"],
    applied: Applied,
    now: datetime,
) -> Release:
    """Return a release whose promotion was applied, was not and never will be, or nobody knows."""
    if fate == "applied":
        release = replace(release, applied=applied, waited=timedelta(0))
        return release.said("the stable Deployment has it", now)
    release = replace(release, intent=None, promoted="")
    if fate == "voided":
        return release
    text = f"{release.plan.stages[-1].name}: nobody can know whether the patch was applied"
    return abort(release, Reason.FATE_UNKNOWN, text, now)


def aborted(release: Release, now: datetime) -> Release:
    """Return it at its end: nothing of it is left to do."""
    return release.enter(Step.ABORTED, now, "aborted")


# --- is it well


def _judged(release: Release, pair: _Pair) -> tuple[Release, bool]:
    """Return the release with its trouble of now, and whether people are to be told of it."""
    sight = pair.sight
    found = _trouble(release, pair)
    measures = tuple(replace(m, text=m.text[:SAID]) for m in sight.measures)
    release = replace(release, measures=measures)
    if sight.critical and release.step in (Step.SOAKING, Step.WATCHING):
        # A stage is complete after so long without any critical alert: from the beginning, then.
        release = replace(release, soaked=timedelta(0), early=False)
    if found is None:
        told = release.told is not None
        if release.trouble:
            release = replace(release, trouble="", trouble_at=None, told=None)
            release = release.said("it is well again", sight.now)
        return release, told
    reason, text = found
    if not release.trouble or release.trouble_at is None:
        release = replace(release, trouble_at=sight.now).said(f"it stands still: {text}", sight.now)
    release = replace(release, trouble=text[:SAID])
    began = release.trouble_at or sight.now
    if release.told is None and sight.now - began >= TELL_AFTER:
        return replace(release, told=reason), True
    return release, False


def _trouble(release: Release, pair: _Pair) -> tuple[Reason, str] | None:
    sight = pair.sight
    if sight.stopped:
        return Reason.STOPPED, sight.stopped
    if text := _no_share(pair.stable) or _not_ready(release, pair):
        return Reason.RELEASE_UNHEALTHY, text
    if sight.critical is None:
        return Reason.RELEASE_BLIND, "Prometheus does not say which critical alerts fire"
    if sight.critical:
        return Reason.RELEASE_UNHEALTHY, f"critical: {', '.join(sight.critical)}"
    asked = [check.name for check in release.health_checks]
    for name in asked:
        found = [m for m in sight.measures if m.name == name]
        if failing := [m for m in found if m.state == "failing"]:
            return Reason.RELEASE_UNHEALTHY, f"{name}: {failing[0].text}"
        if len(found) < asked.count(name):
            return Reason.RELEASE_BLIND, f"{name}: not measured"
        if unknown := [m for m in found if m.state != "ok"]:
            return Reason.RELEASE_BLIND, f"{name}: {unknown[0].text}"
    return None


def _not_ready(release: Release, pair: _Pair) -> str:
    """Return what is not ready of the pods that are looked at, "" when all of them are."""
    if release.applied is not None:
        progress = _rolled_out(release.applied, pair.stable)
        return "" if progress.state == "done" else f"{pair.stable.name}: {progress.text}"
    if release.step is Step.PROMOTING and pair.stable.paused:
        return f"{pair.stable.name} is paused: it would not roll out"
    if pair.canary is None:
        return f"{release.canary} is gone"
    progress = _ready(release, pair.canary)
    return "" if progress.state == "done" else f"canary: {progress.text}"
