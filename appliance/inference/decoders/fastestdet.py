"""FastestDet: https://github.com/dog-qiuqiu/FastestDet, utils/tool.py, handle_preds."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from appliance.core.decoding import FastestdetSpec
from appliance.core.errors import ModelError
from appliance.core.manifest import ModelManifest
from appliance.core.results import Detections
from appliance.inference.decoders import Choice, corners, grid

OBJECTNESS_POWER = 0.6  # score = objectness ** 0.6 * class ** 0.4; handle_preds
CLASS_POWER = 0.4


class FastestdetDecoder:
    """Takes one tensor (1, 5 + classes, rows, columns): objectness, x, y, w, h, classes; see `Decoder`.

    Objectness and class scores are 0..1 already; x and y are offsets before tanh, w and h parts of the picture
    before the sigmoid.
    """

    def __init__(self, manifest: ModelManifest, choice: Choice) -> None:
        if not isinstance(manifest.decoder, FastestdetSpec):
            raise ModelError(f"manifest {manifest.name!r}: decoder.kind is {manifest.decoder.kind!r}, not 'fastestdet'")
        self._places, self._strides = grid(manifest, (manifest.decoder.stride,))
        self._half: NDArray[np.float32] = np.array([manifest.input.width / 2, manifest.input.height / 2], np.float32)
        self._choice = replace(choice, min_score=choice.min_score ** (1.0 / CLASS_POWER))
        # a class score is at most 1: no cell below this in objectness can reach the lowest score
        self._least_objectness = choice.min_score ** (1.0 / OBJECTNESS_POWER)

    def decode(self, outputs: Sequence[NDArray[np.float32]]) -> Detections:
        """Give what was found; see `Decoder.decode`."""
        channels = outputs[0].reshape(-1, len(self._places))
        cells = (~(channels[0] < self._least_objectness)).nonzero()[0]
        if len(cells) == 0:
            return Detections.empty()
        chosen = channels[:, cells].T
        # objectness ** 0.6 * class ** 0.4 = (objectness ** 1.5 * class) ** 0.4: the costly power for a few only
        objectness = chosen[:, :1] ** np.float32(OBJECTNESS_POWER / CLASS_POWER)
        picked, class_ids, products = self._choice.pick(chosen[:, 5:] * objectness)
        cells, chosen = cells[picked], chosen[picked]
        centres = (np.tanh(chosen[:, 1:3]) + self._places[cells]) * self._strides[cells]
        halves = np.divide(self._half, 1.0 + np.exp(-chosen[:, 3:5]), dtype=np.float32)
        return Detections(corners(centres, halves, halves), products ** np.float32(CLASS_POWER), class_ids)
