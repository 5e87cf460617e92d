"""Whether a candidate says of frames what the classifier says that it is to replace. Pure.

A label of a frame that a classifier is sure of is what an object is to a detector: the best one, or each where labels
may apply together. There is no flood: what is sure of too much disagrees. What says the same whatever it sees is told
by its scores, which do not move.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from appliance.updates.formats import Trial
from appliance.updates.judging import ENOUGH, Found, Verdict
from appliance.updates.refusals import Code

_MOVES: Final = 0.05  # mean change from frame to frame from which on there is something to be seen
_STANDS: Final = 0.05  # of the other's change; below it a model does not look at what it is shown


@dataclass(frozen=True, slots=True)
class Scored:
    """What a classifier says of a frame.

    Attributes:
        scores: Shape (labels,), 0..1; 0 of labels that are not told.
        least: Lowest score of a label that is told.
        are_together: Labels may apply together; else the best one is what counts.
    """

    scores: NDArray[np.float32]
    least: float
    are_together: bool = False

    @property
    def labels(self) -> NDArray[np.bool_]:
        """What it is sure of, shape (labels,)."""
        sure = self.scores >= self.least
        return sure if self.are_together else sure & (np.arange(sure.size) == self.scores.argmax())


class LabelComparison:
    """What two classifiers said of the same frames."""

    def __init__(self) -> None:
        self.frames = 0
        self._found = Found()
        self._last: tuple[Scored, Scored] | None = None
        self._moved = np.zeros(2)
        self._are_one = True  # both are sure of the same in every frame

    def add(self, active: Scored, candidate: Scored) -> None:
        """Count a frame.

        Args:
            active: What the model in service says of it.
            candidate: What the candidate says.
        """
        self.frames += 1
        first, second = active.labels, candidate.labels
        self._found.add(int(first.sum()), int(second.sum()), int((first & second).sum()))
        is_same = self._last is None or np.array_equal(first, self._last[0].labels)
        self._are_one &= is_same and bool(first.any()) and np.array_equal(first, second)
        if self._last is not None:
            self._moved += [_change(*pair) for pair in zip(self._last, (active, candidate), strict=True)]
        self._last = active, candidate

    def verdict(self, trial: Trial) -> Verdict | None:
        """Tell what is wrong with the candidate; None: nothing."""
        found = self._found
        told = (
            f"it was sure of {found.candidate} labels in {self.frames} frames, the model in service of {found.active}"
        )
        active_moved, moved = self._moved / max(self.frames - 1, 1)
        # a camera before one thing: that the model in service wavers, and the candidate does not, is no fault of it
        stands = active_moved >= _MOVES and moved < active_moved * _STANDS and not self._are_one
        if self.frames >= ENOUGH and stands:
            return Code.BLIND, f"it says the same of all of {self.frames} frames, which are not alike"
        if found.active >= ENOUGH and (blindness := found.blindness(told, trial)):
            return blindness
        return None if max(found.active, found.candidate) < ENOUGH else found.disagreement(told, trial)

    def facts(self) -> dict[str, int]:
        """Give the counts, for reports."""
        return self._found.facts(self.frames)


def _change(before: Scored, now: Scored) -> float:
    """Give how far scores have moved from one frame to the next, 0..1: the total variation, where they add up to 1."""
    whole = max(1.0, float(before.scores.sum()), float(now.scores.sum()))
    return float(np.abs(before.scores - now.scores).sum()) / (2.0 * whole)
