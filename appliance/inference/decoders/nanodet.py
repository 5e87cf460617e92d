"""NanoDet and PicoDet: each side's distance is the mean of a distribution.

Li et al., "Generalized Focal Loss", arXiv:2006.04388, section 3.2.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from appliance.core.decoding import NanodetSpec
from appliance.core.errors import ModelError
from appliance.core.manifest import ModelManifest
from appliance.core.results import Detections
from appliance.inference.decoders import Choice, corners, grid


class NanodetDecoder:
    """Takes the scores (cells, classes) of each level, then the distances (cells, 4 x bins) of each; see `Decoder`.

    Scores are 0..1 already. Sides are left, top, right, bottom, in cells from the cell's centre.
    """

    def __init__(self, manifest: ModelManifest, choice: Choice) -> None:
        if not isinstance(manifest.decoder, NanodetSpec):
            raise ModelError(f"manifest {manifest.name!r}: decoder.kind is {manifest.decoder.kind!r}, not 'nanodet'")
        self._levels = len(manifest.decoder.strides)
        self._classes = len(manifest.labels)
        self._bins = np.arange(manifest.decoder.bins, dtype=np.float32)
        self._places, self._strides = grid(manifest, manifest.decoder.strides)
        counts = [len(grid(manifest, (stride,))[0]) for stride in manifest.decoder.strides]
        self._firsts = np.cumsum([0, *counts[:-1]])
        self._choice = choice

    def decode(self, outputs: Sequence[NDArray[np.float32]]) -> Detections:
        """Give what was found; see `Decoder.decode`."""
        at, scores, sides = [], [], []
        levels = zip(outputs[: self._levels], outputs[self._levels :], self._firsts, strict=True)
        for level_scores, level_sides, first in levels:
            cells = self._gate(level_scores)
            if len(cells):
                at.append(cells + first)
                scores.append(level_scores.reshape(-1, self._classes)[cells])
                sides.append(level_sides.reshape(-1, 4, len(self._bins))[cells])
        if not at:
            return Detections.empty()
        picked, class_ids, best = self._choice.pick(np.concatenate(scores))
        boxes = self._boxes(np.concatenate(at)[picked], np.concatenate(sides)[picked])
        return Detections(boxes, best, class_ids)

    def _gate(self, scores: NDArray[np.float32]) -> NDArray[np.intp]:
        """Give the cells in which any class reaches the lowest score."""
        hits = (~(scores.reshape(-1) < self._choice.min_score)).nonzero()[0]
        return np.bincount(hits // self._classes).nonzero()[0] if len(hits) else hits

    def _boxes(self, at: NDArray[np.intp], sides: NDArray[np.float32]) -> NDArray[np.float32]:
        # the largest logit becomes 0: the softmax stays the same, and exp cannot overflow
        weights = np.exp(sides - sides.max(axis=2, keepdims=True))
        strides = self._strides[at]
        distances = (weights * self._bins).sum(axis=2) / weights.sum(axis=2) * strides
        centres = (self._places[at] + np.float32(0.5)) * strides
        return corners(centres, distances[:, :2], distances[:, 2:])
