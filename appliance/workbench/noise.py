"""How much of a float model's outputs is left in those of its 8-bit form. Pure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LOWEST_SCORE = 2e-3  # a fifth of the lowest that evaluations count: below it order does not matter
Tensor = NDArray[Any]


def outputs_sqnr(expected: Sequence[Sequence[Tensor]], found: Sequence[Sequence[Tensor]]) -> float:
    """Give the ratio of signal to noise over all outputs, dB; 200 where they are equal.

    Each channel (axis 1 of a map, else the last axis) is judged by its own variation: a class score of 0.01 must not
    be lost beside a box of 400 pixels. A channel that hardly varies is judged by 1 % of its tensor's mean variance.
    One between 0 and 1 is taken for a score, which is there to be sorted by: its logarithm is judged. A step of 8 bits
    is 0.004, so that a score of 0.01 keeps nothing of its order, and AP is lost where the variance shows no harm.

    Args:
        expected: For each picture the outputs of the float model.
        found: Those of the variant.
    """
    shares = []
    for wanted, got in zip(zip(*expected, strict=True), zip(*found, strict=True), strict=True):
        signal, noisy = _by_channel(wanted), _by_channel(got)
        is_score = (signal.min(axis=0) >= 0) & (signal.max(axis=0) <= 1)
        for values in (signal, noisy):
            values[:, is_score] = np.log(np.maximum(values[:, is_score], _LOWEST_SCORE))
        variance = signal.var(axis=0)
        noise = np.square(signal - noisy).mean(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = noise / (variance + 0.01 * variance.mean())
        shares.append(np.nan_to_num(share, nan=0.0, posinf=1.0).mean())
    return decibels(1.0, float(np.mean(shares)))


def decibels(signal: float, noise: float) -> float:
    """Give the ratio of two powers in dB, at most 200."""
    return float(10 * np.log10(signal / max(noise, signal * 1e-20)))


def _by_channel(tensors: Sequence[Tensor]) -> NDArray[np.float64]:
    """Give all values of one output over all pictures, shape (N, channels)."""
    whole = np.stack(tensors).astype(np.float64)
    channel = 2 if whole.ndim == 5 else whole.ndim - 1  # noqa: PLR2004 - pictures, batch, channels, rows, columns
    return np.moveaxis(whole, channel, -1).reshape(-1, whole.shape[channel])
