"""One model for several cameras: a worker that owns it, and a handle for each camera; a pair of them a task."""

import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from appliance.core.errors import EdgecamError, UnavailableError
from appliance.core.frame import Frame
from appliance.core.manifest import ModelManifest
from appliance.core.results import Detections, Segmentation
from appliance.core.worker import Pulse
from appliance.inference.running import Running

TAKE = 0.5  # seconds between two looks at whether to stop while no camera waits
ANSWER_WITHIN = 10.0  # seconds in which nobody was answered; less than a pipeline's pulse, so that it can say why


class Opened(Protocol):
    """A model that is loaded and warm, of any task."""

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
        """Lowest score of what it gives, 0..1."""


class OpenDetector(Opened, Protocol):
    """A detector; `Detector`, `ClimbingDetector`, `ModelHost` and `DetectorHandle` fit."""

    def detect(self, frame: Frame) -> Detections:
        """Give what is in a frame: boxes in pixels of the source frame."""


class OpenClassifier(Opened, Protocol):
    """A classifier, likewise."""

    def scores(self, frame: Frame) -> NDArray[np.float32]:
        """Give the score of every label, shape (labels,), 0..1."""


class OpenSegmenter(Opened, Protocol):
    """A segmentation network, likewise."""

    def segment(self, frame: Frame, longest: int | None = None) -> Segmentation:
        """Give what each pixel belongs to, of a picture whose longer side has at most `longest` pixels."""


ModelT = TypeVar("ModelT", bound=Opened)
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Looked:
    """What has looked at a frame.

    Attributes:
        manifest: Of the model.
        digest: SHA-256 of its weights, 64 hexadecimal digits.
        inference_ms: Milliseconds that it took itself.
    """

    manifest: ModelManifest
    digest: str
    inference_ms: float = 0.0


class _Request:
    """A look at a frame that waits, and what came of it. Written by the model's thread before `is_answered` is set."""

    def __init__(self, look: Callable[[Any], Any]) -> None:
        self.look = look
        self.is_answered = threading.Event()
        self.found: Any = None
        self.error: EdgecamError | None = None
        self.by: Looked | None = None


class SharedModel(ABC, Generic[ModelT]):
    """The worker named as its model's kind is: the one thread that uses the model.

    A camera has one frame with it at the most, and whoever has waited longest is next: between two frames of a camera
    every other that waits has its turn, and one with few frames delays nobody.

    Args:
        model: Open; used by this worker alone from now on.
        patience: Seconds in which it answers nobody, after which a camera no longer waits.
    """

    name: str

    def __init__(self, model: ModelT, patience: float = ANSWER_WITHIN) -> None:
        self.pulse = Pulse(limit=15.0)
        self.model = model
        self._patience = patience
        self._changed = threading.Condition()
        self._waiting: OrderedDict[str, _Request] = OrderedDict()  # by camera, in the order in which they came
        self._answered = 0

    @abstractmethod
    def handle(self, camera: str) -> Any:
        """Give a camera's way to the model; one for each camera.

        Args:
            camera: The camera's name in the configuration.
        """

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

    def use(self, camera: str, look: Callable[[ModelT], ResultT]) -> tuple[ResultT, Looked]:
        """Wait for a camera's turn; give what `look` gives for the model, and which model that was.

        Raises:
            EdgecamError: What the model raised over this frame.
            UnavailableError: It has answered nobody for `patience`, or has ended.
        """
        request = _Request(look)
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
                        f"[cameras.{camera}] the {self.name} has answered no camera for {self._patience:g} s; "
                        "if the log does not say why, restart edgecam"
                    )
                answered = self._answered
        if request.by is None:
            raise request.error or UnavailableError(f"[cameras.{camera}] the {self.name} has ended")
        return request.found, request.by

    def _next(self) -> _Request | None:
        with self._changed:
            if not self._changed.wait_for(lambda: bool(self._waiting), TAKE):
                return None
            return self._waiting.popitem(last=False)[1]

    def _answer(self, request: _Request) -> None:
        try:
            request.found = request.look(self.model)
            # now: at the next camera's frame it may be another
            request.by = Looked(self.model.manifest, self.model.digest, self.model.last_inference_ms)
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


class Handle(Generic[ModelT]):
    """A camera's own way to a model that it shares. Used by one thread.

    What looks at frames blocks until it is this camera's turn, and raises what `SharedModel.use` does.

    Args:
        shared: The model's worker.
        camera: The camera's name in the configuration.
    """

    def __init__(self, shared: SharedModel[ModelT], camera: str) -> None:
        self._shared, self._camera = shared, camera
        self._by = Looked(shared.model.manifest, shared.model.digest)

    @property
    def manifest(self) -> ModelManifest:
        """What the model is that has looked at this camera's last frame."""
        return self._by.manifest

    @property
    def digest(self) -> str:
        """SHA-256 of its weights, 64 hexadecimal digits."""
        return self._by.digest

    @property
    def last_inference_ms(self) -> float:
        """Milliseconds that the model itself took for this camera's last frame."""
        return self._by.inference_ms

    @property
    def running(self) -> Running:
        """What it runs on."""
        return self._shared.model.running

    @property
    def min_score(self) -> float:
        """Lowest score of what it gives, 0..1."""
        return self._shared.model.min_score

    def _use(self, look: Callable[[ModelT], ResultT]) -> ResultT:
        found, self._by = self._shared.use(self._camera, look)
        return found


class DetectorHandle(Handle[OpenDetector]):
    """A camera's own way to a detector."""

    def detect(self, frame: Frame) -> Detections:
        """Give what is in a frame: boxes in pixels of the source frame."""
        return self._use(lambda detector: detector.detect(frame))


class ClassifierHandle(Handle[OpenClassifier]):
    """A camera's own way to a classifier."""

    def scores(self, frame: Frame) -> NDArray[np.float32]:
        """Give the score of every label; see `Classifier.scores`."""
        return self._use(lambda classifier: classifier.scores(frame))


class SegmenterHandle(Handle[OpenSegmenter]):
    """A camera's own way to a segmentation network."""

    def segment(self, frame: Frame, longest: int | None = None) -> Segmentation:
        """Give what each pixel of a frame belongs to; see `Segmenter.segment`."""
        return self._use(lambda segmenter: segmenter.segment(frame, longest))


class SharedDetector(SharedModel[OpenDetector]):
    """The worker named `detector`; see `SharedModel`."""

    name = "detector"

    def handle(self, camera: str) -> DetectorHandle:
        """Give a camera's way to the detector; see `SharedModel.handle`."""
        return DetectorHandle(self, camera)


class SharedClassifier(SharedModel[OpenClassifier]):
    """The worker named `classifier`; see `SharedModel`."""

    name = "classifier"

    def handle(self, camera: str) -> ClassifierHandle:
        """Give a camera's way to the classifier; see `SharedModel.handle`."""
        return ClassifierHandle(self, camera)


class SharedSegmenter(SharedModel[OpenSegmenter]):
    """The worker named `segmenter`; see `SharedModel`."""

    name = "segmenter"

    def handle(self, camera: str) -> SegmenterHandle:
        """Give a camera's way to the segmentation network; see `SharedModel.handle`."""
        return SegmenterHandle(self, camera)


AnyHandle: TypeAlias = DetectorHandle | ClassifierHandle | SegmenterHandle

SHARED: Final[dict[str, Any]] = {"detect": SharedDetector, "classify": SharedClassifier, "segment": SharedSegmenter}
"""What shares a model among cameras, by its task."""
