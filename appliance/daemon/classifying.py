"""One camera's way from frames to messages with a classifier: score, calm, tell what is new."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from appliance.config import AnyCamera, Settings
from appliance.core.events import LabelChange
from appliance.core.frame import Frame
from appliance.core.latest import Latest
from appliance.core.message import Message
from appliance.core.results import Classifications
from appliance.daemon.frames import FramePipeline, Looking, Steering, without_picture
from appliance.inference.classification import ExponentialSmoother, rank
from appliance.inference.opened import wanted_labels
from appliance.messaging.payloads import ModelInfo
from appliance.messaging.task_payloads import change_message, classification_message
from appliance.tracking.showing import Showing, Turn

if TYPE_CHECKING:
    from appliance.core.manifest import ModelManifest

log = logging.getLogger(__name__)


class Scoring(Looking, Protocol):
    """What is needed of a classifier (inference.classifier.Classifier, and the one that climbs, fit)."""

    def scores(self, frame: Frame) -> NDArray[np.float32]:
        """Give the score of every label, shape (labels,), 0..1."""


class ClassifyingPipeline(FramePipeline):
    """The pipeline of a classifier, see `FramePipeline`; owns the classifier and what the picture shows.

    Args:
        camera: The camera's name in the configuration.
        slot: Where frames come from.
        source_ended: Set when no frame will ever come again.
        classifier: Open, used by this thread alone.
        labels: The model's labels.
        wanted: Shape (labels,): those that may be told.
        min_score: Lowest score of a label that is told, 0..1.
        smoothing: Seconds over which scores are calmed; None: what the manifest says of whatever is in service.
        model: What messages say of the model.
        interval: Least seconds between two `classification` messages; 0: every frame.
        lost_after: Seconds without a frame after which nothing is shown any more.
        publish: Takes a message; never blocks.
        tell: Takes a change and its message, for people who look on.
    """

    def __init__(
        self,
        *,
        camera: str,
        slot: Latest[Frame],
        source_ended: threading.Event,
        classifier: Scoring,
        labels: tuple[str, ...],
        wanted: NDArray[np.bool_],
        min_score: float,
        smoothing: float | None,
        model: ModelInfo,
        interval: float,
        lost_after: float,
        publish: Callable[[Message], None],
        tell: Callable[[LabelChange, Message], None],
    ) -> None:
        super().__init__(camera=camera, slot=slot, source_ended=source_ended, opened=classifier, model=model)
        self._classifier, self._labels, self._wanted = classifier, labels, wanted
        self._min_score, self._smoothing, self._smoother = min_score, smoothing, ExponentialSmoother(0.0)
        self._heeded_manifest: ModelManifest | None = None
        self._top = 0  # labels that are told of, at the most: the manifest's word, as of the first frame
        self.steering = Steering(min_score=min_score)
        self._interval, self._lost = interval, lost_after
        self._publish, self._tell = publish, tell
        self._showing = Showing(wanted, min_score)
        self._last: Frame | None = None  # without its picture
        self._told_at = float("-inf")
        self._sight: Mapping[str, Any] = {"label": None, "score": 0.0}

    @property
    def sight(self) -> Mapping[str, Any]:
        """What the picture shows, and with which calmed score."""
        return self._sight

    @property
    def _lost_after(self) -> float:
        return self._lost

    def _set_min_score(self, min_score: float) -> None:
        self._min_score = min_score
        self._showing.set_min_score(min_score)

    def _look(self, frame: Frame) -> None:
        scores = self._classifier.scores(frame)
        self._heed_manifest()
        scores = self._smoother.update(scores, frame.mono_ns)
        self._last = without_picture(frame)
        turn = self._showing.step(scores, frame.mono_ns)
        if turn is not None:
            self._tell_turn(turn, self._last)
        here = self._showing.class_id
        self._sight = {"label": self._name(here), "score": 0.0 if here is None else round(float(scores[here]), 4)}
        now = time.monotonic()
        if turn is not None or now - self._told_at >= self._interval:
            self._told_at = now
            found = rank(scores, most=self._top, min_score=self._min_score, wanted=self._wanted)
            self._tell_state(frame, found)

    def _heed_manifest(self) -> None:
        """Tell and calm as the model says that has looked at this frame: another may have come into service."""
        manifest = self._classifier.manifest
        if manifest is not self._heeded_manifest:
            self._heeded_manifest, spec = manifest, manifest.classification
            self._top = spec.top
            self._smoother.time_constant = spec.smoothing if self._smoothing is None else self._smoothing

    def _end(self) -> None:
        turn = self._showing.finish()
        if self._last is not None:
            if turn is not None:
                self._tell_turn(turn, self._last)
            # without a label in place, too: the retained message may name labels that wait for their second
            self._tell_state(self._last, Classifications.empty())
        self._sight = {"label": None, "score": 0.0}

    def _tell_turn(self, turn: Turn, frame: Frame) -> None:
        change = LabelChange(
            camera=self._camera,
            label=self._name(turn.class_id),
            class_id=turn.class_id,
            score=turn.score,
            before=self._name(turn.before),
            lasted=turn.lasted,
            width=frame.width,
            height=frame.height,
            time_ns=int(frame.time.timestamp() * 1e9),
            mono_ns=frame.mono_ns,
        )
        message = change_message(change, self._in_service())
        self._publish(message)
        self._tell(change, message)

    def _tell_state(self, frame: Frame, found: Classifications) -> None:
        label = self._name(self._showing.class_id)
        took = self._classifier.last_inference_ms
        told = classification_message(
            frame, label, found, labels=self._labels, model=self._in_service(), inference_ms=took
        )
        self._publish(told)

    def _name(self, class_id: int | None) -> str | None:
        return None if class_id is None else self._labels[class_id]


def classifying(
    name: str,
    camera: AnyCamera,
    classifier: Scoring,
    *,
    settings: Settings,
    min_score: float,
    model: ModelInfo,
    slot: Latest[Frame],
    source_ended: threading.Event,
    publish: Callable[[Message], None],
    tell: Callable[[LabelChange, Message], None],
    **_: Any,
) -> ClassifyingPipeline:
    """Build the pipeline of the camera `name` for a classifier; see `ClassifyingPipeline` and `build_chain`.

    Raises:
        ConfigError: A label is neither one of the model's nor a group.
    """
    if camera.zones or camera.lines:
        log.warning("[cameras.%s] zones and lines have no meaning for %s, which classifies", name, model.name)
    manifest = classifier.manifest
    return ClassifyingPipeline(
        camera=name,
        slot=slot,
        source_ended=source_ended,
        classifier=classifier,
        labels=manifest.labels,
        wanted=wanted_labels(manifest, settings.model.labels),
        min_score=min_score,
        smoothing=settings.model.smoothing,
        model=model,
        interval=settings.messaging.detections_interval,
        lost_after=settings.tracking.lost_after,
        publish=publish,
        tell=tell,
    )
