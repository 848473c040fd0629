"""A rollback by hand: decided by the column *manual*, then the same road as any other."""

from dataclasses import dataclass, replace

from receiver import rollout as ro
from receiver.controller import views
from receiver.controller.answers import Outcome, Person, Wish, refusal, rejected
from receiver.controller.look import Seen, look
from receiver.controller.memory import Memory
from receiver.controller.reconcile import cause_of, record_of
from receiver.controller.remember import by_hand, mark
from receiver.controller.setup import Ref, Setup
from receiver.controller.work import Work
from receiver.decisions import Ask, Decision, decide_manual, forceable
from receiver.errors import Denied, Rejected
from receiver.journal import Incident, Intent, Journal, Phase, Reply
from receiver.reasons import Reason, Severity, sentence
from receiver.rollout import ENABLED, Rollout

_NOT_FOUND = frozenset({Reason.UNKNOWN_REVISION, Reason.TARGET_NOT_FOUND})


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A wish that has become an incident."""

    incident: Incident


class Manual:
    """Rolls back for people."""

    def __init__(self, setup: Setup, memory: Memory, work: Work) -> None:
        self._setup = setup
        self._memory = memory
        self._work = work

    async def rollback(self, namespace: str, name: str, wish: Wish, person: Person) -> Outcome:
        """Decide at once, apply, and answer with what has become of it.

        200: the patch is applied (with `wait`: and all that follows is over). 202: accepted, under
        way. 409, 404: refused. Raises `Rejected` for a wish that can never be granted.
        """
        setup, ref = self._setup, Ref(namespace, name)
        if setup.namespaces and namespace not in setup.namespaces:
            raise rejected(Reason.NAMESPACE_NOT_ALLOWED, 403)

        async def decide() -> Outcome | Accepted:
            seen = await look(setup, self._memory, self._work.guards, ref)
            return await self._decide(ref, seen, wish, person)

        found = await self._memory.in_turn(ref, decide)
        if isinstance(found, Outcome):
            return found
        self._work.start(ref)
        incident = await self._until(ref, found.incident, wish)
        return await self._outcome(ref, incident)

    async def _decide(self, ref: Ref, seen: Seen, wish: Wish, person: Person) -> Outcome | Accepted:
        setup, rollout = self._setup, seen.look.rollout
        if rollout is None:
            raise rejected(Reason.TARGET_NOT_FOUND, 404)
        if rollout.labels.get(ENABLED) != "true":
            raise rejected(Reason.NOT_OPTED_IN, 403)
        journal = seen.look.journal
        if (reply := _reply_to(journal, wish)) is not None:
            return _repeated(reply, journal)
        ask = Ask(
            to_revision=wish.to_revision, expect_current=wish.expect_current, force=wish.force
        )
        decision = decide_manual(ask, rollout, seen.look)
        current = rollout.current
        if decision.to is None or current is None:
            return await self._refuse(ref, seen, wish, decision)
        incident = by_hand(
            journal,
            rollout.uid,
            current,
            mark(decision.to),
            seen.look.now,
            actor=person.name,
            why=wish.reason,
            severity=Severity.WARNING,
            forced=wish.force,
            named=wish.to_revision,
            quarantine=wish.quarantine,
        )
        if wish.dry_run:
            return await self._dry_run(ref, rollout, incident, decision)
        journal = _superseding(journal, incident, setup)
        if wish.key is not None:
            reply = Reply(
                key=wish.key,
                digest=wish.digest,
                status=200,
                at=seen.look.now,
                incident=incident.id,
            )
            journal = replace(journal, replies=(*journal.replies, reply))
        await self._memory.write(ref, journal, seen.entry)
        setup.log.info(
            "rollback_accepted", target=str(ref), incident=incident.id, person=person.name
        )
        return Accepted(incident=incident)

    async def _refuse(self, ref: Ref, seen: Seen, wish: Wish, decision: Decision) -> Outcome:
        reason = decision.reason
        if not wish.dry_run:
            self._setup.metrics.decisions_total.labels(reason.value).inc()
        text = sentence(reason, decision.detail)
        if not wish.force and forceable(reason, named=wish.to_revision is not None):
            text += ' Send "force": true to do it anyway.'
        status = 404 if reason in _NOT_FOUND else 409
        journal = seen.look.journal
        if wish.key is not None and not wish.dry_run:
            reply = Reply(
                key=wish.key,
                digest=wish.digest,
                status=status,
                at=seen.look.now,
                reason=reason,
                text=text,
            )
            kept = replace(journal, replies=(*journal.replies, reply))
            await self._memory.write(ref, kept, seen.entry)
        body = refusal(reason, text)
        other = journal.incident(decision.detail)
        if other is not None:
            body["incident"] = views.of_incident(other, journal)
        return Outcome(status=status, body=body)

    async def _dry_run(
        self, ref: Ref, rollout: Rollout, incident: Incident, decision: Decision
    ) -> Outcome:
        """Let the API server judge the very patch, `dryRun=All`: admission policies included."""
        to = decision.to
        if to is None or incident.to is None:
            raise Rejected("nothing to do", status=409)
        intent = Intent(
            id="dry-run",
            to=incident.to,
            generation=rollout.generation,
            at=incident.opened_at,
        )
        operations = ro.undo(
            rollout, to, record=record_of(incident, intent), cause=cause_of(incident, intent)
        )
        try:
            await self._setup.cluster.patch(ref.namespace, ref.deployment, operations, dry_run=True)
        except Denied as error:
            text = sentence(Reason.REJECTED, str(error))
            return Outcome(status=409, body=refusal(Reason.REJECTED, text))
        shown = views.of_incident(
            incident, Journal(namespace=ref.namespace, deployment=ref.deployment)
        )
        kept = ("namespace", "deployment", "from", "to", "by", "why")
        return Outcome(
            status=200,
            body={"dry_run": True, "reason": Reason.ROLLED_BACK} | {k: shown[k] for k in kept},
        )

    async def _until(self, ref: Ref, incident: Incident, wish: Wish) -> Incident:
        """Wait until the patch is applied, or with `wait` until the end; return what is then."""
        setup = self._setup
        patience = setup.timing.linger if wish.wait else setup.timing.answer
        ends = setup.clock.monotonic() + patience
        while True:
            count = self._memory.count(ref)
            journal = (await self._memory.read(ref)).journal
            now = journal.incident(incident.id) or incident
            left = ends - setup.clock.monotonic()
            if not now.open or (now.left and not wish.wait) or left <= 0:
                return now
            await self._memory.news(ref, count, min(left, setup.timing.poll))

    async def _outcome(self, ref: Ref, incident: Incident) -> Outcome:
        journal = (await self._memory.read(ref)).journal
        return _outcome_of(incident, journal)


def _outcome_of(incident: Incident, journal: Journal) -> Outcome:
    body = views.of_incident(incident, journal)
    if incident.left:
        return Outcome(status=200, body=body)
    if incident.open:
        return Outcome(status=202, body=body)
    text = sentence(incident.reason, incident.detail)
    return Outcome(status=409, body=refusal(incident.reason, text) | {"incident": body})


def _reply_to(journal: Journal, wish: Wish) -> Reply | None:
    """Return the first answer to this key; the same key for another wish is an error."""
    reply = next((r for r in journal.replies if r.key == wish.key), None)
    if reply is not None and reply.digest != wish.digest:
        raise Rejected(
            "this Idempotency-Key was used for another request",
            status=422,
            reason="idempotency_key_reused",
        )
    return reply


def _repeated(reply: Reply, journal: Journal) -> Outcome:
    incident = journal.incident(reply.incident)
    if incident is not None:
        return _outcome_of(incident, journal)
    if not reply.reason:
        return Outcome(status=200, body={"id": reply.incident})
    return Outcome(status=reply.status, body=refusal(Reason(reply.reason), reply.text))


def _superseding(journal: Journal, incident: Incident, setup: Setup) -> Journal:
    """Open an incident by hand; one that is open already gives way, and that is told."""
    if (flight := journal.in_flight) is not None:
        detail = f"{incident.actor} rolled back by hand ({incident.id})"
        ended = flight.enter(Phase.SUPERSEDED, incident.opened_at, detail=detail)
        sinks = setup.outbox.routes(ended.severity)
        journal = journal.with_incident(ended).owe(ended.id, sinks, incident.opened_at)
    return replace(journal.with_incident(incident), claim=setup.replica)
