"""A model is exchanged between two frames: none is lost, and none is seen by half of each."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from appliance.config import ModelSettings
from appliance.core.clock import SystemClock
from appliance.core.errors import UnavailableError
from appliance.core.frame import Frame, PixelLayout
from appliance.inference.climbing import ClimbingDetector
from appliance.inference.host import ModelHost
from appliance.inference.ladder import open_climbing_model
from tests.simulators.models import write_folder, yolox, yolox_answer
from tests.system.process import wait_for


def opened(folder: Path, class_id: int) -> ClimbingDetector:
    write_folder(folder, {"fp32": yolox(yolox_answer((9, class_id, 0.9)))})
    model = open_climbing_model(ModelSettings(use=str(folder)))
    assert isinstance(model, ClimbingDetector)
    return model


def frame() -> Frame:
    stamp = SystemClock().now()
    return Frame(np.zeros((64, 64, 3), np.uint8), PixelLayout.BGR, 64, 64, "door", 0, stamp.time, stamp.mono_ns)


@contextmanager
def looking(host: ModelHost) -> Iterator[list[int]]:
    """Have the host look at frames in a thread; gives the class it found in each."""
    seen: list[int] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.005):
            seen.append(int(host.detect(frame()).class_ids[0]))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join(10)


def test_another_model_takes_over_between_two_frames_and_the_first_is_given_back(tmp_path: Path) -> None:
    first, second = opened(tmp_path / "first", 2), opened(tmp_path / "second", 5)
    host = ModelHost(first)
    changes: list[str] = []
    host.on_change = lambda: changes.append(host.digest)
    try:
        with looking(host) as seen:
            wait_for(lambda: seen, 10, "a frame")
            assert host.swap(second, 10.0) is first
            first.close()
            wait_for(lambda: 5 in seen, 10, "a frame with the second")
        assert set(seen) == {2, 5}
        assert seen == sorted(seen)
        assert host.manifest.name == "second"
        assert changes == [second.digest]
    finally:
        host.close()


def test_where_no_frame_comes_nothing_is_exchanged(tmp_path: Path) -> None:
    first, second = opened(tmp_path / "first", 2), opened(tmp_path / "second", 5)
    host = ModelHost(first)
    try:
        with pytest.raises(UnavailableError, match="no frame"):
            host.swap(second, 0.05)
        assert host.detect(frame()).class_ids.tolist() == [2]
    finally:
        host.close()
        second.close()


def test_somebody_can_watch_what_is_found_and_stop_watching(tmp_path: Path) -> None:
    host = ModelHost(opened(tmp_path / "first", 2))
    shown: list[tuple[object, object, float]] = []
    try:
        host.watch(lambda *one: shown.append(one))
        one = frame()
        found = host.detect(one)
        host.watch(None)
        host.detect(frame())
        assert [(at, what) for at, what, _ in shown] == [(one, found)]
        assert shown[0][2] > 0
    finally:
        host.close()
