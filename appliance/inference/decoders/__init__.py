"""What a model's outputs mean: from tensors to detections in pixels of its input."""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from appliance.core.manifest import ModelManifest
from appliance.core.results import Detections

DECODERS: Final[Mapping[str, str]] = {
    "fastestdet": "appliance.inference.decoders.fastestdet:FastestdetDecoder",
    "nanodet": "appliance.inference.decoders.nanodet:NanodetDecoder",
    "yolox": "appliance.inference.decoders.yolox:YoloxDecoder",
}
"""Decoder of each kind that a manifest can name; the class is imported when it is chosen."""


class Decoder(Protocol):
    """Decodes the outputs of one model. The result depends on the outputs and on nothing else.

    Args:
        manifest: Of the model, with the input size in use.
        min_score: Lowest score of a detection, 0..1.
        wanted: Shape (classes,), bool: the classes that are looked for.
    """

    def __init__(self, manifest: ModelManifest, min_score: float, wanted: NDArray[np.bool_]) -> None: ...

    def decode(self, outputs: Sequence[NDArray[np.float32]]) -> Detections:
        """Give what was found, before overlaps are resolved, in any order.

        A cell gives one detection, of its best class: an object is reported once, and one that is most like a
        class that is not wanted is not reported as another.

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


def best_class(scores: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Give the best class of each row and its score.

    Args:
        scores: Shape (N, classes).
    """
    class_ids = scores.argmax(axis=1)
    return class_ids.astype(np.int32), scores[np.arange(len(scores)), class_ids]
