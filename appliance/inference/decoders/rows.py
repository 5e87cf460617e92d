"""Detections as rows of one tensor: networks with their own suppression.

YOLOv10 and YOLO26 (N, 6: corners, score, class): https://github.com/THU-MIG/yolov10/issues/7. YOLOv7 with
``--end2end`` (N, 7: batch, corners, class, score): https://github.com/WongKinYiu/yolov7, models/experimental.py.
OpenVINO's DetectionOutput (1, 1, N, 7: batch, class, score, corners of 0..1; a batch of -1 ends the list):
https://docs.openvino.ai/2025/documentation/openvino-ir-format/operation-sets/operation-specs/detection/detectionoutput-8.html.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.core.decoding import RowsSpec
from appliance.core.errors import ModelError
from appliance.core.manifest import ModelManifest
from appliance.core.results import Detections
from appliance.inference.decoders import Choice, unlike
from appliance.inference.decoders.lists import ListReader


class RowsDecoder:
    """Takes one tensor (N, columns), columns in the order of the spec; see `Decoder`.

    Leading axes of size 1 do not count.
    """

    def __init__(self, manifest: ModelManifest, choice: Choice) -> None:
        if not isinstance(manifest.decoder, RowsSpec):
            raise ModelError(f"manifest {manifest.name!r}: decoder.kind is {manifest.decoder.kind!r}, not 'rows'")
        spec = manifest.decoder
        self._manifest = manifest
        self._corners = [spec.columns.index(side) for side in ("x1", "y1", "x2", "y2")]
        self._score, self._class = spec.columns.index("score"), spec.columns.index("class")
        self._batch = spec.columns.index("batch") if "batch" in spec.columns else None
        self._count = len(spec.columns)
        self._reader = ListReader(manifest, spec, spec.unit, choice)

    def decode(self, outputs: Sequence[NDArray[Any]]) -> Detections:
        """Give what was found; see `Decoder.decode`."""
        output = outputs[0]
        if output.shape[-1:] != (self._count,):
            raise unlike(self._manifest, f"gave a tensor of shape {output.shape}, not (N, {self._count})")
        rows = output.reshape(-1, self._count)
        scores = rows[:, self._score]
        if self._batch is not None:
            rows, scores = self._first_picture(rows, self._batch)
        return self._reader.read(rows[:, self._corners], scores, rows[:, self._class])

    def _first_picture(self, rows: NDArray[Any], batch: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Give the rows before the end of the list, and their scores: no numbers where the batch is none."""
        ends = (rows[:, batch] < 0).nonzero()[0]
        if len(ends):
            rows = rows[: ends[0]]
        others = rows[rows[:, batch] > 0, batch]
        if len(others):
            raise unlike(self._manifest, f"gave a row for picture {others.max():g} of a batch of one")
        return rows, np.where(np.isnan(rows[:, batch]), np.nan, rows[:, self._score])
