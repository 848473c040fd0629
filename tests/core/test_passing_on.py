from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.alerts import Alert
from receiver.controller.passing_on import (
    FOLLOWED,
    GATHERS,
    GATHERS_AGAIN,
    NAMES,
    OTHERS,
    SHOWN,
    SINGLES,
    Refused,
    pass_on,
)
from receiver.controller.remember import JUST
from receiver.journal import BYTES_KEPT, ENDED, MEMBERS_KEPT, Journal, Notice, Owed, bounded, dump
from receiver.reasons import Reason, Severity
from tests.builders import T0, alert, at

A, B = "00000000000000a1", "00000000000000b2"
NOTE = {"rollback": "never", "namespace": "shop", "deployment": "checkout"}
MANY = 10_000
SECOND = 1 / 60


def routes(severity: str) -> tuple[str, ...]:
    return ("slack", "pager") if severity == "critical" else ("slack",)


def _passed(journal: Journal, *alerts: tuple[Alert, float]) -> Journal:
    for one, minutes in alerts:
        journal = pass_on(journal, [(one, None)], at(minutes), routes)
    return journal


def _states(journal: Journal) -> list[tuple[str, float]]:
    return [(n.state, (n.started_at - T0) / timedelta(minutes=1)) for n in journal.notices]


def _owed(journal: Journal) -> set[tuple[str, str]]:
    return {(o.subject, o.sink) for o in journal.owed}


def _taken(journal: Journal, now: float = 1) -> Journal:
    """Return it with all that was owed taken."""
    states = {n.subject: n.state for n in journal.notices}
    for owed in journal.owed:
        journal = journal.tick(owed, states[owed.subject], at(now))
    return journal


# --- one by one


def test_an_alert_that_asks_for_nothing_is_passed_on_once() -> None:
    held = _passed(Journal(), (alert(labels=NOTE), 0))
    (notice,) = held.notices
    assert notice.subject.startswith("alert-")
    assert (notice.state, notice.reason) == ("firing", Reason.NOTIFY_ONLY)
    assert (notice.namespace, notice.deployment) == ("shop", "checkout")
    assert (notice.severity, notice.episodes) == (Severity.CRITICAL, (A,))
    assert [(e.asks, e.reason) for e in held.episodes] == [(False, Reason.NOTIFY_ONLY)]
    assert held.owed == (
        Owed(subject=notice.subject, sink="slack", since=T0),
        Owed(subject=notice.subject, sink="pager", since=T0),
    )
    assert _passed(held, (alert(labels=NOTE), 60)) == held


def test_its_end_is_told_once_too() -> None:
    fired = _taken(_passed(Journal(), (alert(), 0)))
    held = _passed(fired, (alert(ends=3), 4))
    assert _states(held) == [("resolved", -2)]
    assert [n.reason for n in held.notices] == [Reason.RESOLVED]
    assert _owed(held) == {(held.notices[0].subject, s) for s in ("slack", "pager")}
    told = _taken(held)
    assert _passed(told, (alert(ends=3), 5), (alert(), 6)) == told


def test_its_end_is_told_where_its_beginning_was_whatever_its_severity_is_by_now() -> None:
    fired = _taken(_passed(Journal(), (alert(labels={"severity": "critical"}), 0)))
    held = _passed(fired, (alert(ends=3, labels={"severity": "info"}), 4))
    assert {sink for _, sink in _owed(held)} == {"slack", "pager"}


def test_an_end_of_what_was_never_passed_on_is_not_told() -> None:
    held = _passed(Journal(), (alert(ends=3), 4), (alert(), 5))
    assert (held.notices, held.owed) == ((), ())


def test_an_earlier_start_of_what_is_passed_on_is_the_same_and_ends_with_it() -> None:
    held = _passed(Journal(), (alert(starts=-2), 0), (alert(starts=-2.2), 1))
    assert _states(held) == [("firing", -2)]
    held = _passed(replace(held, owed=()), (alert(starts=-2.2, ends=3), 4))
    assert _states(held) == [("resolved", -2)]
    assert len(held.owed) == 2
    assert [e.firing for e in held.episodes] == [False, False]


