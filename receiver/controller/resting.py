"""Sinks that take nothing just now: they are left alone for a while, and asked by one at a time.

A message has its own wait; this is what all messages to a sink have in common. However many of them
wait for a dead sink, it costs a few attempts a minute, and as many writes to a journal.
"""

from dataclasses import dataclass
from random import Random  # noqa: TID251 - only its type; the generator is handed in

# Seconds: the longest rest, and how long one who asks may take before another one does.
MOST, ASKING = 60.0, 30.0


@dataclass(slots=True)
class _Rest:
    """How often in a row a sink has failed, since when, and until when it rests."""

    failures: int
    noted_at: float
    until: float


class Resting:
    """How long each sink is left alone. Times are readings of one monotonic clock, in seconds."""

    def __init__(self, rng: Random, first: float) -> None:
        """`first`: the longest that a first rest can be, in seconds."""
        self._rng = rng
        self._first = first
        self._rests: dict[str, _Rest] = {}

    def left(self, sink: str, now: float) -> float:
        """Return for how long nobody is to ask this sink."""
        rest = self._rests.get(sink)
        return 0.0 if rest is None else max(0.0, rest.until - now)

    def ask(self, sink: str, now: float) -> float:
        """Return 0.0 to who may ask now, and has to tell the outcome; to others how long to wait.

        After a rest that is one alone: the others wait for what it learns.
        """
        if (left := self.left(sink, now)) > 0:
            return left
        if (rest := self._rests.get(sink)) is not None:
            rest.until = now + ASKING
        return 0.0

    def well(self, sink: str) -> None:
        """Take note that a sink answers."""
        self._rests.pop(sink, None)

    def failed(self, sink: str, began: float, now: float, least: float = 0.0) -> None:
        """Take note that what `began` then has failed: a rest of full jitter, at least `least`.

        What was under way already when another one failed is the same failure.
        """
        rest = self._rests.get(sink)
        if rest is not None and began < rest.noted_at:
            return
        failures = 0 if rest is None else rest.failures + 1
        most = min(MOST, self._first * 2 ** min(failures, 20))
        until = now + max(least, self._rng.uniform(0, most))
        self._rests[sink] = _Rest(failures, now, until)
