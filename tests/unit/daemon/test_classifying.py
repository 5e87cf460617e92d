import threading
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.core.errors import UnavailableError
from appliance.core.events import LabelChange
from appliance.core.frame import Frame
from appliance.core.latest import Latest
from appliance.core.tasks import ClassificationSpec
from appliance.daemon.classifying import ClassifyingPipeline
from appliance.messaging.payloads import ModelInfo
from tests.simulators.models import manifest
from tests.simulators.schemas import mistakes
from tests.unit.daemon.task_stage import Listener, frame


class Scoring:
    """A classifier that gives one of these scores after the other, and then the last one for ever."""

    digest, last_inference_ms = "d", 3.0

    def __init__(self, *scores: tuple[float, float, float], smoothing: float = 0.0, top: int = 2) -> None:
        self._scores = list(scores)
        self.says(smoothing, top)

    def says(self, smoothing: float, top: int) -> None:
        """Have its manifest say this from now on."""
        spec = ClassificationSpec(activation="none", min_score=0.3, top=top, smoothing=smoothing)
        changes = {"version": "1", "classification_spec": spec}
        self.manifest = manifest("mobilenet").model_copy(update=changes)  # nothing else of it is looked at

    def scores(self, frame: Frame) -> NDArray[np.float32]:
        assert frame.image.shape == (100, 200, 3)
        return np.array(self._scores.pop(0) if len(self._scores) > 1 else self._scores[0], np.float32)


CAT, DOG, UNSURE = (0.0, 0.9, 0.1), (0.0, 0.1, 0.8), (0.9, 0.05, 0.05)


class Stage(Listener):
    def __init__(
        self,
        *scores: tuple[float, float, float],
        smoothing: float = 0.0,
        chosen: float | None = None,
        interval: float = 0.0,
        classifier: Scoring | None = None,
    ) -> None:
        super().__init__()
        self.slot: Latest[Frame] = Latest()
        self.ended = threading.Event()
        self.pipeline = ClassifyingPipeline(
            camera="door",
            slot=self.slot,
            source_ended=self.ended,
            classifier=classifier or Scoring(*scores, smoothing=smoothing),
            labels=("nothing", "cat", "dog"),
            wanted=np.array([False, True, True]),
            min_score=0.3,
            smoothing=chosen,
            model=ModelInfo("animals", "1", "d"),
            interval=interval,
            lost_after=2.0,
            publish=self.messages.append,
            tell=self.tell,
        )

    def show(self, frames: int) -> None:
        for number in range(frames):
            self.pipeline.step(frame(number))


def told(stage: Stage) -> list[tuple[str | None, str | None]]:
    return [(one.label, one.before) for one in stage.changes if isinstance(one, LabelChange)]


def test_another_label_is_told_once_as_a_durable_message_with_the_frame_s_time() -> None:
    stage = Stage(CAT, CAT, CAT, DOG)
    stage.show(6)
    assert told(stage) == [("cat", None), ("dog", "cat")]
    changes = [message for message in stage.messages if message.topic == "door/changes"]
    assert [message.durable for message in changes] == [True, True]
    assert changes[1].body["lasted"] == 3.0
    assert changes[1].mono_ns == 103 * 10**9
    assert changes[1].body["model"] == {"name": "animals", "version": "1", "digest": "d"}


def test_one_odd_frame_changes_nothing_where_scores_are_calmed() -> None:
    odd = Stage(CAT, CAT, DOG, CAT, smoothing=5.0)
    odd.show(6)
    assert told(odd) == [("cat", None)]
    lasting = Stage(CAT, CAT, DOG, smoothing=5.0)
    lasting.show(30)
    assert told(lasting) == [("cat", None), ("dog", "cat")]


@pytest.mark.parametrize(("chosen", "then"), [(None, "dog"), (3600.0, "cat")])
def test_what_another_release_says_of_calming_and_how_many_labels_holds_from_its_first_frame_on(
    chosen: float | None, then: str
) -> None:
    classifier = Scoring((0.0, 0.9, 0.8), (0.0, 0.9, 0.8), (0.0, 0.4, 0.8), smoothing=3600.0)
    stage = Stage(classifier=classifier, chosen=chosen)
    stage.show(2)
    classifier.says(0.0, top=1)
    stage.show(3)
    labels = [[one["label"] for one in body["labels"]] for body in stage.bodies("classification")]
    assert labels == [["cat", "dog"], ["cat", "dog"], [then], [then], [then]]


