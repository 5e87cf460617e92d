"""What every kind of camera promises. A new kind adds a rig; the tests below stay as they are."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from appliance.cameras import CAMERAS, Camera, make_camera
from appliance.cameras.nodes import list_nodes
from appliance.config import (
    AnyCamera,
    FileCameraSettings,
    Imx500CameraSettings,
    Picamera2CameraSettings,
    RtspCameraSettings,
    SyntheticCameraSettings,
    V4l2CameraSettings,
)
from appliance.core.clock import SystemClock
from appliance.core.errors import ConfigError, EdgecamError, UnavailableError
from appliance.core.frame import Frame, PixelLayout
from tests.simulators.cameras import install_picamera2, write_clip, write_folder
from tests.simulators.rtsp_server import RtspServer

NEXT_STEPS = ("do: ", "check ", "accepted", "take another", "plug it in", "there is no such file", "set `", "try ")


USABLE_DEVICES = [str(node.path) for node in list_nodes() if not node.trouble]


def do_nothing() -> None:
    """For sources that come to an end, or to a pause, by themselves."""


@dataclass
class Rig:
    """One kind of camera, ready to be tested.

    Attributes:
        settings: A source that works.
        absent: A source that is not there; None: this kind is always there.
        pause: Makes the working source give nothing more for a while; None: it cannot be made to.
        frames: How many frames the source has; None: it never ends.
    """

    settings: AnyCamera
    absent: AnyCamera | None
    pause: Callable[[], None] | None = None
    frames: int | None = None


def file_rig(folder: Path, _: ExitStack, __: pytest.MonkeyPatch) -> Rig:
    clip = write_clip(folder / "clip.avi", frames=12)
    absent = FileCameraSettings(kind="file", path=folder / "absent.mp4")
    return Rig(FileCameraSettings(kind="file", path=clip, pace="fastest"), absent, frames=12)


def slow_folder_rig(folder: Path, _: ExitStack, __: pytest.MonkeyPatch) -> Rig:
    pictures = write_folder(folder / "pictures", [(320, 240), (256, 64), (300, 200)])
    (folder / "empty").mkdir()
    absent = FileCameraSettings(kind="file", path=folder / "empty")
    return Rig(FileCameraSettings(kind="file", path=pictures, fps=2.0), absent, pause=do_nothing, frames=3)


def synthetic_rig(_: Path, __: ExitStack, ___: pytest.MonkeyPatch) -> Rig:
    small = {"kind": "synthetic", "width": 320, "height": 180}
    return Rig(SyntheticCameraSettings(**small, pace="fastest", frames=12), None, frames=12)


def rtsp_rig(_: Path, stack: ExitStack, __: pytest.MonkeyPatch) -> Rig:
    server = stack.enter_context(RtspServer())
    gone = RtspServer()
    gone.start()
    gone.kill()

    def stall() -> None:
        server.mode = "stall"

    # a read that kept to these rather than to its own timeout is told from one that does by many seconds
    limits = {"kind": "rtsp", "open_timeout": 20.0, "read_timeout": 20.0}
    return Rig(RtspCameraSettings(**limits, url=server.url), RtspCameraSettings(**limits, url=gone.url), pause=stall)


def picamera2_rig(_: Path, __: ExitStack, monkeypatch: pytest.MonkeyPatch, layout: str = "YUV420") -> Rig:
    sensor = install_picamera2(monkeypatch, lores_format=layout).Picamera2.sensors[0]

    def unplug() -> None:
        sensor.gives_frames = False

    small = {"kind": "picamera2", "lores_width": 322, "lores_height": 180, "timeout": 20.0}
    return Rig(Picamera2CameraSettings(**small), Picamera2CameraSettings(**small, index=5), pause=unplug)


def picamera2_nv12_rig(folder: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> Rig:
    return picamera2_rig(folder, stack, monkeypatch, "NV12")


def imx500_rig(folder: Path, _: ExitStack, monkeypatch: pytest.MonkeyPatch) -> Rig:
    library = install_picamera2(monkeypatch, model="imx500", outputs=[np.ones((2, 4)), np.ones(2)])
    sensor = library.Picamera2.sensors[0]
    (folder / "net.rpk").write_bytes(b'9464{"size": [320, 320]}')

    def unplug() -> None:
        sensor.gives_frames = False

    small = {"kind": "imx500", "lores_width": 322, "lores_height": 180, "timeout": 20.0}
    absent = Imx500CameraSettings(**small, network=folder / "absent.rpk")
    return Rig(Imx500CameraSettings(**small, network=folder / "net.rpk"), absent, pause=unplug)


def v4l2_rig(_: Path, __: ExitStack, ___: pytest.MonkeyPatch) -> Rig:
    absent = V4l2CameraSettings(kind="v4l2", device="/dev/video99")
    return Rig(V4l2CameraSettings(kind="v4l2", device=USABLE_DEVICES[0], width=640, height=480), absent)


RIGS = [file_rig, slow_folder_rig, synthetic_rig, rtsp_rig, picamera2_rig, picamera2_nv12_rig, imx500_rig]
RIGS += [v4l2_rig] if USABLE_DEVICES else []


@pytest.fixture(params=RIGS, ids=lambda rig: rig.__name__.removesuffix("_rig"))
def rig(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    with ExitStack() as stack:
        yield request.param(tmp_path, stack, monkeypatch)


@pytest.fixture
def camera(rig: Rig) -> Iterator[Camera]:
    made = make_camera("door", rig.settings, SystemClock())
    yield made
    made.close()


def read(camera: Camera, count: int) -> list[Frame]:
    frames = [camera.read(timeout=5) for _ in range(count)]
    assert None not in frames
    return [frame for frame in frames if frame is not None]


def test_every_kind_that_is_known_is_tested() -> None:
    tested = {rig.__name__.partition("_")[0] for rig in RIGS} - {"slow"}
    assert tested >= set(CAMERAS) - {"v4l2"}
    if "v4l2" not in tested:
        pytest.skip("v4l2 needs a camera: no Video4Linux device that gives pictures is attached to this machine")


def test_frames_have_the_shape_that_their_layout_names(camera: Camera) -> None:
    camera.open()
    for frame in read(camera, 3):
        assert frame.image.dtype == np.uint8
        assert frame.image.flags.c_contiguous
        columns, rows = frame.image_size
        assert frame.image.shape == (
            (rows, columns, 3) if frame.layout is PixelLayout.BGR else (rows * 3 // 2, columns)
        )
        assert frame.width >= columns
        assert frame.height >= rows
        assert frame.camera == "door"


def test_a_frame_belongs_to_its_receiver(camera: Camera) -> None:
    camera.open()
    first = read(camera, 1)[0]
    kept = first.image.copy()
    second = read(camera, 1)[0]
    assert not np.shares_memory(first.image, second.image)
    assert np.array_equal(first.image, kept)
    second.image[:] = 0  # it may be written to


def test_numbers_count_from_0_and_times_grow(camera: Camera) -> None:
    camera.open()
    frames = read(camera, 3)
    assert frames[0].number == 0
    assert all(before.number < after.number for before, after in pairwise(frames))
    assert all(before.mono_ns < after.mono_ns for before, after in pairwise(frames))
    assert all(before.time < after.time for before, after in pairwise(frames))
    assert frames[0].time.tzinfo is not None


def test_times_are_on_the_clock_that_counts_from_boot(camera: Camera) -> None:
    camera.open()
    frame = read(camera, 1)[0]
    assert abs(time.clock_gettime_ns(time.CLOCK_BOOTTIME) - frame.mono_ns) < 3e9


def test_it_can_be_opened_again_and_counts_from_0_again(camera: Camera) -> None:
    camera.open()
    read(camera, 2)
    camera.close()
    camera.open()
    assert read(camera, 1)[0].number == 0


def test_closing_is_always_allowed(rig: Rig, camera: Camera) -> None:
    camera.close()
    camera.open()
    camera.close()
    camera.close()
    if rig.absent is not None:
        absent = make_camera("door", rig.absent, SystemClock())
        with pytest.raises(EdgecamError):
            absent.open()
        absent.close()


def test_a_camera_that_is_not_open_says_so_at_once(camera: Camera) -> None:
    began = time.monotonic()
    with pytest.raises(UnavailableError, match="not open"):
        camera.read(timeout=5)
    camera.open()
    camera.close()
    with pytest.raises(UnavailableError, match="not open"):
        camera.read(timeout=5)
    assert time.monotonic() - began < 4.5


def test_an_absent_source_is_told_in_one_line_with_a_next_step(rig: Rig) -> None:
    if rig.absent is None:
        pytest.skip("does not apply: this source is always there")
    camera = make_camera("door", rig.absent, SystemClock())
    with pytest.raises((UnavailableError, ConfigError)) as caught:
        camera.open()
    message = str(caught.value)
    assert message.startswith("[cameras.door]")
    assert "\n" not in message
    assert any(step in message for step in NEXT_STEPS), message


def test_a_read_ends_in_time_when_nothing_comes(rig: Rig, camera: Camera) -> None:
    if rig.pause is None:
        pytest.skip("does not apply: this source always has a frame")
    camera.open()
    read(camera, 1)
    rig.pause()
    for _ in range(200):  # what was under way when it paused may still come
        began = time.monotonic()
        try:
            camera.read(timeout=0.3)
        except UnavailableError as error:
            waited, message = time.monotonic() - began, str(error)
            break
    else:
        pytest.fail("frames keep coming from a source that is paused")
    assert waited < 10
    assert message.startswith("[cameras.door]")


def test_after_the_last_frame_there_is_none_again_and_again(rig: Rig, camera: Camera) -> None:
    if rig.frames is None:
        pytest.skip("does not apply: this source has no end")
    camera.open()
    read(camera, rig.frames)
    assert [camera.read(timeout=5) for _ in range(3)] == [None, None, None]
    camera.close()
    camera.open()
    assert read(camera, 1)[0].number == 0
