"""One event is one line, and no line holds a secret."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.telemetry import (
    LONGEST,
    LONGEST_LINE,
    REDACTED,
    Format,
    LibraryLog,
    Redaction,
    configure_logs,
)

CANARY = "canary-3d1f-in-a-coal-mine"
SLACK = "https://hooks.slack.com/services/T000/B000/abcdefghijklmnopqrstuvwx"
NOON = datetime(2026, 11, 23, 13, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=1)))


@pytest.fixture(autouse=True)
def _root_logger_as_before() -> Iterator[None]:
    yield
    logging.captureWarnings(capture=False)
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, LibraryLog)]:
        root.removeHandler(handler)


def logged(fmt: Format = "json", level: Any = "debug", **fields: Any) -> str:
    out = io.StringIO()
    log = configure_logs(out, level, fmt, now=lambda: NOON, secrets=lambda: [CANARY])
    log.info("rollback_started", **fields)
    return out.getvalue()


def record(text: str) -> dict[str, Any]:
    assert text.count("\n") == 1
    assert text.endswith("\n")
    found: dict[str, Any] = json.loads(text)
    return found


def test_an_event_is_one_line_of_json_with_the_clocks_time_in_utc() -> None:
    assert record(logged(target="shop/checkout", revision=7, dry=False, none=None)) == {
        "at": "2026-11-23T12:00:00.250Z",
        "level": "info",
        "event": "rollback_started",
        "target": "shop/checkout",
        "revision": 7,
        "dry": False,
        "none": None,
    }


def test_the_console_says_the_same_for_people() -> None:
    text = logged("console", target="shop/checkout", why="it is down", n=3)
    assert text == (
        "2026-11-23T12:00:00.250Z info    rollback_started"
        ' target=shop/checkout why="it is down" n=3\n'
    )


NASTY = [
    "a\nb",
    "a\r\nb",
    "\x1b[31mred\x1b[0m",
    "a\u2028b\u2029c\x85d\x0be\x0cf",
    "\x00\x7f\u202eevil",
    '"} {"event": "forged"',
    "\ud800",
]


@pytest.mark.parametrize("fmt", ["json", "console"])
@pytest.mark.parametrize("value", NASTY, ids=range(len(NASTY)))
def test_no_value_makes_a_second_line_or_a_control_character(fmt: Format, value: str) -> None:
    text = logged(fmt, plain=value, nested={value: [value]})
    assert len(text.splitlines()) == 1
    assert text[:-1].isprintable()
    assert text.isascii()


@given(value=st.text() | st.lists(st.text()) | st.dictionaries(st.text(), st.floats()))
def test_whatever_a_value_is_the_line_is_one_and_is_json(value: Any) -> None:
    assert record(logged(value=value))["event"] == "rollback_started"
    assert len(logged("console", value=value).splitlines()) == 1


def test_a_field_called_like_our_own_does_not_hide_ours() -> None:
    found = record(logged(at="never"))
    assert (found["at"], found["at_"]) == ("2026-11-23T12:00:00.250Z", "never")


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_a_value_that_cannot_be_written_costs_no_event() -> None:
    found = record(logged(odd=Unprintable(), nan=float("nan"), big=10**6000, deep=_deep(50)))
    assert found["odd"] == "[unprintable: RuntimeError]"
    assert (found["nan"], found["big"]) == ("nan", "[large]")


def _deep(levels: int) -> Any:
    value: Any = "bottom"
    for _ in range(levels):
        value = [value]
    return value


def test_a_line_is_never_so_long_that_a_container_runtime_cuts_it() -> None:
    fields: dict[str, Any] = {f"f{index}": "x " * 100_000 for index in range(200)}
    text = logged(**fields)
    assert len(text) <= LONGEST_LINE + 1
    assert record(text)["event"] == "rollback_started"
    assert len(record(logged(one="x " * 100_000))["one"]) == LONGEST


# --- secrets

SECRETS = [
    (f"url {SLACK} failed", f"url https://hooks.slack.com/services/{REDACTED} failed"),
    ("Authorization: Bearer abc.def", f"Authorization: Bearer {REDACTED}"),
    ("bearer   xyz", f"bearer   {REDACTED}"),
    ("Basic YWxhZGRpbjpvcGVu", f"Basic {REDACTED}"),
    ("key 0123456789abcdef0123456789abcdef.", f"key {REDACTED}."),
    ("xoxb-1234-5678-abc", f"xoxb-{REDACTED}"),
    ("https://user:pass@host/x", f"https://{REDACTED}@host/x"),
    ("eyJhbGciOi.eyJzdWIi.c2lnbmF0dXJl", REDACTED),
    (f"<{CANARY}>", f"<{REDACTED}>"),
]
INNOCENT = [
    "shop/checkout",
    "5d4f8c7b9d",
    "0123456789abcdef",
    "5b1f1a1c-1c1d-4a4a-9b9b-0123456789ab",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "http://prometheus:9090/graph?g0.expr=up",
    "2026-11-23T12:00:00Z",
]


def redacted(text: str, *secrets: str) -> str:
    redaction = Redaction(lambda: secrets)
    redaction.refresh()
    return redaction(text)


@pytest.mark.parametrize(("text", "expected"), SECRETS)
def test_what_is_a_secret_or_looks_like_one_is_taken_out(text: str, expected: str) -> None:
    assert redacted(text, CANARY) == expected


@pytest.mark.parametrize("text", INNOCENT)
def test_what_people_need_to_read_stays(text: str) -> None:
    assert redacted(text, CANARY) == text


@pytest.mark.parametrize("fmt", ["json", "console"])
def test_no_secret_gets_into_a_line_wherever_it_stands(fmt: Format) -> None:
    text = logged(
        fmt,
        plain=CANARY,
        nested={CANARY: [{"a": (CANARY,)}]},
        error=ValueError(f"no {CANARY}"),
        url=SLACK,
        password="hunter2",
        headers={"Authorization": "opaque-thing"},
    )
    for secret in (CANARY, "abcdefghijklmnopqrstuvwx", "hunter2", "opaque-thing"):
        assert secret not in text


def test_a_rotated_secret_is_known_at_the_next_line() -> None:
    known = ["first-secret"]
    out = io.StringIO()
    log = configure_logs(out, now=lambda: NOON, secrets=lambda: known)
    log.info("token_shown", both="first-secret second-secret")
    known.append("second-secret")
    log.info("token_shown", both="first-secret second-secret")
    first, second = (json.loads(line)["both"] for line in out.getvalue().splitlines())
    assert (first, second) == (f"{REDACTED} second-secret", f"{REDACTED} {REDACTED}")


def test_a_secret_that_begins_with_another_is_taken_out_whole() -> None:
    assert redacted("abcd-efgh", "abcd", "abcd-efgh") == REDACTED


def test_an_empty_or_tiny_secret_does_not_blacken_everything() -> None:
    assert redacted("a banana", "", "a") == "a banana"


# --- exceptions and libraries


def _fail(what: object) -> None:
    raise RuntimeError(f"{what}\nand on")


def test_an_exception_is_told_without_local_variables() -> None:
    out = io.StringIO()
    log = configure_logs(out, now=lambda: NOON)
    inner = "only-in-a-local-variable"
    try:
        _fail(len(inner))
    except RuntimeError:
        log.exception("step_broken", step="apply")
    found = record(out.getvalue())
    assert found["exception"][0]["exc_type"] == "RuntimeError"
    assert inner not in out.getvalue()
    assert "test_logs.py" in out.getvalue()


def test_below_its_level_nothing_is_written() -> None:
    assert logged(level="warning") == ""


def test_what_libraries_log_comes_out_of_the_same_way() -> None:
    out = io.StringIO()
    configure_logs(out, now=lambda: NOON, secrets=lambda: [CANARY])
    logging.getLogger("aiohttp.server").warning("said %s\nof %s", "this", CANARY)
    assert record(out.getvalue()) == {
        "at": "2026-11-23T12:00:00.250Z",
        "level": "warning",
        "event": "library_said",
        "library": "aiohttp.server",
        "text": f"said this\nof {REDACTED}",
    }


def test_the_traceback_of_a_library_is_one_short_field() -> None:
    out = io.StringIO()
    configure_logs(out, now=lambda: NOON)
    try:
        _fail("bytes of the sender " * 1000)
    except RuntimeError:
        logging.getLogger("aiohttp.server").exception("Error handling request")
    found = record(out.getvalue())
    assert found["level"] == "error"
    assert found["error"].startswith("RuntimeError: bytes of the sender")
    assert len(found["error"]) <= 200
    assert "test_logs.py" in found["where"]


def test_a_record_with_wrong_arguments_is_still_told() -> None:
    out = io.StringIO()
    handler = LibraryLog(configure_logs(out, now=lambda: NOON))
    # Not through a logger: pytest's own handler would fail on it first.
    handler.emit(logging.LogRecord("odd", 30, "", 1, "%d things", ("three",), None))
    assert record(out.getvalue())["text"] == "%d things"


def test_warnings_come_out_of_the_same_way() -> None:
    out = io.StringIO()
    configure_logs(out, now=lambda: NOON)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old thing", DeprecationWarning, stacklevel=1)
    assert record(out.getvalue())["library"] == "py.warnings"


def test_configuring_twice_does_not_write_twice() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure_logs(first, now=lambda: NOON)
    configure_logs(second, now=lambda: NOON)
    logging.getLogger("lib").warning("once")
    assert first.getvalue() == ""
    assert record(second.getvalue())["text"] == "once"


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_stream_that_is_gone_takes_nobody_down() -> None:
    configure_logs(Gone(), now=lambda: datetime(2026, 1, 1, tzinfo=UTC)).info("rollback_started")
