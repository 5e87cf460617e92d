"""YOLOv8, YOLOv9 and YOLO11 style: a column for each cell, decoded in the network, without objectness.

Columns of x, y, width, height and classes, (1, 84, 8400) for COCO at 640 x 640:
https://github.com/ultralytics/ultralytics/issues/221.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from appliance.core.decoding import Yolov8Spec
from appliance.core.errors import ModelError
from appliance.core.manifest import ModelManifest
from appliance.core.results import Detections
from appliance.inference.decoders import Choice, check_scores, corners, input_scale, unlike


class Yolov8Decoder:
    """Takes one tensor (1, 4 + classes, cells): centre x, y, width, height, classes; see `Decoder`.

    Class scores are 0..1 already.
    """

    def __init__(self, manifest: ModelManifest, choice: Choice) -> None:
        if not isinstance(manifest.decoder, Yolov8Spec):
            raise ModelError(f"manifest {manifest.name!r}: decoder.kind is {manifest.decoder.kind!r}, not 'yolov8'")
        self._manifest = manifest
        self._rows = 4 + len(manifest.labels)
        self._scale = input_scale(manifest, manifest.decoder.unit)
        self._choice = choice

    def decode(self, outputs: Sequence[NDArray[np.float32]]) -> Detections:
        """Give what was found; see `Decoder.decode`."""
        output = outputs[0]
        if output.shape[-2:-1] != (self._rows,):
            raise unlike(self._manifest, f"gave a tensor of shape {output.shape}, not (1, {self._rows}, cells)")
        columns = output.reshape(self._rows, -1)
        # class by class in memory: the best of a cell takes as many steps as there are classes
        cells = (~(columns[4:].max(axis=0) < self._choice.min_score)).nonzero()[0]
        if len(cells) == 0:
            return Detections.empty()
        picked, class_ids, scores = self._choice.pick(columns[4:, cells].T)
        check_scores(self._manifest, scores)
        placed = columns[:4, cells[picked]].T * self._scale
        halves = placed[:, 2:] * np.float32(0.5)
        return Detections(corners(placed[:, :2], halves, halves), scores, class_ids)
