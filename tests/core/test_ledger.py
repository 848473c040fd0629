"""The ledger: who began to alert, what is reserved, and when that is too much."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver import ledger as lg
from receiver.errors import StateUnreadable
from receiver.ledger import Breaker, Budgets, Ledger, Limit
from tests.builders import T0, at

BREAKER = Breaker()


def began(*targets: str, ledger: Ledger | None = None, now: float = 0, opted_in: int = 0) -> Ledger:
    """Let targets begin to alert, `now` minutes after T0."""
    return (ledger or Ledger()).began(targets, at(now), BREAKER, opted_in)


def many(count: int, prefix: str = "shop/app") -> list[str]:
    return [f"{prefix}-{number}" for number in range(count)]


# --- the breaker


def test_it_opens_when_more_than_five_targets_begin_within_five_minutes() -> None:
    five = began(*many(5))
    assert not five.is_open(T0, BREAKER)
    six = began("shop/one-more", ledger=five, now=4.9)
    assert six.is_open(at(4.9), BREAKER)
    assert six.opening is not None
    assert six.opening.targets == (*many(5), "shop/one-more")


def test_it_does_not_count_who_began_before_that() -> None:
    assert not began("shop/one-more", ledger=began(*many(5)), now=5.1).is_open(at(5.1), BREAKER)


def test_it_counts_a_target_once_however_often_it_begins() -> None:
    ledger = Ledger()
    for minute in range(20):
        ledger = began("shop/api", ledger=ledger, now=minute / 10)
    assert not ledger.is_open(at(2), BREAKER)


@pytest.mark.parametrize(
    ("alerting", "opted_in", "is_open"),
    [
        (1, 1, False),
        (2, 2, False),  # two of two are no mass alert: there are not enough to tell
        (3, 3, True),
        (3, 14, True),
        (3, 15, False),  # exactly a fifth
        (4, 15, True),
        (3, 0, False),  # nobody knows how many there are
        (6, 1000, True),
    ],
)
def test_a_share_of_all_counts_from_three_targets_on(
    alerting: int, opted_in: int, is_open: bool
) -> None:
    assert began(*many(alerting), opted_in=opted_in).is_open(T0, BREAKER) is is_open


def test_it_closes_when_none_has_begun_for_the_quiet_time() -> None:
    ledger = began("shop/late", ledger=began(*many(6)), now=10)
    assert ledger.is_open(at(39.9), BREAKER)
    assert not ledger.is_open(at(40), BREAKER)
    assert ledger.opening is not None
    assert (ledger.opening.at, ledger.opening.count) == (T0, 7)


def test_after_the_quiet_time_one_target_opens_nothing() -> None:
    ledger = began("shop/late", ledger=began(*many(6)), now=31)
    assert ledger.opening is None
    assert not ledger.is_open(at(31), BREAKER)


def test_what_a_person_closed_is_not_opened_by_the_same_alerts() -> None:
    closed = began(*many(6)).closed()
    assert not closed.is_open(at(1), BREAKER)
    assert not began("shop/late", ledger=closed, now=1).is_open(at(1), BREAKER)


def test_a_clock_that_is_ahead_hides_nobody() -> None:
    ahead = began(*many(5), now=60)
    assert began("shop/one-more", ledger=ahead).is_open(T0, BREAKER)


def test_it_names_a_hundred_targets_and_counts_them_all() -> None:
    opening = began(*many(400)).opening
    assert opening is not None
    assert (opening.count, len(opening.targets)) == (400, 100)


def test_without_a_breaker_nothing_opens() -> None:
    ledger = Ledger().began(many(50), T0, None, 50)
    assert ledger.opening is None
    assert not began(*many(6)).is_open(T0, None)


# --- the budgets


def spent(ledger: Ledger, target: str = "shop/api", now: float = 0, **budgets: object) -> str:
    limit = ledger.spent(target, "inc-new", at(now), Budgets(**budgets))  # type: ignore[arg-type] # as given
    return "" if limit is None else f"{limit.count} per {limit.within / timedelta(minutes=1):.0f}"


def reserved(*when: tuple[str, float]) -> Ledger:
    ledger = Ledger()
    for number, (target, minutes) in enumerate(when):
        ledger = ledger.reserve(f"inc-{number}", target, at(minutes))
    return ledger


@pytest.mark.parametrize(
    ("when", "limit"),
    [
        ([], ""),
        ([("shop/api", -59.9)], "1 per 60"),
        ([("shop/api", -60)], ""),
        ([("shop/api", -1400), ("shop/api", -700), ("shop/api", -61)], "3 per 1440"),
        ([("shop/api", -1440), ("shop/api", -700), ("shop/api", -61)], ""),
        ([("shop/a", -9), ("shop/b", -5), ("shop/c", -1)], "3 per 10"),
        ([("shop/a", -10), ("shop/b", -5), ("shop/c", -1)], ""),
        ([("shop/a", 30), ("shop/b", 30), ("shop/c", 30)], "3 per 10"),
    ],
)
def test_a_limit_counts_what_was_reserved_within_its_span(
    when: list[tuple[str, float]], limit: str
) -> None:
    assert spent(reserved(*when)) == limit


def test_no_limit_is_none() -> None:
    busy = reserved(*(("shop/api", -1.0) for _ in range(9)))
    assert spent(busy, per_target=(), per_cluster=()) == ""
    assert (
        spent(busy, per_target=(Limit(count=10, within=timedelta(hours=1)),), per_cluster=()) == ""
    )


def test_an_incident_reserves_once_and_is_not_in_its_own_way() -> None:
    once = Ledger().reserve("inc-1", "shop/api", T0)
    assert once.reserve("inc-1", "shop/api", at(5)) == once
    assert once.spent("shop/api", "inc-1", at(5), Budgets()) is None
    assert once.spent("shop/api", "inc-2", at(5), Budgets()) is not None


def test_what_is_given_back_is_as_if_it_had_not_been() -> None:
    once = Ledger().reserve("inc-1", "shop/api", T0)
    assert once.release("inc-1") == Ledger()
    assert once.release("inc-2") == once


def test_reservations_are_kept_for_a_week_and_bounded() -> None:
    ledger = Ledger()
    for number in range(1200):
        ledger = ledger.reserve(f"inc-{number}", "shop/api", T0)
    assert len(ledger.reservations) == lg.RESERVATIONS_KEPT
    later = ledger.reserve("inc-late", "shop/api", T0 + lg.RESERVED_FOR)
    assert [r.incident for r in later.reservations] == ["inc-late"]


# --- its JSON


@given(
    st.lists(st.tuples(st.sampled_from(many(9)), st.integers(0, 60))),
    st.lists(st.tuples(st.sampled_from(many(9)), st.integers(0, 60))),
)
def test_a_ledger_is_read_back_as_it_was_written(
    starts: list[tuple[str, int]], rollbacks: list[tuple[str, int]]
) -> None:
    ledger = reserved(*((target, float(minute)) for target, minute in rollbacks))
    for target, minute in starts:
        ledger = began(target, ledger=ledger, now=minute)
    assert lg.load(lg.dump(ledger)) == ledger


def test_an_absent_ledger_is_an_empty_one() -> None:
    assert lg.load(None) == Ledger()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "nonsense", '{"version": 2}', '{"version": 1, "starts": 3}', '{"version":1,"x":1}'],
)
def test_what_cannot_be_read_is_no_empty_ledger(text: str) -> None:
    with pytest.raises(StateUnreadable, match="ledger"):
        lg.load(text)
