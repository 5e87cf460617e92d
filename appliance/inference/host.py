"""Has one model in service, and puts another of its task in its place between two frames: a host for each task."""

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from appliance.core.errors import UnavailableError
from appliance.core.frame import Frame
from appliance.core.results import Detections, Segmentation
from appliance.inference.climbing import ClimbingClassifier, ClimbingDetector, ClimbingSegmenter
from appliance.inference.running import Refusal, Running

if TYPE_CHECKING:
    from appliance.core.manifest import ModelManifest
    from appliance.inference.watch import Wedged

ClimbingT = TypeVar("ClimbingT", ClimbingDetector, ClimbingClassifier, ClimbingSegmenter)
FoundT = TypeVar("FoundT")
Watcher = Callable[[Frame, FoundT, float], None]
"""Is shown a frame, what was found in it, and the milliseconds that took; from the hot path, so it must not block."""


class Host(Generic[ClimbingT, FoundT]):
    """Does what the model in service does, whichever that is.

    Looking at frames belongs to one thread; everything else may be called from any.

    Args:
        first: In service from the start.
    """

    def __init__(self, first: ClimbingT) -> None:
        self._current: ClimbingT = first
        self._next: ClimbingT | None = None
        self._changed = threading.Condition()
        self._watcher: Watcher[FoundT] | None = None
        self._on_change: Callable[[], None] = lambda: None

    @property
    def on_change(self) -> Callable[[], None]:
        """Called when what is in service has changed, from whichever thread noticed; must not block."""
        return self._on_change

    @on_change.setter
    def on_change(self, call: Callable[[], None]) -> None:
        self._on_change = self._current.on_change = call

    @property
    def manifest(self) -> "ModelManifest":
        """What the model is."""
        return self._current.manifest

    @property
    def digest(self) -> str:
        """SHA-256 of the weights that are, or were last, in service."""
        return self._current.digest

    @property
    def min_score(self) -> float:
        """Lowest score of what it gives."""
        return self._current.min_score

    @property
    def last_inference_ms(self) -> float:
        """Milliseconds that the model itself took for the last frame."""
        return self._current.last_inference_ms

    @property
    def running(self) -> Running:
        """What it runs on, and why not on what would be better."""
        return self._current.running

    @property
    def fallen(self) -> Refusal | None:
        """What of the model in service failed last while it was; see `Climber`."""
        return self._current.fallen

    @property
    def wedged(self) -> "Wedged":
        """The calls made for it that hang."""
        return self._current.wedged

    def retries(self) -> Mapping[str, Mapping[str, float]]:
        """Give for each file that failed how often it did, and in how many seconds it may be tried again."""
        return self._current.retries()

    def _see(self, frame: Frame, look: Callable[[ClimbingT], FoundT]) -> FoundT:
        """Have what is in service look at a frame.

        Raises:
            UnavailableError: Nothing is in service now: go on with the next frame.
            ModelError: Nothing is in service, and nothing can be opened in this process any more.
        """
        if self._next is not None:
            self._take_over()
        found = look(self._current)
        if (watcher := self._watcher) is not None:
            watcher(frame, found, self._current.last_inference_ms)
        return found

    def watch(self, watcher: Watcher[FoundT] | None) -> None:
        """Show somebody every frame that is seen from now on; None: nobody any more."""
        self._watcher = watcher

    def swap(self, other: ClimbingT, within: float) -> ClimbingT:
        """Put another model in service before the next frame; give the one before, which is the caller's to close.

        Args:
            other: Opened and warm; owned by this host from then on.
            within: Seconds to wait for a frame.

        Raises:
            UnavailableError: No frame came: nothing has changed.
        """
        with self._changed:
            before, self._next = self._current, other
            if not self._changed.wait_for(lambda: self._next is None, within):
                self._next = None
                raise UnavailableError(f"no frame came within {within:g} s, between two of which a model is exchanged")
        self._on_change()
        return before

    def close(self) -> bool:
        """Let go of everything; tell whether no thread is left."""
        with self._changed:
            left = [one for one in (self._current, self._next) if one is not None]
        ended = [one.close() for one in left]  # every one, whether or not the first has
        return all(ended)

    def _take_over(self) -> None:
        with self._changed:
            if self._next is not None:
                self._current, self._next = self._next, None
                self._current.on_change = self._on_change
                self._changed.notify_all()


class ModelHost(Host[ClimbingDetector, Detections]):
    """Does what `ClimbingDetector` does."""

    def detect(self, frame: Frame) -> Detections:
        """Give what is in a frame; see `ClimbingDetector.detect`."""
        return self._see(frame, lambda detector: detector.detect(frame))


class ClassifierHost(Host[ClimbingClassifier, NDArray[np.float32]]):
    """Does what `ClimbingClassifier` does."""

    def scores(self, frame: Frame) -> NDArray[np.float32]:
        """Give the score of every label; see `ClimbingClassifier.scores`."""
        return self._see(frame, lambda classifier: classifier.scores(frame))


class SegmenterHost(Host[ClimbingSegmenter, Segmentation]):
    """Does what `ClimbingSegmenter` does."""

    def segment(self, frame: Frame, longest: int | None = None) -> Segmentation:
        """Give what each pixel of a frame belongs to; see `ClimbingSegmenter.segment`."""
        return self._see(frame, lambda segmenter: segmenter.segment(frame, longest))


AnyHost: TypeAlias = ModelHost | ClassifierHost | SegmenterHost

HOSTS: Final[dict[str, Any]] = {"detect": ModelHost, "classify": ClassifierHost, "segment": SegmenterHost}
"""What hosts a model, by its task."""
