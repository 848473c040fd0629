"""The live timeline: the events of the service's own log, as lines for people."""

from collections.abc import Callable
from typing import Any

from receiver.clock import Clock
from receiver.messages import HEADLINES
from receiver.telemetry import Redaction


def _headline(state: str) -> str:
    known = HEADLINES.get(state)
    return known.words if known is not None else state


_LINES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "webhook_accepted": (
        "webhook",
        lambda e: (
            f"answered, {e['alerts']} alert{'s' * (e['alerts'] != 1)};"
            f" the webhook came from {e['user_agent']}"
        ),
    ),
    "alert_decided": (
        "alert",
        lambda e: (
            f"{e['alertname']} about {e['target']}: decision {e['action']}, reason {e['reason']}"
        ),
    ),
    "rollback_applied": (
        "rollback",
        lambda e: (
            f"{e['target']}: revision {e['bad']} ({e['bad_images']})"
            f" -> {e['to']} ({e['to_images']})"
        ),
    ),
    "rollback_accepted": ("rollback", lambda e: f"{e['target']}: asked for by {e['person']}"),
    "rollout_progressed": ("rollout", lambda e: str(e["progress"])),
    "rollout_completed": ("rollout", lambda e: f"{e['target']}: complete, verifying"),
    "incident_ended": (
        "incident",
        lambda e: f"{e['incident']} {e['phase']}: {e['detail'] or e['reason']}",
    ),
    "notice_delivered": ("notice", lambda e: f"{e['sink']} was told: {_headline(e['state'])}"),
}


class Timeline:
    """Prints what happens, with the seconds since the start."""

    def __init__(self, clock: Clock, *, quiet: bool = False) -> None:
        self._clock = clock
        self._quiet = quiet
        self._began = clock.monotonic()
        self._events: list[tuple[str, dict[str, Any]]] = []
        self._last = ""
        self._redact = Redaction()

    def say(self, word: str, text: str) -> None:
        """Print one line."""
        seconds = self._clock.monotonic() - self._began
        line = f"{word:>9}  {text}"
        if line != self._last and not self._quiet:
            print(f"{seconds:7.1f} s {self._redact(line)}", flush=True)
        self._last = line

    def saw(self, event: str) -> bool:
        """Return whether an event was logged."""
        return any(name == event for name, _ in self._events)

    def facts(self, event: str) -> dict[str, Any]:
        """Return the facts of the first event of that name, {} when there was none."""
        return next((facts for name, facts in self._events if name == event), {})

    def logger(self) -> "Log":
        """Return what stands in for the service's log."""
        return Log(self, {})

    def note(self, level: str, event: str, facts: dict[str, Any]) -> None:
        """Take one event of the log."""
        self._events.append((event, facts))
        if event in _LINES:
            word, line = _LINES[event]
            self.say(word, line(facts))
        elif level in ("warning", "error", "exception"):
            shown = ", ".join(f"{key}={value}" for key, value in facts.items())
            self.say(level, f"{event} {shown}")


class Log:
    """A bound logger that hands everything to the timeline."""

    def __init__(self, timeline: Timeline, bound: dict[str, Any]) -> None:
        self._timeline = timeline
        self._bound = bound

    def bind(self, **facts: Any) -> "Log":
        """Return a logger that adds these facts to each event."""
        return Log(self._timeline, self._bound | facts)

    def __getattr__(self, level: str) -> Callable[..., None]:
        """Return the method of a level (`info`, `warning`, ...)."""

        def write(event: str, **facts: Any) -> None:
            self._timeline.note(level, event, self._bound | facts)

        return write
