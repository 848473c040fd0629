from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.alerts import Alert
from receiver.controller.bundles import GATHERS, GATHERS_AGAIN, NAMES, SHOWN
from receiver.controller.passing_on import FOLLOWED, SINGLES, Refused, pass_on
from receiver.controller.remember import JUST, REFUSED_TOGETHER
from receiver.journal import (
    BYTES_KEPT,
    ENDED,
    MEMBERS_KEPT,
    OTHERS,
    Journal,
    Notice,
    Owed,
    bounded,
    dump,
)
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
    (same,) = _refused(held, alert(fingerprint=B), minutes=1).notices
    assert same == replace(notice, episodes=(A, B)), "known, and not told again"
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


def test_a_refusal_is_over_when_the_last_of_its_alerts_is_and_that_is_told() -> None:
    held = _taken(_refused(_refused(Journal(), alert()), alert(fingerprint=B), minutes=1), 1)
    one = _refused(held, alert(ends=2), minutes=2)
    assert (_states(one), one.owed) == ([("refused", -2)], ())
    assert _refused(one, alert(ends=2), minutes=3) == one
    over = _refused(one, alert(fingerprint=B, ends=3), minutes=3)
    (notice,) = over.notices
    assert (notice.state, notice.reason) == ("resolved", Reason.RESOLVED)
    assert _owed(over) == _owed(_refused(Journal(), alert()))
    assert _refused(_taken(over), alert(fingerprint=B, ends=3), minutes=4) == _taken(over)


@pytest.mark.parametrize("hours", [0.5, 25, 24 * 9])
def test_a_refusal_that_is_over_is_told_again_when_its_alert_fires_again(hours: float) -> None:
    first = _refused(Journal(), alert())
    over = _taken(_refused(_taken(first), alert(ends=2), minutes=2), 2)
    again = 60 * hours
    held = _refused(bounded(over, at(again)), alert(starts=again), minutes=again)
    assert _states(held) == [("refused", again)]
    assert _owed(held) == _owed(first)
    assert _refused(held, alert(), minutes=again) == held, "a late delivery of the first"


def test_a_refusal_is_kept_and_not_told_again_as_long_as_an_alert_of_it_fires() -> None:
    held = _taken(_refused(_refused(Journal(), alert()), alert(fingerprint=B), minutes=1), 1)
    held = _refused(held, alert(ends=2), minutes=2)
    for minutes in range(24 * 60, 9 * 24 * 60, 24 * 60):
        held = bounded(_refused(held, alert(fingerprint=B), minutes=minutes), at(minutes))
    assert (_states(held), held.owed) == ([("refused", -2)], ())
    last = 9 * 24 * 60
    over = _refused(held, alert(fingerprint=B, ends=last), minutes=last)
    assert (_states(over), len(over.owed)) == ([("resolved", -2)], 2)


def test_a_late_end_of_an_earlier_firing_does_not_end_a_refusal() -> None:
    held = _refused(Journal(), alert(starts=-2))
    assert _states(_refused(held, alert(starts=-9, ends=-5), minutes=1)) == [("refused", -2)]


def test_what_is_refused_for_another_reason_by_now_is_told_and_both_are_over_with_it() -> None:
    opted_out = replace(WHY, reason=Reason.NOT_OPTED_IN)
    held = _refused(_refused(Journal(), alert()), alert(), opted_out, 1)
    assert [n.reason for n in held.notices] == [Reason.TARGET_NOT_FOUND, Reason.NOT_OPTED_IN]
    over = pass_on(_taken(held), [(alert(ends=2), None)], at(2), routes)
    assert [n.state for n in over.notices] == ["resolved", "resolved"]
    assert len(over.owed) == 4


def test_the_alerts_of_one_refusal_are_bounded() -> None:
    held = Journal()
    for number in range(3 * REFUSED_TOGETHER):
        held = bounded(_refused(held, alert(fingerprint=f"{number:016x}"), minutes=1), at(1))
    (notice,) = held.notices
    assert (len(notice.episodes), len(held.episodes)) == (REFUSED_TOGETHER, 1)


def test_what_stands_alone_is_followed_to_its_end_however_much_else_fires() -> None:
    ours = _taken(_refused(Journal(), alert()))
    held = _take(ours, _storm(FOLLOWED, "info", first=1), 1)
    for number in range(20):
        minutes = 3.0 * number
        storm = _storm(SINGLES + 20, "warning", first=1000 * (number + 1), starts=minutes)
        held = _take(held, storm, minutes)
    later = bounded(_taken(held), at(30 * 60))
    over = _refused(later, alert(ends=1801), minutes=1801)
    assert [n.state for n in over.notices if n.subject == ours.notices[0].subject] == ["resolved"]


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
    assert _bundle(held).firing == 20
    again = _take(held, _storm(1, starts=0.015), 0.03)
    assert (_bundle(again).firing, len(again.notices), again.owed) == (21, 1, held.owed)


