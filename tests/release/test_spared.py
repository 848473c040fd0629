"""A release whose texts were dropped for space goes on like any other."""

from dataclasses import replace
from typing import Any

import pytest

from receiver import release as rl
from receiver import rollout as ro
from receiver.journal import Happened, Journal, Release
from receiver.journal.texts import SHORTER
from receiver.release import Act
from tests.builders import T0
from tests.core.largest import deciding
from tests.release.worlds import CANARY_UID, OK, Pair, at_step

STEPS = ("preparing", "scaling", "soaking", "waiting", "promoting", "watching")
SIGHTS: dict[str, dict[str, Any]] = {
    "well": {},
    "failing": {"measures": (replace(OK, state="failing"),)},
    "blind": {"critical": None},
    "stopped": {"stopped": "by ann"},
    "asked to leave": {"asking": ("Errors",)},
}
_LONG = tuple(Happened(at=T0, text=f"line {n}") for n in range(190))


def _spared(release: Release) -> Release:
    held = Journal(release=release)
    for step in SHORTER:
        held = step(held)
    assert held.release is not None
    return held.release


@pytest.mark.parametrize("sight", SIGHTS.values(), ids=SIGHTS)
@pytest.mark.parametrize("step", STEPS)
def test_what_comes_next_is_the_same_without_the_texts(step: str, sight: dict[str, Any]) -> None:
    pair = at_step(step)
    pair.look(critical=("Down",))
    full = replace(pair.release, happened=(*_LONG, *pair.release.happened))
    less = _spared(full)
    assert less != full
    one, other = rl.advance(full, pair.sight(**sight)), rl.advance(less, pair.sight(**sight))
    assert (one.act, one.tell) == (other.act, other.tell)
    assert deciding(one.release) == deciding(other.release)
    assert rl.news(one.release) == rl.news(other.release)


def test_a_release_that_loses_its_texts_again_and_again_is_completed_with_the_same_writes() -> None:
    writes = []
    for spare in (lambda release: release, _spared):
        pair = Pair()
        for step in (*STEPS, "completed"):
            pair.until(step)
            pair.release = spare(pair.release)
        writes.append(pair.writes)
    assert writes[0] == writes[1]
    assert "promoted" in writes[0]


def test_what_is_said_once_on_the_way_back_is_not_said_again_without_the_other_lines() -> None:
    pair = at_step("watching")
    pair.look(asking=("Errors",))
    pair.objects[CANARY_UID]["metadata"]["labels"][ro.ENABLED] = "false"
    move = pair.look()
    assert move.act is Act.UNDO
    less = _spared(replace(pair.release, happened=(*_LONG, *pair.release.happened)))
    assert rl.advance(less, pair.sight()).release == less
