"""YOLOX: Ge et al., "YOLOX: Exceeding YOLO Series in 2021", arXiv:2107.08430; yolox/utils/demo_utils.py."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from appliance.core.decoding import YoloxSpec
from appliance.core.errors import ModelError
from appliance.core.manifest import ModelManifest
from appliance.core.results import Detections
from appliance.inference.decoders import Choice, corners, grid


class YoloxDecoder:
    """Takes one tensor (1, cells, 5 + classes): x, y, log w, log h, objectness, classes; see `Decoder`.

    Offsets and log sizes are in cells; objectness and class scores are 0..1 already.
    """

    def __init__(self, manifest: ModelManifest, choice: Choice) -> None:
        if not isinstance(manifest.decoder, YoloxSpec):
            raise ModelError(f"manifest {manifest.name!r}: decoder.kind is {manifest.decoder.kind!r}, not 'yolox'")
        self._places, self._strides = grid(manifest, manifest.decoder.strides)
        self._choice = choice

    def decode(self, outputs: Sequence[NDArray[np.float32]]) -> Detections:
        """Give what was found; see `Decoder.decode`."""
        rows = outputs[0][0]
        # a class score is at most 1: no cell below in objectness can be above in their product
        cells = (~(rows[:, 4] < self._choice.min_score)).nonzero()[0]
        if len(cells) == 0:
            return Detections.empty()
        chosen = rows[cells]
        picked, class_ids, scores = self._choice.pick(chosen[:, 5:] * chosen[:, 4:5])
        cells, chosen = cells[picked], chosen[picked]
        stride = self._strides[cells]
        centres = (chosen[:, :2] + self._places[cells]) * stride
        halves = np.exp(chosen[:, 2:4]) * (stride * np.float32(0.5))
        return Detections(corners(centres, halves, halves), scores, class_ids)
