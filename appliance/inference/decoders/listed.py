"""Detections as one tensor for each of their properties: networks with their own suppression.

TensorFlow Lite's ``TFLite_Detection_PostProcess`` (SSD MobileNet, EfficientDet-Lite; boxes y1, x1, y2, x2 of 0..1,
classes and scores as float32, a count): tensorflow/lite/kernels/detection_postprocess.cc of
https://github.com/tensorflow/tensorflow. TensorRT's ``EfficientNMS_TRT`` (count, boxes, scores, classes as int32):
https://github.com/NVIDIA/TensorRT/tree/main/plugin/efficientNMSPlugin. D-FINE and DEIM as deployed (labels as int64,
boxes, scores, no count): tools/deployment/export_onnx.py of https://github.com/Peterande/D-FINE.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.core.decoding import ListedSpec
from appliance.core.errors import ModelError
from appliance.core.manifest import ModelManifest
from appliance.core.results import Detections
from appliance.inference.decoders import Choice, shaped, unlike
from appliance.inference.decoders.lists import ListReader, unreadable

_XYXY = (1, 0, 3, 2)  # of y1, x1, y2, x2


class ListedDecoder:
    """Takes boxes (N, 4), classes (N), scores (N) and perhaps a count, in the order of the spec; see `Decoder`.

    Leading axes of size 1 do not count. What lies behind the count is not looked at.
    """

    def __init__(self, manifest: ModelManifest, choice: Choice) -> None:
        if not isinstance(manifest.decoder, ListedSpec):
            raise ModelError(f"manifest {manifest.name!r}: decoder.kind is {manifest.decoder.kind!r}, not 'listed'")
        spec = manifest.decoder
        if len(manifest.signature.outputs) != len(spec.outputs):
            raise ModelError(
                f"manifest {manifest.name!r}: decoder.outputs names {len(spec.outputs)} tensors, "
                f"signature.outputs has {len(manifest.signature.outputs)}"
            )
        self._manifest = manifest
        self._names = spec.outputs
        self._is_turned = spec.box_order == "yxyx"
        self._reader = ListReader(manifest, spec, spec.unit, choice)

    def decode(self, outputs: Sequence[NDArray[Any]]) -> Detections:
        """Give what was found; see `Decoder.decode`."""
        named = dict(zip(self._names, outputs, strict=True))
        boxes = shaped(self._manifest, named["boxes"], 4)
        scores, classes = named["scores"].reshape(-1), named["classes"].reshape(-1)
        if not len(boxes) == len(scores) == len(classes):
            sizes = f"{len(boxes)} boxes, {len(scores)} scores and {len(classes)} classes"
            raise unlike(self._manifest, f"gave {sizes}")
        if "count" in named:
            count = self._count(named["count"], len(boxes))
            if count is None:
                return unreadable()
            boxes, scores, classes = boxes[:count], scores[:count], classes[:count]
        return self._reader.read(boxes[:, _XYXY] if self._is_turned else boxes, scores, classes)

    def _count(self, output: NDArray[Any], most: int) -> int | None:
        """Give how many rows are detections; None: the tensor holds no number."""
        count = float(output.reshape(-1)[0]) if output.size == 1 else -1.0
        if np.isnan(count):
            return None
        if not (count.is_integer() and 0 <= count <= most):
            given = f"{output.reshape(-1)[0]:g}" if output.size == 1 else f"of shape {output.shape}"
            raise unlike(self._manifest, f"gave a count {given} with a list of {most}")
        return int(count)
