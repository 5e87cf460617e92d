"""From a list of what a network found, with its own numbers of the classes, to detections."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.core.decoding import NumberedSpec, Unit
from appliance.core.manifest import ModelManifest
from appliance.core.results import Detections
from appliance.inference.decoders import MOST_PICKED, Choice, check_scores, input_scale, strongest, unlike


class ListReader:
    """Reads lists of detections. Pure.

    The network has chosen the class of each: `Choice.every_class` changes nothing.

    Args:
        manifest: Of the model.
        spec: Its decoder.
        unit: Of the boxes.
        choice: What counts as a detection.
    """

    def __init__(self, manifest: ModelManifest, spec: NumberedSpec, unit: Unit, choice: Choice) -> None:
        numbers = np.array(spec.class_numbers or range(len(manifest.labels)), np.intp)
        self._class_ids = np.full(numbers.max() + 1, -1, np.int32)
        self._class_ids[numbers] = np.arange(len(numbers), dtype=np.int32)
        self._scale = input_scale(manifest, unit)
        self._manifest = manifest
        self._choice = choice

    def read(self, boxes: NDArray[np.float32], scores: NDArray[np.float32], numbers: NDArray[Any]) -> Detections:
        """Give the detections among them; a class that is no number becomes a score that is none.

        Args:
            boxes: Shape (N, 4), xyxy in the list's unit.
            scores: Shape (N,).
            numbers: Shape (N,), the network's numbers of the classes.

        Raises:
            ModelError: A class or a score is none that the model can have.
        """
        chosen = (~(scores < self._choice.min_score)).nonzero()[0]
        if len(chosen) > MOST_PICKED:
            chosen = chosen[strongest(scores[chosen])]
        if len(chosen) == 0:
            return Detections.empty()
        found, named = scores[chosen].astype(np.float32), numbers[chosen]
        check_scores(self._manifest, found)
        is_number = np.isfinite(named)
        found[~is_number] = np.nan
        class_ids = self._find(np.where(is_number, named, 0))
        kept = ~is_number | ((class_ids >= 0) & self._choice.wanted[class_ids])
        placed = boxes[chosen[kept]].astype(np.float32) * self._scale
        return Detections(placed, found[kept], np.maximum(class_ids[kept], 0))

    def _find(self, numbers: NDArray[Any]) -> NDArray[np.int32]:
        """Give the class id of each number, -1 where the labels leave it out."""
        is_odd = (numbers < 0) | (numbers >= len(self._class_ids)) | (numbers != np.floor(numbers))
        if is_odd.any():
            last = len(self._class_ids) - 1
            raise unlike(self._manifest, f"gave the class {numbers[is_odd][0]:g} where its labels go from 0 to {last}")
        return self._class_ids[numbers.astype(np.intp)]


def unreadable() -> Detections:
    """Give a detection whose score is no number: what the list says of itself is none, and the detector must see it."""
    return Detections(np.zeros((1, 4), np.float32), np.full(1, np.nan, np.float32), np.zeros(1, np.int32))
