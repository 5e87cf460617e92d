"""The points of a pruning curve, and which of them is chosen. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

_EXACT = 1e-9  # two figures whose difference is the drop itself are within it


@dataclass(frozen=True, slots=True)
class Point:
    """A network and how well it does.

    Attributes:
        share: Of the multiply-adds that were to go, 0..1; None: the network as it was trained.
        multiply_adds: Of its convolutions, for one picture.
        parameters: Of the network.
        size: Bytes of its file.
        ap: Average precision over IoU 0.50 to 0.95 on the validation pictures, 0..1.
        ap50: At IoU 0.50, 0..1.
        cpu_ms: Median CPU time of one thread for one picture, milliseconds.
        ratio: That time as a share of the network's as it was trained.
        model: Folder with its manifest and file.
    """

    share: float | None
    multiply_adds: int
    parameters: int
    size: int
    ap: float
    ap50: float
    cpu_ms: float
    ratio: float
    model: str

    @property
    def name(self) -> str:
        """What people call it."""
        if self.share is None:
            return "as trained"
        return f"{self.share * 100:g} % less" if self.share else "learned on"


def reference_ap(points: Sequence[Point]) -> float:
    """Give the accuracy that a drop counts from: the best of the networks that lost no channel."""
    return max(point.ap for point in points if not point.share)


def choose_point(points: Sequence[Point], max_drop: float) -> Point | None:
    """Give the pruned network with the fewest multiply-adds that lost no more AP than that; None when all lost more.

    Args:
        points: At least one of which lost no channel.
        max_drop: 0..1.
    """
    lowest = reference_ap(points) - max_drop - _EXACT
    good = [point for point in points if point.share and point.ap >= lowest]
    return min(good, key=lambda point: (point.multiply_adds, point.size), default=None)
