import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.config import TrackingSettings
from appliance.core.events import Change, Event, EventType
from appliance.core.results import Detections
from appliance.tracking.scene import Scene, SceneStep
from tests.unit.tracking.stage import LABELS, LEFT_HALF, MIDDLE, UTC_NS, VOCABULARY, Actor, Stage, walk


def test_one_visitor_is_one_start_and_one_end() -> None:
    stage = Stage()
    walk(stage, Actor(300, 500), (5, 0), 20)
    stage.play(times=30)
    assert [event.type for event in stage.events] == [EventType.START, EventType.END]
    start, end = stage.events
    assert start.object_id == end.object_id == "door-r1-1"
    assert (start.camera, start.label, start.class_id) == ("door", "person", 0)
    assert start.changes == end.changes == ()


def test_a_start_is_told_when_confirmed_and_dated_at_first_sight() -> None:
    stage = Stage(TrackingSettings(confirm_frames=3))
    stage.play(Actor(300, 500), times=2)
    assert stage.events == []
    stage.play(Actor(300, 500))
    (start,) = stage.events
    assert start.time_ns - start.start_time_ns == 200_000_000
    assert start.duration == pytest.approx(0.2)


def test_no_time_runs_back_with_the_frames() -> None:
    stage = Stage(TrackingSettings(confirm_frames=3), zones={"left": LEFT_HALF})
    stage.play(Actor(300, 500), times=2)
    first_ns = stage.mono_ns - 100_000_000
    for _ in range(12):
        stage.mono_ns = first_ns - 2_000_000_000
        stage.play(Actor(300, 500))
    stage.close()
    assert [event.type for event in stage.events][:1] == [EventType.START]
    assert all(event.mono_ns == first_ns + 100_000_000 for event in stage.events)
    assert all(event.duration == pytest.approx(0.1) for event in stage.events)
    assert all(dwell >= 0.0 for event in stage.events for dwell in event.dwell)


def test_an_end_is_told_as_of_the_last_sight() -> None:
    stage = Stage()
    walk(stage, Actor(300, 500, score=0.7), (10, 0), 10)
    last_seen_ns = stage.mono_ns
    stage.play(times=19)
    assert stage.of(EventType.END) == []
    stage.play(times=2)
    (end,) = stage.of(EventType.END)
    assert end.mono_ns == last_seen_ns
    assert end.time_ns == UTC_NS + last_seen_ns
    assert end.box == (370.0, 400.0, 410.0, 500.0)
    assert end.duration == pytest.approx(0.9)
    assert end.score == pytest.approx(0.7)


def test_what_flashes_up_leaves_no_trace() -> None:
    stage = Stage(zones={"left": LEFT_HALF}, lines={"middle": MIDDLE})
    stage.play(Actor(300, 500), times=2)
    step = stage.play(times=40)
    stage.close()
    assert stage.events == []
    assert step == SceneStep(zone_counts={"left": {}}, zone_group_counts={"left": {}})


def test_two_people_who_cross_keep_their_identities() -> None:
    stage = Stage()
    for at in range(40):
        stage.play(Actor(200 + 15 * at, 500, label="person"), Actor(800 - 15 * at, 530, high=110))
    stage.play(times=30)
    assert [event.type for event in stage.events] == [EventType.START] * 2 + [EventType.END] * 2
    assert {event.object_id: event.box[0] for event in stage.of(EventType.END)} == {
        "door-r1-1": pytest.approx(765.0, abs=0.1),
        "door-r1-2": pytest.approx(195.0, abs=0.1),
    }


def test_a_second_behind_a_pillar_changes_nobody() -> None:
    stage = Stage()
    walk(stage, Actor(200, 500), (8, 0), 20)
    stage.play(times=10)
    walk(stage, Actor(200 + 30 * 8, 500), (8, 0), 20)
    stage.play(times=30)
    assert [event.type for event in stage.events] == [EventType.START, EventType.END]
    assert stage.events[1].duration == pytest.approx(4.9)


