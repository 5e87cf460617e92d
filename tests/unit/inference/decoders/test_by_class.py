"""Lists of detections by class: by hand, and against a loop in Python's own numbers."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from appliance.core.errors import ModelError
from appliance.inference.decoders import Choice
from appliance.inference.decoders.by_class import ByClassDecoder
from tests.unit.inference.decoders.reference import Found, assert_same, float32, manifest_of

ALL = np.ones(3, bool)
HAILO = {"kind": "by-class"}


def lists(*found: tuple[int, int, list[float]], classes: int = 3, boxes: int = 4) -> NDArray[np.float32]:
    """Give a tensor with these: class, place and values of each."""
    tensor = np.zeros((1, classes, boxes, 5), np.float32)
    for number, place, values in found:
        tensor[0, number, place] = values
    return tensor


def test_hailos_boxes_are_y1_x1_y2_x2_of_0_to_1_by_hand() -> None:
    output = lists((2, 0, [0.25, 0.5, 0.75, 1.0, 0.9]), (0, 1, [0, 0, 0.5, 0.5, 0.31]), (1, 0, [0, 0, 1, 1, 0.2]))
    found = ByClassDecoder(manifest_of(HAILO), Choice(0.3, ALL)).decode([output])
    assert_same(found, [((48, 16, 96, 48), 0.9, 2), ((0, 0, 48, 32), 0.31, 0)])


def test_empty_places_are_no_detections() -> None:
    assert len(ByClassDecoder(manifest_of(HAILO), Choice(0.01, ALL)).decode([lists()])) == 0


def test_classes_can_have_the_networks_own_numbers() -> None:
    spec = {**HAILO, "class_numbers": [1, 2, 4], "unit": "pixels", "box_order": "xyxy"}
    output = lists((4, 0, [1, 2, 3, 4, 0.9]), (0, 0, [0, 0, 9, 9, 0.8]), classes=5)
    assert_same(ByClassDecoder(manifest_of(spec), Choice(0.3, ALL)).decode([output]), [((1, 2, 3, 4), 0.9, 2)])


@pytest.mark.parametrize("shape", [(5,), (4, 5), (1, 3, 4, 6), (2, 3, 4, 5), (0, 3, 4, 5)])
def test_a_tensor_that_is_no_list_for_each_class_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"not \(classes, boxes, 5\); its outputs are not what"):
        ByClassDecoder(manifest_of(HAILO), Choice(0.3, ALL)).decode([np.zeros(shape, np.float32)])


def test_detections_of_a_class_that_no_label_has_are_refused() -> None:
    with pytest.raises(ModelError, match=r"gave the class 3 where its labels go from 0 to 2"):
        ByClassDecoder(manifest_of(HAILO), Choice(0.3, ALL)).decode([lists((3, 0, [0, 0, 1, 1, 0.9]), classes=4)])


@pytest.mark.parametrize("at", range(5))
def test_what_is_no_number_reaches_the_detector(at: int) -> None:
    values = [0.1, 0.1, 0.5, 0.5, 0.9]
    values[at] = math.nan
    found = ByClassDecoder(manifest_of(HAILO), Choice(0.3, ALL)).decode([lists((1, 2, values))])
    assert not math.isfinite(found.boxes.sum() + found.scores.sum())


def test_another_decoders_manifest_is_refused() -> None:
    with pytest.raises(ModelError, match=r"decoder\.kind is 'rows', not 'by-class'"):
        ByClassDecoder(manifest_of({"kind": "rows"}), Choice(0.3, ALL))


@given(seed=st.integers(0, 2**32 - 1), wanted=st.tuples(*[st.booleans()] * 3).map(np.array))
@settings(max_examples=60, deadline=None)
def test_any_lists_are_read_as_a_loop_reads_them(seed: int, wanted: NDArray[np.bool_]) -> None:
    random = np.random.default_rng(seed)
    output = random.random((1, 3, 6, 5), dtype=np.float32)
    output[0, random.random((3, 6)) < 0.4] = 0
    expected: Found = []
    for number, places in enumerate(output[0].tolist()):
        for y1, x1, y2, x2, score in places:
            if score >= 0.3 and wanted[number]:
                expected.append(((x1 * 96, y1 * 64, x2 * 96, y2 * 64), score, number))
    assert_same(ByClassDecoder(manifest_of(HAILO), Choice(0.3, wanted)).decode([output]), expected)


def test_scores_above_1_are_refused() -> None:
    with pytest.raises(ModelError, match="gave scores up to 3"):
        ByClassDecoder(manifest_of(HAILO), Choice(0.3, ALL)).decode([float32(lists((0, 0, [0, 0, 1, 1, 3.0])))])
