"""After the patch: `rollout status` to its end, then proof that it helped."""

import asyncio
from typing import Protocol

from receiver import rollout as ro
from receiver.controller.memory import Memory
from receiver.controller.setup import Ref, Setup
from receiver.journal import Applied, Incident, Journal, Phase
from receiver.reasons import Reason
from receiver.rollout import Progressing, Rollout


class End(Protocol):
    """Ends an incident in the journal."""

    async def __call__(
        self,
        ref: Ref,
        incident: Incident,
        phase: Phase,
        *,
        reason: Reason | None = None,
        detail: str = "",
    ) -> None:
        """End it, unless somebody else did."""
        ...


class Follower:
    """Follows rollouts. Deadlines run on the monotonic clock since this replica began to follow."""

    def __init__(self, setup: Setup, memory: Memory, end: End) -> None:
        self._setup = setup
        self._memory = memory
        self._end = end
        self._since: dict[str, float] = {}

    async def follow(self, ref: Ref, incident: Incident) -> float:
        """Follow the rollout of the patch until its end, or until the API ends the watch."""
        setup = self._setup
        applied = incident.applied
        if applied is None or incident.to is None:
            return 0
        obj = await setup.cluster.deployment(ref.namespace, ref.deployment)
        if await self._judge(ref, incident, applied, obj) or obj is None:
            return 0
        version = obj["metadata"]["resourceVersion"]
        async with setup.cluster.watch(ref.namespace, ref.deployment, version) as events:
            while True:
                try:
                    async with asyncio.timeout(setup.timing.poll):
                        event = await anext(events)
                except (TimeoutError, StopAsyncIteration):
                    return 0  # look again: a watch can be silent for the wrong reason
                if await self._judge(ref, incident, applied, event):
                    return 0

    async def _judge(
        self, ref: Ref, incident: Incident, applied: Applied, obj: ro.Obj | None
    ) -> bool:
        """Return whether the rollout has come to an end, which then is written down."""
        setup = self._setup
        rollout = None if obj is None else ro.read(obj, ())
        to = incident.to
        if rollout is None or rollout.uid != incident.uid or to is None:
            await self._end(ref, incident, Phase.GONE, detail="the Deployment is gone")
            return True
        if rollout.code != to.code:
            await self._end(ref, incident, Phase.SUPERSEDED, detail=changed_by_others(rollout))
            return True
        before = Progressing(reason=applied.stale_reason, updated_at=applied.stale_updated_at)
        progress = ro.progress(rollout, applied.generation, before)
        if progress.state == "done":
            await self._complete(ref, incident)
            return True
        patience = ro.patience(rollout, setup.policy.rollout_margin).total_seconds()
        late = self._running(incident) > patience
        if progress.state == "failed" or late:
            text = progress.text if not late else f"not complete in time: {progress.text}"
            await self._end(ref, incident, Phase.ROLLOUT_FAILED, detail=text)
            return True
        setup.log.debug("rollout_progressed", incident=incident.id, progress=progress.text)
        return False

    async def _complete(self, ref: Ref, incident: Incident) -> None:
        setup = self._setup
        now = setup.clock.now()
        seconds = self._running(incident)
        self._since.pop(incident.id, None)

        def change(journal: Journal) -> Journal | None:
            found = journal.incident(incident.id)
            if (
                found is None
                or found.phase is not Phase.FOLLOWING
                or journal.claim != setup.replica
            ):
                return None
            return journal.with_incident(found.enter(Phase.VERIFYING, now, completed_at=now))

        await self._memory.amend(ref, change)
        setup.metrics.rollback_duration_seconds.labels("rollout").observe(seconds)
        setup.log.info("rollout_completed", incident=incident.id, target=str(ref))

    def _running(self, incident: Incident) -> float:
        """Return for how many seconds this replica has followed (or verified) an incident."""
        now = self._setup.clock.monotonic()
        return now - self._since.setdefault(incident.id, now)

    # --- verify

    async def verify(self, ref: Ref, journal: Journal, incident: Incident) -> float:
        """See whether the alerts that asked for the rollback have resolved since."""
        setup = self._setup
        within = setup.policy.verify_within.total_seconds()
        running = self._running(incident)
        obj = await setup.cluster.deployment(ref.namespace, ref.deployment)
        rollout = None if obj is None else ro.read(obj, ())
        if rollout is None or rollout.uid != incident.uid or incident.to is None:
            return await self._verified(ref, incident, Phase.GONE, "the Deployment is gone")
        asked = journal.episodes_of(incident.uid, incident.bad.code)
        firing = [e for e in asked if e.firing]
        if not firing:
            text = f"{len(asked)} alerts resolved" if asked else "no alert had asked for it"
            return await self._verified(ref, incident, Phase.RECOVERED, text)
        if rollout.code != incident.to.code:
            text = changed_by_others(rollout)
            return await self._verified(ref, incident, Phase.SUPERSEDED, text)
        if running >= within:
            names = ", ".join(sorted({e.alertname for e in firing}))
            text = f"still firing {within:.0f} s after the rollout was complete: {names}"
            return await self._verified(ref, incident, Phase.DID_NOT_HELP, text[:300])
        return min(within - running, setup.timing.poll)

    async def _verified(self, ref: Ref, incident: Incident, phase: Phase, detail: str) -> float:
        seconds = self._running(incident)
        self._since.pop(incident.id, None)
        self._setup.metrics.rollback_duration_seconds.labels("verify").observe(seconds)
        await self._end(ref, incident, phase, detail=detail)
        return 0


def changed_by_others(rollout: Rollout) -> str:
    """Say that somebody else put another template there."""
    images = ro.listed(ro.images_of(rollout.template))
    return f"somebody else changed the template meanwhile ({images})"[:300]