def test_a_weak_sight_keeps_an_object_but_starts_none() -> None:
    stage = Stage(TrackingSettings(lost_after=0.5))
    walk(stage, Actor(200, 500), (5, 0), 5)
    walk(stage, Actor(225, 500, score=0.35), (5, 0), 30)
    stage.play(Actor(375, 500), Actor(700, 500, score=0.15), times=5)
    assert [event.type for event in stage.events] == [EventType.START]


@pytest.mark.parametrize(("score", "sights"), [(0.1, 26), (0.2, 39), (0.3, 77)])
def test_weak_sights_alone_keep_an_object_the_longer_the_stronger_they_are(score: float, sights: int) -> None:
    """Of a strong score, 0.4, they have a quarter, a half and three quarters: that share of each frame is no doubt."""
    stage = Stage(TrackingSettings(lost_after=2.0, low_score=0.1))
    stage.play(Actor(300, 500), times=5)
    stage.play(Actor(300, 500, score=score), times=200)
    assert [event.type for event in stage.events] == [EventType.START, EventType.END]
    assert stage.events[1].duration == pytest.approx(0.4 + sights / 10, abs=0.11)


def test_what_looks_faintly_like_somebody_in_an_empty_room_does_not_hold_on_to_who_has_left() -> None:
    """Until the next one comes in: then they would be one object. The fixture is seen in half of the frames."""
    stage = Stage(TrackingSettings(lost_after=2.0))
    fixture = Actor(505, 500, score=0.12)
    for _ in range(2):
        walk(stage, Actor(100, 500), (10, 0), 41)
        stage.play(Actor(500, 500), times=5)  # and out
        for _ in range(25):
            stage.play(fixture)
            stage.play()
    stage.close()
    assert [event.type for event in stage.events] == [EventType.START, EventType.END] * 2
    assert all(end.duration < 4.5 + 2.0 / (1 - 0.12 / 0.4 / 2) for end in stage.of(EventType.END))


def test_a_strong_sight_now_and_then_is_enough() -> None:
    stage = Stage(TrackingSettings(lost_after=2.0))
    stage.play(Actor(300, 500), times=3)
    for _ in range(10):
        stage.play(Actor(300, 500, score=0.22), times=20)
        stage.play(Actor(300, 500))
    assert [event.type for event in stage.events if event.type is not EventType.UPDATE] == [EventType.START]


def test_a_walker_seen_twice_a_second_is_one_object() -> None:
    stage = Stage(TrackingSettings(confirm_frames=2), seconds=0.5)
    walk(stage, Actor(200, 500), (45, 0), 12)  # 0.9 heights a second, and more than a width from frame to frame
    stage.close()
    assert [event.type for event in stage.events] == [EventType.START, EventType.END]
    assert stage.events[1].duration == pytest.approx(5.5)


@pytest.mark.parametrize("seconds", [2.5, 60.0])
@pytest.mark.parametrize("jitter", [0.0, 0.01, 0.05])
def test_frames_far_apart_and_uneven_still_make_objects_that_may_be_missed_twice(seconds: float, jitter: float) -> None:
    random = np.random.default_rng(5)
    for _ in range(20):
        stage = Stage(TrackingSettings(lost_after=2.0))
        for is_seen in map(int, "00011110010010000"):
            stage.seconds = seconds * (1 + random.uniform(-jitter, jitter))
            stage.play(*[Actor(300, 500)] * is_seen)
        assert stage.scene.lost_after == pytest.approx(3.5 * seconds, rel=0.06)
        assert [event.type for event in stage.events if event.type is not EventType.UPDATE] == [
            EventType.START,
            EventType.END,
        ]
        assert stage.events[-1].duration == pytest.approx(9 * seconds, rel=0.06)


