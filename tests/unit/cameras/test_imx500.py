"""The AI Camera, on the vendor's stand-in: answers with pictures, pictures without, and minutes of loading."""

import hashlib
import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from appliance.cameras import imx500
from appliance.cameras.imx500 import Imx500Camera, checked, network_of, view_of
from appliance.config import Imx500CameraSettings
from appliance.core.answer import MOST_TENSORS, MOST_VALUES, CameraNetwork
from appliance.core.clock import SystemClock
from appliance.core.errors import ConfigError, UnavailableError, UnsupportedError
from tests.simulators.cameras import install_picamera2

TENSORS = [np.arange(8).reshape(2, 4), np.array([0.9, 0.5])]
INTRINSICS = {
    "task": "object detection",
    "labels": ["person", "-", "car"],
    "bbox_order": "yx",
    "bbox_normalization": True,
    "preserve_aspect_ratio": True,
}


def write(folder: Path, content: bytes | None = None, **told: Any) -> Path:
    path = folder / "net.rpk"
    path.write_bytes(b"9464" + json.dumps({"size": [320, 240], **told}).encode() if content is None else content)
    return path


def make(network: Path, **settings: Any) -> Imx500Camera:
    return Imx500Camera("door", Imx500CameraSettings(kind="imx500", network=network, **settings), SystemClock())


def test_a_picture_carries_what_the_network_found_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_picamera2(monkeypatch, model="imx500", outputs=TENSORS)
    path = write(tmp_path, intrinsics=INTRINSICS)
    camera = make(path, fps=100)
    camera.open()
    frame = camera.read(timeout=5)
    camera.close()
    assert frame is not None
    assert frame.answer is not None
    for ours, given in zip(frame.answer.tensors, TENSORS, strict=True):
        np.testing.assert_allclose(ours[0], given)
        assert ours.dtype == np.float32
    assert frame.answer.inference_ms == 17.5
    assert frame.answer.network == CameraNetwork(
        hashlib.sha256(path.read_bytes()).hexdigest(),
        320,
        240,
        task="object detection",
        labels=("person", "-", "car"),
        box_order="yx",
        boxes_are_pixels=True,
        keeps_aspect_ratio=True,
    )


def test_pictures_without_an_answer_are_left_out_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_picamera2(monkeypatch, model="imx500", outputs=TENSORS, answered=lambda number: number % 3 == 0)
    camera = make(write(tmp_path), fps=200)
    camera.open()
    frames = [camera.read(timeout=5) for _ in range(3)]
    camera.close()
    assert [frame.number for frame in frames if frame is not None and frame.answer is not None] == [0, 1, 2]
    assert camera.unanswered == 6


def test_pictures_that_never_have_an_answer_are_told_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_picamera2(monkeypatch, model="imx500", outputs=TENSORS, answered=lambda _: False)
    camera = make(write(tmp_path), fps=100)
    camera.open()
    began = time.monotonic()
    with pytest.raises(UnavailableError, match=r"pictures come, but no answer of its network within 0\.2 s; \d+ were"):
        camera.read(timeout=0.2)
    assert time.monotonic() - began < 3
    camera.close()


def test_while_the_network_is_loaded_it_says_how_far_it_is_and_then_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imx500, "OPENING", 0.1)
    loading = threading.Event()
    library = install_picamera2(monkeypatch, model="imx500", outputs=TENSORS, loading=loading)
    camera = make(write(tmp_path))
    for _ in range(2):
        with pytest.raises(UnavailableError, match=r"its network is being loaded, 43 % done; the first time"):
            camera.open()
        camera.close()  # as its worker does before it tries again
    assert len(library.Picamera2.sensors[0].users) == 1  # one loading, not two
    loading.set()
    monkeypatch.setattr(imx500, "OPENING", 10.0)
    camera.open()
    assert camera.read(timeout=5) is not None
    camera.close()
    assert library.Picamera2.sensors[0].users == []


def test_where_the_progress_cannot_be_seen_loading_is_told_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imx500, "OPENING", 0.1)
    loading = threading.Event()
    install_picamera2(monkeypatch, model="imx500", loading=loading, progress=0)
    camera = make(write(tmp_path))
    with pytest.raises(UnavailableError, match="its network is being loaded; the first time"):
        camera.open()
    loading.set()
    monkeypatch.setattr(imx500, "OPENING", 10.0)
    camera.open()
    camera.close()


