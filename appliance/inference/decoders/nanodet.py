"""NanoDet and PicoDet: each side's distance is the mean of a distribution.

Li et al., "Generalized Focal Loss", arXiv:2006.04388, section 3.2.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from appliance.core.errors import ModelError
from appliance.core.manifest import ModelManifest, NanodetSpec
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
        self._grids = [grid(manifest, (stride,)) for stride in manifest.decoder.strides]
        self._choice = choice

    def decode(self, outputs: Sequence[NDArray[np.float32]]) -> Detections:
        """Give what was found; see `Decoder.decode`."""
        levels = zip(outputs[: self._levels], outputs[self._levels :], self._grids, strict=True)
        found = [level for one in levels if (level := self._decode_level(*one)) is not None]
        if not found:
            return Detections.empty()
        boxes, scores, class_ids = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return Detections(boxes, scores, class_ids)

    def _decode_level(
        self,
        scores: NDArray[np.float32],
        sides: NDArray[np.float32],
        cells_of: tuple[NDArray[np.float32], NDArray[np.float32]],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]] | None:
        hits = (~(scores.reshape(-1) < self._choice.min_score)).nonzero()[0]
        if len(hits) == 0:
            return None
        cells = np.unique(hits // self._classes)
        picked, class_ids, best = self._choice.pick(scores.reshape(-1, self._classes)[cells])
        cells = cells[picked]
        places, strides = cells_of
        weights = np.exp(_below_zero(sides.reshape(len(places), 4, len(self._bins))[cells]))
        distances = (weights @ self._bins) / weights.sum(axis=2) * strides[cells]
        centres = (places[cells] + np.float32(0.5)) * strides[cells]
        boxes = corners(centres, distances[:, :2], distances[:, 2:])
        return boxes, best, class_ids


def _below_zero(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shift the last axis so that its largest value is 0: the softmax is the same, and exp cannot overflow."""
    shifted: NDArray[np.float32] = logits - logits.max(axis=-1, keepdims=True)
    return shifted
