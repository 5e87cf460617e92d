from itertools import accumulate

import pytest

from appliance.tracking.pace import Pace

TENTH = 100_000_000


def lost_after(configured: float, *intervals: float) -> float:
    pace = Pace(configured)
    for mono_ns in accumulate((round(seconds * 1e9) for seconds in intervals), initial=7 * TENTH):
        pace.step(mono_ns)
    return pace.lost_after_ns / 1e9


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [
        ([], 2.0),
        ([0.1] * 9, 2.0),
        ([1.0] * 9, 3.5),
        ([5.0], 17.5),
        ([0.1] * 9 + [60.0], 2.0),
        ([0.1] * 9 + [60.0, 60.0], 2.0),
        ([0.1] * 9 + [60.0] * 3, 210.0),
        ([60.0] * 9 + [0.1] * 3, 2.0),
    ],
)
def test_it_is_three_and_a_half_frames_time_at_least_whatever_a_pause_does(
    intervals: list[float], expected: float
) -> None:
    assert lost_after(2.0, *intervals) == pytest.approx(expected)


def test_a_frame_from_before_the_last_counts_as_simultaneous() -> None:
    assert lost_after(0.1, 0.1, -50.0, 0.0, 0.0) == pytest.approx(0.1)
