"""One camera's way from frames to messages, whatever the model's task: takes frames and counts them."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from appliance.core.errors import UnavailableError
from appliance.core.frame import Frame
from appliance.core.latest import Latest
from appliance.core.manifest import ModelManifest
from appliance.core.metrics import RollingFigures
from appliance.core.worker import Pulse
from appliance.messaging.payloads import ModelInfo

TAKE = 0.5  # seconds between two looks at whether to stop while no frame comes


@dataclass(frozen=True, slots=True)
class Steering:
    """What a command can change while it runs.

    Attributes:
        is_looking: The model is run; else frames are passed over, and nothing is in sight.
        min_score: Lowest score of what is told; None: it cannot be changed for this task.
    """

    is_looking: bool = True
    min_score: float | None = None


class Looking(Protocol):
    """What is needed of a model of any task (inference.climber.Climber and inference.opened.OpenModel fit)."""

    @property
    def digest(self) -> str:
        """SHA-256 of the weights that have looked at the last frame."""

    @property
    def manifest(self) -> ModelManifest:
        """What the model is."""

    @property
    def last_inference_ms(self) -> float:
        """Milliseconds that the model took for the last frame."""


class FramePipeline(ABC):
    """The worker named `pipeline:<camera>`; what it does with a frame is its task's.

    Args:
        camera: The camera's name in the configuration.
        slot: Where frames come from.
        source_ended: Set when no frame will ever come again.
        opened: The model, used by this thread alone.
        model: What messages say of it.
    """

    def __init__(
        self, *, camera: str, slot: Latest[Frame], source_ended: threading.Event, opened: Looking, model: ModelInfo
    ) -> None:
        self.name = f"pipeline:{camera}"
        self.pulse = Pulse(limit=15.0)
        self.done = threading.Event()
        """Set when the last frame of a source that ended has been worked through."""
        self.latency_ms, self.inference_ms = RollingFigures(), RollingFigures()
        self.frames = 0
        self.frames_unseen = 0
        """Frames that no model was there for."""
        self.steering = Steering()
        """Replaced, never changed, by who commands; heeded from the next frame on."""
        self.is_picture_wanted = threading.Event()
        """Set by who wants the next frame at `pictures`."""
        self.pictures: Latest[Frame] = Latest()
        self._heeded = self.steering
        self._camera, self._slot, self._source_ended = camera, slot, source_ended
        self._opened, self._model = opened, model
        self._seen_ns: int | None = None  # CLOCK_BOOTTIME of the last frame; None: nothing is in sight

    def run(self, stop: threading.Event) -> None:
        """Work through frames until `stop` is set or the source has ended; then end what is in sight."""
        self.done.clear()
        while not stop.is_set():
            has_ended = self._source_ended.is_set()  # asked before the slot, so that its last frame is not left there
            frame = self._slot.take(TAKE)
            if frame is not None:
                self.step(frame)
            elif has_ended:
                break
            else:
                self._end_what_is_out_of_sight()
            del frame  # or it would be kept while the next one is waited for
            self.pulse.beat()
        self._finish()
        self.done.set()

    def step(self, frame: Frame) -> None:
        """Work through one frame, or pass over it while nothing of the model is in service or nobody wants it to look.

        Raises:
            ModelError: The model gave nonsense, or cannot be had back in this process.
        """
        if self.is_picture_wanted.is_set():
            self.is_picture_wanted.clear()
            self.pictures.put(frame)
        if not self._heed():
            self._finish()
            return
        try:
            self._look(frame)
        except UnavailableError:  # told by the one who knows why, once
            self.frames_unseen += 1
            self._end_what_is_out_of_sight()
            return
        self._seen_ns = frame.mono_ns
        self.frames += 1
        self.inference_ms.add(self._opened.last_inference_ms)
        # a clip read as fast as possible runs ahead of the clock
        self.latency_ms.add(max(0.0, (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - frame.mono_ns) / 1e6))

    def _heed(self) -> bool:
        """Take over what was commanded; tell whether to look."""
        steering = self.steering
        if steering is not self._heeded:
            self._heeded = steering
            if steering.min_score is not None:
                self._set_min_score(steering.min_score)
        return steering.is_looking

    def _set_min_score(self, min_score: float) -> None:
        """Tell, from this frame on, what has this score; only where `steering` has one."""
        raise NotImplementedError(f"{self.name} has no lowest score, and none may be in its steering ({min_score})")

    @property
    @abstractmethod
    def sight(self) -> Mapping[str, Any]:
        """What is in sight now, for status: JSON types only. Read by other threads."""

    @abstractmethod
    def _look(self, frame: Frame) -> None:
        """Run the model on a frame and tell what there is to tell.

        Raises:
            UnavailableError: Nothing of the model is in service now.
        """

    def _in_service(self) -> ModelInfo:
        """Give what messages say of the model that has looked at the last frame: another may be there by now."""
        version, digest = self._opened.manifest.version, self._opened.digest
        if (version, digest) != (self._model.version, self._model.digest):
            self._model = replace(self._model, version=version, digest=digest)
        return self._model

    @abstractmethod
    def _end(self) -> None:
        """Tell that nothing is in sight any more."""

    @property
    @abstractmethod
    def _lost_after(self) -> float:
        """Seconds without a frame after which nothing is in sight any more."""

    def _end_what_is_out_of_sight(self) -> None:
        """A camera that shows nothing for longer than what is in sight may be unseen ends it."""
        if self._seen_ns is None:
            return
        age_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - self._seen_ns
        if age_ns > self._lost_after * 1e9:
            self._finish()

    def _finish(self) -> None:
        if self._seen_ns is None:
            return
        self._seen_ns = None
        self._end()


def without_picture(frame: Frame) -> Frame:
    """Give a frame's times and sizes, to keep: the picture would hold memory for as long as no other frame comes."""
    return replace(frame, image=np.empty((0, 0, 3), np.uint8))
