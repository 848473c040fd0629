"""Freeze windows, as the clocks of their zone show them."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from receiver.freeze import Once, Weekly, frozen

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
FRIDAY = 4


def weekly(start: str, end: str, *days: int, zone: ZoneInfo = BERLIN) -> Weekly:
    return Weekly(
        days=frozenset(days),
        start=time.fromisoformat(start),
        end=time.fromisoformat(end),
        zone=zone,
        why="the weekend",
    )


def local(text: str, zone: ZoneInfo = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


@pytest.mark.parametrize(
    ("window", "now", "holds"),
    [
        # 2026-11-27 is a Friday.
        (weekly("09:00", "17:00", FRIDAY), "2026-11-27T09:00", True),
        (weekly("09:00", "17:00", FRIDAY), "2026-11-27T16:59:59", True),
        (weekly("09:00", "17:00", FRIDAY), "2026-11-27T17:00", False),
        (weekly("09:00", "17:00", FRIDAY), "2026-11-27T08:59:59", False),
        (weekly("09:00", "17:00", FRIDAY), "2026-11-26T12:00", False),
        (weekly("18:00", "08:00", FRIDAY), "2026-11-27T18:00", True),
        (weekly("18:00", "08:00", FRIDAY), "2026-11-28T07:59", True),
        (weekly("18:00", "08:00", FRIDAY), "2026-11-28T08:00", False),
        (weekly("18:00", "08:00", FRIDAY), "2026-11-27T07:00", False),
        (weekly("18:00", "08:00", FRIDAY), "2026-11-28T18:00", False),
        # All of a day.
        (weekly("00:00", "00:00", FRIDAY), "2026-11-27T12:00", True),
        (weekly("00:00", "00:00", FRIDAY), "2026-11-28T00:00", False),
        # The clock that people see, in winter and in summer.
        (weekly("09:00", "10:00", FRIDAY), "2026-07-03T09:30", True),
    ],
)
def test_a_weekly_window_holds_by_the_clock_of_its_zone(
    window: Weekly, now: str, holds: bool
) -> None:
    assert window.holds(local(now)) is holds


def test_the_zone_decides_which_day_it_is() -> None:
    window = weekly("20:00", "23:00", FRIDAY, zone=NEW_YORK)
    assert window.holds(local("2026-11-28T02:30"))  # half past eight on Friday evening there


def test_a_window_that_comes_once_holds_between_its_ends() -> None:
    start = local("2026-12-24T12:00")
    window = Once(start=start, end=start + timedelta(days=2), why="christmas")
    moments = [start - timedelta(seconds=1), start, start + timedelta(days=2)]
    assert [window.holds(moment) for moment in moments] == [False, True, False]


def test_the_first_window_that_holds_says_why() -> None:
    now = local("2026-11-27T12:00")
    once = Once(start=now, end=now + timedelta(hours=1), why="an audit")
    assert frozen((), now) == ""
    assert frozen((weekly("13:00", "14:00", FRIDAY), once), now) == "an audit"
    assert frozen((weekly("09:00", "14:00", FRIDAY), once), now) == "the weekend"
