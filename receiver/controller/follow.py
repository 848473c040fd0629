"""After the patch: `rollout status` to its end, then proof that it helped."""

import asyncio
from typing import Protocol

from receiver import rollout as ro
from receiver.controller import proof
from receiver.controller.memory import Memory
from receiver.controller.ports import Finding, Subject
from receiver.controller.setup import Ref, Setup
from receiver.journal import Applied, Episode, Incident, Journal, Phase
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
        """Follow the rollout of the patch until its end, or for as long as between two polls.

        However much happens to the Deployment: whoever steps has notices to look after, too.
        """
        setup = self._setup
        applied = incident.applied
        if applied is None or incident.to is None:
            return 0
        obj = await setup.cluster.deployment(ref.namespace, ref.deployment)
        if await self._judge(ref, incident, applied, obj) or obj is None:
            return 0
        version = obj["metadata"]["resourceVersion"]
        until = setup.clock.monotonic() + setup.timing.poll
        async with setup.cluster.watch(ref.namespace, ref.deployment, version) as events:
            while True:
                try:
                    async with asyncio.timeout(max(0.0, until - setup.clock.monotonic())):
                        event = await anext(events)
                except TimeoutError:
                    return 0  # look again: a watch can be silent for the wrong reason
                except StopAsyncIteration:
                    return setup.timing.retry_first  # it may end at once, every time
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
        """See whether the rollback helped: see `proof` for what counts as that."""
        setup = self._setup
        within = setup.policy.verify_within
        left = within.total_seconds() - self._running(incident)
        asked = proof.asked_for(journal, incident)
        obj = await setup.cluster.deployment(ref.namespace, ref.deployment)
        rollout = None if obj is None else ro.read(obj, ())
        if rollout is None or rollout.uid != incident.uid or incident.to is None:
            return await self._verified(ref, incident, Phase.GONE, "the Deployment is gone")
        findings = None
        if setup.prometheus is not None:
            # It cannot be well while an alert fires: then nobody is asked until the time is up.
            due = left <= 0 or not any(e.firing for e in asked)
            findings = await self._ask(ref, rollout, asked) if due else {}
            # An alert may have come while we asked.
            newest = (await self._memory.read(ref)).journal if findings else journal
            asked = proof.asked_for(newest, incident)
        if (outcome := proof.well(asked, findings)) is not None:
            return await self._verified(ref, incident, outcome.phase, outcome.detail)
        if rollout.code != incident.to.code:
            text = changed_by_others(rollout)
            return await self._verified(ref, incident, Phase.SUPERSEDED, text)
        if left <= 0:
            outcome = proof.unwell(asked, findings, within)
            return await self._verified(ref, incident, outcome.phase, outcome.detail)
        return min(left, setup.timing.poll)

    async def _ask(
        self, ref: Ref, rollout: Rollout, asked: tuple[Episode, ...]
    ) -> dict[str, Finding]:
        """Ask Prometheus about each alert that asked for the rollback."""
        prometheus, names = self._setup.prometheus, proof.names_of(asked)
        if prometheus is None:
            return {}
        subject = Subject(namespace=ref.namespace, deployment=ref.deployment, track=rollout.track)
        found = await asyncio.gather(*(prometheus.ask(name, subject) for name in names))
        for name, finding in zip(names, found, strict=True):
            self._setup.log.debug(
                "expression_asked", target=str(ref), alert=name, condition=finding.condition
            )
        return dict(zip(names, found, strict=True))

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