def test_a_later_start_of_what_is_passed_on_ends_the_one_before() -> None:
    held = _passed(Journal(), (alert(starts=-2), 0))
    held = _passed(replace(held, owed=()), (alert(starts=3), 4))
    assert _states(held) == [("resolved", -2), ("firing", 3)]
    assert [(e.ends_at) for e in held.episodes] == [at(3) - JUST, None]
    assert len(held.owed) == 4


def test_a_late_end_does_not_end_a_newer_firing() -> None:
    held = _passed(Journal(), (alert(starts=-2), 0), (alert(starts=-9, ends=-5), 1))
    assert _states(held) == [("firing", -2)]


def test_what_fires_and_ends_within_one_delivery_is_not_told() -> None:
    held = pass_on(Journal(), [(alert(), None), (alert(ends=3), None)], at(4), routes)
    assert (held.notices, held.owed) == ((), ())


def test_an_unknown_severity_takes_the_default_route() -> None:
    def named(severity: str) -> tuple[str, ...]:
        return (severity,)

    one = alert(labels={"severity": "weird"})
    held = pass_on(Journal(), [(one, None)], T0, named)
    assert {sink for _, sink in _owed(held)} == {"default"}


# --- refusals without a target

WHY = Refused(reason=Reason.TARGET_NOT_FOUND, namespace="shop", deployment="chekout", detail="d")


def _refused(journal: Journal, one: Alert, why: Refused = WHY, minutes: float = 0) -> Journal:
    return pass_on(journal, [(one, why)], at(minutes), routes)


def test_a_refusal_without_a_target_is_told_once_for_a_name_and_a_reason() -> None:
    held = _refused(Journal(), alert(labels={"severity": "info"}))
    (notice,) = held.notices
    assert (notice.namespace, notice.deployment, notice.detail) == ("shop", "chekout", "d")
    assert (notice.state, notice.severity) == ("refused", Severity.WARNING)
    assert _owed(held) == {(notice.subject, "slack")}
    assert [e.reason for e in held.episodes] == [Reason.TARGET_NOT_FOUND]
    assert _refused(held, alert(), minutes=1) == held
    assert _refused(held, alert(fingerprint=B), minutes=1) == held
    other = _refused(held, alert(), replace(WHY, deployment="cart"), 1)
    assert len(other.notices) == 2
    assert len(_refused(held, alert(name="Latency"), minutes=1).notices) == 2


def test_a_refusal_that_the_table_does_not_tell_is_not_told() -> None:
    assert _refused(Journal(), alert(), Refused(reason=Reason.WATCHDOG)) == Journal()


def test_a_refused_alert_that_resolved_keeps_its_notice_for_a_day() -> None:
    held = _refused(replace(_refused(Journal(), alert()), owed=()), alert(ends=1), minutes=2)
    assert [e.firing for e in held.episodes] == [False]
    assert bounded(held, at(23 * 60)).notices
    assert not bounded(held, at(25 * 60)).notices


# --- a storm


def _storm(
    count: int,
    severity: str = "warning",
    first: int = 0,
    starts: float = -2,
    ends: float | None = None,
) -> list[tuple[Alert, Refused | None]]:
    return [
        (
            alert(
                name=f"Rule{number % 3}",
                fingerprint=f"{number:016x}",
                labels={"severity": severity, "namespace": "shop"},
                starts=starts,
                ends=ends,
            ),
            None,
        )
        for number in range(first, first + count)
    ]


def _take(
    journal: Journal, alerts: Sequence[tuple[Alert, Refused | None]], minutes: float = 0
) -> Journal:
    return bounded(pass_on(journal, alerts, at(minutes), routes), at(minutes))


def _bundle(journal: Journal) -> Notice:
    (found,) = [n for n in journal.notices if n.bundle]
    return found


@pytest.mark.parametrize("severity", ["warning", "info", "weird"])
def test_a_few_are_told_one_by_one_and_more_of_them_as_one(severity: str) -> None:
    few = _take(Journal(), _storm(SINGLES, severity))
    assert (len(few.notices), len(few.owed)) == (SINGLES, SINGLES)
    assert not any(n.bundle for n in few.notices)
    many = _take(Journal(), _storm(SINGLES + 1, severity))
    notice = _bundle(many)
    assert (notice.state, notice.firing, notice.namespace) == ("firing", SINGLES + 1, "shop")
    assert notice.tally == (("Rule0", 2), ("Rule1", 2), ("Rule2", 2))
    assert many.owed == (
        Owed(subject=notice.subject, sink="slack", since=T0, not_before=T0 + GATHERS),
    )


