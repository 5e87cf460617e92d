"""From a network's class tensor to scores of the labels."""

import math

import numpy as np
from numpy.typing import NDArray

from appliance.core.decoding import ScoredSpec
from appliance.core.manifest import ModelManifest
from appliance.inference.decoders import check_scores, unlike

_SLACK = 1e-3  # of logits: rounding must not lose what just reaches the lowest score; the scores decide afterwards
_BELOW_ONE = 1.0 - 1e-7


class ClassScores:
    """Scores of the labels, from rows of a class tensor. Pure.

    Args:
        manifest: Of the model.
        spec: Its decoder.
        least: The lowest score that counts, 0..1.

    Attributes:
        width: Values of a row at the least: the highest column that a label or the background has, plus one.
    """

    def __init__(self, manifest: ModelManifest, spec: ScoredSpec, least: float) -> None:
        self._manifest = manifest
        numbers = np.array(spec.class_numbers or range(len(manifest.labels)), np.intp)
        first = 1 if spec.background == "first" else 0
        self.width = int(numbers.max()) + 1 + (spec.background != "none")
        whole = len(numbers) == numbers.max() + 1 and bool((np.diff(numbers) == 1).all())
        # a slice is a view, an array of columns a copy
        self._columns = slice(first, first + len(numbers)) if whole else numbers + first
        self._activation = spec.activation
        self._background = -1 if spec.background == "last" else 0
        score = min(least, _BELOW_ONE)
        self._least = least if spec.activation == "none" else math.log(score / (1.0 - score)) - _SLACK

    def candidates(self, rows: NDArray[np.float32]) -> NDArray[np.intp]:
        """Give the rows in which a label may reach the lowest score, and perhaps some more.

        Args:
            rows: Shape (N, at least `width`).

        Raises:
            ModelError: The rows have too few values for the labels.
        """
        if rows.shape[1] < self.width:
            raise unlike(self._manifest, f"gave {rows.shape[1]} classes of a place where its labels take {self.width}")
        if len(rows) == 0:
            return np.empty(0, np.intp)
        best = rows[:, self._columns].max(axis=1)
        if self._activation == "softmax":
            # e^a / (e^a + e^b + others) is at most the sigmoid of a - b
            best = best - rows[:, self._background]
        found: NDArray[np.intp] = (~(best < self._least)).nonzero()[0]
        return found

    def of(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the score of each label, shape (N, labels), of rows from `candidates`.

        Raises:
            ModelError: They are said to be scores, and are not.
        """
        if self._activation == "softmax":
            # the largest logit becomes 0: the softmax stays the same, and exp cannot overflow
            weights = np.exp(rows - rows.max(axis=1, keepdims=True))
            scores: NDArray[np.float32] = weights[:, self._columns] / weights.sum(axis=1, keepdims=True)
            return scores
        chosen = rows[:, self._columns]
        if self._activation == "sigmoid":
            chosen = np.tanh(chosen * np.float32(0.5))  # 1 / (1 + e^-x) = (1 + tanh(x / 2)) / 2; nothing can overflow
            chosen += np.float32(1.0)
            chosen *= np.float32(0.5)
        check_scores(self._manifest, chosen)
        return chosen
