import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.config import TrackingSettings
from appliance.core.results import Detections
from appliance.core.vocabulary import Vocabulary
from appliance.tracking.kinship import Kinship
from appliance.tracking.tracker import Tracker, Tracks
from tests.unit.tracking.stage import VOCABULARY, Actor, detections

TENTH = 100_000_000


def track(frames: list[list[Actor]], settings: TrackingSettings | None = None) -> list[Tracks]:
    tracker = Tracker(settings or TrackingSettings(), 0.4, kinship=Kinship(VOCABULARY))
    return [tracker.update(detections(actors), (at + 1) * TENTH) for at, actors in enumerate(frames)]


def test_nothing_is_confirmed_before_it_was_seen_often_enough() -> None:
    steps = track([[Actor(300, 500)]] * 6, TrackingSettings(confirm_frames=4))
    assert [step.is_confirmed.tolist() for step in steps] == [[False]] * 3 + [[True]] * 3


def test_a_tentative_track_may_be_missed_once_but_not_twice() -> None:
    seen, unseen = [Actor(300, 500)], []
    assert [step.ids.tolist() for step in track([seen, unseen, seen, seen])] == [[1]] * 4
    steps = track([seen, unseen, unseen, seen])
    assert [step.ids.tolist() for step in steps] == [[1], [1], [], [2]]
    assert steps[2].ended.tolist() == [1]


def test_a_confirmed_track_ends_when_unseen_for_longer_than_allowed() -> None:
    steps = track([[Actor(300, 500)]] * 3 + [[]] * 12, TrackingSettings(lost_after=1.0))
    assert [len(step.ended) for step in steps] == [0] * 13 + [1, 0]
    assert not steps[5].is_seen.any()


def test_only_strong_detections_start_tracks() -> None:
    assert not any(len(step) for step in track([[Actor(300, 500, score=0.39)]] * 5))


def test_weak_detections_keep_tracks_down_to_the_low_score() -> None:
    strong, weak, noise = (Actor(300, 500, score=score) for score in (0.8, 0.12, 0.08))
    steps = track([[strong]] * 3 + [[weak]] * 3 + [[noise]] * 3, TrackingSettings(low_score=0.1))
    assert [step.is_seen.tolist() for step in steps] == [[True]] * 6 + [[False]] * 3
    assert steps[-1].scores[0] == pytest.approx(0.12)


def test_unless_said_otherwise_half_of_a_strong_score_keeps_a_track() -> None:
    steps = track([[Actor(300, 500)]] * 3 + [[Actor(300, 500, score=0.21)]] * 2 + [[Actor(300, 500, score=0.19)]] * 2)
    assert [step.is_seen.tolist() for step in steps] == [[True]] * 5 + [[False]] * 2


def test_strong_detections_are_matched_before_weak_ones() -> None:
    near_but_weak, strong = Actor(301, 500, score=0.2), Actor(306, 500, score=0.7)
    last = track([[Actor(300, 500)]] * 3 + [[near_but_weak, strong]])[-1]
    assert last.scores.tolist() == [pytest.approx(0.7)]


def test_labels_are_voted_by_score() -> None:
    looks = [("car", 0.5), ("car", 0.5), ("truck", 0.9), ("truck", 0.9), ("car", 0.5), ("car", 0.5)]
    steps = track([[Actor(300, 500, wide=150, label=label, score=score)] for label, score in looks])
    assert [step.class_ids.tolist() for step in steps] == [[2], [2], [2], [5], [5], [2]]
    assert [step.ids.tolist() for step in steps] == [[1]] * 6


def test_a_car_beside_a_truck_takes_its_own_detection() -> None:
    frames = [[Actor(300, 500, wide=150, label="car"), Actor(330, 500, wide=150, label="truck")]] * 3
    swapped = [Actor(318, 500, wide=150, label="car"), Actor(312, 500, wide=150, label="truck")]
    last = track([*frames, swapped])[-1]
    assert last.boxes[last.class_ids == 2][0, 0] == pytest.approx(318 - 75)


@pytest.mark.parametrize(("label", "tracks"), [("truck", [1]), ("dog", [1, 2]), ("bicycle", [1, 2])])
def test_a_jump_is_followed_to_a_kindred_label_only(label: str, tracks: list[int]) -> None:
    jump = Actor(380, 500, wide=160, high=90, label=label)  # overlaps by a third
    last = track([[Actor(300, 500, wide=160, high=90, label="car")]] * 3 + [[jump]])[-1]
    assert last.ids.tolist() == tracks


