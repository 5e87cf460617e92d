"""Golden frames of classifiers: which label each shows, and how sure of it the model is."""

from collections.abc import Mapping, Sequence
from itertools import combinations
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

_ROUNDING: Final = 2e-6  # of twice a tolerance that is given as it is told, in six digits


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
            ModelError: A network that says the same whatever it sees would pass, or one that is sure of nothing; or the
                tolerance is so wide that no scores could tell two frames apart.
        """
        sure = _told_apart_from(model, tolerance)
        frames = tuple(self.look(model, image) for image in images.values())
        # scores within the tolerance of those of two frames are within twice of it of each other
        twice = tolerance.model_copy(update={"score": 2 * tolerance.score})
        if not any(self.compare("", *pair, twice, sure) for pair in combinations(frames, 2)):
            best = {one[0].label for one in frames if one and one[0].score >= model.min_score + tolerance.score}
            raise ModelError(
                f"{model.path} is as sure of {', '.join(map(repr, sorted(best))) or 'nothing'} in all golden frames (a "
                f"score of {sure:.2f} in one, and {2 * tolerance.score:.2f} less in another, tells them apart): they "
                "would prove nothing; give pictures of your own that show different things: --frames FOLDER"
            )
        return LabelledArtifact(sha256=model.digest, min_score=model.min_score, frames=frames)

    def summary(self, expected: Sequence[GoldenLabel]) -> str:
        """Give the best label; see `GoldenTask.summary`."""
        return expected[0].label if expected else ""

    def required(self, expected: Sequence[GoldenLabel], least: float) -> int:
        """Tell of how many labels it must be sure; see `GoldenTask.required`."""
        return sum(one.score >= least for one in expected)

    def compare(
        self,
        frame: str,
        expected: Sequence[GoldenLabel],
        found: Sequence[GoldenLabel],
        tolerance: Tolerance,
        least: float,
    ) -> list[Deviation]:
        """Compare labels. Pure.

        A label that it was sure of must not have lost more than the tolerance, and none that it is sure of may have
        won more: which of two that are close comes first may differ from machine to machine, and one that comes beside
        the expected one is told.

        Args:
            frame: What the frame is called.
            expected: By falling score.
            found: By falling score.
            tolerance: How far their scores may be apart.
            least: Score from which a label counts as sure.
        """
        deviations = [
            Deviation(frame, "missing", one.label, one.score)
            for one in expected
            if one.score >= least and one.score - _at_most(one.label, found) > tolerance.score
        ]
        deviations += [
            Deviation(frame, "unexpected", one.label, one.score)
            for one in found
            if one.score >= least and one.score - _at_most(one.label, expected) > tolerance.score
        ]
        return deviations


def _told_apart_from(model: Classifier, tolerance: Tolerance) -> float:
    """Give the score from which a label tells its frame from another: one may have twice the tolerance less there.

    Raises:
        ModelError: It is above 1, which no score is.
    """
    sure = model.min_score + 2 * tolerance.score
    if sure > 1.0 + _ROUNDING:
        raise ModelError(
            f"{model.path} tells a label from a score of {model.min_score:g} on: with a tolerance of "
            f"{tolerance.score:g} it would take {sure:g} to tell two frames apart, and no score is above 1; --score "
            f"must be at most {(1.0 - model.min_score) / 2:g} for this model: (1 - min_score) / 2"
        )
    return sure


def _at_most(label: str, told: Sequence[GoldenLabel]) -> float:
    """Give a label's score; of one that is not among the best, which alone are told, no more than the last of them."""
    rest = told[-1].score if len(told) == TOP else 0.0
    return next((one.score for one in told if one.label == label), rest)
