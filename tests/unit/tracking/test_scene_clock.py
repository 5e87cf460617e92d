"""UTC that is set while an object is in sight."""

import pytest

from appliance.core.events import EventType
from tests.unit.tracking.stage import Actor, Stage

TEN_YEARS_NS = 315_576_000 * 10**9


@pytest.mark.parametrize("step_ns", [3_600 * 10**9, -3_600 * 10**9, TEN_YEARS_NS, -TEN_YEARS_NS])
def test_utc_that_is_set_changes_neither_an_objects_life_nor_how_long_it_lasted(step_ns: int) -> None:
    stage = Stage()
    stage.play(Actor(300, 500), times=5)
    stage.utc_ns += step_ns
    stage.play(Actor(300, 500), times=5)
    stage.close()
    assert [event.type for event in stage.events] == [EventType.START, EventType.END]
    start, end = stage.events
    assert start.object_id == end.object_id
    assert end.duration == pytest.approx(0.9)
    assert end.time_ns - end.start_time_ns == 900_000_000
