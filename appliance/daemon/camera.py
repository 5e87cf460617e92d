"""The worker that owns a camera: opens it, reads it, tries again when it is gone, says how it is."""

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from appliance.config import (
    AnyCamera,
    FileCameraSettings,
    Imx500CameraSettings,
    Picamera2CameraSettings,
    RtspCameraSettings,
    SyntheticCameraSettings,
)
from appliance.core.backoff import Backoff
from appliance.core.errors import ConfigError, EdgecamError, UnavailableError, UnsupportedError
from appliance.core.frame import Frame
from appliance.core.health import HealthBoard, HealthState
from appliance.core.latest import Latest
from appliance.core.metrics import RollingFigures
from appliance.core.worker import Pulse

FRAME_TIMEOUT = 3.0  # seconds, for cameras whose settings do not say
BAD_IN_ROW = 3  # pictures that cannot be read, after which the camera counts as stalled
HANDOVER = 0.5  # seconds between two looks at whether to stop while the consumer is busy

log = logging.getLogger(__name__)


def frame_timeout(settings: AnyCamera) -> float:
    """Give the seconds without a frame after which a camera counts as stalled."""
    match settings:
        case RtspCameraSettings():
            return settings.read_timeout
        case Picamera2CameraSettings() | Imx500CameraSettings():
            return settings.timeout
        case FileCameraSettings() | SyntheticCameraSettings() if settings.fps:
            return max(FRAME_TIMEOUT, 2.0 / settings.fps)
        case _:
            return FRAME_TIMEOUT


class Camera(Protocol):
    """What is needed of a camera (the room `cameras` tells the whole contract)."""

    waits: bool

    def open(self) -> None:
        """Start it."""

    def read(self, timeout: float) -> Frame | None:
        """Give the next frame, None at the end of the source."""

    def close(self) -> None:
        """Let it go."""


class CameraWorker:
    """Runs one camera; retry lives here, not in the cameras.

    Args:
        name: The camera's name in the configuration.
        camera: The camera itself, not yet open.
        slot: Where frames go.
        frame_timeout: Seconds without a frame after which the camera counts as stalled.
        on_state: Called with ``online | stalled | offline`` and why, when that changes.
        board: Health board.
        is_end_expected: The end of the source is no trouble: ``--once``.
        backoff: Waits between tries; a test brings its own.
    """

    def __init__(
        self,
        *,
        name: str,
        camera: Camera,
        slot: Latest[Frame],
        frame_timeout: float,
        on_state: Callable[[str, str], None],
        board: HealthBoard,
        is_end_expected: bool = False,
        backoff: Backoff | None = None,
    ) -> None:
        self.name = f"camera:{name}"
        # opening takes a camera's own timeouts, which the owner may have set long
        self.pulse = Pulse(limit=30.0 + 4 * frame_timeout)
        self.state, self.why = "offline", "not opened yet"
        self.ended = threading.Event()
        """Set when no frame will ever come again."""
        self.refusal: EdgecamError | None = None
        """Why this camera can never work as configured."""
        self.frames = 0
        self.size = (0, 0)
        self.intervals = RollingFigures()
        self.slot = slot
        self._camera, self._frame_timeout, self._on_state, self._board = camera, frame_timeout, on_state, board
        self._is_end_expected = is_end_expected
        self._errors_in_row = 0
        self._backoff = backoff or Backoff(least=0.5, most=15.0, stable=30.0)

    @property
    def frames_unanswered(self) -> int:
        """Frames that were left out as they came without the answer of the camera's own network."""
        left_out: int = getattr(self._camera, "unanswered", 0)  # of a camera that runs a network alone
        return left_out

    def run(self, stop: threading.Event) -> None:
        """Keep frames coming until `stop` is set or the source has ended."""
        try:
            while not stop.is_set() and not self.ended.is_set():
                try:
                    self._stream(stop)
                except UnavailableError as error:
                    self._camera.close()
                    self._wait(stop, error)
                except (ConfigError, UnsupportedError) as error:
                    self.refusal = error
                    self._say("offline", str(error), HealthState.FAILED, "correct it and restart")
                    self.ended.set()
        finally:
            self._camera.close()
            if stop.is_set() and not self.ended.is_set():
                self._say("offline", "stopped", HealthState.OK)
                self.ended.set()

    def _stream(self, stop: threading.Event) -> None:
        self._camera.open()
        self._backoff.succeeded()
        while not stop.is_set():
            try:
                frame = self._camera.read(self._frame_timeout)
            except ConfigError as error:
                self._leave_out(error, stop)
                continue
            finally:
                self.pulse.beat()
            if frame is None:
                self._tell_end()
                return
            self._errors_in_row = 0
            self.frames += 1
            self.size = (frame.width, frame.height)
            self.intervals.add(1.0)
            self._say("online", "", HealthState.OK)
            self._hand_over(frame, stop)

    def _leave_out(self, error: ConfigError, stop: threading.Event) -> None:
        """One bad picture of a folder is left out, the next read goes on behind it; many in a row are taken slowly."""
        self._errors_in_row += 1
        is_lasting = self._errors_in_row > BAD_IN_ROW
        state = "stalled" if is_lasting else "online"
        self._say(state, str(error), HealthState.DEGRADED, "replace it or take it away")
        if is_lasting:
            stop.wait(min(15.0, 0.5 * (self._errors_in_row - BAD_IN_ROW)))

    def _tell_end(self) -> None:
        health = HealthState.OK if self._is_end_expected else HealthState.DEGRADED
        fix = "" if self._is_end_expected else "set loop = true to start again at the end, or run with --once"
        self._say("offline", f"the source has ended after {self.frames} frames", health, fix)
        self.ended.set()

    def _hand_over(self, frame: Frame, stop: threading.Event) -> None:
        if not self._camera.waits:
            self.slot.put(frame)
            return
        while not stop.is_set() and not self.slot.put_when_empty(frame, HANDOVER):
            self.pulse.beat()  # the consumer is slow; that is the consumer's pulse to show

    def _wait(self, stop: threading.Event, error: UnavailableError) -> None:
        stalled = self.state == "online"
        wait = self._backoff.next_wait()
        self._say("stalled" if stalled else "offline", str(error), HealthState.DEGRADED, "Edgecam keeps trying")
        self.pulse.beat()
        stop.wait(wait)
        self.pulse.beat()

    def _say(self, state: str, why: str, health: HealthState, fix: str = "") -> None:
        self._board.report(self.name, health, why, fix)
        if (state, why) == (self.state, self.why):
            return
        self.state, self.why = state, why
        level = logging.INFO if health is HealthState.OK else logging.WARNING
        log.log(
            level,
            "%s is %s%s",
            self.name.replace(":", " "),
            state,
            f": {why}" if why else "",
            extra={"camera": self.name.partition(":")[2]},
        )
        self._on_state(state, why)
