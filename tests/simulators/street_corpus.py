"""A corpus of drawn streets alone: squares cut out around people and cars, and a recipe that learns and prunes them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.cameras.synthetic import Street
from tests.simulators.training import MODEL, write_split

RECIPE = f"""{MODEL.replace("repeats = [1, 1, 1]", "repeats = [2, 1, 1]")}[data]
long_side = 64
[augment]
mosaic = 0.0
scale = [0.9, 1.1]
light = 0.1
grey = 0.0
dark = 0.0
[schedule]
iterations = 40
batch = 4
sizes = [64]
learning_rate = 8e-3
warm_up = 2
ema = 0.9
checkpoint_every = 2
log_every = 1
[prune]
shares = [0.0, 0.2, 0.4]
iterations = 6
learning_rate = 1e-3
warm_up = 2
batches = 3
trials = 2
recalibration = 3
multiple = 2
max_drop = 100.0
"""
_IDS = {"person": 1, "car": 3}
_SIDE = 64
_LEAST_SIDE = 40  # pixels of the street's picture
_LEAST_BOX = 6

Entry = tuple[NDArray[np.uint8], dict[str, Any], list[dict[str, Any]]]


def write_street_corpus(folder: Path, train: int = 16, val: int = 6) -> Path:
    """Write train.json, val.json and a shard for each."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, count, seed in (("train", train, 10), ("val", val, 900)):
        found = _squares(Street(320, 240, fps=0.1, seed=seed))
        write_split(folder, split, [next(found) for _ in range(count)])
    return folder


def _squares(street: Street) -> Iterator[Entry]:
    number = 0
    while True:
        picture = street.draw(number)
        shown = [one for one in street.truth(number) if one.label in _IDS and one.visible > 0.8]
        for one in shown:
            x1, y1, x2, y2 = one.box
            side = int(1.6 * max(x2 - x1, y2 - y1))
            if _LEAST_SIDE <= side <= picture.shape[0]:
                left = int(min(max(0, (x1 + x2 - side) / 2), picture.shape[1] - side))
                top = int(min(max(0, (y1 + y2 - side) / 2), picture.shape[0] - side))
                square = cv2.resize(picture[top : top + side, left : left + side], (_SIDE, _SIDE))
                boxes = [_box(other.label, other.box, left, top, side) for other in shown]
                yield np.asarray(square, np.uint8), {}, [box for box in boxes if min(box["bbox"][2:]) > _LEAST_BOX]
        number += 1


def _box(label: str, box: tuple[float, float, float, float], left: int, top: int, side: int) -> dict[str, Any]:
    low = np.clip(np.array(box[:2]) - (left, top), 0, side) * _SIDE / side
    high = np.clip(np.array(box[2:]) - (left, top), 0, side) * _SIDE / side
    return {"category_id": _IDS[label], "bbox": [*low.tolist(), *(high - low).tolist()]}
