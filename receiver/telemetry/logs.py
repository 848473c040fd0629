"""Logs: one event is one line, whatever its values hold, and no secret is in it."""

import json
import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO, TypeAlias

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

# --- what may be written

Format: TypeAlias = Literal["json", "console"]
Level: TypeAlias = Literal["debug", "info", "warning", "error"]

REDACTED = "[redacted]"
LONGEST, MOST_ITEMS, DEEPEST = 2000, 50, 12
# Container runtimes cut a line at 16 KiB and make two of it.
LONGEST_LINE = 16_000
# So much of a text is looked at; what is longer is no log field.
_LOOKED_AT = 64 * 1024
# A shorter "secret" is a word that stands everywhere.
_SHORTEST_SECRET = 4

_PATTERNS = re.compile(
    r"(hooks\.slack(?:-gov)?\.com/[a-z]+/)\S+"
    r"|((?i:\bBearer)\s+)\S+"
    r"|((?i:\bBasic)\s+)[A-Za-z0-9+/=]{8,}"
    r"|(\bxox[a-z]-)\S+"
    r"|(://)[^\s/@]+(?=@)"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]+"  # a JSON Web Token, such as a ServiceAccount's
    r"|(?<![0-9a-zA-Z])[0-9a-zA-Z]{32}(?![0-9a-zA-Z])"  # a PagerDuty routing key
)
_TELLING_KEY = re.compile(r"(?i)authorization|passw|secret|routing_?key|api_?key|cookie")


def _kept(found: re.Match[str]) -> str:
    """Return what stays of a pattern: its beginning says what was there."""
    return (found[found.lastindex] if found.lastindex else "") + REDACTED


class Redaction:
    """Takes out of text what is secret, or looks like it: the net below never logging a secret.

    `secrets` returns the values known right now; it is asked once for each event.
    """

    def __init__(self, secrets: Callable[[], Iterable[str]] = tuple) -> None:
        self._secrets = secrets
        self._known: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None

    def refresh(self) -> None:
        """Ask anew which values are secret."""
        known = frozenset(each for each in self._secrets() if len(each) >= _SHORTEST_SECRET)
        if known != self._known:
            # The longest first: one secret may begin with another.
            ordered = sorted(known, key=lambda each: (-len(each), each))
            self._pattern = re.compile("|".join(map(re.escape, ordered))) if known else None
            self._known = known

    def __call__(self, text: str) -> str:
        """Return the text without what was secret at the last `refresh`, or looks like it."""
        text = text[:_LOOKED_AT]
        if self._pattern is not None:
            text = self._pattern.sub(REDACTED, text)
        return _PATTERNS.sub(_kept, text)

    def clean(self, value: Any, limit: int = LONGEST, depth: int = DEEPEST) -> Any:
        """Return a value that JSON can write: bounded, and redacted in every text of it."""
        if value is None or isinstance(value, bool | int):
            return value if not isinstance(value, int) or abs(value) < 2**64 else "[large]"
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if depth == 0:
            return "[deep]"
        if isinstance(value, dict):
            pairs = list(value.items())[:MOST_ITEMS]
            return {
                self(str(key))[:limit]: REDACTED
                if _TELLING_KEY.search(str(key))
                else self.clean(each, limit, depth - 1)
                for key, each in pairs
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self.clean(each, limit, depth - 1) for each in list(value)[:MOST_ITEMS]]
        try:
            text = value if isinstance(value, str) else str(value)
        except Exception as error:  # noqa: BLE001 - whatever a value does, its event is written
            text = f"[unprintable: {type(error).__name__}]"
        return self(text)[:limit]


# --- writing it


class _Lines:
    """What structlog hands its lines to. A stream that is gone takes no request down with it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            pass  # closed or full, and there is no other place to say so

    debug = info = warning = warn = error = exception = critical = fatal = log = msg


def _json(event: Mapping[str, Any]) -> str:
    return json.dumps(event, ensure_ascii=True)


_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+\-]+")


def _console(event: Mapping[str, Any]) -> str:
    shown = dict(event)
    head = f"{shown.pop('at')} {shown.pop('level'):<7} {shown.pop('event')}"
    return " ".join([head, *(f"{_word(key)}={_word(value)}" for key, value in shown.items())])


def _word(value: Any) -> str:
    plain = isinstance(value, str) and _PLAIN.fullmatch(value)
    return str(value) if plain else json.dumps(value, ensure_ascii=True)


def configure_logs(
    stream: TextIO,
    level: Level = "info",
    fmt: Format = "json",
    *,
    now: Callable[[], datetime],
    secrets: Callable[[], Iterable[str]] = tuple,
) -> FilteringBoundLogger:
    """Return the logger, and let what libraries log come out of it, too.

    One event is one line of at most `LONGEST_LINE` characters, in ASCII: `json`, or `console` for
    people. Its name is a constant `noun_verb`, facts are fields. `now` is the clock's; `secrets`
    returns the values that must never be seen. Exceptions are rendered without local variables,
    which may hold secrets.
    """
    redaction = Redaction(secrets)
    render = _json if fmt == "json" else _console

    def finish(_: WrappedLogger, __: str, event: EventDict) -> str:
        redaction.refresh()
        at = now().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        head = {"at": at, "level": event.pop("level"), "event": event.pop("event")}
        for limit in (LONGEST, LONGEST // 10):
            line = render(redaction.clean(head | _without(event, head), limit))
            if len(line) <= LONGEST_LINE:
                return line
        return render(redaction.clean(head | {"cut": True}, LONGEST // 10))

    log: FilteringBoundLogger = structlog.wrap_logger(
        _Lines(stream),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=20)
            ),
            finish,
        ],
    ).bind()
    _listen_to_libraries(log)
    return log


def _without(event: EventDict, head: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields; one that is called like our own is kept under another name."""
    return {f"{key}_" if key in head else key: value for key, value in event.items()}


def _listen_to_libraries(log: FilteringBoundLogger) -> None:
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, LibraryLog)]:
        root.removeHandler(handler)
    root.addHandler(LibraryLog(log))
    logging.captureWarnings(capture=True)


class LibraryLog(logging.Handler):
    """Hands what libraries log (aiohttp, asyncio) to our logger: one way out, redacted.

    Their tracebacks become one field: aiohttp writes a whole one, with bytes of the sender in it,
    for each request that is no HTTP.
    """

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__(level=logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record as the event `library_said`."""
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - a library's wrong format must not hide what it says
            text = str(record.msg)
        fields: dict[str, str] = {"library": record.name, "text": text[:LONGEST]}
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            fields["error"] = f"{type(error).__name__}: {error}"[:200]
            trace = error.__traceback__
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            if trace is not None:
                code = trace.tb_frame.f_code
                fields["where"] = f"{code.co_filename}:{trace.tb_lineno} {code.co_name}"
        say = self._log.error if record.levelno >= logging.ERROR else self._log.warning
        say("library_said", **fields)
