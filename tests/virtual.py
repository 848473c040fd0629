"""A virtual clock for tests that speak real HTTP over loopback.

The loop of `run` moves its own time on: whenever every task waits and nothing is on its way over a
socket, time jumps to the next timer. An hour of waiting takes milliseconds, and the order of things
is the same in each run. Sockets are real, so nothing may block: no threads, and IP literals only.

    async def story() -> None: ...
    run(story)                      # or, as a decorator on a test: @virtual
"""

import asyncio
import functools
import selectors
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
# Real seconds without any socket event after which nothing is on its way on loopback any more.
QUIET = 0.0015
# A test that waits for something that never comes would spin for ever otherwise.
LONGEST = 14 * 24 * 3600.0


class _Selector(selectors.DefaultSelector):
    """Looks at the sockets for a moment, and lets the time to wait pass at once."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[Any]:
        events = super().select(0)
        if events or timeout == 0:
            return events
        # Two looks: the first may be too early for what the kernel is about to hand over.
        for _ in range(2):
            events = super().select(QUIET / 2)
            if events:
                return events
        if timeout is None:
            # Nothing is scheduled: only a socket can go on from here.
            return super().select(1.0)
        self.loop.pass_time(timeout)
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only while nothing happens."""

    def __init__(self) -> None:
        selector = _Selector()
        super().__init__(selector)
        selector.loop = self
        self._virtual = 0.0

    def time(self) -> float:
        return self._virtual

    def pass_time(self, seconds: float) -> None:
        """Let that much time pass."""
        self._virtual += seconds
        if self._virtual > LONGEST:
            raise RuntimeError("the test waits for something that does not come")


class LoopClock:
    """The clock of the running loop: `now` began at `start`, `skew` seconds off if told so."""

    def __init__(self, start: datetime = START, skew: float = 0.0) -> None:
        self._start = start + timedelta(seconds=skew)

    def now(self) -> datetime:
        """Return the wall time."""
        return self._start + timedelta(seconds=asyncio.get_running_loop().time())

    def monotonic(self) -> float:
        """Return the time of the loop."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of the loop's time."""
        await asyncio.sleep(seconds)


def run(story: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine function to its end on a virtual loop of its own."""

    async def main() -> None:
        await story()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


def virtual(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Make an ordinary test of an async one, which runs in virtual time."""

    @functools.wraps(test)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        run(lambda: test(*args, **kwargs))

    return wrapper
