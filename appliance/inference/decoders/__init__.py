"""What a model's outputs mean: from tensors to detections in pixels of its input."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from appliance.core.manifest import ModelManifest
from appliance.core.results import Detections

DECODERS: Final[Mapping[str, str]] = {
    "distances": "appliance.inference.decoders.distances:DistancesDecoder",
    "fastestdet": "appliance.inference.decoders.fastestdet:FastestdetDecoder",
    "nanodet": "appliance.inference.decoders.nanodet:NanodetDecoder",
    "yolox": "appliance.inference.decoders.yolox:YoloxDecoder",
}
"""Decoder of each kind that a manifest can name; the class is imported when it is chosen."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What counts as a detection.

    Attributes:
        min_score: Lowest score, 0..1.
        wanted: Shape (classes,), bool: the classes that are looked for.
        every_class: A cell gives a detection of each class that reaches the lowest score, as evaluations do;
            else only of its best one, so that an object is reported once, and one that is most like a class that
            is not wanted is not reported as another.
    """

    min_score: float
    wanted: NDArray[np.bool_]
    every_class: bool = False

    def pick(self, scores: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.int32], NDArray[np.float32]]:
        """Pick detections from the scores of some cells.

        A score that is no number is picked: the detector must see it.

        Args:
            scores: Shape (N, classes).

        Returns:
            Row in `scores`, class id and score of each detection.
        """
        if self.every_class:
            rows, class_ids = (~(scores < self.min_score) & self.wanted).nonzero()
            return rows, class_ids.astype(np.int32), scores[rows, class_ids]
        class_ids = scores.argmax(axis=1)
        best = scores.max(axis=1)
        rows = (~(best < self.min_score) & self.wanted[class_ids]).nonzero()[0]
        return rows, class_ids[rows].astype(np.int32), best[rows]


class Decoder(Protocol):
    """Decodes the outputs of one model. The result depends on the outputs and on nothing else.

    Args:
        manifest: Of the model, with the input size in use.
        choice: What counts as a detection.
    """

    def __init__(self, manifest: ModelManifest, choice: Choice) -> None: ...

    def decode(self, outputs: Sequence[NDArray[np.float32]]) -> Detections:
        """Give what was found, before overlaps are resolved, in any order.

        What is no number passes every gate (so ``~(a < b)``, not ``a >= b``), for the detector to see it.

        Args:
            outputs: In the order of the manifest's signature.

        Returns:
            Boxes in pixels of the model's input; they may reach beyond it.
        """


def grid(manifest: ModelManifest, strides: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give the cells of all maps one after the other, row by row.

    Returns:
        Column and row of each cell, shape (cells, 2); stride of each cell in pixels, shape (cells, 1).
    """
    places, steps = [], []
    for stride in strides:
        rows, columns = -(-manifest.input.height // stride), -(-manifest.input.width // stride)
        y, x = np.mgrid[:rows, :columns]
        places.append(np.stack((x.ravel(), y.ravel()), axis=1))
        steps.append(np.full((rows * columns, 1), stride))
    return np.concatenate(places).astype(np.float32), np.concatenate(steps).astype(np.float32)


def corners(
    centres: NDArray[np.float32], before: NDArray[np.float32], after: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Give boxes (N, 4), xyxy, from their centres and how far they reach before and after them, each (N, 2)."""
    boxes = np.empty((len(centres), 4), np.float32)
    np.subtract(centres, before, out=boxes[:, :2])
    np.add(centres, after, out=boxes[:, 2:])
    return boxes
