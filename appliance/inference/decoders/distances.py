"""Edgecam's own head: scores, and how far each side lies from the cell's centre.

Tian et al., "FCOS: Fully Convolutional One-Stage Object Detection", arXiv:1904.01355, section 3.1.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from appliance.core.decoding import DistancesSpec
from appliance.core.errors import ModelError
from appliance.core.manifest import ModelManifest
from appliance.core.results import Detections
from appliance.inference.decoders import Choice, corners, grid


class DistancesDecoder:
    """Takes scores (1, classes, cells) and distances (1, 4, cells); see `Decoder`.

    Scores are 0..1 already. Sides are left, top, right, bottom, in cells from the cell's centre; one below 0 means
    that the centre lies beyond that side.
    """

    def __init__(self, manifest: ModelManifest, choice: Choice) -> None:
        if not isinstance(manifest.decoder, DistancesSpec):
            raise ModelError(f"manifest {manifest.name!r}: decoder.kind is {manifest.decoder.kind!r}, not 'distances'")
        places, self._strides = grid(manifest, manifest.decoder.strides)
        self._centres = (places + np.float32(0.5)) * self._strides
        self._choice = choice

    def decode(self, outputs: Sequence[NDArray[np.float32]]) -> Detections:
        """Give what was found; see `Decoder.decode`."""
        scores = outputs[0][0]
        # class by class in memory: the best of a cell takes as many steps as there are classes
        cells = (~(scores.max(axis=0) < self._choice.min_score)).nonzero()[0]
        if len(cells) == 0:
            return Detections.empty()
        picked, class_ids, best = self._choice.pick(scores[:, cells].T)
        cells = cells[picked]
        sides = outputs[1][0][:, cells].T * self._strides[cells]
        return Detections(corners(self._centres[cells], sides[:, :2], sides[:, 2:]), best, class_ids)
