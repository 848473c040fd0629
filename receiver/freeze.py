"""When nothing is to be changed by itself: freeze windows. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import TypeAlias
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Weekly:
    """The same hours on some days (Monday is 0), as the clocks of a zone show them.

    `end` not after `start`: until that time of the next day.
    """

    days: frozenset[int]
    start: time
    end: time
    zone: ZoneInfo
    why: str

    def holds(self, now: datetime) -> bool:
        """Return whether it holds at a moment."""
        local = now.astimezone(self.zone)
        today, clock = local.weekday(), local.time()
        if self.start < self.end:
            return today in self.days and self.start <= clock < self.end
        yesterday = (local - timedelta(days=1)).weekday()
        return (today in self.days and clock >= self.start) or (
            yesterday in self.days and clock < self.end
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """From one moment to another, such as a long weekend."""

    start: datetime
    end: datetime
    why: str

    def holds(self, now: datetime) -> bool:
        """Return whether it holds at a moment."""
        return self.start <= now < self.end


Window: TypeAlias = Weekly | Once


def frozen(windows: Iterable[Window], now: datetime) -> str:
    """Return why nothing may be changed by itself now, "" when it may."""
    return next((window.why for window in windows if window.holds(now)), "")
