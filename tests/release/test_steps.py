from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from receiver import release as rl
from receiver import rollout as ro
from receiver.journal import Release, Step
from receiver.reasons import Reason
from receiver.release import Act
from tests.builders import T0
from tests.release.worlds import CANARY_UID, CHECK, HOUR, OK, PLAN, STABLE_UID, Pair, at_step, said

BEFORE = ["scaling", "soaking", "waiting", "promoting"]
PLAIN = replace(
    PLAN, stages=(replace(PLAN.stages[0], soak=timedelta(0)), replace(PLAN.stages[2], approvals=()))
)


def test_the_plan_goes_from_ten_percent_to_everybody_and_the_canary_to_none() -> None:
    pair = at_step("completed")
    assert pair.writes == ["canary 1", "canary 10", "promoted", "canary 0"]
    assert pair.stable.code == pair.release.promoted
    assert "1 lines of the checklist are open" in said(pair)
    assert pair.look().release == pair.release


def test_a_stage_without_soak_needs_one_healthy_look_all_the_same() -> None:
    pair = at_step("soaking", plan=PLAIN)
    assert pair.look(measures=()).release.step is Step.SOAKING
    assert pair.look().release.step is Step.PROMOTING


@pytest.mark.parametrize("step", [*BEFORE, "watching"])
@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda p: p.objects.pop(STABLE_UID), "the stable Deployment is gone"),
        (
            lambda p: p.objects[STABLE_UID]["metadata"].update(uid="new"),
            "stable Deployment is gone",
        ),
    ],
)
def test_without_its_stable_deployment_it_is_aborted(
    step: str, change: Callable[[Pair], object], text: str
) -> None:
    pair = at_step(step)
    change(pair)
    move = pair.look()
    assert (move.release.step, move.release.reason) == (Step.ABORTING, Reason.TARGET_NOT_FOUND)
    assert text in move.release.detail
    pair.act(pair.look())
    assert pair.canary.desired == 0
    assert pair.look().release.step is Step.ABORTED


@pytest.mark.parametrize("step", BEFORE)
def test_without_its_canary_it_is_aborted_until_everybody_has_it(step: str) -> None:
    pair = at_step(step)
    del pair.objects[CANARY_UID]
    assert pair.look().release.reason is Reason.TARGET_NOT_FOUND
    assert pair.look().release.step is Step.ABORTED


@pytest.mark.parametrize("noted", [True, False])
def test_once_everybody_has_it_the_canary_may_go(noted: bool) -> None:
    pair = at_step("promoting")
    pair.act(pair.look(), noted=noted)
    del pair.objects[CANARY_UID]
    pair.until("completed")


@pytest.mark.parametrize("step", BEFORE)
def test_a_hotfix_of_the_stable_one_holds_it_and_is_left_alone_by_an_abort(step: str) -> None:
    pair = at_step(step)
    pair.swap(STABLE_UID, "v9")
    move = pair.look()
    assert (move.act, move.tell) == (Act.NONE, True)
    assert move.release.held is not None
    assert move.release.held.reason is Reason.RELEASE_DRIFTED
    pair.release = rl.abort(pair.release, Reason.RELEASE_REJECTED, "no", T0, undo=True)
    for _ in range(4):
        pair.act(pair.look())
    assert pair.release.step is Step.ABORTED
    assert "undo" not in pair.writes


def test_a_hotfix_of_what_everybody_has_ends_it_without_undoing_the_hotfix() -> None:
    pair = at_step("watching")
    pair.swap(STABLE_UID, "v9")
    assert pair.look().release.reason is Reason.RELEASE_DRIFTED
    for _ in range(4):
        pair.act(pair.look())
    assert pair.release.step is Step.ABORTED
    assert "undo" not in pair.writes


@pytest.mark.parametrize("step", ["soaking", "waiting", "promoting", "watching"])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda p: p.scale(CANARY_UID, 7), id="scaled"),
        pytest.param(lambda p: p.swap(CANARY_UID, "v9"), id="swapped"),
        pytest.param(
            lambda p: p.objects[CANARY_UID]["metadata"]["labels"].pop(ro.ENABLED), id="opted out"
        ),
    ],
)
def test_what_others_do_to_the_canary_holds_it(step: str, change: Callable[[Pair], object]) -> None:
    pair = at_step(step)
    change(pair)
    assert pair.look(elapsed=99 * HOUR).release.held is not None
    before = list(pair.writes)
    for _ in range(5):
        pair.act(pair.look(elapsed=99 * HOUR))
    assert pair.writes == before


def test_a_restart_of_either_is_no_drift() -> None:
    pair = at_step("soaking")
    for uid in (STABLE_UID, CANARY_UID):
        meta = pair.objects[uid]["spec"]["template"]["metadata"]
        meta["annotations"] = {ro.RESTARTED: "2026-03-02T12:00:00Z"}
    assert pair.look().release.held is None


