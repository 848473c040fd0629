"""The loop of one target: settle, decide again, apply, follow, verify. Any replica enters anywhere.

Each step looks at what is, not at what happened, and ends by writing the next state to the journal
by compare-and-set. Whoever lost the claim finds that out at that write.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from receiver import rollout as ro
from receiver.controller.follow import Follower
from receiver.controller.guards import Guards
from receiver.controller.look import Seen, look, rollout_of, why_stopped
from receiver.controller.memory import Memory
from receiver.controller.ports import Happening
from receiver.controller.remember import decide_deferred, mark, wait_of, without_alerts
from receiver.controller.setup import Ref, Setup
from receiver.decisions import Verdict, decide_again
from receiver.errors import Broken, Conflict, Denied, Forbidden, Rejected, TryAgain, Unavailable
from receiver.journal import Applied, Incident, Intent, Journal, Phase
from receiver.reasons import TOLD_TOGETHER, Reason, Severity
from receiver.rollout import Rollout

RACES = 5


class Reconciler:
    """Does the next step of a target that this replica has claimed."""

    def __init__(self, setup: Setup, memory: Memory, guards: Guards) -> None:
        self._setup = setup
        self._memory = memory
        self._guards = guards
        self._races: dict[str, int] = {}
        self._follower = Follower(setup, memory, self.end)

    async def step(self, ref: Ref, journal: Journal) -> float:
        """Do what is due for a target that is ours; return in how many seconds to look again.

        `journal` was just read. 0: at once. Raises `TryAgain` and `Broken`: the caller comes again.
        """
        setup = self._setup
        incident = journal.in_flight
        if incident is not None:
            return await self._advance(ref, journal, incident)
        now = setup.clock.now()
        waits = [wait_of(e, now, setup.policy).total_seconds() for e in journal.deferred]
        if (wait := min(waits, default=setup.timing.poll)) > 0:
            return min(wait, setup.timing.poll)
        await self._decide_deferred(ref)
        return 0

    async def _advance(self, ref: Ref, journal: Journal, incident: Incident) -> float:
        if incident.phase is Phase.SETTLING:
            if (wait := self._unsettled(incident)) > 0:
                return min(wait, self._setup.timing.poll)
            return await self._apply(ref, incident)
        if incident.phase is Phase.APPLYING:
            return await self._learn_fate(ref, incident)
        if incident.phase is Phase.FOLLOWING:
            return await self._follower.follow(ref, incident)
        return await self._follower.verify(ref, journal, incident)

    def _unsettled(self, incident: Incident) -> float:
        """Return the seconds left to settle.

        An incident of the future was opened by a clock that is ahead: nobody knows when, and it
        has had its time if anybody had.
        """
        if incident.actor:
            return 0
        settle = self._setup.policy.settle
        left = settle - (self._setup.clock.now() - incident.opened_at)
        return left.total_seconds() if left <= settle else 0

    async def _decide_deferred(self, ref: Ref) -> None:
        async with self._memory.lock(ref):
            seen = await look(self._setup, self._memory, self._guards, ref)
            rollout = seen.look.rollout
            if rollout is None:
                journal = _without_due(seen.look.journal)
            else:
                journal = decide_deferred(seen.look, rollout, self._setup.outbox.routes)
            await self._memory.write(ref, journal, seen.entry)

    # --- apply

    async def _apply(self, ref: Ref, incident: Incident) -> float:
        """Decide again, write the intent, read the switch, send the one patch."""
        setup = self._setup
        async with self._memory.lock(ref):
            seen = await look(setup, self._memory, self._guards, ref)
            fresh = seen.look.journal.incident(incident.id)
            if fresh is None or fresh.phase is not Phase.SETTLING or self._lost(seen):
                return 0
            verdict = decide_again(fresh, seen.look)
            if verdict.phase is Phase.SETTLING and verdict.due is not None:
                wait = (verdict.due - seen.look.now).total_seconds()
                return max(min(wait, setup.timing.poll), setup.timing.retry_first)
            rollout = seen.look.rollout
            if verdict.phase is not Phase.APPLYING or rollout is None or verdict.to is None:
                await self._end_as(ref, seen, fresh, verdict)
                return 0
            if not await self._still_there(rollout, verdict.to):
                return setup.timing.retry_first
            if (one_too_many := await self._reserve(fresh, rollout)) is not None:
                await self._end_as(ref, seen, fresh, one_too_many)
                return 0
            intent = Intent(
                id=setup.ids(),
                to=mark(verdict.to),
                generation=rollout.generation,
                at=seen.look.now,
            )
            applying = fresh.enter(
                Phase.APPLYING, seen.look.now, intent=intent, to=intent.to, detail=""
            )
            journal = seen.look.journal.with_incident(applying)
            await self._memory.write(ref, journal, seen.entry)
        return await self._send(ref, applying, intent, rollout, verdict.to)

    async def _reserve(self, incident: Incident, rollout: Rollout) -> Verdict | None:
        """Reserve a rollback before its intent is written; a person's needs none."""
        if incident.actor:
            return None
        refused = await self._guards.reserve(incident.id, rollout)
        if refused is None:
            return None
        return Verdict(phase=Phase.REFUSED, reason=refused.reason, detail=refused.detail)

    async def _give_back(self, ended: Incident) -> None:
        """Give back what was reserved for an incident that came to nothing; best effort.

        What is not given back holds us back for the span of the limit: the safe side.
        """
        if ended.actor or ended.left:
            return
        try:
            await self._guards.release(ended.id)
        except (TryAgain, Broken) as error:
            self._setup.log.warning(
                "reservation_not_released", incident=ended.id, error=str(error)[:200]
            )

    def _lost(self, seen: Seen) -> bool:
        return seen.look.journal.claim != self._setup.replica

    async def _still_there(self, rollout: Rollout, to: ro.Revision) -> bool:
        """Read the chosen ReplicaSet by name: a list may be of any age, this is not."""
        found = await self._setup.cluster.replicaset(rollout.namespace, to.name)
        if found is None or found["metadata"]["uid"] != to.uid:
            return False
        return ro.code_of(found["spec"]["template"]) == to.code

    async def _send(
        self, ref: Ref, incident: Incident, intent: Intent, rollout: Rollout, to: ro.Revision
    ) -> float:
        setup = self._setup
        if not incident.actor and (why := await why_stopped(setup)):
            # The intent is ours and has not been sent: nothing has to be voided.
            await self.end(ref, incident, Phase.REFUSED, reason=Reason.STOPPED, detail=why)
            return 0
        operations = ro.undo(
            rollout, to, record=record_of(incident, intent), cause=cause_of(incident, intent)
        )
        began = setup.clock.monotonic()
        try:
            answer = await setup.cluster.patch(ref.namespace, ref.deployment, operations)
        except Conflict:
            return await self._lost_race(ref, incident, intent)
        except Denied as error:
            await self._refuse(ref, incident, Reason.REJECTED, str(error))
        except Forbidden as error:
            await self._refuse(ref, incident, Reason.FORBIDDEN, str(error))
        except (Unavailable, Rejected):
            # Sent or not (or gone): that is found out, never assumed.
            return setup.timing.retry_first
        else:
            setup.metrics.template_writes_total.inc()
            seconds = setup.clock.monotonic() - began
            setup.metrics.rollback_duration_seconds.labels("patch").observe(seconds)
            await self._applied(ref, incident, intent, rollout, answer["metadata"]["generation"])
        return 0

    async def _applied(
        self, ref: Ref, incident: Incident, intent: Intent, before: Rollout, generation: int
    ) -> None:
        setup = self._setup
        now = setup.clock.now()
        applied = applied_of(setup, before, generation, now)
        following = incident.enter(
            Phase.FOLLOWING, now, applied=applied, reason=Reason.ROLLED_BACK, intent=intent
        )
        await self._change(ref, incident, lambda _: following, tell=True)
        self._time_to_patch(ref, following, now)
        self._races.pop(incident.id, None)
        setup.log.info(
            "rollback_applied",
            incident=incident.id,
            target=str(ref),
            bad=incident.bad.number,
            bad_images=ro.listed(incident.bad.images),
            to=intent.to.number,
            to_images=ro.listed(intent.to.images),
        )
        await emit(setup, _happening(ref, following, "RolledBack", note_of(following)))

    def _time_to_patch(self, ref: Ref, incident: Incident, now: datetime) -> None:
        """Count how long an alert had to wait for the patch; what a person asked for had none."""
        journal = self._memory.known(ref)
        if incident.actor or journal is None:
            return
        asked = journal.episodes_of(incident.uid, incident.bad.code)
        began = min((each.starts_at for each in asked if each.firing), default=None)
        if began is not None:
            seconds = max(0.0, (now - began).total_seconds())
            self._setup.metrics.alert_to_patch_seconds.observe(seconds)

    async def _lost_race(self, ref: Ref, incident: Incident, intent: Intent) -> float:
        """Tell a lost race from a refusal that looks like one, by whether the generation moved."""
        now = await rollout_of(self._setup, ref)
        if now is None:
            return 0
        if now.uid == incident.uid and now.generation == intent.generation:
            detail = "refused without a cause, and nobody else had written"
            await self._refuse(ref, incident, Reason.REJECTED, detail)
            return 0
        races = self._races[incident.id] = self._races.get(incident.id, 0) + 1
        if races > RACES:
            detail = f"the Deployment was changed by others {races} times in a row"
            await self._refuse(ref, incident, Reason.REJECTED, detail)
            return 0
        await self._change(ref, incident, _settling(self._setup.clock.now()))
        return self._setup.rng.uniform(0, 0.1)

    async def _refuse(self, ref: Ref, incident: Incident, reason: Reason, detail: str) -> None:
        await self.end(ref, incident, Phase.REFUSED, reason=reason, detail=detail[:300])

    # --- an intent of unknown fate

    async def _learn_fate(self, ref: Ref, incident: Incident) -> float:
        """Find out whether a patch that was sent, or was about to be, has been applied."""
        intent = incident.intent
        rollout = await rollout_of(self._setup, ref)
        if intent is None or rollout is None or rollout.uid != incident.uid:
            detail = "the Deployment is gone; a rollback had been sent"
            await self.end(ref, incident, Phase.GONE, detail=detail)
            return 0
        fate = ro.fate(rollout, intent.id)
        if fate == "applied":
            await self._applied(ref, incident, intent, rollout, intent.generation + 1)
        elif fate == "voided":
            await self._change(ref, incident, _settling(self._setup.clock.now()))
        elif rollout.generation == intent.generation:
            return await self._void(ref, incident, rollout, intent)
        else:
            detail = "the Deployment was changed since, and shows neither our patch nor its absence"
            await self._refuse(ref, incident, Reason.FATE_UNKNOWN, detail)
        return 0

    async def _void(self, ref: Ref, incident: Incident, rollout: Rollout, intent: Intent) -> float:
        """Move the generation that the lost patch tests: then it can never apply any more."""
        operations = ro.void(rollout, intent.generation, intent.id)
        try:
            await self._setup.cluster.patch(ref.namespace, ref.deployment, operations)
        except (Conflict, Rejected):
            return self._setup.timing.retry_first  # something was applied: look again
        except (Denied, Forbidden) as error:
            await self._refuse(ref, incident, Reason.FATE_UNKNOWN, str(error))
            return 0
        await self._change(ref, incident, _settling(self._setup.clock.now()))
        return 0

    # --- writing it down

    async def _end_as(self, ref: Ref, seen: Seen, incident: Incident, verdict: Verdict) -> None:
        """End an incident on the very look that decided so."""
        ended = incident.enter(
            verdict.phase,
            seen.look.now,
            reason=verdict.reason,
            detail=verdict.detail,
        )
        ended = _louder(ended)
        journal = self._told(seen.look.journal, ended)
        await self._memory.write(ref, journal, seen.entry)
        self._log_end(ref, ended)
        await self._give_back(ended)

    def _told(self, journal: Journal, incident: Incident) -> Journal:
        """Return a journal with an incident as it is now, which its sinks are owed.

        What the breaker refuses is told for all targets at once.
        """
        if incident.phase is Phase.SUPERSEDED:
            incident = without_alerts(journal, incident, incident.phase_at)
        together = incident.reason in TOLD_TOGETHER
        sinks = () if together else self._setup.outbox.routes(incident.severity)
        return journal.with_incident(incident).owe(incident.id, sinks, self._setup.clock.now())

    def _log_end(self, ref: Ref, ended: Incident) -> None:
        metrics = self._setup.metrics
        metrics.rollbacks_total.labels(ended.phase.value).inc()
        if ended.phase is Phase.RECOVERED and ended.applied is not None:
            spent = ended.phase_at - ended.applied.at
            metrics.patch_to_recovery_seconds.observe(spent.total_seconds())
        self._setup.log.info(
            "incident_ended",
            incident=ended.id,
            target=str(ref),
            phase=ended.phase.value,
            reason=ended.reason.value,
            detail=ended.detail,
        )

    async def end(
        self,
        ref: Ref,
        incident: Incident,
        phase: Phase,
        *,
        reason: Reason | None = None,
        detail: str = "",
    ) -> None:
        """End an incident, unless somebody else did or has the claim now."""
        now = self._setup.clock.now()
        ended = incident.enter(phase, now, reason=reason or incident.reason, detail=detail)
        ended = _louder(ended)
        if await self._change(ref, incident, lambda _: ended, tell=True):
            self._log_end(ref, ended)
            await self._give_back(ended)
            bad = _bad_end(ended)
            happening = _happening(ref, ended, "Ended", note_of(ended), warning=bad)
            await emit(self._setup, happening)

    async def _change(
        self,
        ref: Ref,
        incident: Incident,
        how: Callable[[Incident], Incident],
        *,
        tell: bool = False,
    ) -> bool:
        """Change an incident that is still as we knew it; return whether that was so."""
        setup = self._setup
        changed = False

        def change(journal: Journal) -> Journal | None:
            nonlocal changed
            now = journal.incident(incident.id)
            same = now is not None and now.phase is incident.phase and now.intent == incident.intent
            changed = journal.claim == setup.replica and same
            if not changed or now is None:
                return None
            after = how(now)
            return self._told(journal, after) if tell else journal.with_incident(after)

        await self._memory.amend(ref, change)
        return changed


