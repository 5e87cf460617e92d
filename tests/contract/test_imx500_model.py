"""A model in the AI Camera, from the page's manifest to detections, on the vendor's stand-in."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import pytest

from appliance.cameras import imx500, make_camera
from appliance.config import Imx500CameraSettings, ModelSettings
from appliance.core.backoff import Backoff
from appliance.core.clock import SystemClock
from appliance.core.errors import ModelError, UnsupportedError
from appliance.core.frame import Frame
from appliance.core.health import HealthBoard
from appliance.core.latest import Latest
from appliance.daemon.camera import CameraWorker
from appliance.inference.detector import Detector
from appliance.inference.folders import bundled_models
from appliance.inference.ladder import open_best_model
from tests.simulators.cameras import install_picamera2

PAGE = Path(__file__).resolve().parents[2] / "docs" / "hardware.md"
COCO = (bundled_models() / "labels" / "coco80.txt").read_text(encoding="utf-8").splitlines()
BOXES = np.zeros((10, 4))
BOXES[:2] = [[0.25, 0.5, 0.5, 0.75], [0.0, 0.0, 1.0, 1.0]]
SCORES, CLASSES = np.array([0.9, 0.6, *[0.0] * 8]), np.array([2, 0, *[0] * 8])
OUTPUTS = [BOXES, SCORES, CLASSES, np.array([2])]


def write_model(directory: Path, **intrinsics: Any) -> Path:
    """Write the page's example, with the figures of the file that the stand-in opens."""
    content = b"9464" + json.dumps({"size": [320, 320], "intrinsics": intrinsics or None}).encode()
    text = PAGE.read_text(encoding="utf-8").split("```toml\nschema")[2].partition("```")[0]
    folder = directory / "imx500-coco"
    folder.mkdir(parents=True)
    (folder / "coco80.txt").write_text("\n".join(COCO), encoding="utf-8")
    (folder / "network.rpk").write_bytes(content)
    text = text.replace("0" * 64, hashlib.sha256(content).hexdigest()).replace("size = 1", f"size = {len(content)}")
    (folder / "manifest.toml").write_text("schema" + text, encoding="utf-8")
    return folder


@contextmanager
def opened(folder: Path) -> Iterator[Detector]:
    with open_best_model(ModelSettings(use=f"{folder}/"), has_network=True) as detector:
        yield detector


def frame_of(network: Path, monkeypatch: pytest.MonkeyPatch, outputs: list[Any] | None = None) -> Frame:
    install_picamera2(monkeypatch, model="imx500", outputs=OUTPUTS if outputs is None else outputs)
    camera = make_camera("door", Imx500CameraSettings(kind="imx500", network=network, fps=100), SystemClock())
    camera.open()
    frame = camera.read(timeout=5)
    camera.close()
    assert frame is not None
    return frame


def test_the_example_of_the_page_runs_and_boxes_are_in_pixels_of_the_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_model(tmp_path, task="object detection", labels=COCO, bbox_order="yx", preserve_aspect_ratio=True)
    with opened(folder) as detector:
        found = detector.detect(frame_of(folder / "network.rpk", monkeypatch))
        assert detector.last_inference_ms == 17.5
        assert detector.running.facts()["providers"] == [{"name": "imx500", "nodes": None}]
        (shortfall,) = detector.running.troubles()
    assert "keep their aspect ratio" in shortfall
    assert [detector.manifest.labels[one] for one in found.class_ids] == ["car", "person"]
    # the frame shows rows 380 to 2662 of the sensor's 3040, all of its columns, as 1280 x 720
    top, bottom = (0.25 * 3040 - 380) * 720 / 2282, (0.5 * 3040 - 380) * 720 / 2282
    np.testing.assert_allclose(found.boxes, [[640, top, 960, bottom], [0, 0, 1280, 720]], atol=0.1)


def test_a_network_with_other_labels_is_refused_by_what_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_model(tmp_path, labels=["cat", "dog"])
    frame = frame_of(folder / "network.rpk", monkeypatch)
    with opened(folder) as detector, pytest.raises(ModelError, match="its 2 labels are not the manifest's"):
        detector.detect(frame)


def test_a_camera_with_another_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, other = write_model(tmp_path), write_model(tmp_path / "other", task="object detection")
    frame = frame_of(other / "network.rpk", monkeypatch)
    with opened(folder) as detector, pytest.raises(ModelError, match="the camera has loaded another file"):
        detector.detect(frame)


def test_numbers_that_are_none_are_an_error_and_no_detection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_model(tmp_path)
    frame = frame_of(folder / "network.rpk", monkeypatch, [BOXES * np.nan, SCORES, CLASSES, np.array([2])])
    with opened(folder) as detector, pytest.raises(ModelError, match="numbers that are not finite"):
        detector.detect(frame)


@pytest.mark.parametrize("outputs", [OUTPUTS[:3], [SCORES, BOXES, CLASSES, np.array([2])]])
def test_other_tensors_than_the_manifests_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outputs: list[Any]
) -> None:
    folder = write_model(tmp_path)
    frame = frame_of(folder / "network.rpk", monkeypatch, outputs)
    with opened(folder) as detector, pytest.raises(ModelError, match=r"network\.rpk"):
        detector.detect(frame)


def test_minutes_of_loading_miss_no_beat_and_end_in_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imx500, "OPENING", 0.05)
    loading, stop, states = threading.Event(), threading.Event(), Queue[tuple[str, str]]()
    network = write_model(tmp_path) / "network.rpk"
    install_picamera2(monkeypatch, model="imx500", outputs=OUTPUTS, loading=loading)
    settings = Imx500CameraSettings(kind="imx500", network=network, fps=100)
    slot: Latest[Frame] = Latest()
    worker = CameraWorker(
        name="door",
        camera=make_camera("door", settings, SystemClock()),
        slot=slot,
        frame_timeout=2.0,
        on_state=lambda state, why: states.put((state, why)),
        board=HealthBoard(),
        backoff=Backoff(least=0.01, most=0.05, stable=30.0),
    )
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        state, why = states.get(timeout=10)
        assert (state, "being loaded, 43 % done" in why) == ("offline", True)
        worker.pulse._last = 0.0  # as after a long time without a beat
        deadline = time.monotonic() + 10
        while worker.pulse.is_stuck and time.monotonic() < deadline:
            stop.wait(0.01)
        assert not worker.pulse.is_stuck
        loading.set()
        assert states.get(timeout=10) == ("online", "")
        assert slot.take(10) is not None
    finally:
        stop.set()
        thread.join(10)


def test_a_camera_that_runs_no_network_is_told_at_the_start(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    with pytest.raises(UnsupportedError, match='runs in a camera of kind "imx500", and this camera is none'):
        open_best_model(ModelSettings(use=f"{folder}/"))