@pytest.mark.parametrize("step", ["soaking", "waiting"])
def test_the_share_follows_an_autoscaler_of_the_stable_one(step: str) -> None:
    pair = at_step(step)
    pair.scale(STABLE_UID, 30)
    move = pair.look()
    assert move.act is Act.CANARY
    pair.act(move)
    assert (pair.canary.desired, pair.release.step) == (3, Step(step))
    pair.look()
    assert "canary: waiting" in pair.release.trouble


def test_beside_no_stable_pods_nothing_begins_or_counts() -> None:
    pair = at_step("soaking")
    pair.scale(STABLE_UID, 0)
    move = pair.look(elapsed=99 * HOUR)
    assert (move.act, move.release.soaked) == (Act.NONE, timedelta(0))
    assert "has no pods" in move.release.trouble


@pytest.mark.parametrize(
    "sight",
    [
        pytest.param({"measures": ()}, id="not measured"),
        pytest.param({"measures": (replace(OK, state="unknown"),)}, id="unknown"),
        pytest.param({"measures": (replace(OK, state="failing"),)}, id="failing"),
        pytest.param({"measures": (replace(OK, state="failing"), OK)}, id="twice, once failing"),
        pytest.param({"measures": (replace(OK, state="unknown"), OK)}, id="twice, once unknown"),
        pytest.param({"critical": None}, id="nobody knows what is critical"),
        pytest.param({"critical": ("Down",)}, id="critical"),
        pytest.param({"stopped": "by ann"}, id="stopped"),
    ],
)
@pytest.mark.parametrize("step", ["soaking", "waiting", "promoting", "watching"])
def test_what_is_not_known_to_be_well_counts_nothing_and_moves_nothing(
    step: str, sight: dict[str, object]
) -> None:
    pair = at_step(step)
    if step == "watching":
        pair.act(pair.look())
        pair.ready(CANARY_UID)
    for _ in range(5):
        move = pair.look(**sight, elapsed=99 * HOUR)
        assert (move.act, move.release.step) == (Act.NONE, Step(step))
        assert move.release.soaked == (timedelta(0) if step != "waiting" else 24 * HOUR)
    assert pair.look(elapsed=99 * HOUR).release.soaked <= 24 * HOUR, "the first good look ends it"


def test_a_check_of_the_same_name_has_to_be_measured_as_often() -> None:
    pair = Pair(plan=replace(PLAN, health_checks=(CHECK, CHECK)))
    pair.until("soaking")
    pair.look()
    assert "not measured" in pair.release.trouble
    pair.look(measures=(OK, OK))
    assert not pair.release.trouble


@pytest.mark.parametrize("step", ["soaking", "watching"])
def test_a_critical_alert_lets_the_soak_begin_anew(step: str) -> None:
    pair = at_step(step)
    if step == "watching":
        pair.act(pair.look())
        pair.ready(CANARY_UID)
    pair.look(elapsed=3 * HOUR)
    assert pair.release.soaked == 3 * HOUR
    assert pair.look(critical=("Down",)).release.soaked == timedelta(0)


def test_trouble_is_told_once_it_lasts_and_so_is_its_end() -> None:
    pair = at_step("soaking")
    assert not pair.look(critical=None).tell
    pair.now = T0 + timedelta(minutes=5)
    assert pair.look(critical=None).tell
    assert not pair.look(critical=None).tell
    assert pair.look().tell
    assert (pair.release.told, pair.release.trouble) == (None, "")


@pytest.mark.parametrize("step", [*BEFORE, "watching"])
def test_an_alert_that_asks_takes_it_back_also_while_it_is_held(step: str) -> None:
    pair = at_step(step)
    held = rl.hold(pair.release, "ann", "", T0)
    assert isinstance(held, Release)
    pair.release = held
    assert pair.look(asking=("Errors",)).release.reason is Reason.RELEASE_ABORTED
    for _ in range(5):
        pair.act(pair.look())
    assert (pair.release.step, pair.canary.desired) == (Step.ABORTED, 0)
    assert ("undo" in pair.writes) is (step == "watching")


@pytest.mark.parametrize("fate", ["applied", "never sent", "unknown"])
def test_an_abort_in_the_middle_of_a_promotion_finds_out_what_became_of_it(fate: str) -> None:
    pair = at_step("promoting")
    pair.intend()
    late = pair.promotion()
    if fate == "applied":
        pair.apply_promotion(late, noted=False)
    if fate == "unknown":
        pair.scale(STABLE_UID, 11)
    pair.release = rl.abort(pair.release, Reason.RELEASE_REJECTED, "no", T0, undo=True)
    for _ in range(6):
        pair.act(pair.look())
    assert (pair.release.step, pair.canary.desired) == (Step.ABORTED, 0)
    assert ("undo" in pair.writes) is (fate == "applied")
    assert (pair.release.reason is Reason.FATE_UNKNOWN) is (fate == "unknown")
    assert not pair.patch(STABLE_UID, late), "what was late can never apply"


