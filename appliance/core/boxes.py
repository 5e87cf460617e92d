"""How much of each other boxes cover."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_LEAST_AREA: Final = 1e-9  # pixels²; keeps two empty boxes from dividing by zero


def overlap(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the IoU of every box of `first`, shape (N, 4), xyxy, with every box of `second`, (M, 4): shape (N, M)."""
    a, b = _sides(first)[:, :, None], _sides(second)[:, None]
    shared = _shared(a, b)
    a, b = a[2:] - a[:2], b[2:] - b[:2]
    union = a[0] * a[1] + b[0] * b[1]
    union -= shared
    np.maximum(union, _LEAST_AREA, out=union)
    shared /= union
    return shared


def shared_areas(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give what every box of `first` has in common with every box of `second`, in pixels²; shapes as of `overlap`."""
    return _shared(_sides(first)[:, :, None], _sides(second)[:, None])


def _sides(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give a row for each side: on small strided arrays NumPy's inner loops cost three times as much."""
    return np.ascontiguousarray(boxes.T)


def _shared(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.minimum(a[2:], b[2:])
    lengths -= np.maximum(a[:2], b[:2])
    np.maximum(lengths, 0.0, out=lengths)
    shared: NDArray[np.float64] = lengths[0] * lengths[1]
    return shared
