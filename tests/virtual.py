"""A virtual clock for tests that speak real HTTP over loopback.

The loop of `run` moves its own time on: whenever every task waits and nothing is on its way over a
socket, time jumps to the next timer. An hour of waiting takes milliseconds, and the order of things
is the same in each run. Sockets are real, so nothing may block: no threads, and IP literals only.

    async def story() -> None: ...
    run(story)                      # or, as a decorator on a test: @virtual

    @virtual
    async def test_an_hour_is_short() -> None:
        clock = LoopClock()         # now() and monotonic() of the loop, sleep() is asyncio.sleep
        await clock.sleep(3600)

`@virtual` leaves an ordinary function: fixtures and parameters reach it, but no async fixture does.
What waits for something that does not come is an error within seconds.
"""

import asyncio
import functools
import selectors
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from time import sleep  # noqa: TID251 - here the real time is made a virtual one
from typing import Any, TypeVar

T = TypeVar("T")

START = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
# Real seconds without any socket event after which nothing is on its way on loopback any more.
# Linux hands over what was sent before `send` returns; the rest is for a busy machine.
QUIET = 0.0005
# Real seconds to wait for a socket when no timer is set. It is loopback: more will not help.
PATIENCE = 5.0
# A test that waits for something that never comes would spin for ever otherwise.
LONGEST = 14 * 24 * 3600.0


class _Selector(selectors.DefaultSelector):
    """Looks at the sockets for a moment, and lets the time to wait pass at once."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[Any]:
        events = super().select(0)
        if events or timeout == 0:
            return events
        # Two looks: the first may be too early for what the kernel is about to hand over. Nobody
        # sends meanwhile, for all of this is one thread, so sleeping is as good as selecting, and
        # several times shorter: epoll counts in milliseconds.
        for moment in (0, QUIET):
            sleep(moment)
            events = super().select(0)
            if events:
                return events
        if timeout is not None:
            self.loop.pass_time(timeout)
            return events
        # Nothing is scheduled: only a socket can go on from here.
        events = super().select(PATIENCE)
        if not events:
            raise RuntimeError("every task waits, no timer is set, and no socket has anything")
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only while nothing happens."""

    def __init__(self, start: datetime = START) -> None:
        selector = _Selector()
        super().__init__(selector)
        selector.loop = self
        self.start = start
        self._virtual = 0.0

    def time(self) -> float:
        return self._virtual

    def pass_time(self, seconds: float) -> None:
        """Let that much time pass."""
        self._virtual += seconds
        if self._virtual > LONGEST:
            raise RuntimeError("the test waits for something that does not come")


class LoopClock:
    """The clock of the running loop.

    `now` began at `start` (else where the loop was told to begin), `skew` seconds off if told so.
    """

    def __init__(self, start: datetime | None = None, skew: float = 0.0) -> None:
        self._start = start
        self._skew = timedelta(seconds=skew)

    def now(self) -> datetime:
        """Return the wall time."""
        loop = asyncio.get_running_loop()
        start = self._start or (loop.start if isinstance(loop, VirtualLoop) else START)
        return start + self._skew + timedelta(seconds=loop.time())

    def monotonic(self) -> float:
        """Return the time of the loop."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of the loop's time."""
        await asyncio.sleep(seconds)


def run(story: Callable[[], Awaitable[T]], *, start: datetime = START) -> T:
    """Run a coroutine function to its end on a virtual loop of its own, and return its result."""

    async def main() -> T:
        return await story()

    with asyncio.Runner(loop_factory=functools.partial(VirtualLoop, start)) as runner:
        return runner.run(main())


def virtual(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Make an ordinary test of an async one, which runs in virtual time."""

    @functools.wraps(test)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        run(lambda: test(*args, **kwargs))

    return wrapper