def _settling(now: datetime) -> Callable[[Incident], Incident]:
    """Return the change that takes an incident back: its intent can no longer apply."""
    return lambda incident: incident.enter(Phase.SETTLING, now, intent=None)


def _without_due(journal: Journal) -> Journal:
    return replace(journal, episodes=tuple(replace(e, due=None) for e in journal.episodes))


def _louder(ended: Incident) -> Incident:
    """Return it told as critical when it ended badly, also when a person had asked for it."""
    return replace(ended, severity=Severity.CRITICAL) if _bad_end(ended) else ended


def _bad_end(incident: Incident) -> bool:
    good = (Phase.RECOVERED, Phase.RESOLVED_BY_ITSELF, Phase.SUPERSEDED)
    return incident.phase not in good


def record_of(incident: Incident, intent: Intent) -> ro.Obj:
    """Return our annotation: enough to know the intent by, and for people to read."""
    by = incident.actor or "rollback-receiver"
    return ro.record(
        incident.id, intent.id, from_=incident.bad.hash, to=intent.to.hash, at=intent.at, by=by
    )


def cause_of(incident: Incident, intent: Intent) -> str:
    """Return the change-cause that `kubectl rollout history` shows."""
    why = f" by {incident.actor}: {incident.why}" if incident.actor else ""
    return (
        f"rollback from revision {incident.bad.number} to {intent.to.number} ({incident.id}){why}"[
            :500
        ]
    )


