"""The tracker against an independent one, supervision's ByteTrack, over the very same detections."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.cameras.capture import open_capture
from appliance.config import ModelSettings, TrackingSettings
from appliance.core.events import Event, EventType
from appliance.core.frame import Frame, PixelLayout
from appliance.core.results import Detections
from appliance.core.vocabulary import Vocabulary
from appliance.inference.detector import open_detector
from appliance.tracking.scene import Scene
from appliance.tracking.tracker import Tracker
from tests.proof.clip import CLIP, PEOPLE
from tests.shared_data import SHARED, needs
from tests.system.mot_figures import Box, Figures, measure

supervision = pytest.importorskip("supervision", reason="needs the dev extra")

HIGH_SCORE = 0.4
MODEL = "models/yolox_nano_416_coco80.onnx"
EVERY = 3  # of the clip's 10 frames a second: as many as a small board detects in, and a third of the test's time
EDGE = 15  # frames: somebody of whom a head or a foot shows is not seen as a person yet, or any more


@dataclass(frozen=True)
class Recording:
    """Detections of a sequence, and which of them is whom: the truth is what the detector saw, no more.

    So what a tracker is blamed for is its own doing.
    """

    fps: float
    frames: Sequence[Detections]
    truth: Sequence[dict[int, Box]]


@dataclass(frozen=True)
class Street:
    """What a generated scene is like."""

    people: int
    fps: float
    noise: float = 0.02  # of the box's sides
    missed: float = 0.1  # share of sights
    false_alarms: float = 0.2  # a frame


STREETS = {
    "quiet": Street(people=4, fps=10),
    "busy": Street(people=12, fps=10),
    "slow": Street(people=6, fps=4),
    "fast": Street(people=6, fps=25),
    "poor": Street(people=6, fps=10, noise=0.05, missed=0.3, false_alarms=0.5),
}


def perform(street: Street, seed: int, count: int = 250) -> Recording:
    """Let people walk about; those nearer to the camera hide those behind, who then look weak or are not seen."""
    random = np.random.default_rng(seed)
    feet = random.uniform((80, 250), (1200, 700), (street.people, 2))
    ways = random.normal(0, 60, (street.people, 2)) * (1.0, 0.35)  # pixels a second
    frames, truth = [], []
    for _ in range(count):
        turns = random.random(street.people) < 0.2 / street.fps
        ways[turns] = random.normal(0, 60, (int(turns.sum()), 2)) * (1.0, 0.35)
        feet += ways / street.fps
        ways *= np.where((feet < (80, 250)) | (feet > (1200, 700)), -1, 1)
        feet = np.clip(feet, (80, 250), (1200, 700))
        high = feet[:, 1:] * 0.28
        boxes = np.concatenate((feet - high * (0.2, 1.0), feet + high * (0.2, 0.0)), axis=1)
        found, people = look(boxes, street, random)
        frames.append(found)
        rows = zip(people.tolist(), found.boxes.tolist(), strict=True)
        truth.append({person: tuple(box) for person, box in rows if person >= 0})
    return Recording(street.fps, frames, truth)


def shares_hidden(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the share of each box that lies behind the one that hides most of it."""
    hidden = np.zeros(len(boxes))
    for a, box in enumerate(boxes):
        for other in boxes[boxes[:, 3] > box[3]]:
            wide = min(box[2], other[2]) - max(box[0], other[0])
            high = min(box[3], other[3]) - max(box[1], other[1])
            share = max(wide, 0.0) * max(high, 0.0) / ((box[2] - box[0]) * (box[3] - box[1]))
            hidden[a] = max(hidden[a], share)
    return hidden


def look(
    boxes: NDArray[np.float64], street: Street, random: np.random.Generator
) -> tuple[Detections, NDArray[np.intp]]:
    """Give what a detector would make of it, and who is behind each detection; -1: nobody."""
    hidden = shares_hidden(boxes)
    scores = np.clip(random.normal(0.75, 0.12, len(boxes)) - 0.7 * hidden, 0.05, 0.98)
    seen = (random.random(len(boxes)) >= street.missed) & (hidden < 0.7) & (scores >= 0.1)
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    found = (boxes + random.normal(0, street.noise, boxes.shape) * sides)[seen]
    ghosts = random.uniform((0, 0), (1200, 600), (random.poisson(street.false_alarms), 2))
    found = np.concatenate((found, np.concatenate((ghosts, ghosts + random.uniform(30, 120, ghosts.shape)), axis=1)))
    scores = np.concatenate((scores[seen], random.uniform(0.1, 0.6, len(ghosts))))
    people = np.concatenate((np.flatnonzero(seen), np.full(len(ghosts), -1)))
    order = np.argsort(-scores, kind="stable")
    class_ids = np.zeros(len(order), np.int32)
    return Detections(found[order].astype(np.float32), scores[order].astype(np.float32), class_ids), people[order]


def ours(recording: Recording) -> list[dict[int, Box]]:
    tracker = Tracker(TrackingSettings(), HIGH_SCORE)
    given = []
    for number, frame in enumerate(recording.frames):
        tracks = tracker.update(frame, round(number / recording.fps * 1e9))
        shown = tracks.is_confirmed & tracks.is_seen
        given.append(dict(zip(tracks.ids[shown].tolist(), map(tuple, tracks.boxes[shown].tolist()), strict=True)))
    return given


