"""Tells classifiers, segmentation networks and pose networks by the shapes and values of what they give. Pure."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from appliance.inference.adding.reading import Reading, Seen

_TENSORFLOW: Final[dict[str, Any]] = {"colour": "rgb", "fit": "stretch"}
_TORCH: Final[dict[str, Any]] = {
    "colour": "rgb",
    "fit": "stretch",
    "mean": [123.675, 116.28, 103.53],
    "std": [58.395, 57.12, 57.375],
}
_HIGHEST_SCORE = 1.01  # 8-bit networks round up to it
_MOST_POINTS = 133  # of a whole body
_SMALLEST_MAP, _MOST_STRIDE = 8, 16.5
_ALIKE = 1.2  # of the strides along both sides: sizes are rounded


def recognise_other_tasks(seen: Seen) -> list[Reading]:
    """Give what a network that is no detector could be; empty where it is nothing that is known.

    Args:
        seen: The network and what it gave.
    """
    reading = _by_shape(seen) if len(seen.outputs) == 1 else None
    return [reading] if reading is not None else []


def _by_shape(seen: Seen) -> Reading | None:
    shape = seen.shape(0)
    values = [size for size in shape if size != 1]
    reading = None
    match shape:
        case (1, 1, points, 3) if points <= _MOST_POINTS:
            reading = Reading(family=f"{points} points of a body", task="pose", classes=None)
        case (_, _) | (_, _, _, _) if len(values) == 1:
            reading = _classifier(seen, values[0])
        case (_, rows, columns) | (_, rows, columns, 1) if _is_map(seen, (rows, columns)):
            reading = _segmentation(seen, "labels", None)
        case (_, rows, columns, classes) if _is_map(seen, (rows, columns)):
            reading = _segmentation(seen, "nhwc", classes)
        case (_, classes, rows, columns) if _is_map(seen, (rows, columns)):
            reading = _segmentation(seen, "nchw", classes)
    return reading


def _classifier(seen: Seen, classes: int) -> Reading:
    """Read a value for each class: scores, or logits."""
    values = np.asarray(seen.values[0])
    are_scores = bool(values.min() >= 0.0 and values.max() <= _HIGHEST_SCORE)
    return Reading(
        family="classifier",
        task="classify",
        classes=classes,
        decoder={"activation": "none" if are_scores else "softmax", "min_score": 0.3},
        outputs=[{"shape": ["classes" if size == classes else size for size in seen.shape(0)]}],
        input=_usual(seen),
    )


def _segmentation(seen: Seen, output: str, classes: int | None) -> Reading:
    dtype = seen.outputs[0].dtype
    return Reading(
        family="segmentation",
        task="segment",
        classes=classes,
        decoder={"output": output},
        outputs=[{"shape": list(seen.shape(0)), **({"dtype": dtype} if dtype != "float32" else {})}],
        input=_usual(seen),
    )


def _usual(seen: Seen) -> dict[str, Any]:
    return _TENSORFLOW if seen.picture.layout == "nhwc" else _TORCH


def _is_map(seen: Seen, cells: Sequence[int]) -> bool:
    """Tell whether sizes are those of the picture, or the same part of both sides down to a sixteenth."""
    if min(cells) < _SMALLEST_MAP:
        return False
    down, across = seen.picture.height / cells[0], seen.picture.width / cells[1]
    return min(down, across) >= 1 and max(down, across) <= min(_MOST_STRIDE, min(down, across) * _ALIKE)