def note_of(incident: Incident) -> str:
    """Return one line about an incident for the Deployment's Events."""
    to = f" to revision {incident.to.number}" if incident.to is not None else ""
    detail = f": {incident.detail}" if incident.detail else ""
    return f"{incident.phase}: revision {incident.bad.number}{to}{detail}"


def _happening(
    ref: Ref, incident: Incident, action: str, note: str, *, warning: bool = False
) -> Happening:
    return Happening(
        namespace=ref.namespace,
        deployment=ref.deployment,
        uid=incident.uid,
        id=f"{incident.id}-{incident.phase}",
        action=action,
        reason="".join(part.capitalize() for part in incident.phase.split("_")),
        note=note,
        warning=warning,
    )


async def emit(setup: Setup, happening: Happening) -> None:
    """Write an Event, if that works: it is for people, nothing rests on it."""
    try:
        await setup.cluster.emit(happening)
    except Exception as error:  # noqa: BLE001 - best effort, and said so
        setup.log.warning("event_not_written", id=happening.id, error=type(error).__name__)


def applied_of(setup: Setup, before: Rollout, generation: int, now: datetime) -> Applied:
    """Return what is remembered of a patch that made this generation of a Deployment."""
    stale = before.progressing
    return Applied(
        at=now,
        generation=generation,
        until=now + ro.patience(before, setup.policy.rollout_margin),
        stale_reason=stale.reason if stale else "",
        stale_updated_at=stale.updated_at if stale else "",
    )
