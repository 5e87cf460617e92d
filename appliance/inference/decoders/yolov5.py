"""YOLOv5 style: a row for each cell and anchor, decoded in the network.

Rows of x, y, width, height, objectness and classes: https://github.com/ultralytics/yolov5/issues/2 and the tables of
https://docs.ultralytics.com/yolov5/; likewise YOLOv7 exported with ``--grid`` (arXiv:2207.02696), and YOLOX exported
with ``--decode_in_inference`` (https://github.com/Megvii-BaseDetection/YOLOX, yolox/models/yolo_head.py).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from appliance.core.decoding import Yolov5Spec
from appliance.core.errors import ModelError
from appliance.core.manifest import ModelManifest
from appliance.core.results import Detections
from appliance.inference.decoders import Choice, check_scores, corners, input_scale, shaped


class Yolov5Decoder:
    """Takes one tensor (1, cells, 5 + classes): centre x, y, width, height, objectness, classes; see `Decoder`.

    Objectness and class scores are 0..1 already, their product is the score.
    """

    def __init__(self, manifest: ModelManifest, choice: Choice) -> None:
        if not isinstance(manifest.decoder, Yolov5Spec):
            raise ModelError(f"manifest {manifest.name!r}: decoder.kind is {manifest.decoder.kind!r}, not 'yolov5'")
        self._manifest = manifest
        self._columns = 5 + len(manifest.labels)
        self._scale = input_scale(manifest, manifest.decoder.unit)
        self._choice = choice

    def decode(self, outputs: Sequence[NDArray[np.float32]]) -> Detections:
        """Give what was found; see `Decoder.decode`."""
        rows = shaped(self._manifest, outputs[0], self._columns)
        # a class score is at most 1: no cell below in objectness can be above in their product
        chosen = rows[~(rows[:, 4] < self._choice.min_score)]
        if len(chosen) == 0:
            return Detections.empty()
        check_scores(self._manifest, chosen[:, 4:])
        picked, class_ids, scores = self._choice.pick(chosen[:, 5:] * chosen[:, 4:5])
        placed = chosen[picked, :4] * self._scale
        halves = placed[:, 2:] * np.float32(0.5)
        return Detections(corners(placed[:, :2], halves, halves), scores, class_ids)
