import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.notify.pace import Pace


def test_a_burst_goes_at_once_and_then_one_each_interval() -> None:
    pace = Pace(5, 1.0)
    assert [pace.take(100.0) for _ in range(6)] == [0, 0, 0, 0, 0, 1.0]
    assert pace.take(100.25) == 0.75
    assert pace.take(101.0) == 0
    assert pace.take(101.0) == 1.0


def test_what_was_told_to_wait_may_go_after_exactly_that_wait() -> None:
    pace, now = Pace(1, 0.6), 0.0
    for _ in range(1000):
        assert pace.take(now) == 0
        now += pace.take(now)


def test_a_rest_earns_no_more_than_one_burst() -> None:
    pace = Pace(3, 1.0)
    assert [pace.take(1000.0) for _ in range(4)] == [0, 0, 0, 1.0]


def test_a_pause_holds_whatever_tokens_there_are_and_the_longer_one_stays() -> None:
    pace = Pace(5, 1.0)
    pace.pause(30.0)
    pace.pause(10.0)
    assert pace.take(9.0) == 21.0
    assert pace.take(30.0) == 0


@given(
    st.integers(1, 20),
    st.floats(0.1, 10),
    st.lists(st.floats(0, 5), max_size=60),
)
def test_in_no_stretch_of_time_go_more_than_a_burst_and_the_rate(
    burst: int, seconds: float, gaps: list[float]
) -> None:
    pace, now, gone = Pace(burst, seconds), 0.0, []
    for gap in gaps:
        now += gap
        if pace.take(now) == 0:
            gone.append(now)
    for first in range(len(gone)):
        for last in range(first, len(gone)):
            allowed = burst + (gone[last] - gone[first]) / seconds
            assert last - first + 1 <= allowed + 1e-6


@given(st.integers(1, 20), st.floats(0.1, 10))
def test_a_wait_is_never_longer_than_one_interval(burst: int, seconds: float) -> None:
    pace = Pace(burst, seconds)
    waits = [pace.take(0.0) for _ in range(burst + 1)]
    assert waits[:burst] == [0.0] * burst
    assert waits[burst] == pytest.approx(seconds)
