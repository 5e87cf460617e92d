import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from appliance.cameras.imx500 import Imx500Camera
from appliance.config import Imx500CameraSettings
from appliance.core.backoff import Backoff
from appliance.core.clock import SystemClock
from appliance.core.errors import ConfigError, UnavailableError
from appliance.core.frame import Frame, PixelLayout
from appliance.core.health import HealthBoard, HealthState
from appliance.core.latest import Latest
from appliance.daemon.camera import CameraWorker
from tests.simulators.cameras import install_picamera2

FRAME = Frame(np.zeros((4, 6, 3), np.uint8), PixelLayout.BGR, 6, 4, "door", 0, datetime.now(UTC), 1)


class Scripted:
    """A camera that plays a script: frames, None for the end, or errors to raise at open and read."""

    def __init__(self, *script: Frame | Exception | None, waits: bool = True) -> None:
        self.waits = waits
        self.refused: dict[int, Exception] = {}
        self.opened = self.closed = 0
        self._script = iter(script)

    def open(self) -> None:
        self.opened += 1
        if self.opened in self.refused:
            raise self.refused[self.opened]

    def read(self, timeout: float) -> Frame | None:
        assert timeout == 1.5
        step = next(self._script)
        if isinstance(step, Exception):
            raise step
        return step

    def close(self) -> None:
        self.closed += 1


def play(
    camera: Scripted, *, is_end_expected: bool = False
) -> tuple[CameraWorker, list[tuple[str, str]], int, HealthBoard]:
    states: list[tuple[str, str]] = []
    slot: Latest[Frame] = Latest()
    board = HealthBoard()
    worker = CameraWorker(
        name="door",
        camera=camera,
        slot=slot,
        frame_timeout=1.5,
        on_state=lambda state, why: states.append((state, why)),
        board=board,
        is_end_expected=is_end_expected,
        backoff=Backoff(least=0.0, most=0.0),
    )
    taken = 0
    thread = threading.Thread(target=worker.run, args=(threading.Event(),))
    thread.start()
    while thread.is_alive():
        taken += slot.take(0.05) is not None
    taken += slot.take(0) is not None
    thread.join()
    return worker, states, taken, board


def test_every_frame_of_a_source_that_waits_arrives_and_its_end_is_told() -> None:
    worker, states, taken, board = play(Scripted(FRAME, FRAME, FRAME, None))
    assert taken == worker.frames == 3
    assert states == [("online", ""), ("offline", "the source has ended after 3 frames")]
    assert worker.ended.is_set()
    assert worker.refusal is None
    assert "loop = true" in board.findings()[0].fix


def test_a_stalled_camera_is_opened_again() -> None:
    camera = Scripted(FRAME, UnavailableError("no frame for 1.5 s"), FRAME, None)
    worker, states, taken, _ = play(camera)
    assert camera.opened == 2
    assert taken == 2
    assert [state for state, _ in states] == ["online", "stalled", "online", "offline"]
    assert states[1][1] == "no frame for 1.5 s"
    assert worker.size == (6, 4)


def test_a_camera_that_is_not_there_yet_is_tried_until_it_is() -> None:
    camera = Scripted(FRAME, None)
    camera.refused = {1: UnavailableError("nobody answers"), 2: UnavailableError("nobody answers")}
    _, states, taken, _ = play(camera)
    assert camera.opened == 3
    assert taken == 1
    assert states[0] == ("offline", "nobody answers")


def test_an_end_that_was_asked_for_is_no_trouble() -> None:
    worker, states, _, board = play(Scripted(FRAME, None), is_end_expected=True)
    assert worker.ended.is_set()
    assert states[-1] == ("offline", "the source has ended after 1 frames")
    assert board.state() is HealthState.OK


def test_one_bad_picture_is_left_out_and_many_are_taken_slowly() -> None:
    bad = ConfigError("7.jpg is no picture")
    camera = Scripted(FRAME, bad, FRAME, bad, bad, bad, bad, FRAME, None)
    started = time.monotonic()
    worker, states, taken, _ = play(camera)
    assert taken == worker.frames == 3
    assert camera.opened == 1
    assert worker.refusal is None
    assert ("stalled", "7.jpg is no picture") in states
    assert time.monotonic() - started >= 0.5, "a folder of nothing else must not flood the log"


def test_a_camera_that_cannot_work_as_configured_is_not_tried_again() -> None:
    camera = Scripted()
    camera.refused = {1: ConfigError("wrong password")}
    worker, states, _, board = play(camera)
    assert camera.opened == 1
    assert isinstance(worker.refusal, ConfigError)
    assert states == [("offline", "wrong password")]
    assert board.state() is HealthState.FAILED


def test_pictures_without_their_network_s_answer_are_counted_where_status_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_picamera2(monkeypatch, model="imx500", outputs=[np.zeros((2, 4))], answered=lambda number: number % 2 == 0)
    network = tmp_path / "net.rpk"
    network.write_bytes(b'9464{"size": [320, 240]}')
    settings = Imx500CameraSettings(kind="imx500", network=network, fps=200)
    slot: Latest[Frame] = Latest()
    worker = CameraWorker(
        name="door",
        camera=Imx500Camera("door", settings, SystemClock()),
        slot=slot,
        frame_timeout=5.0,
        on_state=lambda *_: None,
        board=HealthBoard(),
    )
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    assert worker.frames_unanswered == 0
    thread.start()
    assert all(slot.take(20.0) is not None for _ in range(2))
    stop.set()
    thread.join(20.0)
    assert not thread.is_alive()
    assert worker.frames_unanswered >= 1