def test_what_ends_in_a_bundle_and_fires_again_while_it_storms_ends_with_it() -> None:
    held = _taken(_take(Journal(), _storm(20)))
    held = _take(held, _storm(1, ends=0.1), 0.2)
    held = _taken(_take(held, _storm(1, first=20), 0.4), 0.5)
    again = _take(held, _storm(1, starts=0.3), 0.6)
    # Nobody has heard that it had ended.
    assert (again.owed, len(again.notices), _bundle(again).firing) == ((), 1, 21)
    others = _take(again, _storm(20, first=1, ends=1), 1)
    assert (_bundle(others).state, others.owed) == ("firing", ())
    over = _take(others, _storm(1, starts=0.3, ends=2), 2)
    assert (_bundle(over).state, len(over.owed)) == ("resolved", 1)


def test_what_fires_again_in_a_bundle_that_nobody_took_so_far_is_told_with_it() -> None:
    held = _take(_take(Journal(), _storm(20)), _storm(1, ends=1), 2)
    again = _take(held, _storm(1, starts=5), 6)
    assert (_bundle(again).firing, len(again.notices)) == (20, 1)


def test_a_late_end_of_what_was_before_a_storm_ends_nothing_in_it() -> None:
    held = _take(Journal(), _storm(20))
    assert _bundle(_take(held, _storm(20, starts=-9, ends=-5), 1)).firing == 20


def test_what_fires_again_after_all_of_its_bundle_has_ended_is_told() -> None:
    held = _take(Journal(), _storm(20))
    held = _take(held, _storm(20, ends=0.01), 0.02)
    assert _bundle(held).state == "resolved"
    again = _take(held, _storm(1, starts=0.015), 0.03)
    assert [(n.bundle, n.state) for n in again.notices] == [(True, "resolved"), (False, "firing")]
    assert len(again.owed) == 2


def test_what_is_in_two_bundles_is_in_the_one_where_it_fires() -> None:
    """The older one is changed last: where it stands among the notices says nothing."""
    held = _taken(_take(Journal(), _storm(20)))
    held = _take(held, _storm(9, ends=1), 2)
    held = _taken(_take(held, _storm(9, starts=5), 5), 6)
    held = _take(held, _storm(1, first=9, ends=7), 7)
    assert [n.firing for n in held.notices if n.bundle] == [9, 10]
    assert _take(held, _storm(9, starts=5), 8) == held
    held = _take(held, _storm(9, starts=5, ends=9), 9)
    assert [(n.firing, n.state) for n in held.notices] == [(10, "firing"), (0, "resolved")]
    held = _take(held, _storm(10, first=10, ends=9), 10)
    assert [n.state for n in held.notices] == ["resolved", "resolved"]


# --- whom a storm is told


def test_a_storm_is_told_to_those_alone_that_its_alerts_are_routed_to() -> None:
    """An unknown severity counts as a warning and has a route of its own."""

    def each(severity: str) -> tuple[str, ...]:
        return ("pager", "others") if severity == "default" else ("slack",)

    warnings, strange = _storm(20), _storm(8, "weird", first=20)
    held = pass_on(Journal(), warnings, T0, each)
    held = _taken(pass_on(held, strange, at(SECOND), each))
    held = pass_on(held, _storm(1, first=30), at(2 * SECOND), each)
    held = pass_on(held, _storm(1, "weird", first=31), at(2 * SECOND), each)
    told = {(n.firing, o.sink) for n in held.notices for o in held.owed if o.subject == n.subject}
    assert told == {(21, "slack"), (9, "pager"), (9, "others")}
    over = pass_on(_taken(held), _storm(8, "weird", first=20, ends=1), at(2), each)
    over = pass_on(over, _storm(1, "weird", first=31, ends=1), at(2), each)
    assert {o.sink for o in over.owed} == {"pager", "others"}


# --- more than can be known


def test_more_than_can_be_known_one_by_one_are_counted_and_not_told_again() -> None:
    storm = _storm(MEMBERS_KEPT + 100)
    held = _take(Journal(), storm)
    assert (len(_bundle(held).members), _bundle(held).more) == (MEMBERS_KEPT, 100)
    assert sum(count for _, count in _bundle(held).tally) == MEMBERS_KEPT + 100
    assert pass_on(held, storm, at(60), routes) == held, "and that costs no write"
    assert len(dump(held).encode()) < BYTES_KEPT
    before = _take(held, _storm(1, first=MANY * 2, starts=-9), 5)
    assert len(before.notices) == 2, "it began before any of them"


def test_a_bundle_is_over_when_those_are_of_which_only_the_number_is_known() -> None:
    many = MEMBERS_KEPT + 100
    held = _taken(_take(Journal(), _storm(many)))
    known = _take(held, _storm(MEMBERS_KEPT, ends=1), 1)
    assert (_bundle(known).state, _bundle(known).firing, known.owed) == ("firing", 100, ())
    assert bounded(known, at(48 * 60)).notices, "it is kept as long as one of them fires"
    some = known
    for _ in range(2):
        # The other one of an HA pair says so, too.
        some = _take(some, _storm(60, first=MEMBERS_KEPT, ends=2), 2)
    assert (_bundle(some).state, _bundle(some).firing) == ("firing", 40)
    over = _take(some, _storm(40, first=MEMBERS_KEPT + 60, ends=3), 3)
    assert (_bundle(over).state, len(over.owed)) == ("resolved", 1)
    assert len(dump(over).encode()) < BYTES_KEPT
    assert _take(over, _storm(many), 4) == over, "late beginnings"
    anew = _take(_taken(over), _storm(1, first=many - 1, starts=9), 9)
    assert [n.state for n in anew.notices if not n.bundle] == ["firing"]