def test_frames_close_together_leave_the_time_as_it_is_configured() -> None:
    stage = Stage(TrackingSettings(lost_after=2.0))
    stage.play(Actor(300, 500), times=20)
    assert stage.scene.lost_after == 2.0


def test_after_a_pause_of_the_camera_all_objects_are_new() -> None:
    stage = Stage()
    stage.play(Actor(300, 500), times=5)
    stage.mono_ns += 5_000_000_000
    stage.play(Actor(300, 500), times=5)
    assert [(event.type, event.object_id) for event in stage.events] == [
        (EventType.START, "door-r1-1"),
        (EventType.END, "door-r1-1"),
        (EventType.START, "door-r1-2"),
    ]


def test_another_resolution_goes_on_with_the_same_objects() -> None:
    stage = Stage(zones={"left": LEFT_HALF}, lines={"middle": MIDDLE})
    walk(stage, Actor(300, 500), (4, 0), 10)
    stage.size = (640, 360)
    walk(stage, Actor(340 * 0.64, 500 * 0.36, wide=40 * 0.64, high=36), (4 * 0.64, 0), 10)
    assert [event.type for event in stage.events] == [EventType.START, EventType.UPDATE]
    assert (stage.events[-1].width, stage.events[-1].height) == (1000, 1000)
    stage.close()
    assert (stage.events[-1].width, stage.events[-1].height) == (640, 360)


def test_a_parked_car_is_stationary_until_it_drives_off() -> None:
    stage = Stage(TrackingSettings(stationary_after=3.0))
    random = np.random.default_rng(3)
    car = Actor(300, 500, wide=160, high=90, label="car")
    for at in range(100):
        jittered = replace(car, x=300 + random.normal(0, 3), y=500 + random.normal(0, 3))
        stage.play(replace(jittered, x=360) if at == 60 else jittered)  # one frame half hidden
    assert stage.changes() == [Change.STATIONARY]
    assert next(event for event in stage.events if event.changes).duration == pytest.approx(3.0)
    assert stage.play(car).objects[0].is_stationary
    walk(stage, car, (12, 0), 20)
    assert stage.changes() == [Change.STATIONARY, Change.MOVING]
    assert not stage.events[-1].stationary


def test_a_better_score_is_told_at_most_once_an_interval() -> None:
    stage = Stage(TrackingSettings(update_interval=1.0))
    for at in range(60):
        stage.play(Actor(300, 500, score=0.5 + 0.005 * at))
    updates = stage.of(EventType.UPDATE)
    assert [event.changes for event in updates] == [(Change.BETTER_SCORE,)] * len(updates)
    assert len(updates) == 5
    assert updates[-1].best_score == pytest.approx(0.5 + 0.005 * 52)
    stage.play(Actor(300, 500, score=0.6), times=60)
    assert stage.changes().count(Change.BETTER_SCORE) == 6


@pytest.mark.parametrize(
    ("step", "degrees"), [((0, -10), 0.0), ((10, 0), 90.0), ((0, 10), 180.0), ((-10, 0), 270.0), ((7, -7), 45.0)]
)
def test_a_direction_is_clockwise_from_up(step: tuple[float, float], degrees: float) -> None:
    stage = Stage()
    walk(stage, Actor(500, 550), step, 20)
    stage.close()
    assert stage.events[0].direction is None  # not far enough yet
    assert stage.events[-1].direction == pytest.approx(degrees, abs=0.5)


def test_counts_stay_at_zero_once_the_last_has_gone() -> None:
    stage = Stage()
    assert stage.play(Actor(300, 500), times=5).counts == {"person": 1}
    step = stage.play(times=30)
    assert (step.counts, step.objects) == ({"person": 0}, ())
    assert stage.play().counts == {"person": 0}


def test_an_object_out_of_sight_still_counts() -> None:
    stage = Stage()
    stage.play(Actor(300, 500), times=5)
    step = stage.play(times=5)
    assert step.counts == {"person": 1}
    assert [(thing.object_id, thing.is_visible) for thing in step.objects] == [("door-r1-1", False)]


