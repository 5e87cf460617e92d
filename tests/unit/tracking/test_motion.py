import pytest

from appliance.core.events import Change
from appliance.tracking.motion import Rest, direction_of

SECOND = 1_000_000_000


def test_no_direction_before_half_its_own_size() -> None:
    assert direction_of((40.0, 0.0), 100.0) is None
    assert direction_of((60.0, 0.0), 100.0) == 90.0


@pytest.mark.parametrize(
    ("way", "degrees"), [((0, -9), 0), ((9, -9), 45), ((0, 9), 180), ((-9, 9), 225), ((-9, 0), 270)]
)
def test_directions_run_clockwise_from_up(way: tuple[float, float], degrees: float) -> None:
    assert direction_of(way, 1.0) == pytest.approx(degrees)


def test_at_rest_after_the_time_set_and_moving_after_some_frames() -> None:
    rest = Rest(2 * SECOND, (0.5, 0.5), 0)
    told = [rest.see((0.5, 0.5), (10, 10), at * SECOND) for at in range(4)]
    assert told == [None, None, Change.STATIONARY, None]
    told = [rest.see((0.6, 0.5), (10, 10), at * SECOND) for at in range(4, 8)]
    assert told == [None, None, Change.MOVING, None]
    assert not rest.is_stationary


def test_who_creeps_is_not_at_rest() -> None:
    rest = Rest(2 * SECOND, (0.0, 0.5), 0)
    assert [rest.see((0.02 * at, 0.5), (10, 10), at * SECOND) for at in range(30)] == [None] * 30
