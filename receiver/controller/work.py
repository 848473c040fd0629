"""The tasks of this replica: one worker for each target it has claimed, and the steady beat."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from receiver.controller.alarm import AWAY_AFTER, Alarm
from receiver.controller.claims import Claims
from receiver.controller.collecting import Collector
from receiver.controller.driving import Driver
from receiver.controller.guards import Guards, forgotten, silence, told
from receiver.controller.heartbeats import Silence
from receiver.controller.memory import Memory
from receiver.controller.reconcile import Reconciler
from receiver.controller.setup import OWN, Ref, Setup
from receiver.controller.tell import Teller
from receiver.errors import Broken, StateUnreadable, TryAgain
from receiver.journal import Journal

SHORTEST = 0.01
# Beats without which we go on all the same: an API server that hangs ends none.
UNBEATEN = 2
RELEASED_AT_ONCE = 16

Silent: TypeAlias = frozenset[tuple[str, bool | None]]


class Work:
    """Runs what the journals hold. Start with `run`, which ends when it is cancelled."""

    def __init__(self, setup: Setup, memory: Memory) -> None:
        self._setup = setup
        self._memory = memory
        self.guards = Guards(setup)
        self.alarm = Alarm(setup)
        self._reconciler = Reconciler(setup, memory, self.guards)
        self._driver = Driver(setup, memory, self.guards)
        self._teller = Teller(setup, memory)
        self._collector = Collector(setup, memory)
        self._workers: dict[Ref, asyncio.Task[None]] = {}
        self.claims = Claims(setup, memory, self.start)
        self.beaten_at: float | None = None
        self._beaten = asyncio.Event()
        self.denied: Mapping[str, tuple[str, ...]] | None = None
        self._rights_at: float | None = None
        # Whether the breaker was open, and which Watchdog was silent, when that was last told.
        self._told: tuple[bool, Silent] | None = None
        self._tended = False

    async def run(self) -> None:
        """Beat and sweep for ever: what a dead replica left is found here."""
        async with asyncio.TaskGroup() as group:
            # The beat is alone: whatever is slow, nobody shall think that we are dead.
            group.create_task(self._beats(), name="beats")
            group.create_task(self._sweeps(), name="sweeps")

    async def _beats(self) -> None:
        while True:
            await self._try(self._beat)
            self._beaten.set()
            await self._setup.clock.sleep(self._setup.timing.beat)

    async def _sweeps(self) -> None:
        setup = self._setup
        while True:
            # Right after a beat: what that heard is what a sweep goes by.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(setup.timing.beat * UNBEATEN):
                    await self._beaten.wait()
            self._beaten.clear()
            # Each on its own: whoever may not sweep must still learn which right is missing.
            for step in self._steps():
                await self._try(step)
            setup.metrics.targets_in_work.set(len(self._workers))

    def _steps(self) -> Iterator[Callable[[], Awaitable[None]]]:
        """Yield what has to be done now. An idle replica asks nothing of the API server."""
        self._resume()
        if self.claims.due(busy=bool(self._workers)):
            # Whoever died may have opened the breaker, or closed it, and told nobody.
            self._tended = False
            yield self.claims.sweep
        yield self._check_rights
        if not self._tended or self._untold:
            yield self.guards.count
            yield self._tend
        yield self._check_alarm
        yield self._collector.collect

    def _resume(self) -> None:
        """Work on what became ours although whoever wrote that was cut off before it said so."""
        for ref in self._memory.ours:
            journal = self._memory.known(ref)
            if journal is None or journal.busy:
                self.start(ref)

    async def _try(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except (TryAgain, Broken) as error:
            name = getattr(step, "__name__", "")
            self._setup.log.warning("beat_failed", step=name, error=str(error)[:200])
        except Exception:
            self._setup.log.exception("beat_broken")

    async def _beat(self) -> None:
        try:
            await self.claims.beat(calls=self.alarm.calls)
        except (TryAgain, Broken) as error:
            # A replica that is not ready gets no alerts, so none of them would call anybody.
            self.alarm.stuck("beat", "every target", str(error), after=AWAY_AFTER)
            raise
        self.alarm.settled("beat")
        if self.beaten_at is None and not self.claims.alone:
            self.alarm.inherit()
        self.beaten_at = self._setup.clock.monotonic()

    async def _check_alarm(self) -> None:
        await self.alarm.check(elsewhere=self.claims.others_call)

    async def _tend(self) -> None:
        """Tell of the breaker, whoever opened or closed it, and of the Watchdogs."""
        setup, fresh = self._setup, not self._tended
        self._tended = self.guards.wrote = False
        try:
            ledger = await self.guards.read()
        except StateUnreadable as error:
            # It refuses every rollback, and people should not learn that from the first refusal.
            self.alarm.stuck("ledger", "the ledger", str(error))
            raise
        self.alarm.settled("ledger")
        heartbeats = self.claims.heartbeats
        silences, knows_all = heartbeats.silences(), heartbeats.knows_all
        is_open = ledger.is_open(setup.clock.now(), setup.policy.breaker)
        setup.metrics.breaker_open.set(is_open)
        now = is_open, _silent(silences)
        # Each replica hears of a Watchdog at another moment: who has just told is not contradicted.
        news = silences if self._told is None or self._told[1] != now[1] else ()
        if fresh or is_open or now != self._told:

            def change(own: Journal) -> Journal:
                own = told(own, ledger, setup)
                for one in news:
                    own = silence(own, setup, one)
                if knows_all:
                    own = forgotten(own, setup, silences)
                return self.claims.claimed(own)

            journal = await self._memory.amend(OWN, change, fresh=fresh)
            self._told = now
            self.ensure(OWN, journal)
        self._tended = True

    @property
    def _untold(self) -> bool:
        """Return whether the breaker or a Watchdog may be other than we have told."""
        if self._told is None or self.guards.wrote:
            return True
        is_open, silent = self._told
        return is_open or silent != _silent(self.claims.heartbeats.silences())

    async def _check_rights(self) -> None:
        """Ask now and then what we may not do: a right can be taken away, or given, as we run."""
        setup, now = self._setup, self._setup.clock.monotonic()
        every = setup.timing.poll if self.denied else setup.timing.rights
        if self._rights_at is not None and now - self._rights_at < every:
            return
        denied = await setup.cluster.rights(setup.namespaces)
        self._rights_at = now
        if denied and denied != self.denied:
            setup.log.warning("rights_missing", denied={k: list(v) for k, v in denied.items()})
        self.denied = denied
        if self.able:
            self.alarm.settled("rights")
        else:
            self.alarm.stuck("rights", "every target", f"we lack the rights {self.lacking}")

    @property
    def lacking(self) -> str:
        """Return which rights we lack, by namespace, in at most 500 characters; "": none known."""
        denied = self.denied or {}
        return "; ".join(f"{where}: {', '.join(what)}" for where, what in denied.items())[:500]

    @property
    def able(self) -> bool:
        """Return whether our rights are enough to do anything at all, as far as we have asked."""
        if self.denied is None:
            return False
        targets = self._setup.namespaces or ("",)
        own = self._setup.state_namespace in self.denied
        return not own and not all(name in self.denied for name in targets)

    def ensure(self, ref: Ref, journal: Journal) -> None:
        """See to it that a journal which is ours and busy has a worker that knows of the news."""
        if journal.claim == self._setup.replica and journal.busy:
            self.start(ref)

    def start(self, ref: Ref) -> None:
        """Start the worker of a target, unless it runs."""
        if ref not in self._workers:
            self._workers[ref] = asyncio.create_task(self._work(ref), name=f"work on {ref}")

    async def _work(self, ref: Ref) -> None:
        """Step until nothing is left to do or the claim is lost."""
        setup, failures, last = self._setup, 0, -1
        try:
            while True:
                count = self._memory.count(ref)
                # What we have just written is the newest there is, or its next write fails.
                ours = self._memory.known(ref) if count > last >= 0 else None
                last = count
                try:
                    journal = ours or (await self._memory.read(ref)).journal
                    if journal.claim != setup.replica:
                        return
                    if not journal.busy and await self.claims.release(ref, idle_only=True):
                        return
                    self._teller.ensure(ref, journal)
                    late = await self._teller.fall_back(ref, journal)
                    wait = min(
                        late,
                        await self._reconciler.step(ref, journal),
                        await self._driver.step(ref, journal),
                    )
                    failures = 0
                    self.alarm.settled(f"work on {ref}")
                except (TryAgain, Broken) as error:
                    failures += 1
                    setup.log.warning("step_failed", target=str(ref), error=str(error)[:200])
                    self.alarm.stuck(f"work on {ref}", str(ref), str(error))
                    wait = self._backoff(failures)
                except Exception as error:
                    failures += 1
                    setup.log.exception("step_broken", target=str(ref))
                    self.alarm.stuck(f"work on {ref}", str(ref), type(error).__name__)
                    wait = self._backoff(failures)
                # A rest of a rounding error is no time to wait, nor reason to look at once.
                await self._memory.news(ref, count, wait and max(wait, SHORTEST))
        finally:
            self._workers.pop(ref, None)
            self._memory.forget(ref)
            self._driver.forget(ref)
            self._teller.forget(ref)
            self.alarm.settled(f"work on {ref}")

    def _backoff(self, failures: int) -> float:
        timing = self._setup.timing
        most = min(timing.retry_most, timing.retry_first * 2 ** min(failures, 10))
        return self._setup.rng.uniform(timing.retry_first / 2, most)

    @property
    def given_up(self) -> Counter[str]:
        """Return how many notices were given up since we started, by sink."""
        return self._teller.given_up

    async def close(self) -> None:
        """Stop the workers and give their claims up, so that another replica goes on at once."""
        tasks = dict(self._workers)
        for task in tasks.values():
            task.cancel()
        self._teller.close()
        await self.alarm.close()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        gate = asyncio.Semaphore(RELEASED_AT_ONCE)
        refs = dict.fromkeys((*tasks, *self._teller.refs))
        if refs:
            let_go = (self._let_go(ref, gate) for ref in refs)
            await asyncio.gather(self._try(self._say_leaving), *let_go)
        if self.alarm.left_open:
            # Our beat stays as a trace of us: whoever comes next closes what we cannot.
            return
        try:
            await self.claims.leave()
        except (TryAgain, Broken) as error:
            self._setup.log.warning("leave_not_said", error=str(error)[:200])

    async def _say_leaving(self) -> None:
        await self.claims.say_leaving(calls=self.alarm.calls)

    async def _let_go(self, ref: Ref, gate: asyncio.Semaphore) -> None:
        """Give a claim up once nothing about it is on its way: no sink holds up another target."""
        await self._teller.closed(ref)
        async with gate:
            try:
                await self.claims.release(ref, idle_only=False)
            except (TryAgain, Broken) as error:
                self._setup.log.warning(
                    "claim_not_released", target=str(ref), error=str(error)[:200]
                )


def _silent(silences: Iterable[Silence]) -> Silent:
    return frozenset((one.watchdog, one.silent) for one in silences)