def test_finishing_ends_all_and_the_scene_can_go_on() -> None:
    stage = Stage()
    stage.play(Actor(300, 500), Actor(700, 500), times=5)
    stage.close()
    assert [event.type for event in stage.events] == [EventType.START] * 2 + [EventType.END] * 2
    stage.close()
    assert len(stage.events) == 4
    stage.play(Actor(300, 500), times=5)
    assert stage.events[-1].object_id == "door-r1-3"


def test_all_people_gone_and_nothing_seen_gives_nothing() -> None:
    scene = Scene("door", VOCABULARY, TrackingSettings(), {}, {}, high_score=0.4, run="r1")
    first = scene.step(Detections.empty(), width=10, height=10, time_ns=0, mono_ns=0)
    assert first is scene.step(Detections.empty(), width=10, height=10, time_ns=1, mono_ns=1)


@st.composite
def scripts(draw: st.DrawFn) -> list[tuple[float, list[Actor]]]:
    """Frames with the seconds before them: some wanderers who are missed at times, and noise."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    wanderers = draw(st.integers(0, 6))
    places = random.uniform(100, 900, (wanderers, 2))
    ways = random.uniform(-25, 25, (wanderers, 2))
    frames = []
    for _ in range(draw(st.integers(1, 60))):
        places = np.clip(places + ways + random.normal(0, 3, places.shape), 0, 1000)
        actors = [
            Actor(x, y, score=float(random.uniform(0.05, 1)), label=str(random.choice(LABELS)))
            for x, y in places
            if random.random() > 0.2
        ]
        actors += [Actor(*random.uniform(0, 1000, 2), score=0.5) for _ in range(random.poisson(0.3))]
        frames.append((float(random.choice([0.0, 0.03, 0.1, 0.5, 3.0], p=[0.02, 0.3, 0.6, 0.06, 0.02])), actors))
    return frames


def check_life(events: list[Event]) -> None:
    """One start first, one end last, time never runs back, only updates have reasons."""
    kinds = [event.type for event in events]
    assert kinds == [EventType.START, *[EventType.UPDATE] * (len(kinds) - 2), EventType.END]
    assert all(bool(event.changes) == (event.type is EventType.UPDATE) for event in events)
    times = [event.mono_ns for event in events]
    assert times == sorted(times)
    assert len({event.start_time_ns for event in events}) == 1
    best = [event.best_score for event in events]
    assert best == sorted(best)
    for event in events:
        assert set(event.zones) <= set(event.entered_zones)
        assert len(event.dwell) == len(event.zones)
        assert event.score <= event.best_score
        assert all(math.isfinite(side) for side in event.box)
        assert bool(event.crossings) == (Change.LINE_CROSSED in event.changes)
        assert event.duration == pytest.approx((event.mono_ns - UTC_NS - (event.start_time_ns - 2 * UTC_NS)) / 1e9)


@given(scripts())
@settings(max_examples=60, deadline=None)
def test_every_life_is_told_whole_and_once(script: list[tuple[float, list[Actor]]]) -> None:
    stage = Stage(zones={"left": LEFT_HALF.model_copy(update={"dwell": 1.0})}, lines={"middle": MIDDLE})
    for seconds, actors in script:
        stage.seconds = seconds
        step = stage.play(*actors)
        started = {event.object_id for event in stage.of(EventType.START)}
        open_now = started - {event.object_id for event in stage.of(EventType.END)}
        assert {thing.object_id for thing in step.objects} == open_now
        assert sum(step.counts.values()) == len(step.objects)
        for zone, counts in step.zone_counts.items():
            assert sum(counts.values()) == sum(zone in thing.zones for thing in step.objects)
    stage.close()
    lives: dict[str, list[Event]] = {}
    for event in stage.events:
        lives.setdefault(event.object_id, []).append(event)
    for life in lives.values():
        check_life(life)
