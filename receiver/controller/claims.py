"""Who works on what: every replica beats, and takes over the journals of one that fell silent.

Whether a replica lives is judged by how long this process has not seen its beat change, on its own
monotonic clock; wall clocks are never compared. While it could not listen itself (stopped, or the
API not reached) nobody's silence counts. A claim fences nothing by itself: the intent in the
journal and the generation in the patch do.

The beats also say when a look at the open journals is worth its request: somebody fell silent, left
or is about to. All that no beat tells of is found by a look now and then.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from receiver.controller.heartbeats import PREFIX, Heartbeats
from receiver.controller.memory import Memory, ref_of
from receiver.controller.setup import BEATS, OPEN_JOURNALS, Ref, Setup
from receiver.errors import Broken, StateUnreadable, TryAgain
from receiver.journal import UNDER_WAY, Journal

TAKEN_AT_ONCE = 16
# Words of a beat: something is stuck there, and people were called; what was claimed is given up.
CALLS, LEAVES = "calls", "leaves"
# Seconds in which a write may still arrive whose answer was lost: the API server gives one up
# after 34 s.
ARRIVES_WITHIN = 40.0


@dataclass(frozen=True, slots=True)
class Heard:
    """The last beat of a replica, and when this process saw it.

    A beat is how often it has beaten, whether it calls people, and whether it leaves.
    """

    beat: str
    at: float

    def says(self, word: str) -> bool:
        """Return whether the beat has one of its words."""
        return word in self.beat.split()


class Claims:
    """The claims, as far as this replica can judge them."""

    def __init__(self, setup: Setup, memory: Memory, start: Callable[[Ref], None]) -> None:
        self._setup = setup
        self._memory = memory
        self._start = start
        self._heard: dict[str, Heard] = {}
        self._silent_since: dict[str, float] = {}
        self._listened_at: float | None = None
        # Whose beats the last answer held, and who was away at the last sweep.
        self._present: frozenset[str] = frozenset()
        self._missed: frozenset[str] = frozenset()
        self._swept_at: float | None = None
        self._again = True
        self._open = False
        self._count = 0
        self.heartbeats = Heartbeats(setup)

    async def beat(self, *, calls: bool = False) -> None:
        """Say that we live, and whether we call people; hear who else does."""
        setup = self._setup
        self._count += 1
        news = self.heartbeats.news()
        beat = self._words(CALLS) if calls else self._words()
        found = await setup.cluster.beat(BEATS, {setup.replica: beat} | news)
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

    def _words(self, *words: str) -> str:
        return " ".join((str(self._count), *words))

    def _listen(self, found: Mapping[str, str], now: float, *, deaf: bool) -> None:
        if deaf:
            # The silence was ours: the others have their time once more.
            self._heard = {name: replace(heard, at=now) for name, heard in self._heard.items()}
            self._silent_since.clear()
            self._again = True
        for replica, beat in found.items():
            heard = self._heard.get(replica)
            if heard is not None and heard.beat == beat:
                continue
            self._heard[replica] = Heard(beat, now)
        self._present = frozenset(found)
        # Who came back can go away once more.
        self._missed &= self._away

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

    @property
    def alone(self) -> bool:
        """Return whether no other replica is known: whoever was there before has taken leave."""
        return self._heard.keys() <= {self._setup.replica}

    @property
    def others_call(self) -> bool:
        """Return whether another replica that lives calls people."""
        return any(
            replica != self._setup.replica and heard.says(CALLS) and self.lives(replica)
            for replica, heard in self._heard.items()
        )

    @property
    def _away(self) -> frozenset[str]:
        """Return who fell silent, or took its beat away."""
        return frozenset(r for r in self._heard if not (self.lives(r) and r in self._present))

    def claimed(self, journal: Journal) -> Journal:
        """Return a journal that is busy with us as its worker, unless a living replica is."""
        if not journal.busy or (journal.claim and self.lives(journal.claim)):
            return journal
        return replace(journal, claim=self._setup.replica)

    # --- what others left

    def due(self, *, busy: bool) -> bool:
        """Return whether a sweep may find something. `busy`: we have work ourselves.

        At once when it is the first, when somebody went away or is about to, and until all that the
        last one found has somebody alive; else as `Timing` says.
        """
        now, timing = self._setup.clock.monotonic(), self._setup.timing
        lost = self._memory.lost_at
        if self._again or self._swept_at is None or not self._away <= self._missed:
            return True
        if not all(map(self._has_worker, self._memory.left_to)):
            return True
        if lost is not None and now - lost < ARRIVES_WITHIN:
            return True
        leaving = {replica for replica, heard in self._heard.items() if heard.says(LEAVES)}
        if leaving - self._away:
            return True
        every = timing.poll if busy or self._open else timing.sweep
        return now - self._swept_at >= every

    def _has_worker(self, claim: str) -> bool:
        """Return whether a claim is of somebody whose end the beats would tell."""
        return claim == self._setup.replica or (claim in self._present and self.lives(claim))

    async def sweep(self) -> None:
        """Take every open journal that nobody alive has."""
        away, now = self._away, self._setup.clock.monotonic()
        self._again = False
        self._memory.left_to.clear()
        try:
            all_have = await self._sweep()
        except BaseException:
            self._again = True
            raise
        self._again = self._again or not all_have
        self._missed, self._swept_at = away, now

    async def _sweep(self) -> bool:
        """Return whether all that is open has a worker now."""
        setup, all_have = self._setup, True
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
            else:
                all_have = all_have and self._has_worker(journal.claim)
        self._open = bool(seen)
        self._count_open(seen)
        # Side by side: all that a dead one had is taken before our own next beat is late.
        gate = asyncio.Semaphore(TAKEN_AT_ONCE)
        taken = await asyncio.gather(*(self._take(journal, gate) for journal in left))
        return all_have and all(taken)

    def _count_open(self, journals: list[Journal]) -> None:
        """Show what is open in the whole cluster, whoever works on it."""
        metrics, now = self._setup.metrics, self._setup.clock.now()
        metrics.incidents_open.set(sum(j.in_flight is not None for j in journals))
        releases = [j.released for j in journals if j.released is not None]
        metrics.releases_held.set(sum(r.held is not None for r in releases))
        for step in UNDER_WAY:
            since = [(now - r.step_at).total_seconds() for r in releases if r.step is step]
            metrics.releases_open.labels(step.value).set(len(since))
            metrics.oldest_release_step_seconds.labels(step.value).set(max(since, default=0))
        ages: dict[str, list[float]] = {sink: [] for sink in self._setup.outbox.names()}
        for owed in (owed for journal in journals for owed in journal.owed):
            if owed.sink in ages:
                ages[owed.sink].append((now - owed.unheard_since).total_seconds())
        for sink, waiting in ages.items():
            metrics.notices_owed.labels(sink).set(len(waiting))
            metrics.oldest_notice_seconds.labels(sink).set(max(waiting, default=0))

    async def _take(self, left: Journal, gate: asyncio.Semaphore) -> bool:
        """Return whether somebody works on it now, or nobody has to."""
        ref, from_ = ref_of(left), left.claim

        def change(journal: Journal) -> Journal | None:
            if journal.claim != from_ or not journal.busy:
                return None
            return replace(journal, claim=self._setup.replica)

        try:
            async with gate:
                journal = await self._memory.amend(ref, change, fresh=True)
        except (TryAgain, Broken) as error:
            self._setup.log.warning("claim_not_taken", target=str(ref), error=str(error)[:200])
            return False
        if journal.claim == self._setup.replica:
            self._setup.metrics.claims_taken_total.inc()
            self._setup.log.info("claim_taken", target=str(ref), previous=from_)
            self._start(ref)
        return not journal.busy or self._has_worker(journal.claim)

    async def release(self, ref: Ref, *, idle_only: bool) -> bool:
        """Give up a claim; return whether it is given up. `idle_only`: keep it while busy."""

        def change(journal: Journal) -> Journal | None:
            if journal.claim != self._setup.replica or (idle_only and journal.busy):
                return None
            return replace(journal, claim="")

        journal = await self._memory.amend(ref, change)
        return journal.claim != self._setup.replica

    async def say_leaving(self, *, calls: bool) -> None:
        """Say that what we claimed is given up from now on: others look for it at every beat."""
        self._count += 1
        beat = self._words(CALLS, LEAVES) if calls else self._words(LEAVES)
        await self._setup.cluster.beat(BEATS, {self._setup.replica: beat})

    async def leave(self) -> None:
        """Take our beat away: we have given up what we had claimed, and leave nothing open."""
        await self._setup.cluster.beat(BEATS, {self._setup.replica: None})
