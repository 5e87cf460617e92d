"""Zones that are entered and left, and lines that are crossed."""

import numpy as np
import pytest

from appliance.config import Line, TrackingSettings
from appliance.core.events import Change, Crossing, EventType
from tests.unit.tracking.stage import LEFT_HALF, MIDDLE, Actor, Stage, walk


def test_a_zone_is_entered_after_its_inertia_and_left_after_it() -> None:
    stage = Stage(zones={"left": LEFT_HALF})
    stage.play(Actor(560, 500), times=5)
    for x in (540, 520, 495, 505, 495, 480):  # one frame inside is not enough
        stage.play(Actor(x, 500))
    assert stage.changes() == []
    step = stage.play(Actor(460, 500))
    assert step.events[0].changes == (Change.ZONE_ENTERED,)
    assert step.events[0].zones == step.events[0].entered_zones == ("left",)
    assert step.events[0].dwell == (pytest.approx(0.2),)
    assert step.zone_counts == {"left": {"person": 1}}
    for x in (480, 495, 505, 495, 510, 530):
        stage.play(Actor(x, 500))
    assert stage.changes() == [Change.ZONE_ENTERED]
    step = stage.play(Actor(550, 500))
    assert step.events[0].changes == (Change.ZONE_LEFT,)
    assert (step.events[0].zones, step.events[0].entered_zones) == ((), ("left",))
    assert step.zone_counts == {"left": {"person": 0}}


def test_an_object_that_appears_in_a_zone_tells_so_right_after_its_start() -> None:
    stage = Stage(zones={"left": LEFT_HALF})
    step = stage.play(Actor(300, 500), times=3)
    start, update = step.events
    assert (start.type, start.changes) == (EventType.START, ())
    assert (update.type, update.changes, update.zones) == (EventType.UPDATE, (Change.ZONE_ENTERED,), ("left",))


def test_a_zone_for_cars_does_not_see_people() -> None:
    stage = Stage(zones={"parking": LEFT_HALF.model_copy(update={"labels": ("car",)})})
    step = stage.play(Actor(300, 500), Actor(200, 800, wide=160, label="car"), times=6)
    assert step.zone_counts == {"parking": {"car": 1}}
    assert [event.label for event in stage.events if event.zones] == ["car", "car"]


def test_who_loiters_is_told_once_a_visit() -> None:
    stage = Stage(zones={"left": LEFT_HALF.model_copy(update={"dwell": 2.0})})
    stage.play(Actor(300, 500), times=20)
    assert Change.DWELL not in stage.changes()
    stage.play(Actor(300, 500), times=40)
    assert stage.changes().count(Change.DWELL) == 1
    update = next(event for event in stage.events if Change.DWELL in event.changes)
    assert update.dwell == (pytest.approx(2.0),)
    walk(stage, Actor(300, 500), (15, 0), 25)
    walk(stage, Actor(660, 500), (-15, 0), 25)
    stage.play(Actor(300, 500), times=25)
    assert stage.changes().count(Change.DWELL) == 2


@pytest.mark.parametrize(("start", "step", "direction"), [(300, 20, "out"), (700, -20, "in")])
def test_a_line_tells_which_way_it_was_crossed(start: int, step: int, direction: str) -> None:
    stage = Stage(lines={"middle": MIDDLE})
    walk(stage, Actor(start, 500), (step, 0), 20)
    stage.close()
    assert [event.crossings for event in stage.events] == [(), (Crossing("middle", direction),), ()]
    assert stage.changes() == [Change.LINE_CROSSED]


def test_a_line_crossed_before_the_start_is_not_lost() -> None:
    stage = Stage(TrackingSettings(confirm_frames=4), lines={"middle": MIDDLE})
    walk(stage, Actor(470, 500), (20, 0), 4)
    assert [event.type for event in stage.events] == [EventType.START, EventType.UPDATE]
    assert stage.events[1].crossings == (Crossing("middle", "out"),)


def test_dithering_on_a_line_crosses_nothing() -> None:
    stage = Stage(lines={"middle": MIDDLE})
    random = np.random.default_rng(7)
    for _ in range(200):
        stage.play(Actor(500 + random.uniform(-4.5, 4.5), 500))
    assert stage.changes().count(Change.LINE_CROSSED) == 0


def test_passing_beside_a_line_crosses_nothing() -> None:
    stage = Stage(lines={"short": Line(points=((0.5, 0.0), (0.5, 0.4)))})
    walk(stage, Actor(300, 500), (20, 0), 20)
    assert stage.changes() == []


def test_a_line_for_cars_does_not_see_people() -> None:
    stage = Stage(lines={"middle": MIDDLE.model_copy(update={"labels": ("car",)})})
    walk(stage, Actor(300, 500), (20, 0), 20)
    assert stage.changes() == []
