"""How fast a sink may be spoken to."""

import math


class Pace:
    """A token bucket on a given clock: `burst` at once, then one every `seconds`; and a pause.

    Times are readings of one monotonic clock, in seconds.
    """

    def __init__(self, burst: int, seconds: float) -> None:
        self._burst = float(burst)
        self._seconds = seconds
        self._tokens = float(burst)
        self._at = -math.inf
        self._paused_until = -math.inf

    def take(self, now: float) -> float:
        """Take a token and return 0.0, or take none and return how long until there is one."""
        if now < self._paused_until:
            return self._paused_until - now
        self._tokens = min(self._burst, self._tokens + (now - self._at) / self._seconds)
        self._at = now
        # What is a rounding error short of a token is one: the wait told before is over.
        if self._tokens < 1 - 1e-9:
            return (1 - self._tokens) * self._seconds
        self._tokens -= 1
        return 0.0

    def pause(self, until: float) -> None:
        """Give no token before `until`; a longer pause stays."""
        self._paused_until = max(self._paused_until, until)
