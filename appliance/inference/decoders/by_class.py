"""Detections as a list for each class: networks that end in Hailo's suppression.

The lists are of one length and filled up with zeros, as `appliance.inference.runtimes.hailo_lists` lays them out.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from appliance.core.decoding import ByClassSpec
from appliance.core.errors import ModelError
from appliance.core.manifest import ModelManifest
from appliance.core.results import Detections
from appliance.inference.decoders import Choice, unlike
from appliance.inference.decoders.lists import ListReader

_VALUES = 5  # four sides and a score
_XYXY = (1, 0, 3, 2)  # of y1, x1, y2, x2


class ByClassDecoder:
    """Takes one tensor (classes, boxes, 5): sides in the order of the spec, score; see `Decoder`.

    Leading axes of size 1 do not count. A place whose score is 0 is empty.
    """

    def __init__(self, manifest: ModelManifest, choice: Choice) -> None:
        if not isinstance(manifest.decoder, ByClassSpec):
            raise ModelError(f"manifest {manifest.name!r}: decoder.kind is {manifest.decoder.kind!r}, not 'by-class'")
        spec = manifest.decoder
        self._manifest = manifest
        self._sides = list(_XYXY) if spec.box_order == "yxyx" else [0, 1, 2, 3]
        self._reader = ListReader(manifest, spec, spec.unit, choice)

    def decode(self, outputs: Sequence[NDArray[np.float32]]) -> Detections:
        """Give what was found; see `Decoder.decode`."""
        output = np.atleast_3d(outputs[0])
        if output.shape[:-3] != (1,) * (output.ndim - 3) or output.shape[-1] != _VALUES:
            raise unlike(self._manifest, f"gave a tensor of shape {output.shape}, not (classes, boxes, {_VALUES})")
        rows = output.reshape(-1, _VALUES)
        numbers = np.repeat(np.arange(output.shape[-3]), output.shape[-2])
        return self._reader.read(rows[:, self._sides], rows[:, 4], numbers)
