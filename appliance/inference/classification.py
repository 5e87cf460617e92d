"""From a classifier's output to labels, and what stays of them over time. Pure."""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from appliance.core.errors import ModelError
from appliance.core.results import Classifications
from appliance.inference.faults import NumbersError

Activation = Literal["softmax", "sigmoid", "none"]

_HIGHEST_SCORE = 1.01  # 8-bit networks round up to it


def to_scores(output: NDArray[np.float32], classes: int, activation: Activation) -> NDArray[np.float32]:
    """Make scores of a classifier's output.

    Args:
        output: Of `classes` values, whatever its axes of size 1.
        classes: How many labels the model has, the background among them where it has one.
        activation: What is still to be done: ``softmax`` for logits of labels of which one applies, ``sigmoid`` for
            those of labels that may apply together, ``none`` where they are scores already.

    Returns:
        Shape (classes,), float32, 0..1.

    Raises:
        ModelError: It has another number of values, or one is no score.
    """
    if output.size != classes:
        raise ModelError(f"the model gave a tensor of shape {output.shape} for {classes} labels")
    values = output.reshape(-1).astype(np.float32)
    if not np.isfinite(values).all():
        raise NumbersError("the model gave scores that are not finite; it is broken")
    if activation == "softmax":
        values = np.exp(values - values.max())  # the largest logit becomes 0: exp cannot overflow
        values /= values.sum()
    elif activation == "sigmoid":
        values = np.tanh(values * np.float32(0.5))  # 1 / (1 + e^-x) = (1 + tanh(x / 2)) / 2: nothing can overflow
        values = (values + np.float32(1.0)) * np.float32(0.5)
    if values.min() < 0.0 or values.max() > _HIGHEST_SCORE:
        raise NumbersError(
            f"the model gave scores from {values.min():.4g} to {values.max():.4g}, which must lie between 0 and 1; "
            "are they logits?"
        )
    return np.minimum(values, np.float32(1.0))


def rank(
    scores: NDArray[np.float32], *, most: int, min_score: float = 0.0, wanted: NDArray[np.bool_] | None = None
) -> Classifications:
    """Give the labels with the highest scores; of equal ones the lower class id goes first.

    Args:
        scores: Shape (classes,), 0..1.
        most: How many at the most.
        min_score: Lowest score, 0..1.
        wanted: Shape (classes,): the labels that may be given; None: all.
    """
    counts = scores >= min_score
    if wanted is not None:
        counts &= wanted
    candidates = counts.nonzero()[0]
    order = np.argsort(-scores[candidates], kind="stable")[:most]
    chosen = candidates[order]
    return Classifications(scores[chosen].astype(np.float32), chosen.astype(np.int32))


class ExponentialSmoother:
    """Calms the scores of one camera: a moving average whose memory fades with time, not with frames.

    Owned by one thread.

    A frame counts 1 - exp(-t / time_constant), where t is the time since the one before: after a time constant a new
    state has reached 63 %, after three of them 95 %, however many frames came in between.

    Args:
        time_constant: Seconds; 0: each frame counts by itself.

    Attributes:
        time_constant: Likewise; may be changed between two frames, and the average goes on from where it is.
    """

    def __init__(self, time_constant: float) -> None:
        self.time_constant = time_constant
        self._state: NDArray[np.float32] | None = None
        self._last_ns = 0

    def update(self, scores: NDArray[np.float32], mono_ns: int) -> NDArray[np.float32]:
        """Take the scores of a frame and give the average so far, both of shape (classes,).

        Args:
            scores: Of the frame, 0..1.
            mono_ns: The frame's monotonic time, nanoseconds.

        Raises:
            ModelError: They are of another number of classes than before.
        """
        if self._state is not None:
            _check_same(len(scores), len(self._state))
        if self._state is None or not self.time_constant:
            self._state = scores.astype(np.float32)
        else:
            share = -math.expm1(-max(0, mono_ns - self._last_ns) / (self.time_constant * 1e9))
            self._state = self._state + np.float32(share) * (scores - self._state)
        self._last_ns = mono_ns
        return self._state


def _check_same(found: int, before: int) -> None:
    if found != before:
        raise ModelError(f"the model gave {found} scores and {before} before")
