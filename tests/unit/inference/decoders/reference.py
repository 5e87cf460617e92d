"""What the tests of decoders share: manifests of any decoder, and answers compared with a plain list."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.core.manifest import ModelManifest
from appliance.core.results import Detections

Found = list[tuple[tuple[float, ...], float, int]]


def manifest_of(decoder: dict[str, Any], *, width: int = 96, height: int = 64, tensors: int = 1) -> ModelManifest:
    """Give a manifest of three labels with this [decoder] table; nms_iou and min_score may be left out."""
    outputs = [{"shape": [1, "any"]}] * tensors
    return ModelManifest.model_validate(
        {
            "schema": 1,
            "name": "under-test",
            "version": "1.0",
            "title": "A decoder under test",
            "task": "detect",
            "labels": ("a", "b", "c"),
            "licence": "Apache-2.0",
            "source": {"url": "https://example.org/"},
            "input": {"width": width, "height": height, "colour": "rgb", "fit": "stretch"},
            "decoder": {"nms_iou": 0.5, "min_score": 0.3, **decoder},
            "signature": {"input": {"shape": [1, 3, "height", "width"]}, "outputs": outputs},
        }
    )


def ranked(found: Detections) -> Found:
    """Give detections as a list, the surest first."""
    rows = zip(map(tuple, found.boxes.tolist()), found.scores.tolist(), found.class_ids.tolist(), strict=True)
    return sorted(rows, key=lambda row: (-row[1], row[2], row[0]))


def assert_same(found: Detections, expected: Found) -> None:
    """Compare detections with a list, in any order; scores and boxes up to rounding."""
    assert (found.boxes.dtype, found.scores.dtype, found.class_ids.dtype) == (np.float32, np.float32, np.int32)
    left = list(expected)
    for box, score, class_id in ranked(found):
        twins = [
            one
            for one in left
            if one[2] == class_id
            and math.isclose(one[1], score, rel_tol=1e-4, abs_tol=1e-6)
            and np.allclose(one[0], box, rtol=1e-4, atol=1e-3)
        ]
        assert twins, f"not expected: {box} {score} {class_id}; left: {left}"
        left.remove(twins[0])
    assert left == []


def float32(values: Any) -> NDArray[np.float32]:
    return np.array(values, np.float32)
