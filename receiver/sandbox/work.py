"""What the controllers share: a queue that is worked off in rounds, and alarms on the clock."""

import asyncio
from collections.abc import Callable, Hashable
from typing import TypeAlias

from receiver.sandbox.objects import Clock

Task: TypeAlias = tuple[str, Hashable]  # whose work it is, and on what


class Alarm:
    """Sets an event at a moment of the clock. One at a time; the earliest wins."""

    def __init__(self, clock: Clock, event: asyncio.Event) -> None:
        self._clock = clock
        self._event = event
        self._due: float | None = None
        self._sleeper: asyncio.Task[None] | None = None

    def set(self, due: float | None) -> None:
        """Ring at `due` (monotonic), or not at all."""
        if due == self._due and (self._sleeper is None or not self._sleeper.done()):
            return
        self.cancel()
        self._due = due
        if due is not None:
            self._sleeper = asyncio.create_task(self._ring(due), name="sandbox-alarm")

    def cancel(self) -> None:
        """Do not ring."""
        if self._sleeper is not None:
            self._sleeper.cancel()
        self._due = self._sleeper = None

    async def _ring(self, due: float) -> None:
        # Never too early by a rounding error, which would have to be slept off in no time at all.
        await self._clock.sleep(max(due - self._clock.monotonic(), 0.001))
        self._event.set()


class Worker:
    """Does every task that is due once per round; a round takes `reaction` seconds.

    The pause before a round is what makes a controller a controller: others see the state in
    between. With nothing to do it sleeps until the next alarm, or for good.
    """

    def __init__(self, clock: Clock, do: Callable[[Task], None]) -> None:
        self.reaction = 0.005
        self.is_parked: Callable[[Task], bool] = lambda _: False
        self.is_far: Callable[[Task], bool] = lambda _: False
        self._clock = clock
        self._do = do
        self._queue: dict[Task, None] = {}
        self._later: dict[Task, float] = {}
        self._wake = asyncio.Event()
        self._rest = asyncio.Event()

    def add(self, task: Task) -> None:
        """Do this in the next round."""
        self._queue[task] = None
        self._later.pop(task, None)
        self._wake.set()

    def add_after(self, task: Task, seconds: float) -> None:
        """Do this once, in `seconds`; an earlier appointment for the same task is kept."""
        due = self._clock.monotonic() + max(seconds, 0.001)
        self._later[task] = min(due, self._later.get(task, due))
        self._wake.set()

    def wake(self) -> None:
        """Look again, because what was parked may not be any more."""
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled."""
        alarm = Alarm(self._clock, self._wake)
        try:
            while True:
                self._wake.clear()
                self._collect()
                if self._is_settled():
                    self._rest.set()
                if not self._has_work():
                    alarm.set(min(self._later.values(), default=None))
                    await self._wake.wait()
                    continue
                await self._clock.sleep(self.reaction)
                for task in [task for task in self._queue if not self.is_parked(task)]:
                    del self._queue[task]
                    self._do(task)
        finally:
            alarm.cancel()
            self._rest.set()

    async def settled(self) -> None:
        """Return when nothing is due, now or at an appointment that is not far."""
        if not self._is_settled():
            self._rest.clear()
            await self._rest.wait()

    def _is_settled(self) -> bool:
        return not self._has_work() and all(map(self.is_far, self._later))

    def _has_work(self) -> bool:
        return any(not self.is_parked(task) for task in self._queue)

    def _collect(self) -> None:
        now = self._clock.monotonic()
        for task in [task for task, due in self._later.items() if due <= now]:
            del self._later[task]
            self._queue[task] = None
