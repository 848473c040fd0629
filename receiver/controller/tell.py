"""Notices: what is owed is sent, from the state of now, until the sink has taken it.

One sender for each target and sink, so that no sink waits for another and none delays a rollback.
What a pager does not take in time is owed to the fallback sinks, too.
"""

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from receiver.controller.bundles import GATHERS_AGAIN
from receiver.controller.memory import Memory
from receiver.controller.notices import Notices
from receiver.controller.ports import Delivery, Heard, Receipt
from receiver.controller.resting import Resting
from receiver.controller.setup import Ref, Setup
from receiver.errors import Broken, TryAgain
from receiver.journal import Journal, Owed
from receiver.messages import Story

# A sink that refuses us is asked again, seldom: a person may have mended the secret.
UNAUTHORIZED_AGAIN = 60.0
# The longest wait of a page for its next attempt, in seconds.
PAGE_AGAIN = 60.0
# Seconds that a message on its way has when we end: whoever goes on cannot know of its answer.
LAST_ANSWERS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A notice to be sent now, and what it says."""

    owed: Owed
    story: Story
    heard: Heard


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a sink took of a subject, which the journal may not say yet: `since` names the debt."""

    since: datetime
    state: str
    mark: str


class Teller:
    """Sends what the journals owe."""

    def __init__(self, setup: Setup, memory: Memory) -> None:
        self._setup = setup
        self._memory = memory
        self._resting = Resting(setup.rng, setup.timing.notice_first)
        self._senders: dict[tuple[Ref, str], asyncio.Task[None]] = {}
        self._on_its_way: set[tuple[Ref, str]] = set()
        self._notices = Notices(setup, memory)
        self._ending = False
        # How many notices were given up since we started, by sink.
        self.given_up: Counter[str] = Counter()

    def ensure(self, ref: Ref, journal: Journal) -> None:
        """See to it that every sink which is owed something has a sender."""
        for sink in dict.fromkeys(owed.sink for owed in journal.owed):
            before = self._senders.get((ref, sink))
            if (before is None or before.done()) and not self._ending:
                task = asyncio.create_task(self._send_all(ref, sink), name=f"tell {sink} of {ref}")
                self._senders[ref, sink] = task
                task.add_done_callback(partial(self._done, ref, sink))

    def _done(self, ref: Ref, sink: str, task: asyncio.Task[None]) -> None:
        if self._senders.get((ref, sink)) is task:
            del self._senders[ref, sink]

    def close(self) -> None:
        """Begin to send nothing more: what is owed stays owed, what is on its way may arrive."""
        self._ending = True
        for key, task in self._senders.items():
            if key not in self._on_its_way:
                task.cancel()

    def forget(self, ref: Ref) -> None:
        """Let go of what is kept of a journal that has no work left."""
        self._notices.forget(ref)

    @property
    def refs(self) -> tuple[Ref, ...]:
        """Return whom something is told of just now."""
        return tuple(dict.fromkeys(ref for ref, _ in self._senders))

    async def closed(self, ref: Ref) -> None:
        """Return when nothing about a target is on its way any more, which takes not long."""
        tasks = [task for (of, _), task in self._senders.items() if of == ref]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_ANSWERS):
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _send_all(self, ref: Ref, sink: str) -> None:
        timing = self._setup.timing
        accepted: dict[str, Accepted] = {}
        while True:
            count = self._memory.count(ref)
            try:
                wait = await self._send_next(ref, sink, accepted)
            except (TryAgain, Broken) as error:
                self._setup.log.warning("notice_not_noted", sink=sink, error=str(error)[:200])
                wait = timing.retry_most
            if wait is None or self._ending:
                return
            await self._memory.news(ref, count, wait)

    async def _send_next(self, ref: Ref, sink: str, accepted: dict[str, Accepted]) -> float | None:
        """Send the most urgent notice; return how long to wait, None when nothing is left."""
        clock = self._setup.clock
        due = await self._due(ref, sink, accepted)
        if not isinstance(due, Due):
            return due
        if (rests := self._resting.left(sink, clock.monotonic())) > 0:
            return rests
        if await self._setup.outbox.turn(sink):
            # What is told is what holds now, not what held when the wait began.
            due = await self._due(ref, sink, accepted)
            if not isinstance(due, Due):
                return due
        if (rests := self._resting.ask(sink, clock.monotonic())) > 0:
            return rests
        self._on_its_way.add((ref, sink))
        try:
            await self._deliver(ref, due, accepted)
        finally:
            self._on_its_way.discard((ref, sink))
        return 0

    async def _due(self, ref: Ref, sink: str, accepted: dict[str, Accepted]) -> Due | float | None:
        """Return the most urgent notice, how long to wait for one, or None: nothing is left."""
        setup = self._setup
        known = self._memory.known(ref)
        if known is not None and not any(o.sink == sink for o in known.owed):
            return None
        journal = (await self._memory.read(ref)).journal
        owed = [o for o in journal.owed if o.sink == sink]
        if not owed or journal.claim != setup.replica:
            return None
        next_ = min(owed, key=lambda o: (o.not_before or o.since, o.since))
        before = accepted.get(next_.subject)
        if before is not None and before.since == next_.since:
            # The sink has heard it, and only the journal could not be written.
            await self._tick(ref, next_, before.state, before.mark)
            del accepted[next_.subject]
            return 0
        if (wait := self._wait_of(next_)) > 0:
            return min(wait, setup.timing.retry_most)
        heard = self._notices.heard(ref, journal, next_)
        if before is not None:
            heard = replace(heard, state=before.state, mark=before.mark)
        story = self._notices.story(journal, next_)
        if story is None or not self._notices.speaks_of(next_, story, heard):
            await self._tick(ref, next_, None)
            return 0
        return Due(owed=next_, story=story, heard=heard)

    # --- what came of it

    async def _deliver(self, ref: Ref, due: Due, accepted: dict[str, Accepted]) -> None:
        owed, story, setup = due.owed, due.story, self._setup
        at, began = setup.clock.now(), setup.clock.monotonic()
        receipt = await setup.outbox.deliver(owed.sink, story, due.heard)
        delivery = receipt.delivery
        self._rest(owed.sink, delivery, began)
        log = setup.log.bind(
            sink=owed.sink, subject=owed.subject, state=story.state, delivery=delivery.value
        )
        if delivery is Delivery.DELIVERED:
            log.info("notice_delivered")
            mark = receipt.mark or due.heard.mark
            accepted[owed.subject] = Accepted(owed.since, story.state, mark)
            self._memory.trust(ref, owed)
            await self._tick(ref, owed, story.state, mark)
            # From now on the journal says so.
            del accepted[owed.subject]
            return
        log.warning("notice_postponed", detail=receipt.detail, attempts=owed.attempts)
        if delivery is Delivery.RATE_LIMITED:
            return  # the next turn comes when the sink wants to hear of us again
        doubt = at if delivery is Delivery.AMBIGUOUS else None
        if doubt is not None:
            self._memory.doubt(ref, owed)
        await self._not_taken(ref, due, receipt, doubt)

    def _rest(self, sink: str, delivery: Delivery, began: float) -> None:
        """Leave a sink alone for a while that did not answer, or not as a sink that is well."""
        if delivery in (Delivery.DELIVERED, Delivery.RATE_LIMITED, Delivery.REJECTED):
            self._resting.well(sink)
            return
        refuses = delivery in (Delivery.UNAUTHORIZED, Delivery.GONE)
        least = UNAUTHORIZED_AGAIN if refuses else 0.0
        self._resting.failed(sink, began, self._setup.clock.monotonic(), least)

    async def _not_taken(
        self, ref: Ref, due: Due, receipt: Receipt, doubt: datetime | None
    ) -> None:
        """Write down what came of an attempt: when the next one is, or that there is none.

        One write, whatever else has expired by now and whoever has to stand in.
        """
        setup, sink, delivery = self._setup, due.owed.sink, receipt.delivery
        until = setup.clock.now() + self._again(due.owed, delivery)
        given_up: list[tuple[Owed, str]] = []
        fell_back = False

        def change(journal: Journal) -> Journal:
            nonlocal fell_back
            given_up.clear()
            for owed in [o for o in journal.owed if o.sink == sink]:
                mine = (owed.subject, owed.since) == (due.owed.subject, due.owed.since)
                why = self._notices.given_up(journal, owed, receipt, mine=mine)
                if why:
                    given_up.append((owed, why))
            before = journal
            if doubt is not None:
                journal = self._notices.ended(journal, due.owed, due.story.state)
            for owed, why in given_up:
                journal = self._notices.buried(journal, owed, why)
            journal = journal.postpone(due.owed, until, doubt)
            if delivery is Delivery.UNAUTHORIZED and (debt := journal.debt(due.owed)) is not None:
                # Nobody needs to wait for what only a person can mend.
                journal = self._notices.instead(journal, debt)
            fell_back = any(o.instead_of == sink and o not in before.owed for o in journal.owed)
            return journal

        await self._memory.amend(ref, change)
        for owed, why in given_up:
            setup.log.error("notice_given_up", sink=sink, subject=owed.subject, why=why)
            setup.metrics.dead_letters_total.labels(sink).inc()
            self.given_up[sink] += 1
        self._count_fallback(sink, fell_back=fell_back)

    def _wait_of(self, owed: Owed) -> float:
        """Return for how many seconds a debt has time still.

        No wait is longer than the longest of ours: a later moment is that of a clock that is ahead.
        """
        if owed.not_before is None:
            return 0.0
        left = (owed.not_before - self._setup.clock.now()).total_seconds()
        longest = max(self._most(owed), UNAUTHORIZED_AGAIN, GATHERS_AGAIN.total_seconds())
        return left if 0 < left <= longest else 0.0

    def _most(self, owed: Owed) -> float:
        """Return the longest wait before the next attempt, in seconds."""
        most = self._setup.timing.notice_most
        return min(most, PAGE_AGAIN) if self._setup.outbox.pages(owed.sink) else most

    def _again(self, owed: Owed, delivery: Delivery) -> timedelta:
        """Return the wait before the next attempt: full jitter, U(0, min(most, first * 2^n))."""
        setup = self._setup
        if delivery is Delivery.UNAUTHORIZED:
            return timedelta(seconds=UNAUTHORIZED_AGAIN)
        most = min(self._most(owed), setup.timing.notice_first * 2 ** min(owed.attempts, 20))
        return timedelta(seconds=setup.rng.uniform(0, most))

    async def _tick(self, ref: Ref, owed: Owed, state: str | None, mark: str = "") -> None:
        """Note that a debt is met, unless another replica works on it now and has met it.

        What that one has told since is newer than what we told before we slept.
        """
        now = self._setup.clock.now()

        def change(journal: Journal) -> Journal | None:
            left = journal.debt(owed) is not None
            ours = journal.claim == self._setup.replica
            if left or ours:
                return journal.tick(owed, state, now, mark)
            return journal if state is None else self._notices.ended(journal, owed, state)

        await self._memory.amend(ref, change)

    # --- who stands in

    async def fall_back(self, ref: Ref, journal: Journal) -> float:
        """Owe the fallback sinks what a pager has not taken in time; return when to look again.

        In seconds. It costs nothing as long as nothing is late.
        """
        late, wait = self._notices.late(ref, journal)
        if not late:
            return wait
        fell_back: list[str] = []

        def change(journal: Journal) -> Journal | None:
            fell_back.clear()
            if journal.claim != self._setup.replica:
                return None
            for owed in late:
                debt = journal.debt(owed)
                after = journal if debt is None else self._notices.instead(journal, debt)
                if after != journal:
                    fell_back.append(owed.sink)
                journal = after
            return journal

        await self._memory.amend(ref, change)
        for sink in fell_back:
            self._count_fallback(sink, fell_back=True)
        return wait

    def _count_fallback(self, sink: str, *, fell_back: bool) -> None:
        if fell_back:
            self._setup.log.warning("notice_fell_back", sink=sink)
            self._setup.metrics.fallbacks_total.labels(sink).inc()
