import pytest

from appliance.cameras.pacing import Pacer
from tests.simulators.timing import HandTimer


def test_waits_add_no_error_over_many_frames() -> None:
    timer = HandTimer()
    pacer = Pacer(timer)
    start = timer.now
    for number in range(1000):
        assert pacer.wait_until_due(number / 30, timeout=1)
        timer.now += 0.011  # what the consumer takes
    assert timer.now - start == pytest.approx(999 / 30 + 0.011)


def test_a_frame_that_is_not_due_in_time_is_told_after_the_timeout() -> None:
    timer = HandTimer()
    pacer = Pacer(timer)
    assert pacer.wait_until_due(0.0, timeout=1)
    assert not pacer.wait_until_due(5.0, timeout=1)
    assert timer.slept == [1]


def test_lateness_is_measured_from_the_first_frame() -> None:
    timer = HandTimer()
    pacer = Pacer(timer)
    assert pacer.lateness(2.0) == 0
    timer.now += 3
    assert pacer.lateness(2.5) == pytest.approx(2.5)
    pacer.restart(2.5)
    assert pacer.lateness(2.5) == 0
