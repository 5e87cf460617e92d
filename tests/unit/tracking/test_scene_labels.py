"""Labels and groups in a scene: which the objects keep, tell and are counted by."""

from dataclasses import replace

import numpy as np
import pytest

from appliance.config import TrackingSettings
from appliance.core.errors import ConfigError
from appliance.core.events import Change, EventType
from tests.unit.tracking.stage import LEFT_HALF, MIDDLE, Actor, Stage


def test_a_car_taken_for_a_truck_stays_the_same_car() -> None:
    stage = Stage()
    names = ["car", "car", "truck", "car", "bus", "truck", "car", "car"] * 3
    for at, label in enumerate(names):
        stage.play(Actor(200 + 10 * at, 500, wide=160, high=90, label=label))
    stage.play(times=30)
    assert [(event.type, event.label) for event in stage.events] == [(EventType.START, "car"), (EventType.END, "car")]


def test_a_vehicle_whose_label_wavers_tells_its_group_and_is_not_told_again_and_again() -> None:
    stage = Stage(TrackingSettings(update_interval=0.5))
    random = np.random.default_rng(11)
    for at in range(300):
        # as often the one as the other: by the sum of scores alone the lead would change hands many times
        label = "car" if random.random() < 0.5 else "truck"
        stage.play(Actor(200 + at, 500, wide=160, high=90, label=label, score=0.6))
    stage.close()
    assert [event.type for event in stage.events if event.type is not EventType.UPDATE] == [
        EventType.START,
        EventType.END,
    ]
    assert {event.group for event in stage.events} == {"vehicle"}
    assert stage.changes().count(Change.RELABELLED) <= 2


def test_a_new_label_is_told_with_whatever_else_is_told() -> None:
    stage = Stage(zones={"left": LEFT_HALF})
    stage.play(Actor(600, 500, wide=160, high=90, label="truck"), times=4)
    stage.play(Actor(560, 500, wide=160, high=90, label="car"), times=6)
    stage.play(Actor(490, 500, wide=160, high=90, label="car"), times=3)
    (update,) = stage.of(EventType.UPDATE)
    assert (update.label, update.changes) == ("car", (Change.ZONE_ENTERED, Change.RELABELLED))


def test_most_votes_of_a_group_win_over_most_votes_of_a_label() -> None:
    stage = Stage()
    shape = Actor(300, 500, wide=160, high=90)
    for label in ("car", "dog", "truck", "dog", "bus", "dog", "car"):
        stage.play(replace(shape, label=label))
    step = stage.play(replace(shape, label="truck"))
    assert [(thing.label, thing.group) for thing in step.objects] == [("car", "vehicle")]


def test_a_zone_and_a_line_for_a_group_see_all_of_its_labels_and_keep_them_through_a_change_of_label() -> None:
    stage = Stage(
        zones={"parking": LEFT_HALF.model_copy(update={"labels": ("vehicle",)})},
        lines={"middle": MIDDLE.model_copy(update={"labels": ("vehicle",)})},
    )
    for at in range(40):
        vehicle = Actor(700 - 10 * at, 500, wide=160, high=90, label="car" if at % 20 < 10 else "truck")
        step = stage.play(vehicle, Actor(700 - 10 * at, 900))
    assert (step.counts, step.group_counts) == ({"car": 1, "person": 1}, {"vehicle": 1})
    assert (step.zone_counts, step.zone_group_counts) == ({"parking": {"car": 1}}, {"parking": {"vehicle": 1}})
    stage.close()
    (crossing,) = [event for event in stage.events if event.crossings]
    assert crossing.group == "vehicle"
    assert stage.changes().count(Change.ZONE_ENTERED) == 1
    assert Change.ZONE_LEFT not in stage.changes()


def test_counts_of_a_group_stay_at_zero_once_the_last_has_gone() -> None:
    stage = Stage(zones={"left": LEFT_HALF})
    stage.play(Actor(300, 500, wide=160, high=90, label="bus"), times=5)
    step = stage.play(times=30)
    assert (step.group_counts, step.zone_group_counts) == ({"vehicle": 0}, {"left": {"vehicle": 0}})
    assert stage.play().group_counts == {"vehicle": 0}


def test_all_that_zones_and_lines_name_and_the_model_does_not_know_is_told_with_what_is_accepted() -> None:
    with pytest.raises(ConfigError) as caught:
        Stage(
            zones={"left": LEFT_HALF.model_copy(update={"labels": ("vehicle", "lorry", "cat")})},
            lines={"gate": MIDDLE.model_copy(update={"labels": ("Person",)}), "way": MIDDLE},
        )
    assert str(caught.value).splitlines() == [
        "[cameras.door.zones.left] labels: 'lorry', 'cat' not known to the model",
        "  [cameras.door.lines.gate] labels: 'Person' not known to the model",
        "  accepted: labels person, bicycle, car, dog, bus, truck; groups vehicle (car, bus, truck)",
    ]


def test_a_van_that_is_a_car_and_a_truck_at_once_is_one_object() -> None:
    stage = Stage()
    for at in range(10):
        shape = Actor(200 + 10 * at, 500, wide=160, high=90)
        step = stage.play(replace(shape, label="car"), replace(shape, label="truck", score=0.6, wide=156))
    assert step.counts == {"car": 1}


def test_a_rider_and_a_bicycle_are_two_objects() -> None:
    stage = Stage()
    for at in range(10):
        step = stage.play(
            Actor(200 + 10 * at, 480, wide=60, high=120),
            Actor(200 + 10 * at, 500, wide=110, high=80, label="bicycle", score=0.6),
        )
    assert step.counts == {"person": 1, "bicycle": 1}


def test_a_first_impression_that_was_wrong_is_put_right_once() -> None:
    stage = Stage(TrackingSettings(update_interval=1.0))
    stage.play(Actor(300, 500, wide=160, high=90, label="truck"), times=4)
    stage.play(Actor(300, 500, wide=160, high=90, label="car"), times=40)
    assert stage.events[0].label == "truck"
    assert stage.changes().count(Change.RELABELLED) == 1
    assert [event.label for event in stage.events if Change.RELABELLED in event.changes] == ["car"]