def theirs(recording: Recording) -> list[dict[int, Box]]:
    """ByteTrack with our settings, as far as it has them; a track is lost after as many seconds."""
    settings = TrackingSettings()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        tracker = supervision.ByteTrack(
            track_activation_threshold=HIGH_SCORE,
            lost_track_buffer=round(settings.lost_after * 30),
            frame_rate=recording.fps,
            minimum_matching_threshold=1 - settings.match_iou,
            minimum_consecutive_frames=settings.confirm_frames,
        )
    given = []
    for frame in recording.frames:
        found = supervision.Detections(
            xyxy=frame.boxes.copy(), confidence=frame.scores, class_id=frame.class_ids.astype(int)
        )
        tracks = tracker.update_with_detections(found)
        given.append(dict(zip(tracks.tracker_id.tolist(), map(tuple, tracks.xyxy.tolist()), strict=True)))
    return given


def test_the_figures_are_those_of_a_sequence_counted_by_hand() -> None:
    left, right = (0.0, 0.0, 10.0, 10.0), (100.0, 0.0, 110.0, 10.0)
    truth = [{1: left, 2: right}] * 6
    tracked = [{7: left, 8: right}, {7: left, 8: right}, {7: left}, {7: left, 9: right}, {9: left}, {9: left, 5: left}]
    # 2 is missed in three frames, comes back as 9 (a fragment, a switch); 1 turns from 7 to 9 (a switch); 5 is false
    assert measure(truth, tracked) == Figures(
        mota=pytest.approx(1 - (3 + 1 + 2) / 12), idf1=pytest.approx(2 * 6 / (12 + 10)), switches=2, fragments=1
    )


@pytest.mark.parametrize("name", STREETS)
def test_identities_are_kept_no_worse_than_by_bytetrack(name: str) -> None:
    mine, other = [], []
    for seed in range(3):
        recording = perform(STREETS[name], seed)
        mine.append(measure(recording.truth, ours(recording)))
        other.append(measure(recording.truth, theirs(recording)))
    for who, figures in (("edgecam", mine), ("ByteTrack", other)):
        print(
            f"{name:6} {who:9} switches {sum(f.switches for f in figures):3} fragments "
            f"{sum(f.fragments for f in figures):4} IDF1 {np.mean([f.idf1 for f in figures]):.3f} "
            f"MOTA {np.mean([f.mota for f in figures]):.3f}"
        )
    assert sum(f.switches for f in mine) <= sum(f.switches for f in other)
    assert sum(f.fragments for f in mine) <= sum(f.fragments for f in other)
    assert np.mean([f.idf1 for f in mine]) >= np.mean([f.idf1 for f in other])
    assert np.mean([f.mota for f in mine]) >= np.mean([f.mota for f in other]) - 0.005


@pytest.fixture(scope="module")
def clip() -> Recording:
    """What a real detector sees in the clip, people only."""
    capture = open_capture(str(SHARED / CLIP), cv2.CAP_FFMPEG)  # quietly: OpenCV decides once for the whole process
    fps = capture.get(cv2.CAP_PROP_FPS)
    frames, truth = [], []
    with open_detector(ModelSettings(use=str(SHARED / MODEL)), min_score=0.1) as detector:
        number = -1
        while capture.grab():
            number += 1
            if number % EVERY:
                continue
            _, image = capture.retrieve()
            height, width = image.shape[:2]
            frame = Frame(image, PixelLayout.BGR, width, height, "clip", number, datetime.now(UTC), number)
            found = detector.detect(frame)
            found = found.select(found.class_ids == detector.manifest.labels.index("person"))
            frames.append(found)
            # only one is ever there: the best box is the truth's, and the question is who it belongs to
            present = [who for who, (first, last) in enumerate(PEOPLE) if first <= number <= last]
            truth.append({present[0]: tuple(found.boxes[0].tolist())} if present and len(found) else {})
    capture.release()
    return Recording(fps / EVERY, frames, truth)


@needs(CLIP, MODEL)
def test_real_people_are_followed_no_worse_than_by_bytetrack(clip: Recording) -> None:
    mine, other = measure(clip.truth, ours(clip)), measure(clip.truth, theirs(clip))
    print(f"clip edgecam   {mine}\nclip ByteTrack {other}")
    assert mine.switches <= other.switches
    assert mine.fragments <= other.fragments
    assert mine.idf1 >= other.idf1


@needs(CLIP, MODEL)
def test_everyone_in_the_clip_is_one_object_from_first_to_last_sight_and_goes_to_the_upper_right(
    clip: Recording,
) -> None:
    scene = Scene("clip", Vocabulary(("person",), {}), TrackingSettings(), {}, {}, high_score=HIGH_SCORE, run="r")
    events: list[Event] = []
    for at, found in enumerate(clip.frames):
        mono_ns = round(at / clip.fps * 1e9)
        events += scene.step(found, width=768, height=432, time_ns=mono_ns, mono_ns=mono_ns).events
    events += scene.finish().events
    ends = [event for event in events if event.type is EventType.END]
    stays = [
        ((end.mono_ns / 1e9 - end.duration) * clip.fps * EVERY, end.mono_ns / 1e9 * clip.fps * EVERY) for end in ends
    ]
    print("clip", len(ends), "objects, frames", [(round(first), round(last)) for first, last in stays])
    assert len(stays) == len(PEOPLE)
    for (first, last), (came, went) in zip(stays, PEOPLE, strict=True):
        assert came <= round(first) <= came + EDGE
        assert went - EDGE <= round(last) <= went
    assert all(45 < (end.direction or 0.0) < 90 for end in ends)  # from the lower left, out on the right
