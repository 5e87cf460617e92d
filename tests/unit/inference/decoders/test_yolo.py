"""YOLOv5 and YOLOv8 style outputs, by hand and against rows worked out one at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.errors import ModelError
from appliance.inference.decoders import MOST_PICKED, Choice
from appliance.inference.decoders.yolov5 import Yolov5Decoder
from appliance.inference.decoders.yolov8 import Yolov8Decoder
from tests.unit.inference.decoders.reference import Found, assert_same, float32, manifest_of

ALL = np.ones(3, bool)
SEEDS = st.integers(0, 2**32 - 1)
CHOICES = st.builds(
    Choice, st.sampled_from([0.05, 0.3, 0.7]), st.tuples(*[st.booleans()] * 3).map(np.array), st.booleans()
)
SIDES = {"normalised": (96, 64), "pixels": (1, 1)}
UNITS = st.sampled_from(sorted(SIDES))


def naively(rows: list[list[float]], choice: Choice, sides: tuple[int, int]) -> Found:
    """Rows of centre x, y, width, height and the score of each class."""
    found: Found = []
    for values in rows:
        x, y, w, h = (value * side for value, side in zip(values[:4], sides * 2, strict=True))
        scores = values[4:]
        best = scores.index(max(scores))
        for class_id in range(len(scores)) if choice.every_class else [best]:
            if scores[class_id] >= choice.min_score and choice.wanted[class_id]:
                found.append(((x - w / 2, y - h / 2, x + w / 2, y + h / 2), scores[class_id], class_id))
    return found


@given(seed=SEEDS, choice=CHOICES, unit=UNITS)
@settings(max_examples=60, deadline=None)
def test_yolov5_rows_are_centre_size_objectness_and_classes(seed: int, choice: Choice, unit: str) -> None:
    output = np.random.default_rng(seed).random((1, 40, 8), dtype=np.float32)
    found = Yolov5Decoder(manifest_of({"kind": "yolov5", "unit": unit}), choice).decode([output])
    rows = output[0].copy()
    rows[:, 5:] *= rows[:, 4:5]
    assert_same(found, naively([[*row[:4], *row[5:]] for row in rows.tolist()], choice, SIDES[unit]))


@given(seed=SEEDS, choice=CHOICES, unit=UNITS)
@settings(max_examples=60, deadline=None)
def test_yolov8_columns_are_centre_size_and_classes(seed: int, choice: Choice, unit: str) -> None:
    output = np.random.default_rng(seed).random((1, 7, 40), dtype=np.float32)
    found = Yolov8Decoder(manifest_of({"kind": "yolov8", "unit": unit}), choice).decode([output])
    assert_same(found, naively(output[0].T.tolist(), choice, SIDES[unit]))


def test_a_yolov5_output_by_hand() -> None:
    output = float32([[[48, 32, 20, 10, 0.9, 0.1, 0.8, 0.2], [10, 10, 4, 4, 0.2, 1.0, 0.0, 0.0]]])
    found = Yolov5Decoder(manifest_of({"kind": "yolov5"}), Choice(0.3, ALL)).decode([output])
    assert_same(found, [((38, 27, 58, 37), 0.72, 1)])


def test_a_yolov8_output_by_hand_with_parts_of_the_picture_as_its_unit() -> None:
    output = float32([[[0.5, 0.1], [0.5, 0.1], [0.25, 0.1], [0.5, 0.1], [0.1, 0.2], [0.2, 0.1], [0.9, 0.1]]])
    found = Yolov8Decoder(manifest_of({"kind": "yolov8", "unit": "normalised"}), Choice(0.3, ALL)).decode([output])
    assert_same(found, [((36, 16, 60, 48), 0.9, 2)])


def test_an_output_of_another_shape_is_refused() -> None:
    with pytest.raises(ModelError, match=r"gave a tensor of shape \(1, 5, 7\), which is no list of 8 values"):
        Yolov5Decoder(manifest_of({"kind": "yolov5"}), Choice(0.3, ALL)).decode([np.zeros((1, 5, 7), np.float32)])
    with pytest.raises(ModelError, match=r"gave a tensor of shape \(1, 8, 5\), not \(1, 7, cells\)"):
        Yolov8Decoder(manifest_of({"kind": "yolov8"}), Choice(0.3, ALL)).decode([np.zeros((1, 8, 5), np.float32)])


def test_logits_in_place_of_scores_are_refused() -> None:
    with pytest.raises(ModelError, match=r"gave scores up to 4\.5, which must lie between 0 and 1"):
        Yolov5Decoder(manifest_of({"kind": "yolov5"}), Choice(0.3, ALL)).decode([np.full((1, 1, 8), 4.5, np.float32)])
    with pytest.raises(ModelError, match=r"gave scores up to 4\.5"):
        Yolov8Decoder(manifest_of({"kind": "yolov8"}), Choice(0.3, ALL)).decode([np.full((1, 7, 1), 4.5, np.float32)])


def test_of_too_many_candidates_the_best_stay_and_what_is_no_number() -> None:
    count = 3 * MOST_PICKED
    output = np.zeros((1, 7, count), np.float32)
    output[0, 4] = np.linspace(0.4, 0.9, count)
    output[0, 5, 7] = np.nan
    found = Yolov8Decoder(manifest_of({"kind": "yolov8"}), Choice(0.3, ALL, every_class=True)).decode([output])
    assert len(found) == MOST_PICKED
    assert np.isnan(found.scores).sum() == 1
    assert np.nanmin(found.scores) == pytest.approx(output[0, 4, count - MOST_PICKED + 1])