def test_what_comes_one_by_one_within_seconds_is_a_storm_too() -> None:
    held = Journal()
    for number in range(3 * SINGLES):
        held = _take(held, _storm(1, first=number), number * SECOND)
    assert sum(not n.bundle for n in held.notices) == SINGLES
    assert _bundle(held).firing == 2 * SINGLES
    assert len(held.owed) == SINGLES + 1


def test_what_comes_now_and_then_is_no_storm() -> None:
    held = Journal()
    for number in range(3 * SINGLES):
        held = _take(held, _storm(1, first=number), number * 3 * SECOND)
    assert not any(n.bundle for n in held.notices)


def test_a_bundle_grows_as_long_as_it_storms_and_is_told_anew_now_and_then() -> None:
    held = _take(Journal(), _storm(20))
    again = _take(held, _storm(20, first=20), 2 * SECOND)
    assert _bundle(again).firing == 40
    assert [o.not_before for o in again.owed] == [T0 + GATHERS], "it waits no longer for that"
    told = _taken(again)
    more = _take(told, _storm(1, first=40), 30 * SECOND)
    assert _bundle(more).firing == 41
    assert [o.not_before for o in more.owed] == [at(0.5) + GATHERS_AGAIN]
    later = _take(_taken(more), _storm(1, first=41), 5)
    assert [len(n.members) for n in later.notices] == [41, 0], "the storm was over"


def test_what_joins_while_a_bundle_is_on_its_way_is_still_owed() -> None:
    held = _take(Journal(), _storm(20))
    on_its_way = held.owed[0]
    joined = _take(held, _storm(1, first=20), 6 * SECOND)
    ticked = joined.tick(on_its_way, "firing", at(7 * SECOND))
    assert [o.subject for o in ticked.owed] == [_bundle(ticked).subject]


def test_what_is_critical_is_told_one_by_one_as_far_as_it_can_be_followed() -> None:
    held = _take(Journal(), _storm(FOLLOWED, "critical"))
    assert (len(held.notices), len(held.owed)) == (FOLLOWED, 2 * FOLLOWED)
    more = _take(held, _storm(50, "critical", first=FOLLOWED))
    assert _bundle(more).firing == 50
    assert {o.sink for o in more.owed if o.subject == _bundle(more).subject} == {"slack", "pager"}


@pytest.mark.parametrize("severity", ["critical", "warning", "info"])
def test_ten_thousand_at_once_fit_and_none_of_them_is_lost_or_told_again(severity: str) -> None:
    storm = _storm(MANY, severity)
    held = _take(Journal(), storm)
    alone = [n for n in held.notices if not n.bundle]
    assert len(alone) == (FOLLOWED if severity == "critical" else 0)
    assert len(alone) + _bundle(held).firing == MANY
    assert len(alone) + sum(count for _, count in _bundle(held).tally) == MANY
    assert len(_bundle(held).episodes) == SHOWN
    assert len(dump(held).encode()) < BYTES_KEPT
    # The repetition, the other one of an HA pair, and one that was restarted.
    assert _take(held, storm, 60) == bounded(held, at(60))
    told = _taken(held)
    assert _take(told, storm, 240) == bounded(told, at(240))


def test_the_end_of_a_bundle_is_that_of_its_last_alert() -> None:
    held = _taken(_take(Journal(), _storm(20)))
    some = _take(held, _storm(19, ends=3), 4)
    assert (_bundle(some).state, _bundle(some).firing, some.owed) == ("firing", 1, ())
    over = _take(some, _storm(20, ends=5), 6)
    assert (_bundle(over).state, _bundle(over).reason) == ("resolved", Reason.RESOLVED)
    assert _owed(over) == {(_bundle(over).subject, "slack")}
    assert _take(_taken(over), _storm(20, ends=5), 7) == bounded(_taken(over), at(7))


