"""DETR and its kind: a set of boxes with class scores, one for each object, so that nothing is suppressed.

Carion et al., "End-to-End Object Detection with Transformers", arXiv:2005.12872 (softmax, the last class is "nothing").
With a sigmoid: RF-DETR, rfdetr/models/lwdetr.py, PostProcess, of https://github.com/roboflow/rf-detr; RT-DETR, D-FINE
and DEIM, src/zoo/dfine/postprocessor.py of https://github.com/Peterande/D-FINE.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from appliance.core.decoding import DetrSpec
from appliance.core.errors import ModelError
from appliance.core.manifest import ModelManifest
from appliance.core.results import Detections
from appliance.inference.decoders import Choice, corners, input_scale, shaped, unlike
from appliance.inference.decoders.classes import ClassScores


class DetrDecoder:
    """Takes boxes (1, queries, 4) and classes (1, queries, columns), in the order of the spec; see `Decoder`.

    Boxes are centre x, y, width, height, 0..1 of the input. The publications keep the best so many of all pairs of
    query and class, whatever their score; so do `Choice.every_class` and the spec's `max_detections` together.
    """

    def __init__(self, manifest: ModelManifest, choice: Choice) -> None:
        if not isinstance(manifest.decoder, DetrSpec):
            raise ModelError(f"manifest {manifest.name!r}: decoder.kind is {manifest.decoder.kind!r}, not 'detr'")
        self._manifest = manifest
        self._classes = ClassScores(manifest, manifest.decoder, choice.min_score)
        self._at_boxes, self._at_scores = (manifest.decoder.outputs.index(name) for name in ("boxes", "scores"))
        self._scale = input_scale(manifest, "normalised")
        self._choice = choice

    def decode(self, outputs: Sequence[NDArray[np.float32]]) -> Detections:
        """Give what was found; see `Decoder.decode`."""
        boxes, classes = outputs[self._at_boxes], outputs[self._at_scores]
        boxes = shaped(self._manifest, boxes, 4)
        classes = shaped(self._manifest, classes, max(classes.shape[-1], 1))
        if len(boxes) != len(classes):
            raise unlike(self._manifest, f"gave {len(boxes)} boxes and classes for {len(classes)}")
        rows = self._classes.candidates(classes)
        if len(rows) == 0:
            return Detections.empty()
        picked, class_ids, scores = self._choice.pick(self._classes.of(classes[rows]))
        placed = boxes[rows[picked]] * self._scale
        halves = placed[:, 2:] * np.float32(0.5)
        return Detections(corners(placed[:, :2], halves, halves), scores, class_ids)
