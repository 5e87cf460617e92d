"""Golden frames of classifiers: which label each shows, and how sure of it the model is."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from appliance.core.errors import ModelError
from appliance.core.manifest import Label, Score
from appliance.core.part import Part
from appliance.inference.classifier import Classifier
from appliance.inference.golden import Deviation, Expectation, GoldenContent, Tolerance, frame_of

TOP: Final = 5
"""Labels of a frame that are written down."""


class GoldenLabel(Part):
    """A label that a model gives a golden frame.

    Attributes:
        label: The label.
        score: Its score, 0..1.
    """

    label: Label
    score: Score


class LabelledArtifact(Expectation):
    """What one file of weights says of the frames.

    Attributes:
        min_score: Lowest score of a label that is told.
        frames: For each frame, in their order, the best labels by falling score.
    """

    min_score: Score
    frames: tuple[Annotated[tuple[GoldenLabel, ...], Field(min_length=1, max_length=TOP)], ...]


class LabelledSet(GoldenContent[LabelledArtifact]):
    """The content of golden.json of a classifier."""


class GoldenLabels:
    """What golden frames are to classifiers; see `GoldenTask`."""

    content: Final = LabelledSet
    of: Final = "labels"

    def look(self, model: Classifier, image: NDArray[np.uint8]) -> tuple[GoldenLabel, ...]:
        """Give the best labels of a picture, whatever their scores; see `GoldenTask.look`."""
        ranked = model.rank(model.scores(frame_of(image)), min_score=0.0, most=TOP)
        labels = model.manifest.labels
        pairs = zip(ranked.class_ids.tolist(), ranked.scores.tolist(), strict=True)
        return tuple(GoldenLabel(label=labels[class_id], score=round(score, 4)) for class_id, score in pairs)

    def expect(
        self, model: Classifier, images: Mapping[str, NDArray[np.uint8]], tolerance: Tolerance
    ) -> LabelledArtifact:
        """Give the best labels of pictures; see `GoldenTask.expect`.

        Raises:
            ModelError: A network that says the same whatever it sees would pass, or one that is sure of nothing.
        """
        frames = tuple(self.look(model, image) for image in images.values())
        least = model.min_score + tolerance.score
        told = {one[0].label if one[0].score >= least else None for one in frames}
        if len(told) < 2 or not told - {None}:  # noqa: PLR2004 - two that differ
            shown = ", ".join(sorted(repr(one) for one in told if one)) or "nothing"
            raise ModelError(
                f"{model.path} is sure of {shown} in all golden frames (from a score of {least:.2f} on): they would "
                "prove nothing; give pictures of your own that show different things: --frames FOLDER"
            )
        return LabelledArtifact(sha256=model.digest, min_score=model.min_score, frames=frames)

    def summary(self, expected: Sequence[GoldenLabel]) -> str:
        """Give the best label; see `GoldenTask.summary`."""
        return expected[0].label

    def required(self, expected: Sequence[GoldenLabel], least: float) -> int:
        """Tell whether it must be sure of its label; see `GoldenTask.required`."""
        return int(expected[0].score >= least)

    def compare(
        self,
        frame: str,
        expected: Sequence[GoldenLabel],
        found: Sequence[GoldenLabel],
        tolerance: Tolerance,
        least: float,
    ) -> list[Deviation]:
        """Compare labels. Pure.

        The best label must be there with about its score, and none may be better by more than the tolerance: which of
        two that are close comes first may differ from machine to machine. Of frames that it is not sure of, it must
        not have become sure.

        Args:
            frame: What the frame is called.
            expected: By falling score.
            found: By falling score.
            tolerance: How far their scores may be apart.
            least: Score from which a label counts as sure.
        """
        best, first = expected[0], found[0]
        score = next((one.score for one in found if one.label == best.label), 0.0)
        deviations = []
        if best.score >= least and abs(score - best.score) > tolerance.score:
            deviations.append(Deviation(frame, "missing", best.label, best.score))
        if first.label != best.label and first.score >= least and first.score - score > tolerance.score:
            deviations.append(Deviation(frame, "unexpected", first.label, first.score))
        return deviations
