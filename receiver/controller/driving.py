"""The loop of one release: look, decide, write down, act. Any replica enters anywhere.

What is to be done is always in the journal before it is done, and each patch tests the generation
that was seen: whoever lost the claim, or had stalled, finds that out at the API server.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import inf
from types import MappingProxyType
from typing import Literal

from receiver import release as rl
from receiver import rollout as ro
from receiver.controller.guards import Guards
from receiver.controller.look import look, rollout_of, why_stopped
from receiver.controller.memory import Memory
from receiver.controller.ports import Condition, Happening, Subject
from receiver.controller.reconcile import applied_of, emit
from receiver.controller.remember import by_hand, mark
from receiver.controller.setup import Ref, Setup
from receiver.decisions import Ask, decide_manual
from receiver.errors import Conflict, Denied, Forbidden, Rejected, Unavailable
from receiver.freeze import frozen
from receiver.journal import (
    SAID,
    Episode,
    Hold,
    Intent,
    Journal,
    Mark,
    Measure,
    Notice,
    Release,
    Step,
)
from receiver.reasons import Reason
from receiver.release import Act, Move, Sight
from receiver.rollout import Rollout

# A soak that grows is written down so often: so much of it is lost with the replica, and no more.
NOTED = timedelta(minutes=1)
# Health is asked for where a soak could count, or a promotion begin.
_ASKED = frozenset({Step.SOAKING, Step.WAITING, Step.PROMOTING, Step.WATCHING})
_STATES: Mapping[Condition, Literal["ok", "failing"]] = MappingProxyType(
    {Condition.FALSE: "ok", Condition.TRUE: "failing"}
)
# What a release of this template was aborted for is held against it.
_HELD_AGAINST = frozenset(
    {Reason.RELEASE_ABORTED, Reason.CANARY_NOT_READY, Reason.PROMOTION_FAILED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Watch:
    """What this process saw of a stage when it looked last; times are of its monotonic clock.

    `elapsed` is how long before that it had looked, zero if that is too long ago to vouch for.
    """

    of: tuple[str, int, Step]
    soaked: timedelta
    waited: timedelta
    at: float
    elapsed: timedelta = timedelta(0)
    asked_at: float = -inf
    measures: tuple[Measure, ...] = ()
    critical: tuple[str, ...] | None = None


class Driver:
    """Takes the releases of the targets that this replica has claimed to their ends."""

    def __init__(self, setup: Setup, memory: Memory, guards: Guards) -> None:
        self._setup = setup
        self._memory = memory
        self._guards = guards
        self._watches: dict[Ref, _Watch] = {}

    async def step(self, ref: Ref, journal: Journal) -> float:
        """Do what is due for the release of a target that is ours; return the seconds to wait.

        `journal` was just read. Raises `TryAgain` and `Broken`: the caller comes again.
        """
        before = journal.released
        if before is None:
            self._watches.pop(ref, None)
            return inf
        seen, sight = await self._look(ref, journal, before)
        move = rl.advance(seen, sight)
        self._keep(ref, move.release)
        if self._worth_noting(before, move):
            if not await self._note(ref, before, move.release, tell=move.tell):
                return 0
            before = move.release
        if move.act is not Act.NONE:
            return await self._act(ref, before, move.act, sight)
        return 0 if before.step is not seen.step else self._setup.timing.poll

    def forget(self, ref: Ref) -> None:
        """Let go of what was seen of a target that is not ours any more."""
        self._watches.pop(ref, None)

    # --- look

    async def _look(self, ref: Ref, journal: Journal, release: Release) -> tuple[Release, Sight]:
        setup = self._setup
        other = Ref(ref.namespace, release.canary)
        stable, canary, theirs, stopped = await asyncio.gather(
            rollout_of(setup, ref),
            rollout_of(setup, other),
            self._memory.read(other),
            why_stopped(setup),
        )
        watch = await self._watched(ref, release)
        now = setup.clock.now()
        flights = (journal.in_flight, theirs.journal.in_flight)
        paused = journal.pause or theirs.journal.pause
        if not stopped and paused is not None:
            stopped = f"paused by {paused.by}: {paused.why}"[:SAID]
        others = (e for e in theirs.journal.episodes if not release.is_passed_over_by(e))
        asking = _asking(others, release.canary_uid)
        if release.applied is None:
            asking += _asking(journal.episodes, release.uid)
        sight = Sight(
            now=now,
            stable=stable,
            canary=canary,
            rollback=next((flight.id for flight in flights if flight is not None), ""),
            stopped=stopped,
            frozen=frozen(setup.policy.freeze, now),
            asking=tuple(dict.fromkeys(asking)),
            measures=watch.measures,
            critical=watch.critical,
            elapsed=watch.elapsed,
            margin=setup.policy.rollout_margin,
        )
        return replace(release, soaked=watch.soaked, waited=watch.waited), sight

    async def _watched(self, ref: Ref, release: Release) -> _Watch:
        """Return what is seen of this stage now; its soak goes on if we have looked all along."""
        setup = self._setup
        at, of = setup.clock.monotonic(), (release.id, release.stage, release.step)
        last = self._watches.get(ref)
        watch = _Watch(of=of, soaked=release.soaked, waited=release.waited, at=at)
        if last is not None and last.of == of:
            gap = at - last.at
            elapsed = timedelta(seconds=gap if gap <= 2 * setup.timing.health else 0)
            soaked = max(last.soaked, release.soaked)
            watch = replace(last, at=at, soaked=soaked, elapsed=elapsed)
        if release.step in _ASKED and at - watch.asked_at >= setup.timing.health:
            measures, critical = await self._ask(ref, release)
            watch = replace(watch, asked_at=at, measures=measures, critical=critical)
        self._watches[ref] = watch
        return watch

    def _keep(self, ref: Ref, release: Release) -> None:
        """Keep how much of the soak counts: what stood still, or began anew, does not."""
        if (watch := self._watches.get(ref)) is not None:
            self._watches[ref] = replace(watch, soaked=release.soaked, waited=release.waited)

    async def _ask(
        self, ref: Ref, release: Release
    ) -> tuple[tuple[Measure, ...], tuple[str, ...] | None]:
        """Ask Prometheus for each health check, and for the critical alerts of the pair."""
        prometheus = self._setup.prometheus
        if prometheus is None:
            return (), None
        canary = Subject(namespace=ref.namespace, deployment=release.canary, track=ro.CANARY)
        stable = Subject(namespace=ref.namespace, deployment=ref.deployment)
        subject = stable if release.step is Step.WATCHING else canary
        found, critical = await asyncio.gather(
            asyncio.gather(*(prometheus.ask(c.alert, subject) for c in release.health_checks)),
            prometheus.critical((stable, canary)),
        )
        now = self._setup.clock.now()
        measures = tuple(
            Measure(
                name=check.name,
                state=_STATES.get(finding.condition, "unknown"),
                text=finding.text[:SAID],
                at=now,
            )
            for check, finding in zip(release.health_checks, found, strict=True)
        )
        return measures, critical

    # --- write it down

    def _worth_noting(self, before: Release, move: Move) -> bool:
        """Return whether the journal has to know: a soak that grows is noted now and then."""
        after = move.release
        grown = max(after.soaked - before.soaked, after.waited - before.waited)
        if move.tell or grown >= NOTED or after.soaked < before.soaked:
            return True
        return _still(before) != _still(after)

    async def _note(self, ref: Ref, before: Release, after: Release, *, tell: bool = False) -> bool:
        """Write a release that is still as we knew it; return whether that was so."""
        setup, now = self._setup, self._setup.clock.now()
        noted = False

        def change(journal: Journal) -> Journal | None:
            nonlocal noted
            noted = journal.claim == setup.replica and journal.release == before
            if not noted:
                return None
            journal = with_release(journal, after)
            return told(journal, setup, now) if tell else journal

        await self._memory.amend(ref, change)
        if noted and after.step is not before.step:
            await self._say(ref, after)
        return noted

    async def _say(self, ref: Ref, release: Release) -> None:
        setup = self._setup
        if not release.open:
            setup.metrics.releases_total.labels(release.step.value).inc()
        setup.log.info(
            "release_moved",
            target=str(ref),
            release=release.id,
            step=release.step.value,
            stage=release.present.name,
            reason=release.reason.value,
        )
        happening = Happening(
            namespace=ref.namespace,
            deployment=ref.deployment,
            uid=release.uid,
            id=f"{release.id}-{release.stage}-{release.step}",
            action="Release",
            reason=f"Release{release.step.value.capitalize()}",
            note=f"{release.version}: {release.happened[-1].text}",
            warning=release.step in (Step.ABORTING, Step.ABORTED),
        )
        await emit(setup, happening)

    # --- act

    async def _act(self, ref: Ref, release: Release, act: Act, sight: Sight) -> float:
        stable, canary = sight.stable, sight.canary
        if act is Act.CANARY and canary is not None:
            return await self._share(ref, release, stable, canary)
        if act is Act.PROMOTE and stable is not None and canary is not None:
            return await self._promote(ref, release, stable, canary)
        if act is Act.LEARN and stable is not None:
            return await self._learn(ref, release, stable)
        if act is Act.UNDO:
            return await self._undo(ref, release)
        return self._setup.timing.retry_first

    async def _share(
        self, ref: Ref, release: Release, stable: Rollout | None, canary: Rollout
    ) -> float:
        """Give the canary the pods it is to have, and its template if it has it not yet."""
        aborting = release.step is Step.ABORTING
        replicas = 0 if aborting or stable is None else rl.wanted(release, stable)
        template = None
        if canary.code != release.code and not aborting:
            template = rl.templates(canary.template, dict(release.images))
        operations = ro.share(
            canary,
            replicas,
            note=rl.note_of(release, replicas),
            cause=f"release {release.id} of {release.version}",
            template=template,
        )
        answer = await self._patch(ref, release, release.canary, operations)
        if answer is None:
            return self._setup.timing.retry_first
        await self._note(ref, release, replace(release, replicas=replicas, generation=answer))
        return 0

    async def _patch(
        self, ref: Ref, release: Release, name: str, operations: list[ro.Obj]
    ) -> int | None:
        """Send one patch; return the generation it made, None when it has to be looked at again.

        What the API server refuses holds the release for a person, unless it is on its way back:
        then it is tried until it works, and whoever waits for that is called.
        """
        try:
            answer = await self._setup.cluster.patch(ref.namespace, name, operations)
        except (Denied, Forbidden) as error:
            if release.step is Step.ABORTING:
                raise
            await self._hold(ref, release, release, error)
            return None
        except (Conflict, Rejected, Unavailable):
            return None  # somebody was first, or nobody knows: what is there now will say
        generation: int = answer["metadata"]["generation"]
        return generation

    async def _hold(
        self, ref: Ref, before: Release, after: Release, error: Denied | Forbidden
    ) -> None:
        """Hold a release as it is `after` the API server refused something."""
        now, text = self._setup.clock.now(), str(error)[:SAID]
        reason = Reason.REJECTED if isinstance(error, Denied) else Reason.FORBIDDEN
        held = replace(after, held=Hold(reason=reason, at=now, detail=text))
        await self._note(ref, before, held.said(f"held: {text}", now), tell=True)

    async def _promote(self, ref: Ref, release: Release, stable: Rollout, canary: Rollout) -> float:
        """Write the intent, read the switch, send the one patch of the stable Deployment."""
        setup, now = self._setup, self._setup.clock.now()
        template = rl.promoted(stable.template, canary.template)
        code = ro.code_of(template)
        to = Mark(
            code=code, hash="", number=0, uid="", images=ro.images_of(template), created_at=now
        )
        intent = Intent(id=setup.ids(), to=to, generation=stable.generation, at=now)
        promoting = replace(release, intent=intent, promoted=code)
        if not await self._note(ref, release, promoting):
            return 0
        back = replace(release, intent=None, promoted="")
        if await why_stopped(setup):
            await self._note(ref, promoting, back)
            return setup.timing.poll
        here = stable.current.hash if stable.current is not None else ""
        operations = ro.promote(
            stable,
            template,
            record=ro.record(release.id, intent.id, from_=here, to="", at=now, by=release.by),
            cause=f"release {release.id} of {release.version}, begun by {release.by}"[:500],
        )
        try:
            answer = await setup.cluster.patch(ref.namespace, ref.deployment, operations)
        except Conflict:
            # It was refused, and will never apply: somebody has scaled it, for example.
            await self._note(ref, promoting, back)
        except (Denied, Forbidden) as error:
            await self._hold(ref, promoting, back, error)
        except (Unavailable, Rejected):
            return setup.timing.retry_first  # its fate is found out, never assumed
        else:
            setup.metrics.template_writes_total.inc()
            applied = applied_of(setup, stable, answer["metadata"]["generation"], setup.clock.now())
            await self._note(ref, promoting, rl.learned(promoting, "applied", applied, now))
        return 0

    async def _learn(self, ref: Ref, release: Release, stable: Rollout) -> float:
        """Find out whether the patch of a promotion was applied; what was not never will be."""
        setup, intent = self._setup, release.intent
        if intent is None:
            return 0
        fate = ro.fate(stable, intent.id)
        if fate == "unknown" and stable.generation == intent.generation:
            operations = ro.void(stable, intent.generation, intent.id)
            try:
                await setup.cluster.patch(ref.namespace, ref.deployment, operations)
            except (Conflict, Rejected):
                return setup.timing.retry_first  # something was applied: look again
            except (Denied, Forbidden):
                fate = "unknown"
            else:
                fate = "voided"
        now = setup.clock.now()
        applied = applied_of(setup, stable, intent.generation + 1, now)
        after = rl.learned(release, fate, applied, now)
        await self._note(ref, release, after, tell=fate == "unknown")
        return 0

    async def _undo(self, ref: Ref, release: Release) -> float:
        """Roll the stable Deployment back as one incident, and so end the release."""
        setup = self._setup
        async with self._memory.lock(ref):
            seen = await look(setup, self._memory, self._guards, ref)
            journal, rollout, now = seen.look.journal, seen.look.rollout, seen.look.now
            if rollout is None or journal.release != release or journal.claim != setup.replica:
                return 0
            decision = decide_manual(Ask(), rollout, seen.look)
            after = rl.aborted(release, now)
            if decision.to is None or rollout.current is None:
                text = f"{ref.deployment} could not be rolled back: {decision.detail}"[:SAID]
                after = replace(after, reason=decision.reason, detail=text).said(text, now)
            else:
                incident = by_hand(
                    journal,
                    rollout.uid,
                    rollout.current,
                    mark(decision.to),
                    now,
                    actor=f"release {release.id}",
                    why=release.detail,
                )
                journal = journal.with_incident(incident)
            journal = told(with_release(journal, after), setup, now)
            await self._memory.write(ref, journal, seen.entry)
        await self._say(ref, after)
        return 0


def _still(release: Release) -> Release:
    """Return a release without what changes all the time."""
    return replace(
        release,
        soaked=timedelta(0),
        waited=timedelta(0),
        measures=(),
        trouble="…" if release.trouble else "",
    )


def _asking(episodes: Iterable[Episode], uid: str) -> list[str]:
    """Return the alerts that fire and ask for a rollback of a Deployment.

    What it does not listen to does not end its release either.
    """
    return [
        e.alertname
        for e in episodes
        if e.asks and e.firing and e.uid == uid and e.reason is not Reason.ALERT_NOT_ALLOWED
    ]


def with_release(journal: Journal, release: Release) -> Journal:
    """Return a journal with a release as it is now; what it was aborted for is remembered."""
    aborted = journal.aborted
    if release.step is Step.ABORTED and release.reason in _HELD_AGAINST:
        aborted = tuple(dict.fromkeys((*aborted, (release.canary_uid, release.code))))
    return replace(journal, release=release, aborted=aborted)


def told(journal: Journal, setup: Setup, now: datetime) -> Journal:
    """Return a journal that owes people the state of its release."""
    release = journal.release
    if release is None:
        return journal
    state, reason, severity, text = rl.news(release)
    notice = Notice(
        subject=release.id,
        state=state,
        reason=reason,
        severity=severity,
        at=now,
        started_at=release.opened_at,
        namespace=journal.namespace,
        deployment=journal.deployment,
        detail=text,
    )
    return journal.with_notice(notice).owe(release.id, setup.outbox.routes(severity), now)
