"""Notices: what is owed is sent, from the state of now, until the sink has taken it.

One sender for each target and sink, so that no sink waits for another and none delays a rollback.
"""

import asyncio
import contextlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from receiver.controller.memory import Memory
from receiver.controller.ports import NOTHING_HEARD, Delivery, Heard
from receiver.controller.setup import Ref, Setup
from receiver.controller.story import story_of
from receiver.errors import Broken, TryAgain
from receiver.journal import Journal, Owed
from receiver.messages import Story

# A sink that refuses us is asked again, seldom: a person may have mended the secret.
UNAUTHORIZED_AGAIN = timedelta(seconds=60)
# Seconds that a message on its way has when we end: whoever goes on cannot know of its answer.
LAST_ANSWERS = 3.0
# The good ends of what a sink may have been told the bad beginning of.
CLOSING = frozenset({"recovered", "resolved"})


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
        self._senders: dict[tuple[Ref, str], asyncio.Task[None]] = {}
        self._on_its_way: set[tuple[Ref, str]] = set()
        self._ending = False

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
        due = await self._due(ref, sink, accepted)
        if isinstance(due, Due) and await self._setup.outbox.turn(sink):
            # What is told is what holds now, not what held when the wait began.
            due = await self._due(ref, sink, accepted)
        if not isinstance(due, Due):
            return due
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
        now = setup.clock.now()
        if next_.not_before is not None and next_.not_before > now:
            wait = (next_.not_before - now).total_seconds()
            return min(wait, setup.timing.retry_most)
        story = story_of(journal, next_.subject, setup.cluster_name, setup.policy.verify_within)
        heard = _heard(journal, next_, before)
        if story is not None and story.state in CLOSING and not heard.state and not heard.doubt:
            # A replica that died may have opened an alert there and not have noted it.
            heard = replace(heard, doubt=next_.since)
        if story is None or not setup.outbox.speaks_of(sink, story, heard):
            await self._tick(ref, next_, None)
            return 0
        return Due(owed=next_, story=story, heard=heard)

    async def _deliver(self, ref: Ref, due: Due, accepted: dict[str, Accepted]) -> None:
        owed, story = due.owed, due.story
        setup, now = self._setup, self._setup.clock.now()
        receipt = await setup.outbox.deliver(owed.sink, story, due.heard)
        delivery = receipt.delivery
        log = setup.log.bind(
            sink=owed.sink, subject=owed.subject, state=story.state, delivery=delivery.value
        )
        if delivery is Delivery.DELIVERED:
            log.info("notice_delivered")
            mark = receipt.mark or due.heard.mark
            accepted[owed.subject] = Accepted(owed.since, story.state, mark)
            await self._tick(ref, owed, story.state, mark)
            # From now on the journal says so.
            del accepted[owed.subject]
            return
        expired = (now - owed.since).total_seconds() > setup.timing.notice_expires
        if delivery in (Delivery.REJECTED, Delivery.GONE) or expired:
            log.error("notice_dropped", detail=receipt.detail)
            await self._tick(ref, owed, None)
            return
        log.warning("notice_postponed", detail=receipt.detail, attempts=owed.attempts)
        if delivery is Delivery.RATE_LIMITED:
            return  # the next turn comes when the sink wants to hear of us again
        wait = UNAUTHORIZED_AGAIN if delivery is Delivery.UNAUTHORIZED else self._backoff(owed)
        until = setup.clock.now() + wait
        await self._memory.amend(ref, lambda j: j.postpone(owed, until))

    def _backoff(self, owed: Owed) -> timedelta:
        """Return the wait before the next attempt: full jitter, doubling."""
        timing = self._setup.timing
        most = min(timing.notice_most, timing.notice_first * 2 ** min(owed.attempts, 20))
        return timedelta(seconds=self._setup.rng.uniform(timing.notice_first / 2, most))

    async def _tick(self, ref: Ref, owed: Owed, state: str | None, mark: str = "") -> None:
        """Note that a debt is met, unless another replica works on it now and has met it.

        What that one has told since is newer than what we told before we slept.
        """
        now = self._setup.clock.now()

        def change(journal: Journal) -> Journal | None:
            debt = (owed.subject, owed.sink, owed.since)
            left = any((o.subject, o.sink, o.since) == debt for o in journal.owed)
            ours = journal.claim == self._setup.replica
            return journal.tick(owed, state, now, mark) if left or ours else None

        await self._memory.amend(ref, change)


def _heard(journal: Journal, owed: Owed, accepted: Accepted | None) -> Heard:
    """Return what a sink has heard of the subject of a debt."""
    if accepted is not None:
        return Heard(state=accepted.state, mark=accepted.mark, doubt=owed.doubt)
    told = journal.told_of(owed.subject, owed.sink)
    heard = Heard(state=told.state, mark=told.mark) if told is not None else NOTHING_HEARD
    return replace(heard, doubt=owed.doubt)
