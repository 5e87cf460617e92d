"""One detector for several cameras: a worker that owns it, and a handle for each camera."""

import threading
from collections import OrderedDict
from typing import Protocol

from appliance.core.errors import EdgecamError, UnavailableError
from appliance.core.frame import Frame
from appliance.core.manifest import ModelManifest
from appliance.core.results import Detections
from appliance.core.worker import Pulse
from appliance.inference.running import Running

TAKE = 0.5  # seconds between two looks at whether to stop while no camera waits
ANSWER_WITHIN = 10.0  # seconds in which nobody was answered; less than a pipeline's pulse, so that it can say why


class OpenDetector(Protocol):
    """A model that is loaded and warm; `Detector`, `ClimbingDetector` and `DetectorHandle` fit."""

    @property
    def last_inference_ms(self) -> float:
        """Milliseconds that the model itself took for the last frame."""

    @property
    def manifest(self) -> ModelManifest:
        """What the model is."""

    @property
    def digest(self) -> str:
        """SHA-256 of its weights, 64 hexadecimal digits."""

    @property
    def running(self) -> Running:
        """What it runs on."""

    @property
    def min_score(self) -> float:
        """Lowest score of a detection, 0..1."""

    def detect(self, frame: Frame) -> Detections:
        """Give what is in a frame: boxes in pixels of the source frame."""


class _Request:
    """A frame that waits, and what came of it. Written by the detector's thread before `is_answered` is set."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.is_answered = threading.Event()
        self.detections: Detections | None = None
        self.error: EdgecamError | None = None
        self.inference_ms = 0.0


class SharedDetector:
    """The worker named `detector`: the one thread that uses the detector.

    A camera has one frame with it at the most, and whoever has waited longest is next: between two frames of a camera
    every other that waits has its turn, and one with few frames delays nobody.

    Args:
        detector: Open; used by this worker alone from now on.
        patience: Seconds in which it answers nobody, after which a camera no longer waits.
    """

    def __init__(self, detector: OpenDetector, patience: float = ANSWER_WITHIN) -> None:
        self.name = "detector"
        self.pulse = Pulse(limit=15.0)
        self.detector = detector
        self._patience = patience
        self._changed = threading.Condition()
        self._waiting: OrderedDict[str, _Request] = OrderedDict()  # by camera, in the order in which they came
        self._answered = 0

    def handle(self, camera: str) -> "DetectorHandle":
        """Give a camera's way to the detector; one for each camera.

        Args:
            camera: The camera's name in the configuration.
        """
        return DetectorHandle(self, camera)

    def run(self, stop: threading.Event) -> None:
        """Answer cameras until `stop` is set; an error over a frame goes to the camera whose frame it was."""
        try:
            while not stop.is_set():
                self.pulse.beat()
                request = self._next()
                if request is not None:
                    self._answer(request)
        finally:
            self._turn_away()

    def detect(self, camera: str, frame: Frame) -> tuple[Detections, float]:
        """Wait for a camera's turn; give what is in its frame, and milliseconds that the model itself took.

        Raises:
            EdgecamError: What the detector raised over this frame.
            UnavailableError: It has answered nobody for `patience`, or has ended.
        """
        request = _Request(frame)
        with self._changed:
            self._waiting[camera] = request
            self._changed.notify()
            answered = self._answered
        while not request.is_answered.wait(self._patience):
            with self._changed:
                if self._answered == answered:  # nobody's turn came, so that it is not for the number of cameras
                    if self._waiting.get(camera) is request:
                        del self._waiting[camera]
                    raise UnavailableError(
                        f"[cameras.{camera}] the detector has answered no camera for {self._patience:g} s; "
                        "if the log does not say why, restart edgecam"
                    )
                answered = self._answered
        if request.detections is None:
            raise request.error or UnavailableError(f"[cameras.{camera}] the detector has ended")
        return request.detections, request.inference_ms

    def _next(self) -> _Request | None:
        with self._changed:
            if not self._changed.wait_for(lambda: bool(self._waiting), TAKE):
                return None
            return self._waiting.popitem(last=False)[1]

    def _answer(self, request: _Request) -> None:
        try:
            request.detections = self.detector.detect(request.frame)
            request.inference_ms = self.detector.last_inference_ms
        except EdgecamError as error:
            request.error = error
        finally:  # over a defect, too: the supervisor starts this worker again, and the camera need not wait for that
            with self._changed:
                self._answered += 1
            request.is_answered.set()

    def _turn_away(self) -> None:
        with self._changed:
            for request in self._waiting.values():
                request.is_answered.set()
            self._waiting.clear()


class DetectorHandle:
    """A camera's own way to a detector that it shares; does what `Detector` does. Used by one thread.

    Attributes:
        last_inference_ms: Milliseconds that the model itself took for this camera's last frame.
    """

    def __init__(self, shared: SharedDetector, camera: str) -> None:
        self.last_inference_ms = 0.0
        self._shared, self._camera = shared, camera

    @property
    def manifest(self) -> ModelManifest:
        """What the model is."""
        return self._shared.detector.manifest

    @property
    def digest(self) -> str:
        """SHA-256 of its weights, 64 hexadecimal digits."""
        return self._shared.detector.digest

    @property
    def running(self) -> Running:
        """What it runs on."""
        return self._shared.detector.running

    @property
    def min_score(self) -> float:
        """Lowest score of a detection, 0..1."""
        return self._shared.detector.min_score

    def detect(self, frame: Frame) -> Detections:
        """Give what is in a frame: boxes in pixels of the source frame; blocks until it is this camera's turn.

        Raises:
            EdgecamError: What the detector raised over this frame.
            UnavailableError: The detector has answered no camera for long, or has ended.
        """
        detections, self.last_inference_ms = self._shared.detect(self._camera, frame)
        return detections
