import re
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from appliance.cameras.discover import Found, find_cameras, is_raspberry_pi
from appliance.cameras.picamera2 import BUFFERS, Picamera2Camera, crop_planes, stamp_of
from appliance.config import Picamera2CameraSettings
from appliance.core.clock import Stamp, SystemClock
from appliance.core.errors import ConfigError, UnavailableError, UnsupportedError
from appliance.core.frame import PixelLayout
from tests.simulators.cameras import install_picamera2
from tests.simulators.timing import START


def make(**settings: object) -> Picamera2Camera:
    return Picamera2Camera("door", Picamera2CameraSettings(kind="picamera2", **settings), SystemClock())


@pytest.mark.parametrize("layout", [PixelLayout.I420, PixelLayout.NV12])
@pytest.mark.parametrize("stride", [32, 48, 64])
def test_cropped_planes_are_what_opencv_converts_without_padding(layout: PixelLayout, stride: int) -> None:
    width, height = 32, 16
    image = np.random.default_rng(1).integers(0, 255, (height * 3 // 2, width), np.uint8)
    padded = np.full(height * 3 // 2 * stride + 100, 255, np.uint8)  # frames end on a page
    rows = padded[: height * stride].reshape(height, stride)
    rows[:, :width] = image[:height]
    chroma = padded[height * stride : height * 3 // 2 * stride]
    if layout is PixelLayout.NV12:
        chroma.reshape(height // 2, stride)[:, :width] = image[height:]
    else:
        chroma.reshape(height, stride // 2)[:, : width // 2] = image[height:].reshape(height, width // 2)
    given = crop_planes(padded, (width, height), stride, layout)
    assert np.array_equal(given, image)
    code = cv2.COLOR_YUV2BGR_NV12 if layout is PixelLayout.NV12 else cv2.COLOR_YUV2BGR_I420
    assert cv2.cvtColor(given, code).shape == (height, width, 3)


def test_the_sensors_time_is_used_where_it_is_on_our_clock() -> None:
    now = Stamp(START, 100_000_000_000)
    assert stamp_of(99_960_000_000, now) == Stamp(START - timedelta(milliseconds=40), 99_960_000_000)
    for unusable in (None, 0, 100_000_000_001, 1_000_000_000):  # missing, in the future, or on another clock
        assert stamp_of(unusable, now) == now


@pytest.mark.parametrize(("given", "layout"), [("YUV420", PixelLayout.I420), ("NV12", PixelLayout.NV12)])
def test_the_small_stream_is_given_in_the_layout_that_libcamera_chose(
    monkeypatch: pytest.MonkeyPatch, given: str, layout: PixelLayout
) -> None:
    install_picamera2(monkeypatch, lores_format=given)
    camera = make(width=1920, height=1080, lores_width=418, lores_height=234)
    camera.open()
    frame = camera.read(timeout=2)
    assert frame is not None
    assert frame.layout is layout
    assert frame.image_size == (418, 234)
    assert (frame.width, frame.height) == (1920, 1080)
    assert frame.image[:234].max() < 255  # the stand-in's padding is white
    chroma = frame.image[234:].ravel()
    assert set(chroma[: len(chroma) // 2]) == ({100, 160} if layout is PixelLayout.NV12 else {100})
    camera.close()


def test_the_sensors_time_becomes_the_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    install_picamera2(monkeypatch)
    camera = make()
    camera.open()
    frame = camera.read(timeout=2)
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert frame is not None
    assert 15e6 < now - frame.mono_ns < 2e9  # the stand-in exposes 20 ms before it delivers
    camera.close()


def test_every_buffer_goes_back_to_the_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    module = install_picamera2(monkeypatch)
    camera = make(fps=120)
    camera.open()
    for _ in range(3 * BUFFERS):
        assert camera.read(timeout=2) is not None
    assert module.Picamera2.sensors[0].users[0].free_buffers == BUFFERS
    camera.close()


def test_a_camera_that_stalls_is_noticed_and_comes_back_without_losing_a_buffer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sensor = install_picamera2(monkeypatch).Picamera2.sensors[0]
    camera = make(fps=120)
    camera.open()
    sensor.gives_frames = False
    for _ in range(3 * BUFFERS):
        with pytest.raises(UnavailableError, match=r"no frame came within 0\.01 s; check the ribbon cable"):
            camera.read(timeout=0.01)
    sensor.gives_frames = True
    assert camera.read(timeout=2) is not None
    assert sensor.users[0].free_buffers == BUFFERS
    camera.close()


def test_a_camera_that_stalls_can_be_closed_and_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sensor = install_picamera2(monkeypatch, gives_frames=False).Picamera2.sensors[0]
    camera = make()
    camera.open()
    with pytest.raises(UnavailableError):
        camera.read(timeout=0.01)
    began = time.monotonic()
    camera.close()
    assert time.monotonic() - began < 2
    assert sensor.users == []
    sensor.gives_frames = True
    camera.open()
    assert camera.read(timeout=2) is not None
    camera.close()


def test_a_driver_that_hangs_is_left_behind_and_let_go_when_it_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.cameras.picamera2.OPENING", 0.1)
    sensor = install_picamera2(monkeypatch, hangs_for=0.6).Picamera2.sensors[0]
    camera = make()
    with pytest.raises(UnavailableError, match=r"did not start within 0\.1 s"):
        camera.open()
    assert camera.wedged == 1
    deadline = time.monotonic() + 5
    while (camera.wedged or sensor.users) and time.monotonic() < deadline:
        pass
    assert (camera.wedged, sensor.users) == (0, [])


@pytest.mark.parametrize("step", ["cancel_all_and_flush", "stop"])
def test_a_camera_that_does_not_stop_cleanly_is_let_go_all_the_same(
    step: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    module = install_picamera2(monkeypatch)
    camera = make()
    camera.open()
    vendor = module.Picamera2.sensors[0].users[0]
    stop = vendor.stop
    failures = iter([RuntimeError("no buffers")])

    def fail_once() -> None:
        for failure in failures:
            raise failure
        stop()

    monkeypatch.setattr(vendor, step, fail_once)
    camera.close()
    assert module.Picamera2.sensors[0].users == []
    assert "it did not close cleanly: no buffers" in caplog.text


def test_a_camera_that_another_program_has_is_told_with_a_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    sensor = install_picamera2(monkeypatch, is_busy=True).Picamera2.sensors[0]
    camera = make()
    with pytest.raises(UnavailableError, match="another program may use it"):
        camera.open()
    camera.close()
    sensor.is_busy = False
    camera.open()
    camera.close()


def test_a_camera_that_is_not_attached_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    module = install_picamera2(monkeypatch)
    with pytest.raises(UnavailableError, match="there is no such camera; index counts from 0, 1 attached"):
        make(index=1).open()
    module.Picamera2.sensors.clear()
    with pytest.raises(UnavailableError, match="0 attached; check the ribbon cable"):
        make().open()


def test_streams_that_cannot_be_are_a_question_of_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    sensor = install_picamera2(monkeypatch).Picamera2.sensors[0]
    with pytest.raises(ConfigError, match="lores_width and lores_height must not exceed"):
        make(width=320, height=240, lores_width=640).open()
    sensor.lores_format = "MJPEG"
    with pytest.raises(ConfigError, match="comes as MJPEG; known: YUV420, NV12"):
        make().open()
    assert sensor.users == []  # it was let go


def test_a_machine_without_picamera2_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(UnsupportedError, match="sudo apt install python3-picamera2"):
        make().open()


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("camera_configuration", lambda _: {"main": {}, "lores": {}}, "KeyError: 'format'"),
        ("camera_configuration", lambda _: None, "TypeError: "),
        ("create_video_configuration", lambda _: {}, "TypeError: "),
        ("configure", None, "TypeError: 'NoneType' object is not callable"),
        ("global_camera_info", None, "TypeError: 'NoneType' object is not callable"),
    ],
)
def test_a_picamera2_that_does_not_fit_is_told_at_once_with_the_cause(
    name: str, given: Any, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = install_picamera2(monkeypatch)
    monkeypatch.setattr(module.Picamera2, name, given)
    with pytest.raises(UnsupportedError, match=re.escape(f"version of picamera2 does not fit ({told}")) as caught:
        make().open()
    assert isinstance(caught.value.__cause__, (KeyError, TypeError))
    assert module.Picamera2.sensors[0].users == []


def test_a_picamera2_without_a_way_to_flush_is_closed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    module = install_picamera2(monkeypatch)
    camera = make()
    camera.open()
    monkeypatch.delattr(module.Picamera2, "cancel_all_and_flush")
    camera.close()
    assert module.Picamera2.sensors[0].users == []


def test_attached_modules_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    module = install_picamera2(monkeypatch, model="imx477")
    module.__spec__ = module.__spec__ or object()
    found = find_cameras()
    assert found[0] == Found("picamera2", "picamera2:0", "imx477 (/base/i2c@0/imx477)", True, "")
    assert found[-1].kind == "synthetic"
    assert found[-1].is_usable


def test_a_raspberry_pi_is_known_by_its_device_tree(tmp_path: Path) -> None:
    model = tmp_path / "model"
    assert not is_raspberry_pi(model)
    model.write_bytes(b"Raspberry Pi Zero 2 W Rev 1.0\0")
    assert is_raspberry_pi(model)
    model.write_bytes(b"NVIDIA Jetson Orin Nano\0")
    assert not is_raspberry_pi(model)
