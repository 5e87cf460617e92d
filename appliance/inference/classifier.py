"""From a frame to what it shows as a whole: the one path that the daemon and the commands share."""

import time
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from appliance.core.frame import Frame
from appliance.core.results import Classifications
from appliance.inference.artifacts import ResolvedModel
from appliance.inference.classification import rank, to_scores
from appliance.inference.opened import OpenModel, wanted_labels
from appliance.inference.running import Running

if TYPE_CHECKING:
    from appliance.inference.runtimes import Session


class Classifier(OpenModel):
    """A classifier that is loaded and warm; see `OpenModel`. Used by one thread.

    Args:
        model: What the loaded file is.
        session: The loaded file; closed by `close`.
        min_score: Lowest score of a label, 0..1; None: the manifest's own.
        labels: Only these, or the labels of these groups, are told; empty: all the model knows but its background.
        running: What it runs on; None: nobody knows.

    Attributes:
        min_score: Lowest score of a label, 0..1.

    Raises:
        ConfigError: A label is neither one of the model's nor a group.
        ModelError: It is no classifier, cannot be run, or gives what are no scores.
    """

    def __init__(
        self,
        model: ResolvedModel,
        session: "Session",
        *,
        min_score: float | None = None,
        labels: tuple[str, ...] = (),
        running: Running | None = None,
    ) -> None:
        super().__init__(model, session, running)
        self._spec = self.manifest.classification
        self.min_score = self._spec.min_score if min_score is None else min_score
        self._wanted = wanted_labels(self.manifest, labels)
        self._scores()  # warm: the first frame need not wait for it

    def classify(self, frame: Frame) -> Classifications:
        """Give what a frame shows: the best labels, sorted by falling score.

        Raises:
            ModelError: The model could not be run, or gave what are no scores.
            UnavailableError: It is watched, and did not answer in time, or its process died.
        """
        return self.rank(self.scores(frame))

    def scores(self, frame: Frame) -> NDArray[np.float32]:
        """Give the score of every label, shape (labels,), 0..1, for those who calm them before they rank them.

        Raises:
            ModelError: The model could not be run, or gave what are no scores.
            UnavailableError: It is watched, and did not answer in time, or its process died.
        """
        started = time.perf_counter()
        self._write(frame)
        scores = self._scores()
        self.last_total_ms = (time.perf_counter() - started) * 1e3
        return scores

    def rank(
        self, scores: NDArray[np.float32], *, min_score: float | None = None, most: int | None = None
    ) -> Classifications:
        """Give the best of the labels that are wanted, sorted by falling score.

        Args:
            scores: Shape (labels,), 0..1.
            min_score: Lowest score, in place of its own.
            most: At most so many, in place of the manifest's `top`.
        """
        least = self.min_score if min_score is None else min_score
        return rank(scores, most=most or self._spec.top, min_score=least, wanted=self._wanted)

    def _scores(self) -> NDArray[np.float32]:
        [output] = self._run(self._inputs)
        return to_scores(output, len(self.manifest.labels), self._spec.activation)
