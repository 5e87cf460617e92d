"""Figures of merit for trackers, written for the tests alone.

CLEAR MOT (Bernardin and Stiefelhagen, 2008) with its rule that a pairing that still fits is kept, fragmentations as in
MOTChallenge, and IDF1 (Ristani et al., 2016). SciPy does the assignments.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

Box = tuple[float, float, float, float]
Frame = Mapping[int, Box]
"""Identity to box, xyxy."""


@dataclass(frozen=True)
class Figures:
    """How well the tracks of a sequence tell its identities."""

    mota: float
    idf1: float
    switches: int
    fragments: int


def measure(truth: Sequence[Frame], tracked: Sequence[Frame]) -> Figures:
    last: dict[int, int] = {}  # identity: the track that last followed it
    pairs: dict[int, int] = {}  # the same, of the previous frame only
    was_followed: dict[int, bool] = {}
    overlaps: Counter[tuple[int, int]] = Counter()
    misses = false_alarms = switches = fragments = 0
    for real, given in zip(truth, tracked, strict=True):
        fits = {(a, b) for a, box in real.items() for b, other in given.items() if iou(box, other) >= 0.5}
        overlaps.update(fits)
        pairs = {a: b for a, b in pairs.items() if (a, b) in fits}
        pairs |= _pair(real, given, fits, pairs)
        switches += sum(last.get(a, b) != b for a, b in pairs.items())
        last |= pairs
        for a in real:
            fragments += a in pairs and was_followed.get(a, True) is False
            if a in last:
                was_followed[a] = a in pairs
        misses += len(real) - len(pairs)
        false_alarms += len(given) - len(pairs)
    count = sum(map(len, truth))
    total = count + sum(map(len, tracked))
    return Figures(
        1 - (misses + false_alarms + switches) / count, 2 * _identity_hits(overlaps) / total, switches, fragments
    )


def _pair(real: Frame, given: Frame, fits: set[tuple[int, int]], kept: Mapping[int, int]) -> dict[int, int]:
    rows = [a for a in real if a not in kept]
    columns = [b for b in given if b not in kept.values()]
    gains = np.array([[iou(real[a], given[b]) if (a, b) in fits else 0.0 for b in columns] for a in rows])
    if not gains.size:
        return {}
    chosen = zip(*linear_sum_assignment(gains, maximize=True), strict=True)
    return {rows[a]: columns[b] for a, b in chosen if gains[a, b] > 0}


def _identity_hits(overlaps: Mapping[tuple[int, int], int]) -> int:
    """Frames explained when each identity is given the one track, and each track the one identity, that suit best."""
    if not overlaps:
        return 0
    rows, columns = (sorted({pair[side] for pair in overlaps}) for side in (0, 1))
    hits = np.array([[overlaps.get((a, b), 0) for b in columns] for a in rows])
    return int(hits[linear_sum_assignment(hits, maximize=True)].sum())


def iou(a: Box, b: Box) -> float:
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(wide, 0.0) * max(high, 0.0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)
