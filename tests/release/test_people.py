from collections.abc import Callable
from datetime import timedelta

import pytest

from receiver import release as rl
from receiver.decisions import Decision
from receiver.journal import SAID, Release, Step
from receiver.reasons import Reason
from tests.builders import T0
from tests.release.worlds import CANARY_UID, HOUR, STABLE_UID, Pair, at_step, said

LEAD, CTO = frozenset({"engineering-lead"}), frozenset({"cto"})


def _got(found: Release | Decision) -> Release:
    assert isinstance(found, Release), found
    return found


def _why(found: Release | Decision) -> Reason:
    assert isinstance(found, Decision), found
    return found.reason


def test_a_stage_is_approved_by_each_role_and_then_begins() -> None:
    pair = at_step("waiting")
    pair.release = _got(rl.approve(pair.release, "bob", LEAD, "fine", T0))
    assert pair.look().release.step is Step.SCALING
    assert pair.release.stage == 1
    pair.until("waiting")
    pair.release = _got(rl.approve(pair.release, "bob", LEAD, "fine", T0))
    assert pair.look().release.step is Step.WAITING
    pair.release = _got(rl.approve(pair.release, "carol", CTO, "fine", T0))
    move = pair.look()
    assert (move.release.step, move.tell) == (Step.PROMOTING, True)


@pytest.mark.parametrize(
    ("by", "roles", "reason"),
    [
        ("eve", frozenset(), Reason.NOT_AN_APPROVER),
        ("eve", frozenset({"intern"}), Reason.NOT_AN_APPROVER),
        ("carol", CTO, Reason.NOT_AN_APPROVER),
        ("dave", LEAD, Reason.ANOTHER_PERSON),
    ],
)
def test_an_approval_needs_the_role_and_another_person(
    by: str, roles: frozenset[str], reason: Reason
) -> None:
    pair = at_step("waiting")
    assert _why(rl.approve(pair.release, by, roles, "", T0)) is reason


def test_one_person_with_both_roles_approves_only_once() -> None:
    pair = at_step("waiting")
    pair.approve_all()
    pair.look()
    pair.until("waiting")
    pair.release = _got(rl.approve(pair.release, "bob", LEAD | CTO, "", T0))
    assert pair.release.lacking(2) == ("engineering-lead",)
    assert _why(rl.approve(pair.release, "bob", LEAD | CTO, "", T0)) is Reason.ANOTHER_PERSON


@pytest.mark.parametrize("step", ["preparing", "scaling", "soaking", "promoting", "watching"])
def test_nothing_is_approved_ahead(step: str) -> None:
    pair = at_step(step)
    assert _why(rl.approve(pair.release, "bob", LEAD | CTO, "", T0)) is Reason.NOT_WAITING


@pytest.mark.parametrize(("step", "act"), [("waiting", rl.approve), ("soaking", rl.promote)])
def test_what_is_unhealthy_or_held_is_neither_approved_nor_hurried(
    step: str, act: Callable[..., Release | Decision]
) -> None:
    pair = at_step(step)
    pair.look(critical=("Down",))
    assert _why(act(pair.release, "bob", LEAD, "", T0)) is Reason.RELEASE_UNHEALTHY
    pair.look()
    pair.release = _got(rl.hold(pair.release, "ann", "lunch", T0))
    assert _why(act(pair.release, "bob", LEAD, "", T0)) is Reason.RELEASE_HELD


def test_ending_a_soak_early_needs_the_role_of_the_next_stage_and_counts_nothing() -> None:
    pair = at_step("soaking")
    assert _why(rl.promote(pair.release, "eve", CTO, "", T0)) is Reason.NOT_AN_APPROVER
    assert _why(rl.promote(pair.release, "dave", LEAD, "", T0)) is Reason.ANOTHER_PERSON
    pair.release = _got(rl.promote(pair.release, "bob", LEAD, "hurry", T0))
    assert "bob ended the stage 24 h 0 min early: hurry" in said(pair)
    assert pair.release.soaked == timedelta(0)
    assert pair.look().release.step is Step.WAITING


def test_a_soak_that_was_ended_early_still_needs_health_and_a_critical_alert_takes_that_back() -> (
    None
):
    pair = at_step("soaking")
    pair.release = _got(rl.promote(pair.release, "bob", LEAD, "hurry", T0))
    assert pair.look(measures=()).release.step is Step.SOAKING
    pair.look(critical=("Down",))
    pair.look()
    assert pair.look().release.step is Step.SOAKING


def test_the_watch_is_ended_early_too() -> None:
    pair = at_step("watching")
    pair.until("watching")
    pair.act(pair.look())
    pair.ready(CANARY_UID)
    pair.release = _got(rl.promote(pair.release, "carol", CTO, "enough", T0))
    assert pair.look().release.step is Step.COMPLETED


@pytest.mark.parametrize("step", ["preparing", "scaling", "waiting", "promoting"])
def test_only_a_soak_can_be_ended_early(step: str) -> None:
    assert _why(rl.promote(at_step(step).release, "bob", LEAD | CTO, "", T0)) is Reason.NOT_WAITING


