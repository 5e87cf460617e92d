"""Several cameras, one detector: whose turn it is, whose answer it is, and what becomes of errors."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.config import ModelSettings
from appliance.core.errors import EdgecamError, ModelError, UnavailableError
from appliance.core.frame import Frame, PixelLayout
from appliance.core.results import Detections
from appliance.inference.detector import Detector, open_detector
from appliance.inference.host import HOSTS
from appliance.inference.ladder import open_best_model, open_climbing_model
from appliance.inference.shared import SHARED, SharedDetector
from tests.simulators.models import write_yolox, yolox_answer
from tests.simulators.other_tasks import write_classifier, write_segmenter

WIDTHS = {"fast": 128, "medium": 256, "slow": 512}  # the model finds one car; where depends on the frame's size
WITHIN = 20.0


def frame(camera: str, number: int = 1) -> Frame:
    width = WIDTHS[camera]
    image = np.zeros((width, width, 3), np.uint8)
    return Frame(image, PixelLayout.BGR, width, width, camera, number, datetime(2026, 5, 1, tzinfo=UTC), 1)


class Watched:
    """A real detector that notes whose frames it was given, and can be held back or made to fail."""

    def __init__(self, real: Detector) -> None:
        self.real = real
        self.order: list[str] = []
        self.waited: list[list[str]] = []  # at each turn, who waited for one
        self.waiting: Callable[[], list[str]] = list
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.last_inference_ms = 0.0
        self.manifest, self.digest, self.running, self.min_score = (
            real.manifest,
            real.digest,
            real.running,
            real.min_score,
        )

    def detect(self, given: Frame) -> Detections:
        self.waited.append(self.waiting())
        self.order.append(given.camera)
        assert self.gate.wait(WITHIN)
        if self.error is not None:
            raise self.error
        found = self.real.detect(given)
        self.last_inference_ms = float(WIDTHS[given.camera])
        return found


class Stage:
    """A shared detector in its thread, and cameras in theirs."""

    def __init__(self, real: Detector, patience: float = WITHIN) -> None:
        self.detector = Watched(real)
        self.shared = SharedDetector(self.detector, patience)
        self.detector.waiting = self.waiting
        self.stop = threading.Event()
        self.threads: list[threading.Thread] = []
        self.failed: dict[str, EdgecamError] = {}
        self.worker = self.begin(self._work)

    def _work(self) -> None:
        try:
            self.shared.run(self.stop)
        except ZeroDivisionError:
            self.failed["detector"] = EdgecamError()

    def begin(self, work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=work)
        thread.start()
        self.threads.append(thread)
        return thread

    def ask(self, camera: str) -> threading.Thread:
        """Ask once, in a thread; an error is kept."""
        handle = self.shared.handle(camera)

        def work() -> None:
            try:
                handle.detect(frame(camera))
            except EdgecamError as error:
                self.failed[camera] = error

        since = self.detector.order.count(camera)
        thread = self.begin(work)
        if not self.detector.gate.is_set():  # until it is known to wait, so that the order of asking is certain
            until(lambda: camera in self.waiting() or self.detector.order.count(camera) > since, f"{camera} waits")
        return thread

    def ask_at_once(self, camera: str) -> NDArray[np.float32]:
        return self.shared.handle(camera).detect(frame(camera)).boxes

    def waiting(self) -> list[str]:
        with self.shared._changed:
            return list(self.shared._waiting)

    def end(self) -> None:
        self.detector.gate.set()
        self.stop.set()
        for thread in self.threads:
            thread.join(WITHIN)
            assert not thread.is_alive()


def until(question: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WITHIN
    while not question():
        assert time.monotonic() < deadline, what
        threading.Event().wait(0.001)


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Detector]:
    path = write_yolox(tmp_path / "yolox.onnx", yolox_answer((9, 2, 0.9)))
    with open_detector(ModelSettings(use=str(path))) as detector:
        yield detector


@pytest.fixture
def stage(real: Detector) -> Iterator[Stage]:
    stage = Stage(real)
    yield stage
    stage.end()


def test_a_handle_tells_what_the_detector_tells(stage: Stage, real: Detector) -> None:
    handle = stage.shared.handle("fast")
    assert (handle.manifest, handle.digest, handle.running, handle.min_score) == (
        real.manifest,
        real.digest,
        real.running,
        real.min_score,
    )


def test_cameras_of_different_speeds_get_their_own_results_and_a_turn_each_before_one_has_two(stage: Stage) -> None:
    order = stage.detector.order
    expected = {camera: stage.ask_at_once(camera) for camera in WIDTHS}
    assert len({tuple(boxes[0]) for boxes in expected.values()}) == len(WIDTHS)
    order.clear()
    stage.detector.waited.clear()
    is_over = threading.Event()
    wrong: list[str] = []

    def watch(camera: str, turns_between: int, frames: int) -> None:
        handle = stage.shared.handle(camera)
        for number in range(frames):
            since = len(order)
            until(lambda: len(order) >= since + turns_between or is_over.is_set(), "others go on")  # noqa: B023 - at once
            found = handle.detect(frame(camera, number))
            if not np.array_equal(found.boxes, expected[camera]) or handle.last_inference_ms != WIDTHS[camera]:
                wrong.append(camera)

    def rush(camera: str, turns_between: int) -> None:
        while not is_over.is_set():
            watch(camera, turns_between, 1)

    threads = [stage.begin(lambda: rush("fast", 0)), stage.begin(lambda: rush("medium", 1))]
    slow = stage.begin(lambda: watch("slow", 5, 20))
    slow.join(WITHIN)
    assert not slow.is_alive()
    is_over.set()
    for thread in threads:
        thread.join(WITHIN)
    assert not wrong
    assert order.count("slow") == 20
    assert min(order.count("fast"), order.count("medium")) > 20
    contested = 0
    for at, others in enumerate(stage.detector.waited[:-2]):
        for camera in others:
            turn = order.index(camera, at + 1)
            assert len(set(order[at + 1 : turn + 1])) == turn - at, "nobody had two turns while another waited"
            contested += 1
    assert contested > 10, "otherwise nothing was shown"


def test_no_camera_has_two_turns_while_another_waits(stage: Stage) -> None:
    stage.detector.gate.clear()
    first = stage.ask("fast")
    stage.ask("medium")
    stage.ask("slow")
    again = stage.ask("fast")  # a second thread of the same camera stands for it coming back at once
    stage.detector.gate.set()
    first.join(WITHIN)
    again.join(WITHIN)
    assert stage.detector.order == ["fast", "medium", "slow", "fast"]


def test_an_error_goes_to_the_camera_whose_frame_it_was_and_the_next_is_tried_anew(stage: Stage) -> None:
    stage.detector.error = ModelError("gave numbers that are not finite")
    stage.ask("fast").join(WITHIN)
    assert isinstance(stage.failed.pop("fast"), ModelError)
    stage.detector.error = None
    stage.ask("medium").join(WITHIN)
    assert not stage.failed
    assert stage.worker.is_alive()


def test_a_detector_that_answers_nobody_holds_up_no_camera_for_ever_and_is_told(real: Detector) -> None:
    stage = Stage(real, patience=0.05)
    stage.detector.gate.clear()
    for thread in (stage.ask("fast"), stage.ask("medium")):
        thread.join(WITHIN)
    for camera in ("fast", "medium"):
        assert isinstance(stage.failed[camera], UnavailableError)
        assert f"[cameras.{camera}] the detector has answered no camera for 0.05 s" in str(stage.failed[camera])
    assert not stage.waiting(), "what nobody waits for any more is not worked on"
    stage.end()


def test_many_cameras_before_one_are_no_reason_to_give_up(real: Detector) -> None:
    stage = Stage(real, patience=0.2)
    held = threading.Event()
    plain = stage.detector.detect

    def slowly(given: Frame) -> Detections:
        held.wait(0.15)
        return plain(given)

    stage.detector.detect = slowly  # type: ignore[method-assign]
    threads = [stage.ask(camera) for camera in WIDTHS]
    for thread in threads:
        thread.join(WITHIN)
    assert not stage.failed
    assert sorted(stage.detector.order) == sorted(WIDTHS)
    stage.end()


def test_a_defect_ends_the_worker_and_whoever_waits_is_told_at_once(real: Detector) -> None:
    stage = Stage(real)
    stage.detector.gate.clear()
    threads = [stage.ask("fast"), stage.ask("medium")]
    stage.detector.error = ZeroDivisionError()
    stage.detector.gate.set()
    for thread in threads:
        thread.join(WITHIN)
    assert "detector" in stage.failed, "the supervisor is to see it"
    for camera in ("fast", "medium"):
        assert "the detector has ended" in str(stage.failed[camera])
    stage.end()


@pytest.mark.parametrize("task", ["classify", "segment"])
def test_a_classifier_or_a_segmentation_network_is_shared_as_a_detector_is(tmp_path: Path, task: str) -> None:
    write, ask = {
        "classify": (partial(write_classifier, answer=[0.0, 9.0, 0.0]), lambda model: model.scores(frame("fast"))),
        "segment": (
            partial(write_segmenter, label_map=np.ones((4, 4), np.int64)),
            lambda model: model.segment(frame("fast"), 64).class_ids,
        ),
    }[task]
    with open_best_model(ModelSettings(use=str(write(tmp_path / "mine")))) as real:
        expected = ask(real)
        shared, stop = SHARED[task](real), threading.Event()
        thread = threading.Thread(target=shared.run, args=(stop,))
        thread.start()
        try:
            handles = [shared.handle(camera) for camera in WIDTHS]
            assert all(np.array_equal(ask(handle), expected) for handle in handles)
            assert all(handle.last_inference_ms > 0 for handle in handles)
            assert {handle.digest for handle in handles} == {real.digest}
            assert handles[0].manifest == real.manifest
        finally:
            stop.set()
            thread.join(WITHIN)
    assert shared.name == {"classify": "classifier", "segment": "segmenter"}[task]


def test_a_camera_is_told_which_model_has_seen_its_frame_though_another_has_come_into_service(tmp_path: Path) -> None:
    folders = [write_classifier(tmp_path / name, answer=[0.0, 9.0, 0.0]) for name in ("before", "after")]
    first, second = (open_climbing_model(ModelSettings(use=str(folder))) for folder in folders)
    host = HOSTS["classify"](first)
    shared, stop = SHARED["classify"](host), threading.Event()
    threads = [threading.Thread(target=shared.run, args=(stop,))]
    threads[0].start()
    try:
        fast, slow = shared.handle("fast"), shared.handle("slow")
        fast.scores(frame("fast"))
        threads.append(threading.Thread(target=host.swap, args=(second, WITHIN)))
        threads[1].start()
        until(lambda: slow.scores(frame("slow")) is not None and slow.manifest.name == "after", "the exchange")
        assert (host.manifest.name, fast.manifest.name) == ("after", "before")
        fast.scores(frame("fast"))
        assert fast.manifest.name == "after"
    finally:
        stop.set()
        for thread in threads:
            thread.join(WITHIN)
        first.close()
        host.close()