def test_its_own_label_wins_a_tie() -> None:
    looks = [Actor(290, 500, wide=150, label="truck", score=0.9), Actor(310, 500, wide=150, label="car", score=0.5)]
    last = track([[Actor(300, 500, wide=150, label="car")]] * 3 + [looks])[-1]
    assert last.scores[0] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("label", "beside", "tracks"),
    [("truck", 50, 1), ("truck", 54, 2), ("car", 32, 2), ("dog", 32, 2)],  # 160 wide: IoU of 0.52, 0.495, 0.67, 0.67
)
def test_two_labels_of_a_group_are_one_object_where_they_overlap_by_half(label: str, beside: int, tracks: int) -> None:
    car = Actor(300, 500, wide=160, high=90, label="car")
    both = [car, Actor(300 + beside, 500, wide=160, high=90, label=label, score=0.6)]
    assert len(track([both] * 4)[-1]) == tracks
    assert len(track([[car]] * 3 + [both] * 4)[-1]) == tracks


@pytest.mark.parametrize(("beside", "tracks"), [(14, 1), (20, 2)])  # 100 wide: IoU of 0.75, 0.67
def test_two_wheelers_are_one_object_only_where_they_overlap_as_much_as_two_of_a_label(
    beside: int, tracks: int
) -> None:
    tracker = Tracker(TrackingSettings(), 0.4, kinship=Kinship(Vocabulary(("bicycle", "motorcycle"), {})))
    boxes = np.array([(100, 100, 200, 180), (100 + beside, 100, 200 + beside, 180)], np.float32)
    both = Detections(boxes, np.array([0.8, 0.6], np.float32), np.array([0, 1], np.int32))
    assert [len(tracker.update(both, at * TENTH)) for at in range(4)] == [tracks] * 4


def test_a_twin_that_is_dropped_takes_nobody_with_it() -> None:
    first, twin, other = (
        Actor(x, 500, wide=160, high=90, score=score) for x, score in ((300, 0.9), (326, 0.8), (352, 0.7))
    )
    # IoU of 0.72 from each to the next, 0.51 from the first to the last
    assert len(track([[first, twin]] * 4)[-1]) == 1
    assert len(track([[first, twin, other]] * 4)[-1]) == 2
    assert len(track([[first]] * 3 + [[first, twin, other]] * 4)[-1]) == 2


def test_a_twin_of_another_kind_is_an_object_of_its_own() -> None:
    both = [Actor(300, 500, wide=100), Actor(300, 500, wide=100, label="car", score=0.6)]
    assert track([both] * 4)[-1].ids.tolist() == [1, 2]


def test_tracks_are_let_go_while_others_come() -> None:
    queue = [Actor(300, 500), *(Actor(700, 300 + 150 * at) for at in range(3))]
    steps = track([[Actor(300, 500), Actor(100, 200)], queue[:2], queue[:3], queue])
    assert 2 in steps[2].ended.tolist()


def test_what_is_given_out_does_not_change_later() -> None:
    tracker = Tracker(TrackingSettings(), 0.4)
    first = tracker.update(detections([Actor(300, 500)]), TENTH)
    before = first.boxes.copy()
    tracker.update(detections([Actor(310, 500)]), 2 * TENTH)
    tracker.rescale(0.5, 0.5)
    assert (first.boxes == before).all()


def test_time_that_runs_back_is_no_harm() -> None:
    tracker = Tracker(TrackingSettings(), 0.4)
    for mono_ns in (5 * TENTH, 3 * TENTH, 6 * TENTH):
        tracks = tracker.update(detections([Actor(300, 500)]), mono_ns)
    assert tracks.ids.tolist() == [1]


def test_boxes_without_area_are_no_harm() -> None:
    steps = track([[Actor(300, 500, wide=0, high=0), Actor(300, 500, wide=0, high=0)]] * 5)
    assert np.isfinite(steps[-1].boxes).all()


def test_an_empty_scene_costs_no_arrays() -> None:
    tracker = Tracker(TrackingSettings(), 0.4)
    nothing = tracker.update(Detections.empty(), TENTH)
    assert nothing is tracker.update(Detections.empty(), 2 * TENTH)


@given(st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_ids_rise_and_end_once(seed: int) -> None:
    random = np.random.default_rng(seed)
    frames = [
        [Actor(*random.uniform(100, 900, 2), score=random.uniform(0.05, 1)) for _ in range(random.poisson(4))]
        for _ in range(40)
    ]
    open_now: set[int] = set()
    ended: list[int] = []
    for step in track(frames, TrackingSettings(lost_after=0.5, confirm_frames=2)):
        assert step.ids.tolist() == sorted(set(step.ids.tolist()))
        assert step.ended.tolist() == sorted(step.ended.tolist())
        assert open_now <= set(step.ids.tolist()) | set(step.ended.tolist())
        assert not set(step.ids.tolist()) & set(step.ended.tolist())
        ended += step.ended.tolist()
        open_now = set(step.ids.tolist())
        assert not open_now & set(ended)
    assert len(ended) == len(set(ended))
