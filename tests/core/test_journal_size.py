"""A journal fits into its ConfigMap, whatever is in it: texts go before facts."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.journal import (
    BYTES_KEPT,
    EPISODES_KEPT,
    INCIDENTS_KEPT,
    MEMBERS_KEPT,
    NOTICES_KEPT,
    OTHERS,
    REHEARSALS_KEPT,
    Journal,
    Release,
    Step,
    bounded,
    dump,
    load,
)
from receiver.journal import texts as tx
from receiver.journal.releases import ENDED, HAPPENED_KEPT
from tests.builders import T0
from tests.core.largest import FOUR, IMAGES, deciding, largest, largest_own, largest_release


def _size(held: Journal) -> int:
    return len(dump(held).encode())


def _by_canary(release: Release | None) -> list[object]:
    """Return what the alerts of a canary are judged by, once its release has ended."""
    r = release
    return (
        [] if r is None else [r.id, r.step, r.uid, r.canary_uid, r.code, r.reason, r.present.name]
    )


LARGEST: dict[str, Callable[[], Journal]] = {
    "a target": largest,
    "with a release": lambda: largest(largest_release()),
    "with one on its way back": lambda: largest(largest_release(Step.ABORTING)),
    "with one that has ended": lambda: largest(largest_release(Step.ABORTED)),
    "nothing but a release": lambda: Journal(release=largest_release()),
    "storms": largest_own,
}


@pytest.mark.parametrize("held", LARGEST.values(), ids=LARGEST)
def test_the_largest_journal_fits_and_nothing_more_changes_the_next_time(
    held: Callable[[], Journal],
) -> None:
    kept = bounded(held(), T0)
    assert _size(kept) <= BYTES_KEPT
    assert bounded(kept, T0) == kept
    assert load(dump(kept)) == kept


_PARTS = ("episodes", "incidents", "notices", "owed", "told", "replies", "rehearsals", "dead")


@settings(max_examples=12)
@given(
    text=st.sampled_from(["x", '"', "ä", FOUR]),
    step=st.sampled_from([None, *Step]),
    shares=st.tuples(*(st.sampled_from([0.0, 0.5, 1.0]) for _ in _PARTS)),
)
def test_any_journal_fits_and_keeps_what_decides_of_its_release(
    text: str, step: Step | None, shares: tuple[float, ...]
) -> None:
    release = None if step is None else largest_release(step, text)
    full = largest(release, text)
    parts = {
        part: getattr(full, part)[: int(len(getattr(full, part)) * share)]
        for part, share in zip(_PARTS, shares, strict=True)
    }
    # There is room for the codes of all incidents that may be dropped.
    held = replace(full, **parts, handled=full.handled[INCIDENTS_KEPT + 10 :])
    kept = bounded(held, T0)
    assert _size(kept) <= BYTES_KEPT
    assert bounded(kept, T0) == kept
    if step in ENDED:
        assert _by_canary(kept.release) == _by_canary(held.release)
    else:
        assert deciding(kept.release) == deciding(held.release)
    assert set(held.handled) <= set(kept.handled)
    assert (kept.cleared, kept.verified, kept.aborted, kept.pause, kept.owed) == (
        *(held.cleared, held.verified, held.aborted, held.pause, held.owed),
    )
    assert kept.in_flight is None or kept.in_flight.id == "inc-open"
    assert bool(kept.in_flight) == bool(held.in_flight)


# --- the order in which it goes


def _steps() -> list[tuple[str, Journal]]:
    """Return the journal after each step, with the name of the step."""
    held = largest(largest_release())
    found = []
    for step in tx.SHORTER:
        held = step(held)
        found.append((step.__name__, held))
    return found


def test_each_step_makes_a_journal_smaller_or_leaves_it_and_only_once() -> None:
    for name in ("with a release", "with one that has ended", "storms"):
        held = LARGEST[name]()
        size = _size(held)
        for step in tx.SHORTER:
            held = step(held)
            assert step(held) == held
            before, size = size, _size(held)
            assert size <= before


def test_the_first_and_the_newest_lines_of_a_story_stay_longest() -> None:
    lengths = []
    for _, held in _steps():
        assert held.release is not None
        numbers = [int(line.text[:3]) for line in held.release.happened]
        lengths.append(len(numbers))
        assert (numbers[0], numbers[-1]) == (0, HAPPENED_KEPT - 1)
    assert lengths == [200, 200, 50, 50, 50, 50, 10, 10, 10, 10]


def test_what_people_noted_and_what_was_measured_goes_after_the_texts_of_alerts() -> None:
    names = [step.__name__ for step in tx.SHORTER]
    for name, held in _steps():
        assert held.release is not None
        noted = bool(held.release.why and held.release.approvals[0].why)
        measured = bool(held.release.measures[0].text and held.release.plan.checklist[0].note)
        before = names.index(name) < names.index("_without_more_of_the_story")
        assert (noted, measured) == (before, before)
    assert names.index("_without_texts") < names.index("_without_more_of_the_story")


def test_an_ended_release_goes_before_any_fact_about_rollbacks() -> None:
    kept = bounded(replace(largest(largest_release(Step.COMPLETED)), notices=(), replies=()), T0)
    assert kept.release is not None
    assert kept.release.happened
    assert (kept.release.images, kept.release.plan.checklist) == ((), ())
    assert len(kept.episodes) == EPISODES_KEPT
    assert len(kept.incidents) >= INCIDENTS_KEPT


def test_an_ended_release_loses_details_before_an_alert_that_fires_its_texts() -> None:
    full = largest(largest_release(Step.COMPLETED))
    some = replace(full, incidents=(), notices=(), told=(), replies=(), rehearsals=())
    some = replace(some, episodes=full.episodes[:20])
    kept = bounded(some, T0)
    assert kept.release is not None
    assert len(kept.release.happened) == 10
    assert {bool(e.summary) for e in kept.episodes} == {True}
    assert kept.release.plan.checklist[0].by
    assert kept.release.images == IMAGES


def test_a_release_that_fits_is_left_as_it_is() -> None:
    alone = Journal(release=largest_release())
    assert bounded(alone, T0) == alone


def test_the_texts_of_alerts_that_are_over_go_before_those_that_fire() -> None:
    full = replace(largest(), notices=(), told=(), replies=(), incidents=(), rehearsals=())
    fewer = full.episodes[:60]
    half = tuple(replace(e, ends_at=T0) if n % 2 else e for n, e in enumerate(fewer))
    some = bounded(replace(full, episodes=half), T0)
    assert {bool(e.summary) for e in some.episodes if e.firing} == {True}
    assert {bool(e.summary) for e in some.episodes if not e.firing} == {False}


def test_texts_go_before_facts_when_a_journal_is_too_large() -> None:
    few = largest()
    few = replace(few, incidents=few.incidents[-3:], replies=(), rehearsals=(), told=())
    kept = bounded(few, T0)
    assert {(e.summary, e.labels) for e in kept.episodes} == {("", ())}
    assert {n.detail for n in kept.notices} == {""}
    assert {(e.alertname, e.code != "") for e in kept.episodes} == {(FOUR * 200, True)}
    assert (len(kept.episodes), len(kept.notices)) == (EPISODES_KEPT, NOTICES_KEPT)


def test_of_facts_the_notices_go_last() -> None:
    full = largest()
    kept = bounded(full, T0)
    assert _counts(kept) == (EPISODES_KEPT // 2, REHEARSALS_KEPT // 2, NOTICES_KEPT // 2)
    kept = bounded(replace(full, incidents=(), replies=()), T0)
    assert _counts(kept) == (EPISODES_KEPT // 2, REHEARSALS_KEPT // 2, NOTICES_KEPT)


def _counts(held: Journal) -> tuple[int, int, int]:
    return len(held.episodes), len(held.rehearsals), len(held.notices)


def test_a_bundle_without_names_still_says_how_many_and_that_it_is_one() -> None:
    assert OTHERS == "others"
    kept = bounded(largest_own(), T0)
    assert {n.tally for n in kept.notices} == {(("others", 21_000),)}
    assert all(n.bundle for n in kept.notices)
    assert kept.notices[-1].firing > 0


def test_an_open_incident_keeps_its_words_and_of_those_that_are_over_fewer_stay() -> None:
    full = largest()
    kept = bounded(replace(full, owed=()), T0)
    assert kept.in_flight is not None
    assert kept.in_flight.detail
    assert len(kept.incidents) == INCIDENTS_KEPT // 2


def test_members_go_before_any_episode_does() -> None:
    kept = bounded(largest_own(), T0)
    assert (len(kept.episodes), len(kept.notices)) == (EPISODES_KEPT, NOTICES_KEPT)
    assert kept.notices[-1].firing == MEMBERS_KEPT
    assert kept.notices[-1].more > 0
