"""The journals in their ConfigMaps: read, and changed by compare-and-set alone."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar
from weakref import WeakValueDictionary

from receiver import journal as jn
from receiver.controller.ports import State
from receiver.controller.setup import KIND_LABEL, OPEN_LABEL, OWN, Ref, Setup
from receiver.errors import Conflict, Unavailable
from receiver.journal import Journal, Owed

KEY = "journal.json"
TRIES = 8
CACHED = 4096
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A journal as it was read, and the version a write of it is tested against."""

    journal: Journal
    version: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """How often a journal was changed by this replica, and what is set at the next change."""

    count: int
    event: asyncio.Event


class Memory:
    """The journals of all targets, as this replica last saw them."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._seen: OrderedDict[Ref, Entry] = OrderedDict()
        self._locks: WeakValueDictionary[Ref, asyncio.Lock] = WeakValueDictionary()
        self._news: dict[Ref, News] = {}
        # Of the journals that are ours: (subject, sink) that may have been told what nobody noted.
        self._unsure: dict[Ref, set[tuple[str, str]]] = {}
        # When the last write ended of which nobody knows whether it arrived.
        self.lost_at: float | None = None
        # Who has what we wrote and left to be worked on: "" is nobody. A sweep takes this away.
        self.left_to: set[str] = set()

    async def read(self, ref: Ref) -> Entry:
        """Read a journal; an absent one is empty.

        Raises `StateUnreadable` when it is damaged or newer, `Unavailable` when not reached.
        """
        state = await self._setup.cluster.read_state(name_of(ref))
        return self.learn(ref, state)

    def known(self, ref: Ref) -> Journal | None:
        """Return a journal as it was last read or written here; None: it was not."""
        entry = self._seen.get(ref)
        return None if entry is None else entry.journal

    def learn(self, ref: Ref, state: State | None) -> Entry:
        """Take note of what was read."""
        text = None if state is None else state.data.get(KEY, "")
        found = jn.load(text)
        if state is None:
            found = replace(found, namespace=ref.namespace, deployment=ref.deployment)
        return self._keep(
            ref, Entry(journal=found, version=None if state is None else state.version)
        )

    @staticmethod
    def parse(state: State) -> Journal:
        """Read the journal in a ConfigMap that a list showed; raises `StateUnreadable`."""
        return jn.load(state.data.get(KEY, ""))

    async def write(self, ref: Ref, journal: Journal, known: Entry) -> Entry:
        """Write a journal over the version `known`.

        Raises `Conflict` when somebody wrote meanwhile. A write whose answer was lost is looked
        up: it counts if exactly this text is there.
        """
        now = self._setup.clock.now()
        journal = jn.bounded(journal, now)
        state = State(
            name=name_of(ref),
            data={KEY: jn.dump(journal)},
            labels={KIND_LABEL: "journal", OPEN_LABEL: "true" if journal.busy else "false"},
            version=known.version,
        )
        try:
            written = await self._setup.cluster.write_state(state)
        except Conflict:
            self._seen.pop(ref, None)
            self._setup.metrics.conflicts_total.inc()
            raise
        except Unavailable as error:
            self._seen.pop(ref, None)
            if not error.ambiguous:
                raise
            written = await self._found(state, error)
        except asyncio.CancelledError:
            self._seen.pop(ref, None)
            self.lost_at = self._setup.clock.monotonic()
            raise
        entry = self._keep(
            ref, Entry(journal=journal, version=written.version), before=known.journal
        )
        if journal.busy and journal.claim != self._setup.replica:
            self.left_to.add(journal.claim)
        self.wake(ref)
        return entry

    async def _found(self, state: State, lost: Unavailable) -> State:
        """Return what a write has left whose answer was lost; raises that loss unless it is it."""
        try:
            found = await self._setup.cluster.read_state(state.name)
            if found is not None and found.data.get(KEY) == state.data[KEY]:
                return found
        except BaseException:
            self.lost_at = self._setup.clock.monotonic()
            raise
        self.lost_at = self._setup.clock.monotonic()
        raise lost

    async def amend(
        self, ref: Ref, change: Callable[[Journal], Journal | None], *, fresh: bool = False
    ) -> Journal:
        """Apply a pure change to the newest journal, and return what it is then.

        `change` may be called several times, always with what is stored now; None: leave it as it
        is. That can be of what others have since changed: `fresh` when they may have. Raises
        `Conflict` when others keep writing.
        """
        async with self.lock(ref):
            for attempt in range(TRIES):
                seen = None if fresh and not attempt else self._seen.get(ref)
                known = seen or await self.read(ref)
                changed = change(known.journal)
                if changed is None or changed == known.journal:
                    return known.journal
                try:
                    return (await self.write(ref, changed, known)).journal
                except Conflict:
                    pause = self._setup.rng.uniform(0, 0.05)
                    await self._setup.clock.sleep(pause)
        raise Conflict(f"the journal of {ref} is changed by others all the time")

    async def in_turn(self, ref: Ref, act: Callable[[], Awaitable[T]]) -> T:
        """Look, decide and write as `act` does, under the lock; anew when somebody wrote meanwhile.

        Raises `Conflict` when others keep writing, and whatever else `act` does.
        """
        for _ in range(TRIES):
            try:
                async with self.lock(ref):
                    return await act()
            except Conflict:
                await self._setup.clock.sleep(self._setup.rng.uniform(0, 0.1))
        raise Conflict(f"{ref} is changed by others all the time")

    def lock(self, ref: Ref) -> asyncio.Lock:
        """Return the lock that keeps this process from conflicting with itself."""
        lock = self._locks.get(ref)
        if lock is None:
            lock = self._locks[ref] = asyncio.Lock()
        return lock

    def wake(self, ref: Ref) -> None:
        """Tell everybody who waits for news of this journal."""
        if (news := self._news.get(ref)) is not None:
            self._news[ref] = News(count=news.count + 1, event=asyncio.Event())
            news.event.set()

    def count(self, ref: Ref) -> int:
        """Return how much news there has been: to be taken before reading, and given to `news`."""
        return self._news.setdefault(ref, News(count=0, event=asyncio.Event())).count

    async def news(self, ref: Ref, count: int, seconds: float) -> None:
        """Return once there is more news than `count`, at the latest after `seconds`."""
        news = self._news.setdefault(ref, News(count=0, event=asyncio.Event()))
        if news.count != count or seconds <= 0:
            return
        try:
            async with asyncio.timeout(seconds):
                await news.event.wait()
        except TimeoutError:
            pass

    @property
    def ours(self) -> tuple[Ref, ...]:
        """Return whose journals are claimed by this replica, as it last saw them."""
        return tuple(self._unsure)

    def forget(self, ref: Ref) -> None:
        """Let go of what is kept for waiting on a journal that has no work left."""
        self.wake(ref)
        self._news.pop(ref, None)

    def unsure(self, ref: Ref, owed: Owed) -> bool:
        """Return whether a sink may have been told of a subject what the journal does not say.

        Somebody else had the claim when this came to be owed, and may have died in between.
        """
        return owed.key in self._unsure.get(ref, ())

    def doubt(self, ref: Ref, owed: Owed) -> None:
        """Take note that a sink may have been told, before that is written down."""
        if (unsure := self._unsure.get(ref)) is not None:
            unsure.add(owed.key)

    def trust(self, ref: Ref, owed: Owed) -> None:
        """Take note that a sink has told what it took."""
        self._unsure.get(ref, set()).discard(owed.key)

    def _keep(self, ref: Ref, entry: Entry, before: Journal | None = None) -> Entry:
        """Remember an entry; `before` is what our own write of it has replaced."""
        self._seen[ref] = entry
        self._seen.move_to_end(ref)
        while len(self._seen) > CACHED:
            self._seen.popitem(last=False)
        journal = entry.journal
        if journal.claim != self._setup.replica:
            self._unsure.pop(ref, None)
        elif ref in self._unsure:
            self._unsure[ref] &= {owed.key for owed in journal.owed}
        else:
            # Just now it became ours.
            now = self._setup.clock.now()
            self._unsure[ref] = {o.key for o in (before or journal).owed if _was_due(o, now)}
        return entry


def _was_due(owed: Owed, now: datetime) -> bool:
    """Return whether somebody may have begun to send it: not what has time and was never tried."""
    return bool(owed.attempts) or owed.not_before is None or owed.not_before <= now


def name_of(ref: Ref) -> str:
    """Return the name of the ConfigMap of a journal."""
    return jn.OWN if ref == OWN else jn.name_of(ref.namespace, ref.deployment)


def ref_of(journal: Journal) -> Ref:
    """Return whose journal it is."""
    return Ref(journal.namespace, journal.deployment)
