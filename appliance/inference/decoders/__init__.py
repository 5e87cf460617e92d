"""What a model's outputs mean: from tensors to detections in pixels of its input."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from appliance.core.decoding import Unit
from appliance.core.errors import ModelError
from appliance.core.manifest import ModelManifest
from appliance.core.results import Detections

DECODERS: Final[Mapping[str, str]] = {
    "by-class": "appliance.inference.decoders.by_class:ByClassDecoder",
    "detr": "appliance.inference.decoders.detr:DetrDecoder",
    "distances": "appliance.inference.decoders.distances:DistancesDecoder",
    "fastestdet": "appliance.inference.decoders.fastestdet:FastestdetDecoder",
    "listed": "appliance.inference.decoders.listed:ListedDecoder",
    "nanodet": "appliance.inference.decoders.nanodet:NanodetDecoder",
    "rows": "appliance.inference.decoders.rows:RowsDecoder",
    "ssd": "appliance.inference.decoders.ssd:SsdDecoder",
    "yolov5": "appliance.inference.decoders.yolov5:Yolov5Decoder",
    "yolov8": "appliance.inference.decoders.yolov8:Yolov8Decoder",
    "yolox": "appliance.inference.decoders.yolox:YoloxDecoder",
}
"""Decoder of each kind that a manifest can name; the class is imported when it is chosen."""

MOST_PICKED = 4096  # best first, from one frame; overlaps are resolved among the best 1000 of them
_HIGHEST_SCORE = 1.01  # 8-bit networks round up to it


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

        A score that is no number is picked: the detector must see it. At most `MOST_PICKED` are, the best ones.

        Args:
            scores: Shape (N, classes).

        Returns:
            Row in `scores`, class id and score of each detection.
        """
        if self.every_class:
            rows, class_ids = (~(scores < self.min_score) & self.wanted).nonzero()
            picked = scores[rows, class_ids]
        else:
            all_ids = scores.argmax(axis=1)
            best = scores.max(axis=1)
            rows = (~(best < self.min_score) & self.wanted[all_ids]).nonzero()[0]
            class_ids, picked = all_ids[rows], best[rows]
        if len(picked) > MOST_PICKED:
            kept = strongest(picked)
            rows, class_ids, picked = rows[kept], class_ids[kept], picked[kept]
        return rows, class_ids.astype(np.int32), picked


class Decoder(Protocol):
    """Decodes the outputs of one model. The result depends on the outputs and on nothing else.

    Args:
        manifest: Of the model, with the input size in use.
        choice: What counts as a detection.
    """

    def __init__(self, manifest: ModelManifest, choice: Choice) -> None: ...

    def decode(self, outputs: Sequence[NDArray[Any]]) -> Detections:
        """Give what was found, before overlaps are resolved, in any order.

        What is no number passes every gate (so ``~(a < b)``, not ``a >= b``), for the detector to see it.

        Args:
            outputs: In the order of the manifest's signature.

        Returns:
            Boxes in pixels of the model's input; they may reach beyond it.

        Raises:
            ModelError: The outputs cannot be what the manifest says that they are.
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


def strongest(scores: NDArray[np.float32]) -> NDArray[np.intp]:
    """Give the places of the `MOST_PICKED` highest of more scores, in their order; what is no number is among them."""
    return np.sort(scores.argpartition(len(scores) - MOST_PICKED)[-MOST_PICKED:])


def shaped(manifest: ModelManifest, output: NDArray[Any], columns: int) -> NDArray[Any]:
    """Give an output as rows of `columns` values each, shape (N, columns).

    Raises:
        ModelError: It has another number of them.
    """
    if output.ndim == 0 or output.size % columns:
        raise unlike(manifest, f"gave a tensor of shape {output.shape}, which is no list of {columns} values each")
    return output.reshape(-1, columns)


def input_scale(manifest: ModelManifest, unit: Unit) -> NDArray[np.float32]:
    """Give what makes pixels of the model's input of x, y, x, y in this unit, shape (4,)."""
    size = (manifest.input.width, manifest.input.height) if unit == "normalised" else (1, 1)
    return np.array(size * 2, np.float32)


def check_scores(manifest: ModelManifest, scores: NDArray[np.float32]) -> None:
    """Refuse scores above 1: what stands in their place is something else, such as logits.

    Raises:
        ModelError: One is too high.
    """
    is_too_high = scores > _HIGHEST_SCORE
    if is_too_high.any():
        raise unlike(manifest, f"gave scores up to {scores[is_too_high].max():.4g}, which must lie between 0 and 1")


def unlike(manifest: ModelManifest, what: str) -> ModelError:
    """Give the error that says what a model gave and its manifest does not expect."""
    return ModelError(f"model {manifest.name!r} {what}; its outputs are not what its manifest says")