def test_who_was_only_counted_is_known_by_name_as_soon_as_there_is_room() -> None:
    held = _taken(_take(Journal(), _storm(MEMBERS_KEPT + 100)))
    held = _take(held, _storm(150, ends=1), 1)
    assert (_bundle(held).firing, _bundle(held).more) == (MEMBERS_KEPT - 50, 100)
    again = _take(held, _storm(100, first=MEMBERS_KEPT), 2)
    assert (_bundle(again).firing, _bundle(again).more) == (MEMBERS_KEPT - 50, 0)
    assert (len(again.notices), again.owed) == (1, ())


def test_what_is_one_more_than_were_counted_is_told() -> None:
    held = _taken(_take(Journal(), _storm(MEMBERS_KEPT + 100)))
    more = _take(held, _storm(101, first=MEMBERS_KEPT), 0.5)
    assert _bundle(more).firing == MEMBERS_KEPT + 101
    assert len(more.owed) == 1
    later = _take(_taken(more), _storm(1, first=MANY * 2, starts=9), 9)
    assert [n.bundle for n in later.notices] == [True, False]


def test_what_began_in_a_storm_and_is_routed_to_others_is_none_of_those_counted() -> None:
    def each(severity: str) -> tuple[str, ...]:
        return (severity,)

    held = bounded(pass_on(Journal(), _storm(MEMBERS_KEPT + 100), T0, each), T0)
    strange = pass_on(held, _storm(1, "weird", first=MANY * 2), at(5), each)
    assert {o.sink for o in strange.owed} == {"warning", "default"}


def test_refusals_that_are_more_than_can_be_known_are_not_told_again_and_are_over_in_the_end() -> (
    None
):
    many = MEMBERS_KEPT + 100
    storm: list[tuple[Alert, Refused | None]] = [(one, WHY) for one, _ in _storm(many)]
    held = _take(Journal(), [(a, replace(WHY, deployment=a.fingerprint)) for a, _ in storm])
    told = _taken(held)
    again = [(a, replace(WHY, deployment=a.fingerprint)) for a, _ in storm]
    assert _take(told, again, 5) == bounded(told, at(5))
    ends: list[tuple[Alert, Refused | None]] = [(a, WHY) for a, _ in _storm(many, ends=6)]
    over = _take(told, ends, 7)
    assert (_bundle(over).state, len(over.owed)) == ("resolved", 1)


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


def test_the_alerts_of_one_refusal_are_one_notice_and_no_storm() -> None:
    held = _take(Journal(), [(one, replace(WHY)) for one, _ in _storm(3 * MANY // 1000)])
    assert len(held.notices) == 3, "one for each rule"
    assert not any(n.bundle for n in held.notices)
    assert sorted(len(n.episodes) for n in held.notices) == [10, 10, 10]
    over = _take(_taken(held), [(one, WHY) for one, _ in _storm(3 * MANY // 1000, ends=1)], 2)
    assert {n.state for n in over.notices} == {"resolved"}


def test_the_end_of_refusals_in_a_storm_is_told_once_and_a_new_one_anew() -> None:
    def named(
        storm: Sequence[tuple[Alert, Refused | None]],
    ) -> list[tuple[Alert, Refused | None]]:
        return [(one, replace(WHY, deployment=one.fingerprint)) for one, _ in storm]

    held = _taken(_take(Journal(), named(_storm(20))))
    some = _take(held, named(_storm(19, ends=3)), 4)
    assert (_bundle(some).firing, some.owed) == (1, ())
    assert bounded(some, at(48 * 60)).notices
    over = _take(some, named(_storm(20, ends=5)), 6)
    assert (_bundle(over).state, len(over.owed)) == ("resolved", 1)
    anew = _take(_taken(over), named(_storm(1, starts=9)), 9)
    assert [(n.bundle, n.state) for n in anew.notices] == [(True, "resolved"), (False, "refused")]


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


def _of_number(number: int) -> Refused | None:
    """Return why some of them are refused: three of these are one refusal."""
    return None if number % 2 else replace(WHY, deployment=f"app-{number // 6}")


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
            name=severity,
            fingerprint=fingerprint,
            labels={"severity": severity},
            starts=starts,
            ends=None if fires else now,
        )
        held = _take(held, [(one, _of_number(number))], now)
        if now % 2 < 1:
            held = _taken(held, now)
    open_ = [n for n in held.notices if n.state in ("firing", "refused")]
    said = [f for n in open_ if not n.bundle for f in n.episodes]
    said += [m for n in held.notices for m in n.members if ENDED not in m]
    assert sorted(said) == sorted(firing)