def test_the_state_is_paced_but_a_change_is_in_it_at_once() -> None:
    stage = Stage(CAT, CAT, DOG, DOG, interval=3600.0)
    stage.show(10)
    assert [body["label"] for body in stage.bodies("classification")] == ["cat", "dog"]
    assert [one["label"] for one in stage.bodies("classification")[1]["labels"]] == ["dog"], (
        "a tenth is not sure enough"
    )
    assert stage.pipeline.frames == 10


def test_a_background_is_nothing_sure() -> None:
    stage = Stage(CAT, UNSURE)
    stage.show(3)
    assert told(stage) == [("cat", None), (None, "cat")]
    assert stage.bodies("classification")[-1]["labels"] == []
    assert stage.pipeline.sight == {"label": None, "score": 0.0}


def test_status_says_what_is_shown_now() -> None:
    stage = Stage(CAT)
    stage.show(1)
    assert stage.pipeline.sight == {"label": "cat", "score": pytest.approx(0.9)}


def test_the_end_of_the_source_ends_what_is_shown_in_event_and_state() -> None:
    stage = Stage(CAT)
    worker = threading.Thread(target=stage.pipeline.run, args=(threading.Event(),))
    worker.start()
    assert stage.slot.put_when_empty(frame(0), timeout=10)
    assert stage.slot.put_when_empty(frame(4), timeout=10)
    stage.ended.set()
    worker.join(10)
    assert stage.pipeline.done.is_set()
    assert told(stage) == [("cat", None), (None, "cat")]
    assert stage.bodies("changes")[-1]["lasted"] == 4.0
    assert stage.bodies("classification")[-1]["label"] is None


def test_at_the_end_the_state_names_no_label_though_none_was_in_place_yet() -> None:
    stage = Stage(CAT, UNSURE, DOG)
    for number, milliseconds in enumerate((0, 1100, 1300)):
        stage.pipeline.step(frame(number, mono_ns=10**12 + milliseconds * 10**6))
    assert told(stage) == [("cat", None), (None, "cat")]
    assert [one["label"] for one in stage.bodies("classification")[-1]["labels"]] == ["dog"], "not long enough there"
    stage.ended.set()
    stage.pipeline.run(threading.Event())
    assert stage.bodies("classification")[-1]["labels"] == []
    assert len(stage.changes) == 2


def test_a_camera_that_shows_nothing_for_long_ends_what_was_shown() -> None:
    stage, stop = Stage(CAT), threading.Event()
    worker = threading.Thread(target=stage.pipeline.run, args=(stop,))
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    worker.start()
    stage.slot.put(frame(0, mono_ns=now - 10 * 10**9))
    deadline = time.monotonic() + 10
    while len(stage.changes) < 2 and time.monotonic() < deadline:
        stop.wait(0.01)
    stop.set()
    worker.join(10)
    assert told(stage) == [("cat", None), (None, "cat")]


def test_frames_without_a_model_are_passed_over_and_counted_and_messages_name_the_file_that_saw_them() -> None:
    class Changing(Scoring):
        def scores(self, frame: Frame) -> NDArray[np.float32]:
            if frame.number == 1:
                raise UnavailableError("the accelerator is gone")
            self.digest = "d" if frame.number < 1 else "another"
            return super().scores(frame)

    stage = Stage(classifier=Changing(CAT))
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)  # what was shown is not out of sight yet
    for number in range(3):
        stage.pipeline.step(frame(number, mono_ns=now + number))
    assert (stage.pipeline.frames, stage.pipeline.frames_unseen) == (2, 1)
    assert [body["frame"] for body in stage.bodies("classification")] == [0, 2]
    assert [body["model"]["digest"] for body in stage.bodies("classification")] == ["d", "another"]


def test_every_body_is_as_its_schema_says() -> None:
    stage = Stage(CAT, DOG)
    stage.show(3)
    lacking = {"v", "boot", "time", "mono_ns", "clock", "camera", "id", "gen", "seq"}  # the envelope's
    for topic in ("changes", "classification"):
        assert stage.bodies(topic)
        for body in stage.bodies(topic):
            assert {one.rpartition(" ")[2] for one in mistakes(topic, body)} <= lacking
