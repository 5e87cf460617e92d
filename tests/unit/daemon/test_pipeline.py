import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from appliance.config import TrackingSettings
from appliance.core.errors import EdgecamError, ModelError, UnavailableError
from appliance.core.events import Event, EventType
from appliance.core.frame import Frame, PixelLayout
from appliance.core.latest import Latest
from appliance.core.message import Message  # noqa: TC001 - read as what the list holds
from appliance.core.results import Detections
from appliance.core.vocabulary import Vocabulary
from appliance.daemon.pipeline import Pipeline
from appliance.messaging.payloads import ModelInfo
from appliance.tracking.scene import Scene
from tests.simulators.models import manifest

IMAGE = np.zeros((100, 200, 3), np.uint8)
START = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Seeing:
    """A detector that sees one person, sure or unsure, walking to the right."""

    digest, last_inference_ms = "d", 3.0
    manifest = manifest("yolox").model_copy(update={"version": "1"})

    def __init__(self, score: float = 0.8) -> None:
        self.score = score
        self.seen = 0

        self.fault: EdgecamError | None = None

    def detect(self, frame: Frame) -> Detections:
        if self.fault is not None:
            raise self.fault
        assert frame.image.shape == (100, 200, 3)
        self.seen += 1
        box = np.array([[10 + self.seen, 20, 40 + self.seen, 90]], np.float32)
        return Detections(box, np.array([self.score], np.float32), np.array([0], np.int32))


class Stage:
    def __init__(self, detector: Seeing | None = None, interval: float = 0.0) -> None:
        self.messages: list[Message] = []
        self.events: list[Event] = []
        self.slot: Latest[Frame] = Latest()
        self.ended = threading.Event()
        settings = TrackingSettings()
        self.pipeline = Pipeline(
            camera="door",
            slot=self.slot,
            source_ended=self.ended,
            detector=detector or Seeing(),
            scene=Scene("door", Vocabulary(("person",)), settings, {}, {}, high_score=0.5, run="r"),
            labels=("person",),
            model=ModelInfo("m", "1", "d"),
            min_score=0.5,
            detections_interval=interval,
            publish=self.messages.append,
            tell=lambda event, _message: self.events.append(event),
        )

    def topics(self) -> list[str]:
        return [message.topic for message in self.messages]

    @contextmanager
    def running(self, frames: int) -> Iterator[threading.Thread]:
        """Run the pipeline in a thread of its own while the first frames are given to it; stop it in the end."""
        stop = threading.Event()
        worker = threading.Thread(target=self.pipeline.run, args=(stop,))
        worker.start()
        try:
            for number in range(frames):
                assert self.slot.put_when_empty(frame(number), timeout=10)
            yield worker
        finally:
            stop.set()
            worker.join(10)


def frame(number: int) -> Frame:
    at = timedelta(milliseconds=100 * number)
    return Frame(IMAGE, PixelLayout.BGR, 200, 100, "door", number, START + at, 10**9 + number * 10**8)


def test_a_frame_becomes_events_counts_and_detections() -> None:
    stage = Stage()
    for number in range(5):
        stage.pipeline.step(frame(number))
    assert [event.type for event in stage.events] == [EventType.START]
    assert stage.topics().count("door/events") == 1
    assert stage.topics().count("door/detections") == 5
    event = next(message for message in stage.messages if message.topic == "door/events")
    assert event.durable
    assert event.body["model"] == {"name": "m", "version": "1", "digest": "d"}
    assert event.time_ns == int((START + timedelta(milliseconds=200)).timestamp() * 1e9)
    assert stage.pipeline.objects == 1
    assert stage.pipeline.sight == {"objects": 1, "objects_begun": 1}


def test_unsure_detections_reach_the_tracker_but_are_not_published() -> None:
    stage = Stage(Seeing(score=0.3))
    stage.pipeline.step(frame(0))
    assert [message.body["detections"] for message in stage.messages if message.topic == "door/detections"] == [[]]


def test_detections_are_thinned_but_the_first_is_told_at_once() -> None:
    stage = Stage(interval=3600.0)
    for number in range(5):
        stage.pipeline.step(frame(number))
    assert stage.topics().count("door/detections") == 1


