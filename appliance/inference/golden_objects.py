"""Golden frames of detectors: which objects are found in them."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from appliance.core.errors import ModelError
from appliance.core.results import Detections
from appliance.inference.detector import Detector
from appliance.inference.golden import (
    GoldenArtifact,
    GoldenObject,
    GoldenSet,
    Tolerance,
    compare_golden,
    frame_of,
)


class GoldenObjects:
    """What golden frames are to detectors; see `GoldenTask`."""

    content: Final = GoldenSet
    of: Final = "objects"

    def look(self, model: Detector, image: NDArray[np.uint8]) -> tuple[GoldenObject, ...]:
        """Give the objects in a picture; see `GoldenTask.look`."""
        return golden_objects(model, look(model, image))

    def expect(self, model: Detector, images: Mapping[str, NDArray[np.uint8]], tolerance: Tolerance) -> GoldenArtifact:
        """Give the objects in pictures; see `GoldenTask.expect`.

        Raises:
            ModelError: It is sure of none.
        """
        frames = tuple(self.look(model, image) for image in images.values())
        best = max((one.score for objects in frames for one in objects), default=0.0)
        if best < (least := model.min_score + tolerance.score):
            raise ModelError(
                f"{model.path} finds nothing in the golden frames that it is sure of (best score {best:.2f}, wanted "
                f"{least:.2f}): they would prove nothing; give pictures of your own: --frames FOLDER"
            )
        return GoldenArtifact(sha256=model.digest, min_score=model.min_score, frames=frames)

    def summary(self, expected: Sequence[GoldenObject]) -> int:
        """Give how many objects there are; see `GoldenTask.summary`."""
        return len(expected)

    def required(self, expected: Sequence[GoldenObject], least: float) -> int:
        """Tell how many objects must be found; see `GoldenTask.required`."""
        return sum(one.score >= least for one in expected)

    compare = staticmethod(compare_golden)
    """Compare objects; see `GoldenTask.compare`."""


def look(detector: Detector, image: NDArray[np.uint8]) -> Detections:
    """Give what a detector finds in a picture, shape (H, W, 3), BGR.

    Raises:
        ModelError: The model could not be run, or gave numbers that are not finite.
    """
    return detector.detect(frame_of(image))


def golden_objects(detector: Detector, found: Detections) -> tuple[GoldenObject, ...]:
    """Give detections as they are written down: boxes to a tenth of a pixel, scores to a ten-thousandth."""
    labels = detector.manifest.labels
    rows = zip(found.boxes.tolist(), found.scores.tolist(), found.class_ids.tolist(), strict=True)
    return tuple(
        GoldenObject(
            label=labels[class_id],
            score=round(score, 4),
            box=(round(box[0], 1), round(box[1], 1), round(box[2], 1), round(box[3], 1)),
        )
        for box, score, class_id in rows
    )
