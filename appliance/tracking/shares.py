"""How much of the picture and of each zone the labels cover, and when that is worth telling. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

MOST_TOLD: Final = 20  # labels of the picture or of one zone: bounds a message
LEAST_TOLD: Final = 0.001  # of the area: a label that covers less has not been seen there


class Area:
    """The shares of one area: the picture, or a zone. A label that was seen there once stays, at 0.

    Args:
        labels: The model's, by class id.
        wanted: Shape (labels,): those that are told of.
        step: A share that has changed by so much since it was told last is worth telling, 0..1.
    """

    def __init__(self, labels: Sequence[str], wanted: NDArray[np.bool_], step: float) -> None:
        self._labels, self._wanted, self._step = labels, wanted, step
        self._seen: NDArray[np.bool_] = np.zeros(len(labels), np.bool_)
        self._told: NDArray[np.float64] | None = None

    @property
    def is_covered(self) -> bool:
        """Whether the shares that were told last say that a label covers anything."""
        return self._told is not None and bool((self._told[self._wanted] >= LEAST_TOLD).any())

    def is_worth_telling(self, shares: NDArray[np.float64]) -> bool:
        """Tell whether a share has changed by a step since it was told last, or nothing has been told yet.

        Args:
            shares: Shape (labels,), 0..1.
        """
        if self._told is None:
            return True
        return bool((np.abs(shares - self._told)[self._wanted] >= self._step).any())

    def tell(self, shares: NDArray[np.float64]) -> dict[str, float]:
        """Give the shares of the labels seen here so far, the largest first, `MOST_TOLD` at the most, four decimals.

        Args:
            shares: Shape (labels,), 0..1.
        """
        self._told = shares
        self._seen |= self._wanted & (shares >= LEAST_TOLD)
        ids = np.flatnonzero(self._seen)
        ids = ids[np.argsort(-shares[ids], kind="stable")][:MOST_TOLD]
        return {self._labels[at]: round(float(shares[at]), 4) for at in ids.tolist()}


class Shares:
    """The shares of a camera's picture and of its zones; see `Area`.

    Args:
        labels: The model's, by class id.
        wanted: Shape (labels,): those that are told of.
        zones: The same for each zone.
        step: A share that has changed by so much is worth telling, 0..1.
    """

    def __init__(
        self, labels: Sequence[str], wanted: NDArray[np.bool_], zones: Mapping[str, NDArray[np.bool_]], step: float
    ) -> None:
        self._classes = len(labels)
        self._picture = Area(labels, wanted, step)
        self._zones = {name: Area(labels, wanted & counts, step) for name, counts in zones.items()}

    def step(
        self, picture: NDArray[np.float64], zones: Mapping[str, NDArray[np.float64]]
    ) -> tuple[dict[str, float], dict[str, dict[str, float]]] | None:
        """Take in the shares of a frame and give what is to be told of the picture and of each zone; None: nothing.

        Args:
            picture: Shape (labels,), 0..1.
            zones: The same for every zone.
        """
        areas = [(self._picture, picture), *((area, zones[name]) for name, area in self._zones.items())]
        if not any(area.is_worth_telling(shares) for area, shares in areas):
            return None
        return self._picture.tell(picture), {name: area.tell(zones[name]) for name, area in self._zones.items()}

    def finish(self) -> tuple[dict[str, float], dict[str, dict[str, float]]] | None:
        """Tell that nothing covers anything any more: the camera shows nothing; None: that was told last.

        It is told however small the change: the message is retained, and nothing comes after it.
        """
        if not any(area.is_covered for area in (self._picture, *self._zones.values())):
            return None
        nothing = np.zeros(self._classes)
        return self._picture.tell(nothing), {name: area.tell(nothing) for name, area in self._zones.items()}
