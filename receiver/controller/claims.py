"""Who works on what: every replica beats, and takes over the journals of one that fell silent.

Whether a replica lives is judged by how long this process has not seen its beat change, on its own
monotonic clock; wall clocks are never compared. While it could not listen itself (stopped, or the
API not reached) nobody's silence counts. A claim fences nothing by itself: the intent in the
journal and the generation in the patch do.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from receiver.controller.heartbeats import PREFIX, Heartbeats
from receiver.controller.memory import Memory, ref_of
from receiver.controller.setup import BEATS, OPEN_JOURNALS, Ref, Setup
from receiver.errors import Broken, StateUnreadable, TryAgain
from receiver.journal import Journal

TAKEN_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Heard:
    """The last beat of a replica, which is how often it beat, and when this process saw it."""

    beat: str
    at: float


class Claims:
    """The claims, as far as this replica can judge them."""

    def __init__(self, setup: Setup, memory: Memory, start: Callable[[Ref], None]) -> None:
        self._setup = setup
        self._memory = memory
        self._start = start
        self._heard: dict[str, Heard] = {}
        self._silent_since: dict[str, float] = {}
        self._listened_at: float | None = None
        self._count = 0
        self.heartbeats = Heartbeats(setup)

    async def beat(self) -> None:
        """Say that we live, and hear who else does."""
        setup = self._setup
        self._count += 1
        news = self.heartbeats.news()
        found = await setup.cluster.beat(BEATS, {setup.replica: str(self._count)} | news)
        now = setup.clock.monotonic()
        listened, self._listened_at = self._listened_at, now
        deaf = listened is not None and now - listened >= setup.timing.lasts
        self.heartbeats.told(news, found, deaf=deaf)
        beats = {key: beat for key, beat in found.items() if not key.startswith(PREFIX)}
        self._listen(beats, now, deaf=deaf)
        for replica, heard in list(self._heard.items()):
            if replica != setup.replica and now - heard.at > setup.timing.forget:
                await setup.cluster.beat(BEATS, {replica: None})
                self._heard.pop(replica, None)

    def _listen(self, found: Mapping[str, str], now: float, *, deaf: bool) -> None:
        if deaf:
            # The silence was ours: the others have their time once more.
            self._heard = {name: replace(heard, at=now) for name, heard in self._heard.items()}
            self._silent_since.clear()
        for replica, beat in found.items():
            heard = self._heard.get(replica)
            if heard is not None and heard.beat == beat:
                continue
            self._heard[replica] = Heard(beat, now)

    def lives(self, replica: str) -> bool:
        """Return whether a replica was heard of lately. One never heard of has its time, too."""
        setup = self._setup
        if replica == setup.replica:
            return True
        now = setup.clock.monotonic()
        heard = self._heard.get(replica)
        since = heard.at if heard else self._silent_since.setdefault(replica, now)
        # Silence counts as far as we have listened, whichever task comes first after our own sleep.
        until = now if self._listened_at is None else self._listened_at
        return until - since < setup.timing.lasts

    def claimed(self, journal: Journal) -> Journal:
        """Return a journal that is busy with us as its worker, unless a living replica is."""
        if not journal.busy or (journal.claim and self.lives(journal.claim)):
            return journal
        return replace(journal, claim=self._setup.replica)

    async def sweep(self) -> None:
        """Take every open journal that nobody alive has."""
        setup = self._setup
        seen: list[Journal] = []
        left: list[Journal] = []
        for state in await setup.cluster.list_states(labels=OPEN_JOURNALS):
            try:
                journal = self._memory.parse(state)
            except StateUnreadable as error:
                setup.log.warning("journal_unreadable", name=state.name, error=str(error))
                continue
            seen.append(journal)
            if journal.claim == setup.replica:
                self._start(ref_of(journal))
            elif not journal.claim or not self.lives(journal.claim):
                left.append(journal)
        self._count_open(seen)
        # Side by side: all that a dead one had is taken before our own next beat is late.
        gate = asyncio.Semaphore(TAKEN_AT_ONCE)
        await asyncio.gather(*(self._take(journal, gate) for journal in left))

    def _count_open(self, journals: list[Journal]) -> None:
        """Show what is open in the whole cluster, whoever works on it."""
        metrics, now = self._setup.metrics, self._setup.clock.now()
        metrics.incidents_open.set(sum(j.in_flight is not None for j in journals))
        ages: dict[str, list[float]] = {sink: [] for sink in self._setup.outbox.names()}
        for owed in (owed for journal in journals for owed in journal.owed):
            if owed.sink in ages:
                ages[owed.sink].append((now - owed.unheard_since).total_seconds())
        for sink, waiting in ages.items():
            metrics.notices_owed.labels(sink).set(len(waiting))
            metrics.oldest_notice_seconds.labels(sink).set(max(waiting, default=0))

    async def _take(self, left: Journal, gate: asyncio.Semaphore) -> None:
        ref, from_ = ref_of(left), left.claim

        def change(journal: Journal) -> Journal | None:
            if journal.claim != from_ or not journal.busy:
                return None
            return replace(journal, claim=self._setup.replica)

        try:
            async with gate:
                journal = await self._memory.amend(ref, change)
        except (TryAgain, Broken) as error:
            self._setup.log.warning("claim_not_taken", target=str(ref), error=str(error)[:200])
            return
        if journal.claim == self._setup.replica:
            self._setup.metrics.claims_taken_total.inc()
            self._setup.log.info("claim_taken", target=str(ref), previous=from_)
            self._start(ref)

    async def release(self, ref: Ref, *, idle_only: bool) -> bool:
        """Give up a claim; return whether it is given up. `idle_only`: keep it while busy."""

        def change(journal: Journal) -> Journal | None:
            if journal.claim != self._setup.replica or (idle_only and journal.busy):
                return None
            return replace(journal, claim="")

        journal = await self._memory.amend(ref, change)
        return journal.claim != self._setup.replica

    async def leave(self) -> None:
        """Take our beat away; what we had claimed was given up before."""
        await self._setup.cluster.beat(BEATS, {self._setup.replica: None})