def test_the_end_of_the_source_ends_every_object_and_the_pipeline() -> None:
    stage = Stage()
    with stage.running(frames=5) as worker:
        stage.ended.set()
        worker.join(10)
        assert stage.pipeline.done.is_set()
    assert [event.type for event in stage.events] == [EventType.START, EventType.END]
    assert stage.messages[-1].topic == "door/counts"
    assert stage.messages[-1].body["counts"] == {"person": 0}
    assert stage.pipeline.frames == 5


def test_a_stop_ends_every_object_too() -> None:
    stage = Stage()
    with stage.running(frames=5) as worker:
        pass
    assert not worker.is_alive()
    assert stage.events[-1].type is EventType.END


def test_counts_go_on_after_a_camera_was_quiet() -> None:
    stage = Stage()
    for number in range(4):
        stage.pipeline.step(frame(number))
    stage.pipeline._end_what_is_out_of_sight()
    assert stage.messages[-1].body["counts"] == {"person": 0}
    told = threading.Event()
    number = 100
    while not told.wait(0.05) and number < 200:
        stage.pipeline.step(frame(number))
        number += 1
        if stage.messages[-2].topic == "door/counts" and stage.messages[-2].body["counts"] == {"person": 1}:
            told.set()
    assert told.is_set(), "somebody is in view again, and nobody was told"


def test_the_last_frame_of_a_slow_source_is_worked_through() -> None:
    stage = Stage()

    class Slow(Latest[Frame]):
        """A slot whose frame and whose source's end come just as the wait for it is over."""

        def take(self, timeout: float) -> Frame | None:
            if not stage.ended.is_set():
                self.put(frame(0))
                stage.ended.set()
                return None
            return super().take(timeout)

    stage.pipeline._slot = Slow()
    stage.pipeline.run(threading.Event())
    assert stage.pipeline.frames == 1


def test_a_camera_of_a_frame_in_five_seconds_does_not_end_its_objects_between_them() -> None:
    stage = Stage()
    now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    for number in range(4):
        stage.pipeline.step(replace(frame(number), mono_ns=now_ns - (4 + 5 * (3 - number)) * 10**9))
    stage.pipeline._end_what_is_out_of_sight()
    assert [event.type for event in stage.events][:1] == [EventType.START]
    assert EventType.END not in {event.type for event in stage.events}


def test_a_camera_that_shows_nothing_for_long_ends_its_objects() -> None:
    # the frames carry the boot clock's first seconds: long ago, whatever the clock says now
    stage = Stage()
    with stage.running(frames=5):
        ended = threading.Event()
        for _ in range(100):
            if stage.events and stage.events[-1].type is EventType.END:
                break
            ended.wait(0.1)
        assert stage.events[-1].type is EventType.END
        assert not stage.pipeline.done.is_set()


def test_a_frame_without_a_model_is_passed_over_and_counted_and_what_was_in_view_stays_for_a_while() -> None:
    detector = Seeing()
    stage = Stage(detector)
    now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    fresh = [replace(frame(number), mono_ns=now_ns + number * 10**8) for number in range(8)]
    for one in fresh[:4]:
        stage.pipeline.step(one)
    detector.fault = UnavailableError("nothing is in service")
    for one in fresh[4:6]:
        stage.pipeline.step(one)
    detector.fault = None
    for one in fresh[6:]:
        stage.pipeline.step(one)
    assert (stage.pipeline.frames, stage.pipeline.frames_unseen) == (6, 2)
    assert [event.type for event in stage.events] == [EventType.START]


def test_without_a_model_for_long_the_objects_end() -> None:
    detector = Seeing()
    stage = Stage(detector)
    for number in range(4):  # the boot clock's first seconds: long ago
        stage.pipeline.step(frame(number))
    detector.fault = UnavailableError("nothing is in service")
    stage.pipeline.step(frame(5))
    assert [event.type for event in stage.events] == [EventType.START, EventType.END]
    assert stage.pipeline.objects == 0


def test_messages_name_the_file_that_saw_what_they_tell_of() -> None:
    detector = Seeing()
    stage = Stage(detector)
    stage.pipeline.step(frame(0))
    detector.digest = "e"  # another file has come into service
    stage.pipeline.step(frame(1))
    digests = [message.body["model"]["digest"] for message in stage.messages if message.topic == "door/detections"]
    assert digests == ["d", "e"]


def test_a_model_that_this_process_cannot_have_back_is_the_supervisors_concern() -> None:
    detector = Seeing()
    detector.fault = ModelError("it takes a new process")
    with pytest.raises(ModelError):
        Stage(detector).pipeline.step(frame(0))
