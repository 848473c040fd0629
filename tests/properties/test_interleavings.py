"""Whatever releases, alerts, people and crashes come in whatever order: the promises hold.

Two replicas, over HTTP, in virtual time. Only what was written to the API server is judged.
"""

from collections import Counter
from typing import get_args

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.properties.plays import Kind, Step, To, play

EXAMPLES = 25
# What comes often enough to matter comes often here, too.
KINDS: tuple[Kind, ...] = (*get_args(Kind), "deploy", "fire", "fire", "again", "resolve", "pass")
TO: st.SearchStrategy[To] = st.sampled_from(get_args(To))
GAPS = st.sampled_from((0.5, 0.9, 1.5, 4.0))


@st.composite
def _step(draw: st.DrawFn) -> Step:
    kind = draw(st.sampled_from(KINDS))
    then = draw(st.integers(1, 200)) if kind == "pass" else draw(GAPS)
    return Step(kind, draw(st.integers(0, 7)), draw(TO), then)


@st.composite
def _story(draw: st.DrawFn) -> list[Step]:
    """Draw 6 to 14 steps, most often with a release among them that soon begins to alert."""
    if not draw(st.sampled_from((True, True, False))):
        return draw(st.lists(_step(), min_size=6, max_size=14))
    bad = [
        Step("deploy", then=draw(st.integers(3, 40))),
        Step("fire", draw(st.integers(0, 1)), draw(TO), draw(GAPS)),
    ]
    before = draw(st.lists(_step(), min_size=0, max_size=4))
    after = draw(st.lists(_step(), min_size=4, max_size=8))
    return [*before, *bad, *after]


@pytest.mark.timeout(170)
def test_the_promises_hold_in_any_order_of_things() -> None:
    tally: Counter[str] = Counter()

    # A story takes a second: shrinking would outlast the time limit and say nothing.
    @settings(max_examples=EXAMPLES, phases=(Phase.explicit, Phase.generate))
    @given(_story())
    def plays(steps: list[Step]) -> None:
        done = play(steps)
        tally["stories"] += 1
        tally["with a rollback"] += bool(done.automatic)

    plays()
    assert tally["with a rollback"] >= 0.3 * tally["stories"], tally