@pytest.mark.parametrize("step", ["scaling", "soaking"])
def test_a_late_patch_of_a_stalled_replica_cannot_apply_after_an_abort(step: str) -> None:
    pair = at_step(step)
    pair.scale(STABLE_UID, 30)
    late = pair.share()
    pair.release = rl.abort(pair.release, Reason.RELEASE_REJECTED, "no", T0)
    pair.act(pair.look())
    assert not pair.patch(CANARY_UID, late)
    assert pair.look().release.step is Step.ABORTED


def test_a_patch_that_nobody_noted_is_adopted_in_each_step() -> None:
    pair = Pair()
    for _ in range(120):
        if pair.release.step is Step.PREPARING:
            pair.tick()
        pair.approve_all()
        pair.act(pair.look(elapsed=HOUR), noted=False)
        assert pair.release.held is None
        pair.ready(CANARY_UID)
        pair.ready(STABLE_UID)
    assert pair.release.step is Step.COMPLETED
    assert pair.writes == ["canary 1", "canary 10", "promoted", "canary 0"]


def test_a_canary_that_does_not_become_ready_is_aborted_by_watched_time_alone() -> None:
    pair = at_step("scaling")
    pair.act(pair.look())
    pair.ready(CANARY_UID, short=1)
    pair.now = T0 + timedelta(days=365)
    assert pair.look().release.step is Step.SCALING, "a clock that steps is no deadline"
    assert pair.look(elapsed=HOUR).release.reason is Reason.CANARY_NOT_READY


def test_a_missed_deadline_from_before_is_stale_and_a_new_one_is_not() -> None:
    pair = at_step("scaling")
    pair.condition(CANARY_UID, "ProgressDeadlineExceeded", -60)
    pair.act(pair.look(), noted=False)
    pair.ready(CANARY_UID, short=1)
    assert pair.look().release.step is Step.SCALING
    pair.condition(CANARY_UID, "ProgressDeadlineExceeded", 1)
    assert pair.look().release.reason is Reason.CANARY_NOT_READY


@pytest.mark.parametrize("how", ["deadline", "patience"])
def test_a_promotion_that_fails_is_undone_if_the_stable_one_still_runs_it(how: str) -> None:
    pair = at_step("promoting")
    pair.act(pair.look())
    pair.ready(STABLE_UID, short=2)
    if how == "deadline":
        pair.condition(STABLE_UID, "ProgressDeadlineExceeded", 1)
    pair.look(elapsed=HOUR)
    assert pair.release.reason is Reason.PROMOTION_FAILED
    for _ in range(4):
        pair.act(pair.look())
    assert pair.writes[-2:] == ["canary 0", "undo"]


def test_the_watch_counts_only_while_the_stable_pods_are_there() -> None:
    pair = at_step("watching")
    pair.act(pair.look())
    pair.ready(CANARY_UID)
    pair.ready(STABLE_UID, short=1)
    assert pair.look(elapsed=99 * HOUR).release.soaked == timedelta(0)


def test_a_paused_stable_deployment_is_not_promoted() -> None:
    pair = at_step("promoting")
    pair.objects[STABLE_UID]["spec"]["paused"] = True
    assert pair.look().act is Act.NONE


def test_a_freeze_begins_nothing_and_ends_all_the_same() -> None:
    pair = at_step("waiting")
    pair.approve_all()
    assert pair.look(frozen="weekend").release.step is Step.WAITING
    assert pair.look().release.step is Step.SCALING
    assert pair.look(frozen="weekend").act is Act.NONE
    assert at_step("watching").until("completed", frozen="weekend").step is Step.COMPLETED


def test_a_canary_that_is_opted_out_is_not_written_to_by_an_abort() -> None:
    pair = at_step("soaking")
    del pair.objects[CANARY_UID]["metadata"]["labels"][ro.ENABLED]
    pair.release = rl.abort(pair.release, Reason.RELEASE_REJECTED, "no", T0)
    move = pair.look()
    assert (move.act, move.release.step) == (Act.NONE, Step.ABORTED)
    assert "keeps its 1 pods" in said(pair)


def test_what_somebody_put_over_the_promotion_is_not_undone_by_its_abort() -> None:
    pair = at_step("watching")
    pair.release = rl.abort(pair.release, Reason.RELEASE_REJECTED, "no", T0, undo=True)
    pair.swap(STABLE_UID, "v9")
    for _ in range(4):
        pair.act(pair.look())
    assert pair.release.step is Step.ABORTED
    assert "undo" not in pair.writes