def test_a_late_beginning_of_what_ended_in_a_bundle_is_stale_and_a_new_one_is_new() -> None:
    held = _take(_taken(_take(Journal(), _storm(20))), _storm(3, ends=3), 4)
    assert _take(held, _storm(3), 5) == held
    anew = _take(held, _storm(1, starts=6), 7)
    assert [(n.bundle, n.state) for n in anew.notices] == [(True, "firing"), (False, "firing")]


def test_what_ends_and_fires_again_before_its_bundle_is_told_is_in_it() -> None:
    held = _take(_take(Journal(), _storm(20)), _storm(1, ends=0.01), 0.02)
    held = _take(held, _storm(1, first=20), 0.025)
    assert _bundle(held).members[0].endswith(ENDED)
    again = _take(held, _storm(1, starts=0.015), 0.03)
    assert not _bundle(again).members[0].endswith(ENDED)


def test_more_than_can_be_known_one_by_one_are_counted_and_not_told_again() -> None:
    storm = _storm(MEMBERS_KEPT + 100)
    held = _take(Journal(), storm)
    assert (len(_bundle(held).members), _bundle(held).more) == (MEMBERS_KEPT, 100)
    assert sum(count for _, count in _bundle(held).tally) == MEMBERS_KEPT + 100
    assert _take(held, storm, 60) == bounded(held, at(60))
    assert len(dump(held).encode()) < BYTES_KEPT


def test_refusals_in_a_storm_are_one_notice_for_each_reason() -> None:
    storm: list[tuple[Alert, Refused | None]] = [
        (one, replace(WHY, deployment=f"app-{number}"))
        for number, (one, _) in enumerate(_storm(MANY))
    ]
    held = _take(Journal(), storm)
    assert (_bundle(held).state, _bundle(held).reason) == ("refused", Reason.TARGET_NOT_FOUND)
    assert len(_bundle(held).members) == MANY
    assert _take(held, storm, 60) == bounded(held, at(60))
    other = _take(held, [(one, Refused(reason=Reason.NO_TARGET)) for one, _ in storm[:9]], 61)
    assert [n.reason for n in other.notices if n.bundle] == [
        Reason.TARGET_NOT_FOUND,
        *([Reason.NO_TARGET] if len({n.subject for n in other.notices}) > 4 else []),
    ]


def test_names_that_are_many_are_counted_together() -> None:
    storm: list[tuple[Alert, Refused | None]] = [
        (alert(name=f"Rule{n}", fingerprint=f"{n:016x}", labels={"severity": "info"}), None)
        for n in range(NAMES + 30)
    ]
    held = _take(_take(Journal(), storm[:-10]), storm[-10:], SECOND)
    tally = _bundle(held).tally
    assert len(tally) == NAMES + 1
    assert tally[-1] == (OTHERS, 30)


_MOMENTS = st.lists(
    st.tuples(
        st.integers(0, 40),  # which alert
        st.sampled_from(["warning", "info", "critical"]),
        st.booleans(),  # it fires, or it ends
        st.floats(0, 30),  # seconds later
    ),
    max_size=120,
)


@given(_MOMENTS)
def test_whatever_comes_each_firing_is_in_one_notice_and_each_end_ends_it(
    moments: list[tuple[int, str, bool, float]],
) -> None:
    """By the model: what fires is somewhere said to fire, what ended is nowhere."""
    held, now, firing = Journal(), 0.0, dict[str, float]()
    for number, severity, fires, later in moments:
        now += max(later, 1) * SECOND
        fingerprint = f"{severity[:1]}{number:015x}"
        starts = firing.setdefault(fingerprint, now) if fires else firing.pop(fingerprint, now)
        one = alert(
            fingerprint=fingerprint,
            labels={"severity": severity},
            starts=starts,
            ends=None if fires else now,
        )
        held = _take(held, [(one, None)], now)
        if now % 2 < 1:
            held = _taken(held, now)
    said = [f for n in held.notices if n.state == "firing" and not n.bundle for f in n.episodes]
    said += [m for n in held.notices for m in n.members if not m.endswith(ENDED)]
    assert sorted(said) == sorted(firing)
