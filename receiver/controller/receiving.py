"""A webhook: observe, decide, remember. What returns from here is durable."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from receiver import alerts as al
from receiver import rollout as ro
from receiver.alerts import Alert, Payload
from receiver.controller import remember as rm
from receiver.controller.answers import Answer, Sender
from receiver.controller.claims import Claims
from receiver.controller.look import Seen, look
from receiver.controller.memory import Memory
from receiver.controller.passing_on import Refused, pass_on, speaks_of
from receiver.controller.remember import Arrival
from receiver.controller.routing import Routed, route
from receiver.controller.setup import OWN, Ref, Setup
from receiver.controller.work import Work
from receiver.decisions import Decision
from receiver.errors import Forbidden, ReceiverError, StateUnreadable, TryAgain
from receiver.journal import Journal, Phase
from receiver.reasons import Reason
from receiver.rollout import ENABLED, Rollout

# So many alerts of one payload are looked up at a time; the API server has others to serve.
LOOKUPS = 32


class Receiving:
    """Takes webhooks."""

    def __init__(self, setup: Setup, memory: Memory, claims: Claims, work: Work) -> None:
        self._setup = setup
        self._memory = memory
        self._claims = claims
        self._work = work
        self.heard_at: float | None = None

    async def receive(
        self, payload: Payload, sender: Sender, *, dry_run: bool = False
    ) -> tuple[Answer, ...]:
        """Decide each alert on its own; targets side by side, each target one at a time.

        Raises `TryAgain` when a part could not be written down; the rest of it was.
        """
        if not dry_run:
            self.heard_at = self._setup.clock.monotonic()
        gate = asyncio.Semaphore(LOOKUPS)

        async def routed(alert: Alert) -> Routed:
            async with gate:
                return await self._route(alert, sender)

        try:
            found = await asyncio.gather(*(routed(alert) for alert in payload.alerts))
        except Exception as error:
            self._note(payload.alerts, error, dry_run=dry_run)
            raise
        # A token for some namespaces may not speak for the monitoring of all.
        counts = not dry_run and not sender.namespaces
        beating = [item.alert for item in found if item.reason is Reason.WATCHDOG]
        for watchdog in beating if counts else ():
            self._claims.heartbeats.heard(payload.external_url, watchdog.fingerprint)
        targets: defaultdict[Ref, list[int]] = defaultdict(list)
        for index, item in enumerate(found):
            targets[item.ref if item.reason is None else OWN].append(index)

        async def at(ref: Ref, items: list[Routed]) -> list[Answer]:
            async with gate:
                if ref == OWN:
                    return await self._own(items, dry_run=dry_run)
                return await self._target(ref, items, dry_run=dry_run)

        ended = [i.alert for i in found if i.reason is None and not i.alert.firing and not dry_run]
        *parts, elsewhere = await asyncio.gather(
            *(at(ref, [found[i] for i in indexes]) for ref, indexes in targets.items()),
            self._no_longer_refused(ended),
            return_exceptions=True,
        )
        for indexes, part in zip(targets.values(), parts, strict=True):
            failure = part if isinstance(part, BaseException) else None
            self._note([found[i].alert for i in indexes], failure, dry_run=dry_run)
        failed = [part for part in (*parts, elsewhere) if isinstance(part, BaseException)]
        if failed:
            raise next((e for e in failed if not isinstance(e, TryAgain)), failed[0])
        answers: dict[int, Answer] = {}
        for indexes, part in zip(targets.values(), parts, strict=True):
            answers.update(zip(indexes, part, strict=True))  # type: ignore[arg-type] # none failed
        if not dry_run:
            for answer in answers.values():
                self._setup.metrics.decisions_total.labels(answer.reason.value).inc()
        return tuple(answers[index] for index in range(len(found)))

    def _note(
        self, alerts: Iterable[Alert], failure: BaseException | None, *, dry_run: bool
    ) -> None:
        """Remember what could not be decided, forget what is: in the end people are called."""
        alarm = self._work.alarm
        for alert in alerts if not dry_run else ():
            key = f"{alert.fingerprint}/{alert.starts_at.isoformat()}"
            if failure is None or not alert.firing:
                alarm.settled(key)
                continue
            names = (alert.labels.get(label, "") for label in ("namespace", "deployment"))
            where = "/".join(name for name in names if name)
            what = al.text(f"{alert.name} of {where}" if where else alert.name, 200)
            known = isinstance(failure, ReceiverError)
            alarm.stuck(key, what, str(failure) if known else type(failure).__name__)

    async def _route(self, alert: Alert, sender: Sender) -> Routed:
        try:
            return await route(self._setup, alert, sender)
        except Forbidden as error:
            return Routed(alert=alert, asks=True, reason=Reason.FORBIDDEN, detail=str(error)[:300])

    # --- alerts without a target of ours

    async def _own(self, items: Sequence[Routed], *, dry_run: bool) -> list[Answer]:
        told = [
            (item.alert, _refusal(item))
            for item in items
            if item.reason not in (None, Reason.WATCHDOG, Reason.RESOLVED)
        ]
        if not dry_run:
            await self._pass_on(told)
        return [_answer(item) for item in items]

    async def _pass_on(self, told: Sequence[tuple[Alert, Refused | None]]) -> None:
        now, routes = self._setup.clock.now(), self._setup.outbox.routes

        def change(journal: Journal) -> Journal:
            return self._claims.claimed(pass_on(journal, told, now, routes))

        self._work.ensure(OWN, await self._memory.amend(OWN, change))

    async def _no_longer_refused(self, ended: Sequence[Alert]) -> None:
        """Tell the end of what was refused, or passed on, before it led to a target.

        Its Deployment was made since, or opted in.
        """
        if not ended:
            return
        try:
            own = (await self._memory.read(OWN)).journal
            if told := [(a, None) for a in ended if speaks_of(own, a.fingerprint)]:
                await self._pass_on(told)
        except (Forbidden, StateUnreadable) as error:
            # The targets need not wait for what only a person can mend.
            self._setup.log.warning("end_not_noted", error=str(error)[:200])

    # --- alerts of one target

    async def _target(self, ref: Ref, items: Sequence[Routed], *, dry_run: bool) -> list[Answer]:
        async def decide() -> list[Answer] | Reason:
            began = self._setup.clock.monotonic()
            seen = await look(self._setup, self._memory, self._work.guards, ref)
            rollout = seen.look.rollout
            if rollout is None or rollout.labels.get(ENABLED) != "true":
                if not dry_run:
                    await self._end(ref, seen, items)
                return Reason.TARGET_NOT_FOUND if rollout is None else Reason.NOT_OPTED_IN
            if not dry_run:
                seen = await self._counted(ref, seen, items)
            answers = await self._remember(ref, seen, rollout, items, dry_run=dry_run)
            seconds = self._setup.clock.monotonic() - began
            self._setup.metrics.rollback_duration_seconds.labels("decide").observe(seconds)
            return answers

        detail = ""
        try:
            found = await self._memory.in_turn(ref, decide)
        except Forbidden as error:
            found, detail = Reason.FORBIDDEN, str(error)[:300]
        except StateUnreadable as error:
            found, detail = Reason.STATE_UNREADABLE, str(error)[:300]
        if isinstance(found, list):
            return found
        refused = [replace(item, reason=found, ref=ref, detail=detail) for item in items]
        return await self._own(refused, dry_run=dry_run)

    async def _end(self, ref: Ref, seen: Seen, items: Sequence[Routed]) -> None:
        """Note which alerts resolved of a Deployment that is gone, or is no longer opted in.

        What was told of it when it was ours has to end, too.
        """
        before = seen.look.journal
        journal = rm.end(before, (item.alert for item in items), seen.look.now)
        if journal != before:
            journal = self._claims.claimed(journal)
            await self._memory.write(ref, journal, seen.entry)
            self._work.ensure(ref, journal)

    async def _counted(self, ref: Ref, seen: Seen, items: Sequence[Routed]) -> Seen:
        """Return a look whose ledger counts this target, if it begins to alert just now.

        It is counted before it is answered, and so before anybody has settled: whoever acts after
        that sees how many there are.
        """
        firing = {e.fingerprint for e in seen.look.journal.episodes if e.firing}
        if all(i.alert.fingerprint in firing or not i.alert.firing for i in items):
            return seen
        try:
            ledger = await self._work.guards.began(ref)
        except StateUnreadable:
            return seen  # the look says so, too: it is as if the switch were set
        return replace(seen, look=replace(seen.look, ledger=ledger))

    async def _remember(
        self, ref: Ref, seen: Seen, rollout: Rollout, items: Sequence[Routed], *, dry_run: bool
    ) -> list[Answer]:
        arrivals = [self._arrival(item) for item in items]
        routes = self._setup.outbox.routes
        journal, answers = rm.remember(seen.look, rollout, arrivals, routes)
        if dry_run:
            return list(answers)
        journal = self._claims.claimed(journal)
        if journal != seen.look.journal:
            await self._memory.write(ref, journal, seen.entry)
        await self._fence(ref, rollout, journal)
        self._work.ensure(ref, journal)
        if rollout.canary_of and any(a.reason is Reason.RELEASE_ABORTED for a in answers):
            # Whoever drives the release finds the alert in this journal; if that is us, now.
            self._memory.wake(Ref(ref.namespace, rollout.canary_of))
        for answer in answers:
            self._setup.log.info(
                "alert_decided",
                target=str(ref),
                alertname=answer.alertname,
                fingerprint=answer.fingerprint,
                action=answer.action.value,
                reason=answer.reason.value,
                incident=answer.incident,
            )
        return list(answers)

    def _arrival(self, item: Routed) -> Arrival:
        trouble_at = al.trouble_at(item.alert, self._setup.policy.assumed_for)
        return Arrival(alert=item.alert, trouble_at=trouble_at, named=item.hash, track=item.track)

    async def _fence(self, ref: Ref, rollout: Rollout, journal: Journal) -> None:
        """Name a suspect that a rollback in flight goes to on the Deployment, before the 2xx.

        That moves the generation: the patch, which tests it, can no longer apply.
        """
        incident = journal.in_flight
        if incident is None or incident.phase is not Phase.APPLYING or incident.intent is None:
            return
        code = incident.intent.to.code
        suspects = journal.suspects(rollout.uid, self._setup.clock.now())
        if code in suspects and code not in ro.suspects_named(rollout):
            operations = ro.fence(rollout, {code})
            await self._setup.cluster.patch(ref.namespace, ref.deployment, operations)


def _refusal(item: Routed) -> Refused | None:
    """Return why an alert was refused, None for one that asked for nothing."""
    if item.reason is None or item.reason is Reason.NOTIFY_ONLY:
        return None
    return Refused(
        reason=item.reason,
        namespace=item.ref.namespace,
        deployment=item.ref.deployment,
        detail=item.detail,
    )


def _answer(item: Routed) -> Answer:
    reason = item.reason or Reason.NO_TARGET
    if not item.alert.firing:
        reason = Reason.RESOLVED
    answer = rm.answer(item.alert, Decision(reason=reason, detail=item.detail))
    return replace(answer, namespace=item.ref.namespace, deployment=item.ref.deployment)
