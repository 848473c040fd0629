"""Rule 6 of the decision table: an alert while a staged release is in progress."""

from dataclasses import replace

import pytest

from receiver.decisions import Case, Policy, decide
from receiver.journal import Step
from receiver.reasons import Reason
from tests.builders import episode, journal
from tests.release.worlds import Pair, at_step

ABORTED, HANDLED = Reason.RELEASE_ABORTED, Reason.ALREADY_HANDLED


def decided(pair: Pair, on: str, *, named: str = "", code: str = "") -> Reason:
    """Return the reason that an alert gets about one of the two; `code`: what it is bound to."""
    rollout = pair.canary if on == "canary" else pair.stable
    said = replace(
        episode(), uid=rollout.uid, named=named, code=code, trouble_at=pair.now, seen_at=pair.now
    )
    case = Case(
        rollout=rollout,
        journal=journal(said),
        episode=said,
        policy=Policy(mode="act"),
        now=pair.now,
        stopped="",
        release=pair.release,
    )
    return decide(case).reason


@pytest.mark.parametrize("step", ["preparing", "scaling", "soaking", "waiting"])
@pytest.mark.parametrize("on", ["canary", "stable"])
def test_an_alert_about_either_aborts_a_release_that_not_everybody_has(step: str, on: str) -> None:
    assert decided(at_step(step), on) is ABORTED


def test_once_everybody_has_it_an_alert_about_the_stable_one_is_like_any_other() -> None:
    pair = at_step("watching")
    assert decided(pair, "stable") not in (ABORTED, HANDLED)
    assert decided(pair, "canary") is ABORTED


def test_a_release_that_goes_back_already_is_not_aborted_twice() -> None:
    pair = at_step("soaking")
    pair.release = replace(pair.release, step=Step.ABORTING)
    assert [decided(pair, on) for on in ("canary", "stable")] == [HANDLED, HANDLED]


def test_what_a_canary_ran_that_was_aborted_is_dealt_with() -> None:
    pair = at_step("soaking")
    pair.release = replace(pair.release, step=Step.ABORTED)
    assert decided(pair, "canary") is HANDLED
    assert decided(pair, "stable") not in (ABORTED, HANDLED)


def test_an_alert_that_names_another_revision_of_the_canary_ends_nothing() -> None:
    pair = at_step("soaking")
    assert decided(pair, "canary", named="7d4b9c", code="of-before") is Reason.REVISION_NOT_CURRENT
    assert decided(pair, "canary", named="7d4b9c", code=pair.release.code) is ABORTED


def test_the_kill_switch_does_not_keep_a_canary_alive() -> None:
    """To take a canary back is smaller than any rollback, and nothing else is left to a person."""
    pair = at_step("soaking")
    said = replace(episode(), uid=pair.canary.uid, trouble_at=pair.now, seen_at=pair.now)
    case = Case(
        rollout=pair.canary,
        journal=journal(said),
        episode=said,
        policy=Policy(mode="shadow"),
        now=pair.now,
        stopped="somebody said stop",
        release=pair.release,
    )
    assert decide(case).reason is ABORTED
