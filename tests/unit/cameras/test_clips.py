from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cameras.clips import LONGEST_GAP, Timeline


def play(period: float, told: list[float]) -> list[float]:
    timeline = Timeline(period)
    return [timeline.next(moment) for moment in told]


def test_timestamps_that_make_sense_are_kept() -> None:
    told = [0.0, 0.08, 0.17, 0.25, 1.9, 1.95]
    assert play(0.08, told) == told


def test_a_recording_that_does_not_begin_at_0_plays_from_0() -> None:
    assert play(0.1, [3600.0, 3600.1, 3600.2]) == pytest.approx([0.0, 0.1, 0.2])


def test_long_pauses_are_cut_short_and_timestamps_count_again_behind_them() -> None:
    assert play(0.1, [0.0, 0.1, 9.0, 9.25, 9.3]) == pytest.approx([0.0, 0.1, 0.2, 0.45, 0.5])


@pytest.mark.parametrize(
    "told", [[0.0] * 5, [float("nan")] * 5, [4.0, 3.0, 2.0, 1.0, 0.0]], ids=["still", "nan", "back"]
)
def test_useless_timestamps_give_way_to_the_frame_rate(told: list[float]) -> None:
    assert play(0.04, told) == pytest.approx([0.0, 0.04, 0.08, 0.12, 0.16])


@given(st.lists(st.floats(-1e9, 1e9) | st.just(float("nan")), min_size=2, max_size=40), st.floats(0.001, LONGEST_GAP))
def test_times_always_grow_and_never_pause_for_long(told: list[float], period: float) -> None:
    assert all(0 < after - before <= LONGEST_GAP + 1e-6 for before, after in pairwise(play(period, told)))
