import subprocess
import sys
from pathlib import Path

import pytest

from appliance.cameras.spec import parse_camera
from appliance.config import FileCameraSettings
from appliance.core.errors import ConfigError


@pytest.mark.parametrize(
    ("spec", "kind", "key", "value"),
    [
        ("synthetic", "synthetic", "seed", 1),
        ("picamera2", "picamera2", "index", 0),
        ("picamera2:3", "picamera2", "index", 3),
        ("0", "v4l2", "device", "/dev/video0"),
        ("12", "v4l2", "device", "/dev/video12"),
        ("/dev/video7", "v4l2", "device", "/dev/video7"),
        ("/dev/v4l/by-id/usb-046d_C920-video-index0", "v4l2", "device", "/dev/v4l/by-id/usb-046d_C920-video-index0"),
        ("rtsp://10.0.0.5:8554/cam?channel=1", "rtsp", "url", "rtsp://10.0.0.5:8554/cam?channel=1"),
        ("RTSPS://cam.lan/a", "rtsp", "url", "rtsps://cam.lan/a"),
        ("rtsp://[fe80::1]:554/cam", "rtsp", "url", "rtsp://[fe80::1]:554/cam"),
    ],
)
def test_each_kind_of_spec_is_understood(spec: str, kind: str, key: str, value: object) -> None:
    settings = parse_camera(spec)
    assert settings.kind == kind
    assert getattr(settings, key) == value


def test_files_and_folders_are_paths(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.touch()
    for path in (clip, tmp_path):
        settings = parse_camera(str(path))
        assert isinstance(settings, FileCameraSettings)
        assert settings.path == path


@pytest.mark.parametrize(
    "spec",
    ["", "picamera2:9", "picamera", "http://10.0.0.5/cam", "rtsp://", "/nonexistent/clip.mp4", "1234", "/dev/null"],
)
def test_everything_else_is_refused_with_what_is_accepted(spec: str) -> None:
    with pytest.raises(ConfigError, match=r"accepted: a video file, .*rtsp://.*synthetic"):
        parse_camera(spec)


def test_a_missing_file_says_so() -> None:
    with pytest.raises(ConfigError, match="there is no such file or folder"):
        parse_camera("holiday.mp4")


@pytest.mark.parametrize(
    "spec",
    [
        "rtsp://me:hunter2@10.0.0.5/cam",
        "http://me:hunter2@h/",
        "rtsp://hunter2@h/cam",
        "rtsp://me:1/hunter2@h/cam",
        "rtsp://me:hunter2/x@h/cam",
        "rtsp://me:hunter2?x@h/cam",
        "rtsp://me:hunter2#x@h/cam",
    ],
)
def test_a_password_in_the_address_is_refused_and_not_repeated(spec: str) -> None:
    with pytest.raises(ConfigError, match=r"process list.*password = ") as caught:
        parse_camera(spec)
    seen: BaseException | None = caught.value
    while seen is not None:
        assert "hunter2" not in str(seen)
        seen = seen.__cause__ or seen.__context__


@pytest.mark.parametrize(
    "spec",
    ["rtsp://me:hunter2/cam", "http://h/user=me&password=hunter2", f"rtsp://h/password=hunter2&{'x' * 2048}"],
)
def test_an_address_that_is_refused_is_shown_without_what_may_be_a_password(spec: str) -> None:
    with pytest.raises(ConfigError, match=r"accepted: .*rtsp://") as caught:
        parse_camera(spec)
    seen: BaseException | None = caught.value
    while seen is not None:
        assert "hunter2" not in str(seen)
        seen = seen.__cause__ or seen.__context__


def test_specs_and_discovery_load_neither_numpy_nor_opencv() -> None:
    code = (
        "import sys; import appliance.cameras.spec, appliance.cameras.discover as d; d.find_cameras();"
        "print([name for name in ('numpy', 'cv2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "[]"


def test_only_the_chosen_kind_is_imported() -> None:
    code = (
        "import sys, appliance.cameras as cameras; assert 'numpy' not in sys.modules;"
        "from appliance.cameras.spec import parse_camera; from appliance.core.clock import SystemClock;"
        "cameras.make_camera('door', parse_camera('synthetic'), SystemClock());"
        "print(sorted(kind for kind in cameras.CAMERAS if f'appliance.cameras.{kind}' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "['synthetic']"
