"""The service: what `web` calls, and the life of the tasks behind it."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

from receiver import rollout as ro
from receiver.alerts import Payload
from receiver.controller import views
from receiver.controller.answers import (
    Answer,
    Health,
    Json,
    Outcome,
    Person,
    Readiness,
    ReleaseWish,
    Sender,
    Steering,
    Wish,
    rejected,
)
from receiver.controller.look import STOP, rollout_of, why_stopped
from receiver.controller.manual import Manual
from receiver.controller.memory import Memory, name_of, ref_of
from receiver.controller.ports import State
from receiver.controller.receiving import Receiving
from receiver.controller.releases import Releases
from receiver.controller.scorecard import Played, scorecard
from receiver.controller.setup import JOURNALS, KIND_LABEL, SWITCH, Ref, Setup
from receiver.controller.work import Work
from receiver.errors import StateUnreadable
from receiver.journal import Journal, Pause
from receiver.reasons import Reason
from receiver.rollout import ENABLED

# So long after the last good beat the Kubernetes API counts as not reached.
UNREACHED = 10.0


class Controller:
    """Implements `receiver.controller.answers.Service`."""

    def __init__(self, setup: Setup, sinks: Callable[[], Mapping[str, str]]) -> None:
        """`sinks` says how each kind of sink is, in one word."""
        self._setup = setup
        self._sinks = sinks
        self._memory = Memory(setup)
        self._work = Work(setup, self._memory)
        self._receiving = Receiving(setup, self._memory, self._work.claims, self._work)
        self._manual = Manual(setup, self._memory, self._work)
        self._releases = Releases(setup, self._memory, self._work)
        self._beating: asyncio.Task[None] | None = None
        self._draining = False

    async def start_up(self) -> None:
        """Start to beat, and to finish what others left."""
        self._beating = asyncio.create_task(self._work.run(), name="beat")

    async def close(self) -> None:
        """Stop, and give every claim up."""
        self._draining = True
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
        await self._work.close()

    def drain(self) -> None:
        """Say that we are going: not ready from now on."""
        self._draining = True

    # --- the webhook, and people

    async def receive(
        self, payload: Payload, sender: Sender, *, dry_run: bool = False
    ) -> tuple[Answer, ...]:
        """Decide each alert; what must be remembered is durable when this returns."""
        return await self._receiving.receive(payload, sender, dry_run=dry_run)

    async def rollback(self, namespace: str, name: str, wish: Wish, person: Person) -> Outcome:
        """Roll back by hand."""
        return await self._manual.rollback(namespace, name, wish, person)

    async def begin_release(
        self, namespace: str, name: str, wish: ReleaseWish, person: Person
    ) -> Outcome:
        """Begin a staged release."""
        return await self._releases.begin(namespace, name, wish, person)

    async def release(self, namespace: str, name: str) -> Json | None:
        """Return the release in progress, or the last one; None: there was none."""
        return await self._releases.show(namespace, name)

    async def release_log(self, namespace: str, name: str) -> str | None:
        """Return the deployment log of that release, in Markdown."""
        return await self._releases.log(namespace, name)

    async def steer_release(
        self, namespace: str, name: str, what: Steering, person: Person, why: str
    ) -> Outcome:
        """Approve, reject, pause, resume, abort or promote the release in progress."""
        return await self._releases.steer(namespace, name, what, person, why)

    async def tick_check(
        self, namespace: str, name: str, item: str, person: Person, note: str, *, done: bool
    ) -> Outcome:
        """Tick a line of the checklists of that release, or untick it."""
        return await self._releases.tick(namespace, name, item, person, note, done=done)

    async def deployments(self, namespaces: tuple[str, ...]) -> list[Json]:
        """Return the opted-in Deployments of these namespaces, in short."""
        setup = self._setup
        wanted = [n for n in (namespaces or setup.namespaces or ("",)) if self._allowed(n)]
        lists = await asyncio.gather(
            *(setup.cluster.deployments(n, labels=f"{ENABLED}=true") for n in wanted)
        )
        journals = {ref_of(journal): journal for journal in await self._journals()}
        found = []
        for obj in (obj for part in lists for obj in part):
            ref = Ref(obj["metadata"]["namespace"], obj["metadata"]["name"])
            journal = journals.get(ref) or Journal()
            found.append(views.of_summary(ro.read(obj, ()), journal, setup.clock.now()))
        return found

    async def deployment(self, namespace: str, name: str) -> Json | None:
        """Return one Deployment with its history; None: there is none, or not ours."""
        if not self._allowed(namespace):
            return None
        ref = Ref(namespace, name)
        rollout = await rollout_of(self._setup, ref)
        if rollout is None:
            return None
        journal = (await self._memory.read(ref)).journal
        return views.of_deployment(rollout, journal, self._setup.clock.now())

    async def incidents(self, namespaces: tuple[str, ...]) -> list[Json]:
        """Return the remembered incidents, newest first."""
        found = [
            (incident.opened_at, views.of_incident(incident, journal))
            for journal in await self._journals()
            if not namespaces or journal.namespace in namespaces
            for incident in journal.incidents
        ]
        return [shown for _, shown in sorted(found, key=lambda pair: pair[0], reverse=True)]

    async def incident(self, incident: str) -> Json | None:
        """Return one incident."""
        for journal in await self._journals():
            if (found := journal.incident(incident)) is not None:
                return views.of_incident(found, journal)
        return None

    async def states(self, target: str | None) -> dict[str, str]:
        """Return what is stored, by the name of its ConfigMap: of one target, or all of it."""
        found = await self._setup.cluster.list_states(labels=KIND_LABEL)
        if target is not None:
            wanted = name_of(Ref(*target.split("/")))
            found = [state for state in found if state.name == wanted]
        return {state.name: "\n".join(state.data.values()) for state in found}

    async def scorecard(self, namespaces: tuple[str, ...]) -> list[Json]:
        """Return what shadow mode would have done, for each alert name."""
        asked = namespaces or self._setup.namespaces
        played = []
        for journal in await self._journals():
            if not journal.rehearsals or (asked and journal.namespace not in asked):
                continue
            rollout = await rollout_of(self._setup, ref_of(journal))
            left = ro.left_by_undo(rollout) if rollout is not None else frozenset()
            played.append(Played(journal=journal, left=left))
        return scorecard(played)

    async def _journals(self) -> list[Journal]:
        journals = []
        for state in await self._setup.cluster.list_states(labels=JOURNALS):
            try:
                journals.append(self._memory.parse(state))
            except StateUnreadable as error:
                self._setup.log.warning("journal_unreadable", name=state.name, error=str(error))
        return journals

    def _allowed(self, namespace: str) -> bool:
        return not self._setup.namespaces or namespace in self._setup.namespaces

    # --- the switch, and the pause of one target

    async def stopped(self) -> Json:
        """Return the kill switch: `{stopped, why}`."""
        why = await why_stopped(self._setup)
        return {"stopped": bool(why), "why": why}

    async def stop(self, person: Person, why: str) -> Json:
        """Set the kill switch, also where the ConfigMap is missing."""
        return await self._switch(f"{person.name}: {why}")

    async def start(self, person: Person) -> Json:
        """Release the kill switch."""
        self._setup.log.info("switch_released", person=person.name)
        return await self._switch(None)

    async def breaker(self) -> Json:
        """Return the breaker: `{open, since, count, targets}`."""
        ledger, now = await self._work.guards.read(), self._setup.clock.now()
        opening = ledger.opening if ledger.is_open(now, self._setup.policy.breaker) else None
        return {
            "open": opening is not None,
            "since": opening.at.isoformat() if opening else None,
            "count": opening.count if opening else 0,
            "targets": list(opening.targets) if opening else [],
        }

    async def close_breaker(self, person: Person) -> Json:
        """Close the breaker; what it refused stays refused."""
        self._setup.log.info("breaker_closed", person=person.name)
        await self._work.guards.close_breaker()
        return await self.breaker()

    async def _switch(self, text: str | None) -> Json:
        cluster = self._setup.cluster
        state = await cluster.read_state(SWITCH) or State(name=SWITCH, data={})
        data = {key: value for key, value in state.data.items() if key != STOP}
        if text is not None:
            data[STOP] = text[:500]
        await cluster.write_state(replace(state, data=data))
        return await self.stopped()

    async def pause(self, namespace: str, name: str, person: Person, why: str) -> Json:
        """Pause the automation of one Deployment."""
        pause = Pause(by=person.name, why=why[:500], at=self._setup.clock.now())
        return await self._amend(namespace, name, lambda j: replace(j, pause=pause))

    async def resume(self, namespace: str, name: str, person: Person) -> Json:
        """Resume the automation of one Deployment."""
        self._setup.log.info("automation_resumed", target=f"{namespace}/{name}", by=person.name)
        return await self._amend(namespace, name, lambda j: replace(j, pause=None))

    async def clear(self, namespace: str, name: str, hash_: str, person: Person) -> Json:
        """Take a revision out of quarantine."""
        rollout = (
            await rollout_of(self._setup, Ref(namespace, name))
            if self._allowed(namespace)
            else None
        )
        revision = ro.hashed(rollout, hash_) if rollout is not None else None
        if revision is None:
            raise rejected(Reason.UNKNOWN_REVISION, 404)
        self._setup.log.info(
            "quarantine_cleared", target=f"{namespace}/{name}", hash=hash_, person=person.name
        )

        def change(journal: Journal) -> Journal:
            return replace(journal, cleared=(*journal.cleared, revision.code)[-50:])

        return await self._amend(namespace, name, change)

    async def _amend(self, namespace: str, name: str, change: Callable[[Journal], Journal]) -> Json:
        ref = Ref(namespace, name)
        rollout = await rollout_of(self._setup, ref) if self._allowed(namespace) else None
        if rollout is None:
            raise rejected(Reason.TARGET_NOT_FOUND, 404)
        journal = await self._memory.amend(ref, change)
        return views.of_deployment(rollout, journal, self._setup.clock.now())

    # --- how we are

    def health(self) -> Health:
        """Return how we are, from what was last seen."""
        kubernetes = "connected" if self._reached() else "unreachable"
        dependencies = {"kubernetes": kubernetes, "alertmanager": self._monitoring()} | dict(
            self._sinks()
        )
        well = all(word in _WELL for word in dependencies.values())
        return Health(
            status="healthy" if well else "degraded",
            dependencies=dependencies,
            sinks=self._each_sink(),
        )

    def _each_sink(self) -> dict[str, str]:
        """Return how each sink is, and whether anything for it was lost since we started."""
        outbox, dead = self._setup.outbox, self._work.given_up
        return {
            sink: outbox.status(sink) + (f"; {dead[sink]} given up" if dead[sink] else "")
            for sink in outbox.names()
        }

    def _monitoring(self) -> str:
        """Return whether alerts still reach us: known only where the Watchdog is routed to us."""
        silent = self._work.claims.heartbeats.silent
        if silent is None:
            return "connected" if self._receiving.heard_at is not None else "not_heard_yet"
        return "silent" if silent else "connected"

    def readiness(self) -> Readiness:
        """Return whether to send us work. One namespace without a right is shown, no more."""
        kubernetes = "ok" if self._reached() else "not reached"
        draining = "draining" if self._draining else "ok"
        rights, able = self._rights()
        checks = {"kubernetes": kubernetes, "rights": rights, "draining": draining}
        return Readiness(ready=able and kubernetes == draining == "ok", checks=checks)

    def _rights(self) -> tuple[str, bool]:
        """Return what is missing, and whether anything can be done at all."""
        if self._work.denied is None:
            return "not asked yet", False
        return self._work.lacking or "ok", self._work.able

    def _reached(self) -> bool:
        beaten = self._work.beaten_at
        return beaten is not None and self._setup.clock.monotonic() - beaten < UNREACHED


_WELL = frozenset({"connected", "available", "not_heard_yet", "not_configured"})
