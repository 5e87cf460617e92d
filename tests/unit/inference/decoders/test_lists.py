"""Lists of detections, as tensors and as rows: by hand, and against a loop in Python's own numbers."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from appliance.core.errors import ModelError
from appliance.inference.decoders import MOST_PICKED, Choice
from appliance.inference.decoders.listed import ListedDecoder
from appliance.inference.decoders.rows import RowsDecoder
from tests.unit.inference.decoders.reference import Found, assert_same, float32, manifest_of

ALL = np.ones(3, bool)
TFLITE = {"kind": "listed", "box_order": "yxyx", "unit": "normalised"}
SEEDS = st.integers(0, 2**32 - 1)
CHOICES = st.builds(Choice, st.sampled_from([0.05, 0.4, 0.8]), st.tuples(*[st.booleans()] * 3).map(np.array))
SIDES = {"normalised": (96, 64), "pixels": (1, 1)}
UNITS = st.sampled_from(sorted(SIDES))
NUMBERS = (0, 2, 5)  # of a network with gaps in its numbering


def listed(spec: dict[str, Any], choice: Choice, **labels: Any) -> ListedDecoder:
    tensors = len(spec.get("outputs", (1, 2, 3, 4)))
    return ListedDecoder(manifest_of(spec, tensors=tensors, **labels), choice)


def tflite(boxes: Any, classes: Any, scores: Any, count: float | None = None) -> list[NDArray[np.float32]]:
    rows = len(scores)
    return [
        float32(boxes).reshape(1, rows, 4),
        float32(classes).reshape(1, rows),
        float32(scores).reshape(1, rows),
        float32([rows if count is None else count]),
    ]


def test_the_postprocess_op_of_tensorflow_lite_by_hand() -> None:
    outputs = tflite([[0.25, 0.5, 0.75, 1.0], [0, 0, 0.5, 0.5], [0, 0, 1, 1]], [2, 0, 1], [0.9, 0.31, 0.2])
    found = listed(TFLITE, Choice(0.3, ALL)).decode(outputs)
    assert_same(found, [((48, 16, 96, 48), 0.9, 2), ((0, 0, 48, 32), 0.31, 0)])


def test_what_lies_behind_the_count_is_not_looked_at() -> None:
    outputs = tflite([[0, 0, 1, 1]] * 3, [0, 7, math.nan], [0.9, 0.9, math.nan], count=1)
    assert_same(listed(TFLITE, Choice(0.3, ALL)).decode(outputs), [((0, 0, 96, 64), 0.9, 0)])


@pytest.mark.parametrize("count", [-1.0, 1.5, 4.0, math.inf])
def test_a_count_that_none_can_have_is_refused(count: float) -> None:
    with pytest.raises(ModelError, match=r"gave a count .* with a list of 3; its outputs are not what"):
        listed(TFLITE, Choice(0.3, ALL)).decode(tflite([[0, 0, 1, 1]] * 3, [0] * 3, [0.9] * 3, count))


@pytest.mark.parametrize("number", [3.0, -1.0, 0.5, 1e30])
def test_a_class_that_the_labels_do_not_have_is_refused(number: float) -> None:
    with pytest.raises(ModelError, match=r"gave the class .* where its labels go from 0 to 2"):
        listed(TFLITE, Choice(0.3, ALL)).decode(tflite([[0, 0, 1, 1]], [number], [0.9]))
    # as padding it does not matter
    assert len(listed(TFLITE, Choice(0.3, ALL)).decode(tflite([[0, 0, 1, 1]], [number], [0.1]))) == 0


@pytest.mark.parametrize("at", range(4))
def test_what_is_no_number_in_any_tensor_reaches_the_detector(at: int) -> None:
    outputs = tflite([[0, 0, 1, 1]] * 2, [0, 1], [0.9, 0.8])
    outputs[at].reshape(-1)[0] = math.nan
    found = listed(TFLITE, Choice(0.3, np.zeros(3, bool) if at == 1 else ALL)).decode(outputs)
    assert not math.isfinite(found.boxes.sum() + found.scores.sum())


def test_tensors_of_different_lengths_are_refused() -> None:
    outputs = tflite([[0, 0, 1, 1]] * 2, [0, 1], [0.9, 0.8])
    outputs[1] = outputs[1][:, :1]
    with pytest.raises(ModelError, match="gave 2 boxes, 2 scores and 1 classes"):
        listed(TFLITE, Choice(0.3, ALL)).decode(outputs)


def test_a_spec_that_names_more_tensors_than_the_signature_has_is_refused() -> None:
    with pytest.raises(ModelError, match=r"names 4 tensors, signature\.outputs has 3"):
        ListedDecoder(manifest_of(TFLITE, tensors=3), Choice(0.3, ALL))


def test_tensorrt_s_suppression_by_hand() -> None:
    spec = {"kind": "listed", "box_order": "xyxy", "unit": "pixels", "outputs": ["count", "boxes", "scores", "classes"]}
    outputs = [
        np.array([[1]], np.int32),
        float32([[[1, 2, 30, 40], [0, 0, 9, 9]]]),
        float32([[0.5, 0.9]]),
        np.array([[1, 2]], np.int32),
    ]
    assert_same(listed(spec, Choice(0.3, ALL)).decode(outputs), [((1, 2, 30, 40), 0.5, 1)])


def test_d_fine_as_deployed_by_hand() -> None:
    spec = {"kind": "listed", "box_order": "xyxy", "unit": "pixels", "outputs": ["classes", "boxes", "scores"]}
    outputs = [np.array([[2, 0]], np.int64), float32([[[1, 2, 30, 40], [0, 0, 9, 9]]]), float32([[0.8, 0.4]])]
    found = listed(spec, Choice(0.3, ALL)).decode(outputs)
    assert_same(found, [((1, 2, 30, 40), 0.8, 2), ((0, 0, 9, 9), 0.4, 0)])


def list_naively(rows: list[dict[str, float]], choice: Choice, sides: tuple[int, int]) -> Found:
    """Give what of the rows has a label that is wanted, for a network that numbers its labels as `NUMBERS`."""
    found: Found = []
    for row in rows:
        number = int(row["class"])
        if row["score"] < choice.min_score or number not in NUMBERS or not choice.wanted[NUMBERS.index(number)]:
            continue
        box = (row["x1"] * sides[0], row["y1"] * sides[1], row["x2"] * sides[0], row["y2"] * sides[1])
        found.append((box, row["score"], NUMBERS.index(number)))
    return found


def random_rows(seed: int, count: int = 30) -> list[dict[str, float]]:
    random = np.random.default_rng(seed)
    values = random.random((count, 5), dtype=np.float32).tolist()
    numbers = random.integers(0, 6, count).tolist()
    names = ("x1", "y1", "x2", "y2", "score")
    return [{**dict(zip(names, row, strict=True)), "class": n} for row, n in zip(values, numbers, strict=True)]


@given(
    seed=SEEDS,
    choice=CHOICES,
    order=st.permutations(["boxes", "classes", "scores", "count"]),
    box_order=st.sampled_from(["yxyx", "xyxy"]),
    unit=UNITS,
)
@settings(max_examples=60, deadline=None)
def test_listed_tensors_in_any_order(seed: int, choice: Choice, order: list[str], box_order: str, unit: str) -> None:
    rows = random_rows(seed)
    sides = {"yxyx": ("y1", "x1", "y2", "x2"), "xyxy": ("x1", "y1", "x2", "y2")}[box_order]
    named = {
        "boxes": float32([[[row[side] for side in sides] for row in rows]]),
        "classes": float32([[row["class"] for row in rows]]),
        "scores": float32([[row["score"] for row in rows]]),
        "count": float32([20]),
    }
    spec = {
        "kind": "listed",
        "box_order": box_order,
        "unit": unit,
        "outputs": order,
        "class_numbers": NUMBERS,
    }
    found = listed(spec, choice).decode([named[name] for name in order])
    assert_same(found, list_naively(rows[:20], choice, SIDES[unit]))


@given(
    seed=SEEDS,
    choice=CHOICES,
    columns=st.permutations(["x1", "y1", "x2", "y2", "score", "class", "batch"]),
    end=st.integers(0, 30),
    unit=UNITS,
)
@settings(max_examples=60, deadline=None)
def test_rows_with_their_columns_in_any_order(
    seed: int, choice: Choice, columns: list[str], end: int, unit: str
) -> None:
    rows = random_rows(seed)
    for at, row in enumerate(rows):
        row["batch"] = -1 if at == end else 0
    spec = {
        "kind": "rows",
        "columns": columns,
        "unit": unit,
        "class_numbers": NUMBERS,
    }
    output = float32([[[[row[name] for name in columns] for row in rows]]])
    found = RowsDecoder(manifest_of(spec), choice).decode([output])
    assert_same(found, list_naively(rows[:end], choice, SIDES[unit]))


def test_rows_of_corners_score_and_class_by_hand() -> None:
    output = float32([[[1, 2, 30, 40, 0.9, 2], [5, 5, 6, 6, 0.2, 0]]])
    assert_same(
        RowsDecoder(manifest_of({"kind": "rows"}), Choice(0.3, ALL)).decode([output]), [((1, 2, 30, 40), 0.9, 2)]
    )


def test_an_empty_list_has_no_detections() -> None:
    decoder = RowsDecoder(manifest_of({"kind": "rows"}), Choice(0.3, ALL))
    assert len(decoder.decode([np.zeros((1, 0, 6), np.float32)])) == 0


def test_rows_of_another_width_or_picture_are_refused() -> None:
    with pytest.raises(ModelError, match=r"gave a tensor of shape \(1, 3, 7\), not \(N, 6\)"):
        RowsDecoder(manifest_of({"kind": "rows"}), Choice(0.3, ALL)).decode([np.zeros((1, 3, 7), np.float32)])
    columns = ["batch", "x1", "y1", "x2", "y2", "class", "score"]
    decoder = RowsDecoder(manifest_of({"kind": "rows", "columns": columns}), Choice(0.3, ALL))
    with pytest.raises(ModelError, match="gave a row for picture 1 of a batch of one"):
        decoder.decode([float32([[0, 1, 2, 3, 4, 0, 0.9], [1, 1, 2, 3, 4, 0, 0.9]])])


@pytest.mark.parametrize("at", range(7))
def test_what_is_no_number_in_any_column_reaches_the_detector(at: int) -> None:
    columns = ["batch", "x1", "y1", "x2", "y2", "class", "score"]
    row = float32([[0, 1, 2, 3, 4, 0, 0.9]])
    row[0, at] = math.nan
    found = RowsDecoder(manifest_of({"kind": "rows", "columns": columns}), Choice(0.3, ALL)).decode([row])
    assert not math.isfinite(found.boxes.sum() + found.scores.sum())


def test_of_a_list_without_end_the_best_are_read() -> None:
    rows = np.tile(float32([[0, 0, 9, 9, 0.5, 1]]), (MOST_PICKED + 500, 1))
    rows[400, 4] = 0.9
    found = RowsDecoder(manifest_of({"kind": "rows"}), Choice(0.3, ALL)).decode([rows])
    assert len(found) == MOST_PICKED
    assert found.scores.max() == np.float32(0.9)


def test_logits_in_place_of_scores_are_refused_in_lists() -> None:
    with pytest.raises(ModelError, match="gave scores up to 3, which must lie between 0 and 1"):
        RowsDecoder(manifest_of({"kind": "rows"}), Choice(0.3, ALL)).decode([float32([[1, 2, 30, 40, 3.0, 2]])])