def test_loading_that_never_ends_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imx500, "OPENING", 0.1)
    monkeypatch.setattr(imx500, "LOADING", 0.0)
    loading = threading.Event()
    library = install_picamera2(monkeypatch, model="imx500", loading=loading)
    camera = make(write(tmp_path))
    with pytest.raises(UnavailableError, match="its network did not load within"):
        camera.open()
    assert camera.wedged == 1
    loading.set()
    for attempt in camera._hanging:
        attempt.thread.join(10)
    assert library.Picamera2.sensors[0].users == []  # what came too late was shut


@pytest.mark.parametrize(
    ("content", "told"), [(b"PK\3\4", "is no network for an IMX500"), (b"9464", r"cannot be read \(unpack requires")]
)
def test_a_file_that_is_no_network_is_the_owners_to_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, told: str
) -> None:
    install_picamera2(monkeypatch, model="imx500")
    with pytest.raises(ConfigError, match=rf"\[cameras\.door\] imx500: network: .*net\.rpk {told}"):
        make(write(tmp_path, content)).open()


def test_another_camera_module_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_picamera2(monkeypatch, model="imx708")
    with pytest.raises(UnavailableError, match="dev-node not found; check the ribbon cable, and that it is a"):
        make(write(tmp_path)).open()


def test_a_picamera2_without_its_part_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = install_picamera2(monkeypatch, model="imx500")
    monkeypatch.delattr(library, "devices")
    with pytest.raises(UnsupportedError, match="do: sudo apt install imx500-all"):
        make(write(tmp_path)).open()


def test_a_frame_without_a_usable_crop_is_an_error_of_the_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_picamera2(monkeypatch, model="imx500", outputs=TENSORS, crop=(0, 0, 0, 0))
    camera = make(write(tmp_path))
    camera.open()
    with pytest.raises(UnavailableError, match="a frame could not be read: the camera tells no usable ScalerCrop"):
        camera.read(timeout=5)
    camera.close()


@pytest.mark.parametrize("crop", [(0, 0, 4056, 3040), (0, 380, 4056, 2282), (1000, 700, 2028, 1520)])
def test_boxes_lie_where_the_vendors_conversion_puts_them(crop: tuple[int, int, int, int]) -> None:
    size = (1280, 720)
    left, top, width, height = view_of(crop, size)
    library = SimpleNamespace()
    from tests.simulators.vendor_picamera2 import IMX500

    y0, x0, y1, x1 = 0.3, 0.4, 0.5, 0.6
    expected = IMX500.convert_inference_coords(library, (y0, x0, y1, x1), crop, size)
    ours = (left + x0 * width, top + y0 * height, (x1 - x0) * width, (y1 - y0) * height)
    np.testing.assert_allclose(ours, expected)


@pytest.mark.parametrize("crop", [None, (1, 2, 3), (0, 0, 0, 10), (0, 0, 10, -1)])
def test_a_crop_that_is_none_is_refused(crop: Any) -> None:
    with pytest.raises(ValueError, match="no usable ScalerCrop"):
        view_of(crop, (640, 360))


def test_more_or_larger_tensors_than_can_be_are_refused() -> None:
    assert len(checked([np.zeros(3)] * MOST_TENSORS)) == MOST_TENSORS
    for outputs in ([np.zeros(1)] * (MOST_TENSORS + 1), [np.zeros(MOST_VALUES + 1, np.uint8)]):
        with pytest.raises(ValueError, match="the camera gave"):
            checked(outputs)


def test_labels_that_are_to_be_ignored_have_no_number() -> None:
    chosen = SimpleNamespace(**dict.fromkeys(["task", "bbox_order", "bbox_normalization", "postprocess"]))
    chosen.preserve_aspect_ratio, chosen.labels, chosen.ignore_dash_labels = None, ["person", "-", "car"], True
    assert network_of(chosen, (320, 320), "0" * 64).labels == ("person", "car")
    assert network_of(None, (320, 320), "0" * 64).labels == ()
