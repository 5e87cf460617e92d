"""Models that fall to the next artifact of their ladder when one fails while it runs, and climb back: one a task."""

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from appliance.core.frame import Frame
from appliance.core.results import Detections, Segmentation
from appliance.inference.climber import Climber

if TYPE_CHECKING:
    from appliance.inference.classifier import Classifier  # noqa: F401 - named in a base class
    from appliance.inference.detector import Detector  # noqa: F401 - named in a base class
    from appliance.inference.segmenter import Segmenter  # noqa: F401 - named in a base class


class ClimbingDetector(Climber["Detector"]):
    """A detector; see `Climber`."""

    def detect(self, frame: Frame) -> Detections:
        """Give what is in a frame; see `Detector.detect`.

        Raises:
            UnavailableError: Nothing is in service now: go on with the next frame.
            ModelError: Nothing is in service, and nothing can be opened in this process any more.
        """
        return self.use(lambda detector: detector.detect(frame))


class ClimbingClassifier(Climber["Classifier"]):
    """A classifier; see `Climber`."""

    def scores(self, frame: Frame) -> NDArray[np.float32]:
        """Give the score of every label; see `Classifier.scores`.

        Raises:
            UnavailableError: Nothing is in service now: go on with the next frame.
            ModelError: Nothing is in service, and nothing can be opened in this process any more.
        """
        return self.use(lambda classifier: classifier.scores(frame))


class ClimbingSegmenter(Climber["Segmenter"]):
    """A segmentation network; see `Climber`."""

    def segment(self, frame: Frame, longest: int | None = None) -> Segmentation:
        """Give what each pixel of a frame belongs to; see `Segmenter.segment`.

        Raises:
            UnavailableError: Nothing is in service now: go on with the next frame.
            ModelError: Nothing is in service, and nothing can be opened in this process any more.
        """
        return self.use(lambda segmenter: segmenter.segment(frame, longest))


AnyClimbing: TypeAlias = ClimbingDetector | ClimbingClassifier | ClimbingSegmenter

CLIMBING: Final[dict[str, Any]] = {
    "detect": ClimbingDetector,
    "classify": ClimbingClassifier,
    "segment": ClimbingSegmenter,
}
"""What climbs, by task."""
