import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import cv2
import pytest

from appliance.cameras.file import MOST_CATCHING_UP, FileCamera
from appliance.config import FileCameraSettings
from appliance.core.errors import ConfigError
from appliance.core.frame import Frame
from tests.shared_data import SHARED, needs
from tests.simulators.cameras import png_header, write_clip, write_folder
from tests.simulators.rtsp_server import read_number
from tests.simulators.timing import HandClock, HandTimer


def make(path: Path, timer: HandTimer | None = None, **settings: object) -> FileCamera:
    timer = timer or HandTimer()
    camera = FileCamera("door", FileCameraSettings(kind="file", path=path, **settings), HandClock(timer), timer)
    camera.open()
    return camera


def read_all(camera: FileCamera) -> list[Frame]:
    frames = []
    while (frame := camera.read(timeout=5)) is not None:
        frames.append(frame)
    return frames


def test_fastest_gives_every_frame_in_order(tmp_path: Path) -> None:
    frames = read_all(make(write_clip(tmp_path / "clip.avi", 25), pace="fastest"))
    assert [frame.number for frame in frames] == list(range(25))
    assert [read_number(frame.image) for frame in frames] == list(range(25))


def test_fastest_stamps_run_on_the_clips_own_timeline(tmp_path: Path) -> None:
    frames = read_all(make(write_clip(tmp_path / "clip.avi", 25, fps=10.0), pace="fastest"))
    assert frames[-1].mono_ns - frames[0].mono_ns == pytest.approx(2.4e9)
    assert (frames[-1].time - frames[0].time).total_seconds() == pytest.approx(2.4)


def test_real_time_takes_as_long_as_the_clip(tmp_path: Path) -> None:
    timer = HandTimer()
    camera = make(write_clip(tmp_path / "clip.avi", 25, fps=10.0), timer)
    began = timer.now
    assert len(read_all(camera)) == 25
    assert timer.now - began == pytest.approx(2.4)
    assert camera.skipped == 0


def test_a_slow_consumer_does_not_slow_the_clip_down(tmp_path: Path) -> None:
    timer = HandTimer()
    camera = make(write_clip(tmp_path / "clip.avi", 50, fps=10.0), timer)
    began, frames = timer.now, []
    while (frame := camera.read(timeout=5)) is not None:
        assert timer.now - began - frame.number / 10.0 < 0.1 + 1e-6  # never older than one frame
        frames.append(frame)
        timer.now += 0.35  # the consumer
    assert timer.now - began < 5.4
    assert [read_number(frame.image) for frame in frames] == [frame.number for frame in frames]
    assert len(frames) + camera.skipped == 50
    assert camera.skipped > 30


def test_a_clip_that_cannot_be_unpacked_in_real_time_is_played_as_fast_as_it_can_be(tmp_path: Path) -> None:
    class SlowTimer(HandTimer):
        def monotonic(self) -> float:
            self.now += 0.06  # looking at the clock stands for unpacking a frame: always later than real time
            return self.now

    timer = SlowTimer()
    camera = make(write_clip(tmp_path / "clip.avi", 200, fps=30.0), timer)
    before = camera.read(timeout=5)
    while (frame := camera.read(timeout=5)) is not None and before is not None:
        assert frame.number - before.number <= MOST_CATCHING_UP / 0.06
        before = frame


def test_a_loop_goes_on_counting_and_its_times_go_on_growing(tmp_path: Path) -> None:
    camera = make(write_clip(tmp_path / "clip.avi", 7), pace="fastest", loop=True)
    frames = [camera.read(timeout=5) for _ in range(20)]
    assert [frame.number for frame in frames if frame] == list(range(20))
    assert [read_number(frame.image) for frame in frames if frame] == [number % 7 for number in range(20)]
    assert {after.mono_ns - before.mono_ns for before, after in pairwise(frames) if before and after} == {100_000_000}


def test_fps_overrides_the_clips_own(tmp_path: Path) -> None:
    frames = read_all(make(write_clip(tmp_path / "clip.avi", 11, fps=25.0), pace="fastest", fps=2.0))
    assert frames[-1].mono_ns - frames[0].mono_ns == pytest.approx(5e9)


def test_pictures_of_a_folder_keep_their_own_sizes_and_names(tmp_path: Path) -> None:
    sizes = [(320, 240), (256, 100), (640, 480)]
    camera = make(write_folder(tmp_path / "pictures", sizes), pace="fastest")
    for number, size in enumerate(sizes):
        frame = camera.read(timeout=5)
        assert frame is not None
        assert (frame.width, frame.height) == size
        assert camera.path.name == f"{number:03}.png"
    assert camera.read(timeout=5) is None


def test_an_unreadable_picture_is_named_and_left_behind(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pictures", [(320, 240)] * 3)
    (folder / "001.png").write_bytes(png_header(64, 64))
    camera = make(folder, pace="fastest")
    assert camera.read(timeout=5) is not None
    with pytest.raises(ConfigError, match=r"001\.png is a broken picture; remove or replace it"):
        camera.read(timeout=5)
    frame = camera.read(timeout=5)
    assert frame is not None
    assert read_number(frame.image) == 2


def test_a_single_picture_is_a_clip_of_one_frame(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pictures", [(320, 240)])
    assert len(read_all(make(folder / "000.png", pace="fastest"))) == 1


def test_a_clip_that_was_cut_off_ends_cleanly(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "clip.avi", 40).read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole[: len(whole) // 2])
    frames = read_all(make(cut, pace="fastest"))
    assert 10 < len(frames) < 25
    assert [read_number(frame.image) for frame in frames[:10]] == list(range(10))


@pytest.mark.parametrize("content", [b"", b"hello", bytes(5000)], ids=["empty", "text", "zeros"])
def test_a_file_that_is_no_video_says_what_is_accepted(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"clip\.mp4 is no video that can be read; accepted: .*MP4"):
        make(path)


def test_what_ffmpeg_has_to_say_stays_off_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(bytes(5000))
    code = (
        "import sys; from appliance.cameras import make_camera; from appliance.cameras.spec import parse_camera\n"
        "from appliance.core.clock import SystemClock; from appliance.core.errors import ConfigError\n"
        "try: make_camera('door', parse_camera(sys.argv[1]), SystemClock()).open()\n"
        "except ConfigError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True, timeout=30
    )
    assert "no video that can be read" in done.stdout
    assert done.stderr == ""


def test_an_empty_folder_and_a_missing_path_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no pictures; accepted: JPEG"):
        make(tmp_path)
    with pytest.raises(ConfigError, match="there is no such file or folder"):
        make(tmp_path / "absent.mp4")


@needs("footage")
@pytest.mark.parametrize(
    ("name", "frames", "seconds"),
    [
        ("person-bicycle-car-detection.gif", 41, 3.33),
        ("one-by-one-person-6s.mjpeg.avi", 60, 5.9),
        ("car-detection-10s.hevc.mkv", 125, 9.92),
        ("people-detection.preview.mp4", 23, 1.83),
    ],
)
def test_real_footage_is_given_frame_by_frame(name: str, frames: int, seconds: float) -> None:
    given = read_all(make(SHARED / "footage" / name, pace="fastest"))
    assert len(given) == frames
    assert (given[-1].mono_ns - given[0].mono_ns) / 1e9 == pytest.approx(seconds, abs=0.01)


def test_one_decoder_thread_is_asked_for(tmp_path: Path) -> None:
    camera = make(write_clip(tmp_path / "clip.avi", 2))
    assert camera._clip._capture.get(cv2.CAP_PROP_N_THREADS) == 1
