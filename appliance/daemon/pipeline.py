"""One camera's way from frames to messages: detect, track, tell."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from appliance.core.errors import UnavailableError
from appliance.core.events import Event
from appliance.core.frame import Frame
from appliance.core.latest import Latest
from appliance.core.message import Message
from appliance.core.metrics import RollingFigures
from appliance.core.results import Detections
from appliance.core.worker import Pulse
from appliance.messaging.payloads import ModelInfo, counts_message, detections_message, event_message
from appliance.tracking.scene import Scene, SceneStep

TAKE = 0.5  # seconds between two looks at whether to stop while no frame comes
COUNTS_INTERVAL = 1.0  # least seconds between two `counts` messages: a crowd would flood the broker


class Detector(Protocol):
    """What is needed of a detector (inference.ladder.ClimbingDetector and inference.detector.Detector fit)."""

    @property
    def digest(self) -> str:
        """SHA-256 of the weights that gave the last detections: another file may come into service at any time."""

    @property
    def last_inference_ms(self) -> float:
        """Milliseconds that the model took for the last frame."""

    def detect(self, frame: Frame) -> Detections:
        """Find objects, in pixels of the source frame.

        Raises:
            UnavailableError: Nothing is in service now: go on with the next frame.
        """


class Pipeline:
    """The worker named `pipeline:<camera>`; owns the detector, the tracker and the zones.

    Args:
        camera: The camera's name in the configuration.
        slot: Where frames come from.
        source_ended: Set when no frame will ever come again.
        detector: Open, used by this thread alone.
        scene: The camera's tracker, zones and lines.
        labels: The model's labels.
        model: What messages say of the model.
        min_score: Lowest score of a published detection; the tracker sees lower ones too.
        detections_interval: Least seconds between two `detections` messages; 0: every frame.
        publish: Takes a message; never blocks.
        tell: Takes an event and its message, for people who look on.
    """

    def __init__(
        self,
        *,
        camera: str,
        slot: Latest[Frame],
        source_ended: threading.Event,
        detector: Detector,
        scene: Scene,
        labels: tuple[str, ...],
        model: ModelInfo,
        min_score: float,
        detections_interval: float,
        publish: Callable[[Message], None],
        tell: Callable[[Event, Message], None],
    ) -> None:
        self.name = f"pipeline:{camera}"
        self.pulse = Pulse(limit=15.0)
        self.done = threading.Event()
        """Set when the last frame of a source that ended has been worked through."""
        self.latency_ms, self.inference_ms = RollingFigures(), RollingFigures()
        self.frames = 0
        self.frames_unseen = 0
        """Frames that no model was there for."""
        self.objects = 0
        self._camera, self._slot, self._source_ended = camera, slot, source_ended
        self._detector, self._scene, self._labels, self._model = detector, scene, labels, model
        self._min_score, self._interval = min_score, detections_interval
        self._publish, self._tell = publish, tell
        self._counts: Message | None = None
        self._counts_at = self._detections_at = float("-inf")
        self._seen_ns: int | None = None  # CLOCK_BOOTTIME of the last frame

    def run(self, stop: threading.Event) -> None:
        """Work through frames until `stop` is set or the source has ended; then end every open object."""
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
        """Work through one frame, or pass over it while nothing of the model is in service.

        Raises:
            ModelError: The detector gave nonsense, or cannot be had back in this process.
        """
        try:
            detections = self._detector.detect(frame)
        except UnavailableError:  # told by the one who knows why, once
            self.frames_unseen += 1
            self._end_what_is_out_of_sight()
            return
        if self._detector.digest != self._model.digest:
            self._model = replace(self._model, digest=self._detector.digest)
        time_ns = int(frame.time.timestamp() * 1e9)
        seen = self._scene.step(
            detections, width=frame.width, height=frame.height, time_ns=time_ns, mono_ns=frame.mono_ns
        )
        self._send(seen.events)
        now = time.monotonic()
        if now - self._counts_at >= COUNTS_INTERVAL:
            self._tell_counts(seen, now)
        if now - self._detections_at >= self._interval:
            self._detections_at = now
            sure = detections.select(detections.scores >= self._min_score)
            self._publish(detections_message(frame, sure, self._labels, self._model, self._detector.last_inference_ms))
        self._seen_ns = frame.mono_ns
        self.frames += 1
        self.objects = sum(seen.counts.values())
        self.inference_ms.add(self._detector.last_inference_ms)
        # a clip read as fast as possible runs ahead of the clock
        self.latency_ms.add(max(0.0, (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - frame.mono_ns) / 1e6))

    def _send(self, events: tuple[Event, ...]) -> None:
        for event in events:
            message = event_message(event, self._model)
            self._publish(message)
            self._tell(event, message)

    def _tell_counts(self, seen: SceneStep, now: float) -> None:
        counts = counts_message(self._camera, seen.counts, seen.zone_counts, seen.group_counts, seen.zone_group_counts)
        if counts != self._counts:
            self._counts, self._counts_at = counts, now
            self._publish(counts)

    def _end_what_is_out_of_sight(self) -> None:
        """A camera that shows nothing for longer than an object may be unseen ends its objects."""
        if self._seen_ns is None:
            return
        age_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - self._seen_ns
        if age_ns > self._scene.lost_after * 1e9:
            self._finish()

    def _finish(self) -> None:
        if self._seen_ns is None:
            return
        self._seen_ns = None
        left = self._scene.finish()
        self._send(left.events)
        self.objects = 0
        self._tell_counts(left, time.monotonic())