def test_a_hold_stops_all_until_it_is_resumed_where_it_was() -> None:
    pair = at_step("soaking")
    pair.look(elapsed=HOUR)
    pair.release = _got(rl.hold(pair.release, "ann", "lunch", T0))
    assert _why(rl.hold(pair.release, "bob", "too", T0)) is Reason.RELEASE_HELD
    for _ in range(30):
        assert pair.look(elapsed=HOUR).release.soaked == HOUR
    pair.release = _got(rl.resume(pair.release, "ann", "back", T0, drifted=""))
    assert (pair.release.step, pair.release.soaked) == (Step.SOAKING, HOUR)
    assert _why(rl.resume(pair.release, "ann", "back", T0, drifted="")) is Reason.NOT_HELD


@pytest.mark.parametrize("step", [Step.ABORTING, Step.ABORTED, Step.COMPLETED])
def test_what_goes_back_or_has_ended_is_not_held(step: Step) -> None:
    release = Pair().release.enter(step, T0, "")
    assert _why(rl.hold(release, "ann", "", T0)) is Reason.NOT_WAITING


def test_what_is_still_drifted_is_not_resumed() -> None:
    pair = at_step("soaking")
    pair.swap(STABLE_UID, "v9")
    pair.look()
    left = rl.drift(pair.release, pair.stable, pair.canary)
    found = rl.resume(pair.release, "ann", "", T0, drifted=left)
    assert _why(found) is Reason.RELEASE_DRIFTED


@pytest.mark.parametrize("step", ["soaking", "waiting", "promoting"])
def test_after_a_drift_the_stage_gets_its_pods_soaks_and_is_approved_anew(step: str) -> None:
    pair = at_step("waiting")
    pair.approve_all()
    pair.look()
    pair.until(step)
    if step == "waiting":
        pair.release = _got(rl.approve(pair.release, "bob", LEAD, "", T0))
    pair.scale(CANARY_UID, 5)
    assert pair.look().release.held is not None
    pair.release = _got(rl.resume(pair.release, "ann", "", T0, drifted=""))
    assert (pair.release.step, pair.release.stage) == (Step.SCALING, 1)
    assert pair.release.lacking(2) == ("cto", "engineering-lead")
    pair.act(pair.look())
    assert (pair.canary.desired, pair.release.held) == (10, None)
    pair.ready(CANARY_UID)
    assert pair.look().release.soaked == timedelta(0)
    pair.until("waiting")
    pair.scale(CANARY_UID, 5)
    assert pair.look().release.held is not None, "a second time it is drift again"


def test_an_abort_keeps_what_was_to_be_undone_and_leaves_alone_what_has_ended() -> None:
    release = at_step("watching").release
    once = rl.abort(release, Reason.RELEASE_ABORTED, "alert", T0, undo=True)
    twice = rl.abort(once, Reason.RELEASE_REJECTED, "by hand", T0)
    assert (twice.undo, twice.reason) == (True, Reason.RELEASE_REJECTED)
    over = rl.aborted(twice, T0)
    assert rl.abort(over, Reason.RELEASE_REJECTED, "late", T0) == over


def test_a_line_is_ticked_and_unticked_with_who_and_when() -> None:
    release = Pair().release
    done = _got(rl.tick(release, "ci", "ann", "run 7", T0))
    (line,) = [i for i in done.plan.checklist if i.id == "ci"]
    assert (line.by, line.at, line.note, line.done) == ("ann", T0, "run 7", True)
    assert not done.unticked("before")
    open_ = _got(rl.tick(done, "ci", "ann", "no", T0, done=False))
    assert [i.id for i in open_.unticked("before")] == ["ci"]
    assert _why(rl.tick(release, "nothing", "ann", "", T0)) is Reason.NO_SUCH_CHECK


def test_what_people_write_is_bounded() -> None:
    long = "x" * 10_000
    pair = at_step("waiting")
    release = _got(rl.approve(pair.release, "bob", LEAD, long, T0))
    release = _got(rl.tick(release, "ci", "ann", long, T0))
    release = _got(rl.hold(release, "ann", long, T0))
    release = rl.abort(
        _got(rl.resume(release, "ann", long, T0, drifted="")), Reason.STOPPED, long, T0
    )
    texts = [a.why for a in release.approvals] + [i.note for i in release.plan.checklist]
    assert max(map(len, [*texts, release.detail])) == SAID
    assert max(len(line.text) for line in release.happened) == 2 * SAID


def test_of_a_long_story_the_beginning_and_the_newest_are_kept() -> None:
    release = Pair().release
    for n in range(1000):
        release = release.said(f"line {n}", T0)
    texts = [line.text for line in release.happened]
    assert (len(texts), texts[0], texts[1], texts[-1]) == (
        200,
        "begun by dave: ship it",
        "line 0",
        "line 999",
    )
