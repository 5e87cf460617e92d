"""Networks are told apart by the shapes and values of what they give."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.core.errors import UnsupportedError
from appliance.core.manifest import ModelManifest, TensorSpec
from appliance.inference.adding.families import recognise
from appliance.inference.adding.look import find_picture
from appliance.inference.adding.reading import Reading, Seen
from appliance.inference.folders import find_models

RANDOM = np.random.default_rng(0)
CELLS = 52 * 52 + 26 * 26 + 13 * 13  # of 416 x 416, strides 8, 16, 32
NCHW = TensorSpec(name="images", shape=(1, 3, 416, 416), dtype="float32")
NHWC = TensorSpec(name="images", shape=(1, 320, 320, 3), dtype="uint8")


@pytest.fixture(scope="module")
def known() -> list[ModelManifest]:
    return [one.manifest for one in find_models()]


def seen(*values: NDArray[Any], inputs: tuple[TensorSpec, ...] = (NCHW,)) -> Seen:
    outputs = tuple(TensorSpec(name=f"o{at}", shape=one.shape, dtype=str(one.dtype)) for at, one in enumerate(values))
    return Seen(find_picture(inputs, None), inputs, outputs, values)


def places(rows: int, top: float) -> NDArray[np.float32]:
    """Boxes all over a square of `top`: centre and size."""
    return np.hstack((RANDOM.uniform(0, top, (rows, 2)), RANDOM.uniform(0, top / 4, (rows, 2)))).astype(np.float32)


def scores(*shape: int) -> NDArray[np.float32]:
    return RANDOM.uniform(0, 1, shape).astype(np.float32)


def the_one(found: list[Reading]) -> tuple[str, int | None, str]:
    return found[0].decoder.get("kind", ""), found[0].classes, found[0].decoder.get("unit", "")


def test_yolox_and_the_same_decoded_in_the_network_are_told_apart_by_where_their_boxes_lie(
    known: list[ModelManifest],
) -> None:
    raw = np.concatenate((RANDOM.normal(0.5, 1, (CELLS, 4)), scores(CELLS, 85)[:, :81]), axis=1)[None]
    decoded = np.concatenate((places(CELLS, 416), scores(CELLS, 81)), axis=1)[None]
    assert the_one(recognise(seen(raw.astype(np.float32)), known))[:2] == ("yolox", 80)
    assert the_one(recognise(seen(decoded), known)) == ("yolov5", 80, "pixels")


def test_a_family_is_recognised_with_another_number_of_classes_and_then_its_labels_are_not_known(
    known: list[ModelManifest],
) -> None:
    raw = np.concatenate((RANDOM.normal(0.5, 1, (CELLS, 4)), scores(CELLS, 4)), axis=1)[None].astype(np.float32)
    (reading,) = recognise(seen(raw), known)
    assert (reading.family, reading.classes, reading.labels, reading.is_known) == ("yolox", 3, (), False)


@pytest.mark.parametrize(("top", "unit"), [(416.0, "pixels"), (1.0, "normalised")])
def test_yolov5_and_yolov8_say_their_unit_by_their_values(known: list[ModelManifest], top: float, unit: str) -> None:
    v5 = np.concatenate((places(3 * CELLS, top), scores(3 * CELLS, 8)), axis=1)[None]
    v8 = np.concatenate((places(CELLS, top), scores(CELLS, 7)), axis=1).T[None]
    assert the_one(recognise(seen(v5), known)) == ("yolov5", 7, unit)
    assert the_one(recognise(seen(v8), known)) == ("yolov8", 7, unit)


def test_rows_tell_the_order_of_their_columns(known: list[ModelManifest]) -> None:
    corners = np.sort(RANDOM.uniform(0, 416, (100, 2, 2)), axis=1).reshape(100, 4)
    number, score, batch = RANDOM.integers(0, 3, (100, 1)), scores(100, 1), np.zeros((100, 1))
    cases = {
        "x1 y1 x2 y2 score class": np.hstack((corners, score, number))[None],
        "batch x1 y1 x2 y2 class score": np.hstack((batch, corners, number, score)),
        "batch class score x1 y1 x2 y2": np.hstack((batch, number, score, corners / 416))[None, None],
    }
    for columns, rows in cases.items():
        (reading,) = recognise(seen(rows.astype(np.float32)), known)
        assert reading.decoder["columns"] == columns.split()
        assert reading.decoder["unit"] == ("normalised" if "batch class" in columns else "pixels")
        assert reading.classes is None


@pytest.mark.parametrize("order", ["boxes classes scores count", "scores boxes count classes"])
def test_tensorflows_lists_are_told_apart_whatever_their_order(known: list[ModelManifest], order: str) -> None:
    listed = {
        "boxes": RANDOM.uniform(0, 1, (1, 25, 4)),
        "classes": RANDOM.integers(0, 90, (1, 25)).astype(np.float64),
        "scores": np.sort(scores(1, 25))[:, ::-1],
        "count": np.array([25.0]),
    }
    values = [listed[name].astype(np.float32) for name in order.split()]
    (reading,) = recognise(seen(*values, inputs=(NHWC,)), known)
    assert reading.decoder["outputs"] == order.split()
    assert (reading.decoder["box_order"], reading.decoder["unit"]) == ("yxyx", "normalised")
    assert {"shape": [1, "any", 4]} in reading.outputs
    assert {"shape": [1]} in reading.outputs


def test_d_fine_as_deployed_takes_the_size_to_tell_boxes_in(known: list[ModelManifest]) -> None:
    size = TensorSpec(name="orig_target_sizes", shape=(None, 2), dtype="int64")
    values = (RANDOM.integers(0, 80, (1, 300)), RANDOM.uniform(0, 416, (1, 300, 4)).astype(np.float32), scores(1, 300))
    (reading,) = recognise(seen(*values, inputs=(NCHW, size)), known)
    assert reading.decoder["outputs"] == ["classes", "boxes", "scores"]
    assert (reading.decoder["box_order"], reading.decoder["unit"]) == ("xyxy", "pixels")
    assert reading.constants == [{"shape": [1, 2], "dtype": "int64", "values": ["width", "height"]}]
    assert reading.outputs[0] == {"shape": [1, "any"], "dtype": "int64"}


def test_detr_has_a_class_nothing_and_its_successors_have_not(known: list[ModelManifest]) -> None:
    boxes = RANDOM.uniform(0, 1, (1, 100, 4)).astype(np.float32)
    logits = RANDOM.normal(-4, 1, (1, 100, 6)).astype(np.float32)
    (later,) = recognise(seen(boxes, logits), known)
    assert (later.classes, later.decoder["activation"], later.decoder["background"]) == (6, "sigmoid", "none")
    logits[..., -1] = 8
    (first,) = recognise(seen(logits, boxes), known)
    assert (first.classes, first.decoder["activation"], first.decoder["background"]) == (5, "softmax", "last")
    assert first.decoder["outputs"] == ["scores", "boxes"]


@pytest.mark.parametrize(
    ("value", "task", "classes", "table"),
    [
        (scores(1, 1001), "classify", 1001, {"activation": "none", "min_score": 0.3}),
        (scores(1, 1, 1, 10) * 9, "classify", 10, {"activation": "softmax", "min_score": 0.3}),
        (RANDOM.integers(0, 20, (1, 320, 320)), "segment", None, {"output": "labels"}),
        (RANDOM.integers(0, 20, (1, 320, 320, 1)), "segment", None, {"output": "labels"}),
        (scores(1, 40, 40, 21), "segment", 21, {"output": "nhwc"}),
        (scores(1, 21, 40, 40), "segment", 21, {"output": "nchw"}),
        (scores(1, 1, 17, 3), "pose", None, {}),
    ],
)
def test_other_tasks_are_called_by_their_name(
    *, known: list[ModelManifest], value: NDArray[Any], task: str, classes: int | None, table: dict[str, Any]
) -> None:
    (reading,) = recognise(seen(value, inputs=(NHWC,)), known)
    assert (reading.task, reading.classes, reading.decoder) == (task, classes, table)


def test_what_no_family_gives_is_none(known: list[ModelManifest]) -> None:
    assert recognise(seen(scores(1, 7, 5)), known) == []
    assert recognise(seen(scores(1, 99, 4), scores(1, 98)), known) == []


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 3, 240, 320), ("nchw", 320, 240, 3)),
        ((1, 240, 320, 3), ("nhwc", 320, 240, 3)),
        ((None, 1, 64, 64), ("nchw", 64, 64, 1)),
        ((1, 3, None, None), ("nchw", 640, 480, 3)),
    ],
)
def test_the_input_for_the_picture_is_found_by_its_shape(
    shape: tuple[int | None, ...], expected: tuple[str, int, int, int]
) -> None:
    other = TensorSpec(name="size", shape=(1, 2), dtype="int64")
    found = find_picture([other, TensorSpec(name="x", shape=shape, dtype="float32")], (640, 480))
    assert (found.layout, found.width, found.height, found.channels) == expected


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 16000), (1, 5, 64, 64), (2, 3, 64, 64)])
def test_what_is_no_picture_is_told(shape: tuple[int, ...]) -> None:
    with pytest.raises(UnsupportedError, match="none of it is a picture"):
        find_picture([TensorSpec(name="x", shape=shape, dtype="float32")], None)
