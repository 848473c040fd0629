"""The clock every part is given: wall time for people, monotonic time for waiting and judging.

Two readings on purpose. Wall time is printed, stored and compared with the API server's timestamps;
whether another replica is alive is judged on monotonic time alone, for wall clocks disagree.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What time it is, twice, and how to wait. Tests pass a virtual one."""

    def now(self) -> datetime:
        """Return the wall time, always aware and in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some fixed moment of this process; never steps back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the wall time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return the machine's monotonic reading in seconds."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep on the running event loop."""
        await asyncio.sleep(seconds)
