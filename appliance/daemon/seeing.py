"""How two models of one task look at the same live frame, so that what they find can be compared: a class a task."""

from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from appliance.config import ModelSettings
from appliance.core.frame import Frame
from appliance.core.manifest import ModelManifest
from appliance.core.results import Detections, Segmentation
from appliance.inference.climbing import ClimbingClassifier, ClimbingDetector, ClimbingSegmenter
from appliance.inference.opened import wanted_labels
from appliance.updates.judging_labels import Scored
from appliance.updates.judging_maps import Mapped


class Seeing(Protocol):
    """What is needed for a candidate beside the model in service.

    Its labels and its lowest score are that one's: its gate has seen to it.
    """

    def look(self, candidate: Any, frame: Frame, beside: Any) -> Any:
        """Have a candidate look at a frame as the model in service has, which found `beside`.

        Raises:
            UnavailableError: It failed over the frame.
            ModelError: Likewise.
        """

    def told(self, found: Any) -> Any:
        """Give of what was found what would be told, as `updates.judging` compares it."""


class SeeingObjects:
    """Detectors; see `Seeing`.

    Args:
        settings: The ``[model]`` section.
        manifest: Of the model in service.
    """

    def __init__(self, settings: ModelSettings, manifest: ModelManifest) -> None:
        self._least = manifest.min_score if settings.min_score is None else settings.min_score

    def look(self, candidate: ClimbingDetector, frame: Frame, _beside: Detections) -> Detections:
        """Have it detect."""
        return candidate.detect(frame)

    def told(self, found: Detections) -> Detections:
        """Give the detections that would be published."""
        return found if self._least is None else found.select(found.scores >= self._least)


class SeeingLabels:
    """Classifiers; see `Seeing`.

    Args:
        settings: The ``[model]`` section.
        manifest: Of the model in service.
    """

    def __init__(self, settings: ModelSettings, manifest: ModelManifest) -> None:
        self._wanted = wanted_labels(manifest, settings.labels)
        spec = manifest.classification
        self._least = spec.min_score if settings.min_score is None else settings.min_score
        self._are_together = spec.activation == "sigmoid"

    def look(self, candidate: ClimbingClassifier, frame: Frame, _beside: NDArray[np.float32]) -> NDArray[np.float32]:
        """Have it classify."""
        return candidate.scores(frame)

    def told(self, found: NDArray[np.float32]) -> Scored:
        """Give the scores of labels that may be told, before they are calmed."""
        return Scored(np.where(self._wanted, found, np.float32(0.0)), self._least, self._are_together)


class SeeingMaps:
    """Segmentation networks; see `Seeing`.

    Args:
        settings: The ``[model]`` section.
        manifest: Of the model in service.
    """

    def __init__(self, settings: ModelSettings, manifest: ModelManifest) -> None:
        self._wanted, self._labels = wanted_labels(manifest, settings.labels), manifest.labels

    def look(self, candidate: ClimbingSegmenter, frame: Frame, beside: Segmentation) -> Segmentation:
        """Have it segment, in the size in which the model in service did."""
        return candidate.segment(frame, max(beside.class_ids.shape))

    def told(self, found: Segmentation) -> Mapped:
        """Give the class ids of what would be told."""
        class_ids = found.class_ids
        return Mapped(np.where(self._wanted[class_ids], class_ids.astype(np.int16), np.int16(-1)), self._labels)


SEEING: Final[dict[str, Any]] = {"detect": SeeingObjects, "classify": SeeingLabels, "segment": SeeingMaps}
"""What fits `Seeing`, by task."""
