"""One camera's way from frames to messages with a detector: detect, track, tell."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from appliance.config import AnyCamera, Settings
from appliance.core.events import Event, EventType
from appliance.core.frame import Frame
from appliance.core.latest import Latest
from appliance.core.message import Message
from appliance.core.results import Detections
from appliance.daemon.frames import FramePipeline, Looking, Steering
from appliance.messaging.payloads import ModelInfo, counts_message, detections_message, event_message
from appliance.tracking.scene import Scene, SceneStep

COUNTS_INTERVAL = 1.0  # least seconds between two `counts` messages: a crowd would flood the broker


class Detector(Looking, Protocol):
    """What is needed of a detector (inference.climbing.ClimbingDetector and inference.detector.Detector fit)."""

    def detect(self, frame: Frame) -> Detections:
        """Find objects, in pixels of the source frame.

        Raises:
            UnavailableError: Nothing is in service now: go on with the next frame.
        """


class Pipeline(FramePipeline):
    """The pipeline of a detector, see `FramePipeline`; owns the detector, the tracker and the zones.

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
        is_score_for_all: What `min_score` is changed to holds for the tracker's strong detections too.
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
        is_score_for_all: bool = True,
    ) -> None:
        super().__init__(camera=camera, slot=slot, source_ended=source_ended, opened=detector, model=model)
        self.objects = self.begun = 0
        self._detector, self._scene, self._labels = detector, scene, labels
        self._min_score, self._is_score_for_all, self._interval = min_score, is_score_for_all, detections_interval
        self.steering = Steering(min_score=min_score)
        self._publish, self._tell = publish, tell
        self._counts: Message | None = None
        self._counts_at = self._detections_at = float("-inf")

    @property
    def sight(self) -> Mapping[str, Any]:
        """How many objects there are, and how many there have been."""
        return {"objects": self.objects, "objects_begun": self.begun}

    @property
    def _lost_after(self) -> float:
        return self._scene.lost_after

    def _set_min_score(self, min_score: float) -> None:
        self._min_score = min_score
        if self._is_score_for_all:
            self._scene.set_high_score(min_score)

    def _look(self, frame: Frame) -> None:
        detections = self._detector.detect(frame)
        model = self._in_service()
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
            self._publish(detections_message(frame, sure, self._labels, model, self._detector.last_inference_ms))
        self.objects = sum(seen.counts.values())

    def _send(self, events: tuple[Event, ...]) -> None:
        for event in events:
            self.begun += event.type is EventType.START
            message = event_message(event, self._model)
            self._publish(message)
            self._tell(event, message)

    def _tell_counts(self, seen: SceneStep, now: float) -> None:
        counts = counts_message(self._camera, seen.counts, seen.zone_counts, seen.group_counts, seen.zone_group_counts)
        if counts != self._counts:
            self._counts, self._counts_at = counts, now
            self._publish(counts)

    def _end(self) -> None:
        left = self._scene.finish()
        self._send(left.events)
        self.objects = 0
        self._tell_counts(left, time.monotonic())


def detecting(
    name: str,
    camera: AnyCamera,
    detector: Detector,
    *,
    settings: Settings,
    min_score: float,
    model: ModelInfo,
    run: str,
    slot: Latest[Frame],
    source_ended: threading.Event,
    publish: Callable[[Message], None],
    tell: Callable[[Event, Message], None],
) -> Pipeline:
    """Build the pipeline of the camera `name` for a detector; see `Pipeline` and `build_chain`.

    Raises:
        ConfigError: A zone or line is for a label that is neither one of the model's nor a group.
    """
    tracking, manifest = settings.tracking, detector.manifest
    high_score = min_score if tracking.high_score is None else tracking.high_score
    return Pipeline(
        camera=name,
        slot=slot,
        source_ended=source_ended,
        detector=detector,
        scene=Scene(name, manifest.vocabulary, tracking, camera.zones, camera.lines, high_score=high_score, run=run),
        labels=manifest.labels,
        model=model,
        min_score=min_score,
        is_score_for_all=tracking.high_score is None,
        detections_interval=settings.messaging.detections_interval,
        publish=publish,
        tell=tell,
    )
