"""SSD and EfficientDet without their postprocessing: class scores, and boxes as offsets from anchors.

Liu et al., "SSD: Single Shot MultiBox Detector", arXiv:1512.02325, section 2.2. Anchors and offsets as in TensorFlow's
Object Detection API (anchor_generators/multiple_grid_anchor_generator.py, box_coders/faster_rcnn_box_coder.py of
https://github.com/tensorflow/models/tree/master/research/object_detection) and in EfficientDet (tf2/anchors.py of
https://github.com/google/automl/tree/master/efficientdet).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from appliance.core.decoding import SsdLayer, SsdSpec
from appliance.core.errors import ModelError
from appliance.core.manifest import ModelManifest
from appliance.core.results import Detections
from appliance.inference.decoders import Choice, corners, grid, shaped, unlike
from appliance.inference.decoders.classes import ClassScores

MOST_ANCHORS = 1_000_000  # RetinaNet at 1333 x 800 has 200,000
_XYWH = {"xywh": (0, 1, 2, 3), "yxhw": (1, 0, 3, 2)}


class SsdDecoder:
    """Takes boxes (1, anchors, 4) and classes (1, anchors, columns), in the order of the spec; see `Decoder`.

    Or a tensor of each for every map, (1, rows, columns, anchors of a cell x values) or as above, those of the boxes
    together and those of the classes together.
    """

    def __init__(self, manifest: ModelManifest, choice: Choice) -> None:
        if not isinstance(manifest.decoder, SsdSpec):
            raise ModelError(f"manifest {manifest.name!r}: decoder.kind is {manifest.decoder.kind!r}, not 'ssd'")
        spec = manifest.decoder
        outputs = len(manifest.signature.outputs)
        if outputs not in {2, 2 * len(spec.layers)}:
            raise ModelError(
                f"manifest {manifest.name!r}: signature.outputs has {outputs} tensors; "
                f"decoder.layers takes 2 or {2 * len(spec.layers)}"
            )
        self._manifest = manifest
        self._anchors = make_anchors(manifest, spec)
        self._classes = ClassScores(manifest, spec, choice.min_score)
        halves = slice(0, outputs // 2), slice(outputs // 2, outputs)
        self._boxes_at, self._scores_at = (halves[spec.outputs.index(name)] for name in ("boxes", "scores"))
        self._order = _XYWH[spec.box_order]
        self._variances = np.array(spec.variances, np.float32)
        self._per_cell = [len(layer.anchors) for layer in spec.layers]
        self._choice = choice

    def decode(self, outputs: Sequence[NDArray[np.float32]]) -> Detections:
        """Give what was found; see `Decoder.decode`."""
        boxes = self._join(outputs[self._boxes_at], is_boxes=True)
        classes = self._join(outputs[self._scores_at], is_boxes=False)
        rows = self._classes.candidates(classes)
        if len(rows) == 0:
            return Detections.empty()
        picked, class_ids, scores = self._choice.pick(self._classes.of(classes[rows]))
        rows = rows[picked]
        offsets = boxes[rows][:, self._order] * self._variances
        anchors = self._anchors[rows]
        centres = offsets[:, :2] * anchors[:, 2:] + anchors[:, :2]
        halves = np.exp(offsets[:, 2:]) * anchors[:, 2:] * np.float32(0.5)
        return Detections(corners(centres, halves, halves), scores, class_ids)

    def _join(self, outputs: Sequence[NDArray[np.float32]], *, is_boxes: bool) -> NDArray[np.float32]:
        """Give the rows of all maps, shape (anchors, values)."""
        per_cell = self._per_cell if len(outputs) == len(self._per_cell) else [1]
        parts = []
        for output, count in zip(outputs, per_cell, strict=True):
            # the tensor of one map may hold a cell's anchors side by side: (1, rows, columns, anchors x values)
            width = output.shape[-1] // (count if output.ndim == 4 else 1)  # noqa: PLR2004 - axes
            parts.append(shaped(self._manifest, output, 4 if is_boxes else max(width, 1)))
        if sum(map(len, parts)) != len(self._anchors) or len({part.shape[1] for part in parts}) != 1:
            shapes = ", ".join(str(output.shape) for output in outputs)
            raise unlike(self._manifest, f"gave {shapes} for {len(self._anchors)} anchors")
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def make_anchors(manifest: ModelManifest, spec: SsdSpec) -> NDArray[np.float32]:
    """Give the anchors of all maps one after the other, cell by cell, row by row.

    Returns:
        Shape (anchors, 4): centre x, y, width, height in pixels of the model's input.

    Raises:
        ModelError: There are too many.
    """
    width, height = manifest.input.width, manifest.input.height
    count = sum(-(-width // one.stride) * -(-height // one.stride) * len(one.anchors) for one in spec.layers)
    if count > MOST_ANCHORS:
        raise ModelError(f"manifest {manifest.name!r}: decoder.layers have {count} anchors; at most {MOST_ANCHORS}")
    return np.concatenate([_anchors(manifest, spec, layer) for layer in spec.layers]).astype(np.float32)


def _anchors(manifest: ModelManifest, spec: SsdSpec, layer: SsdLayer) -> NDArray[np.float64]:
    width, height = manifest.input.width, manifest.input.height
    places = grid(manifest, (layer.stride,))[0].astype(np.float64)
    cell = np.array([layer.stride, layer.stride], np.float64)
    if spec.cells == "evenly":
        cell = np.array([width, height]) / (places.max(axis=0) + 1)
    scale, ratio = np.array(layer.anchors, np.float64).T
    sides = np.stack((scale * np.sqrt(ratio), scale / np.sqrt(ratio)), axis=1)
    sides *= cell if spec.scale_unit == "cells" else min(width, height)
    centres = np.repeat((places + 0.5) * cell, len(sides), axis=0)
    return np.concatenate((centres, np.tile(sides, (len(places), 1))), axis=1)
