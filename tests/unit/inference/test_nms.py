from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.results import Detections
from appliance.inference.nms import suppress

Box = tuple[float, float, float, float]


def detections(rows: list[tuple[Box, float, int]]) -> Detections:
    boxes, scores, class_ids = zip(*rows, strict=True) if rows else ((), (), ())
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(class_ids, np.int32)
    )


def overlap(a: Box, b: Box) -> float:
    """IoU by its definition, in Python's own numbers."""
    wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    high = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - wide * high
    return wide * high / union if union > 0 else 0.0


def suppress_naively(rows: list[tuple[Box, float, int]], iou: float) -> list[tuple[Box, float, int]]:
    """Greedy NMS within each class: Neubeck and Van Gool, "Efficient Non-Maximum Suppression", 2006, section 2."""
    kept: list[tuple[Box, float, int]] = []
    for row in sorted(rows, key=lambda row: -row[1]):
        if all(row[2] != other[2] or overlap(row[0], other[0]) <= iou for other in kept):
            kept.append(row)
    return kept


@st.composite
def crowds(draw: st.DrawFn) -> list[tuple[Box, float, int]]:
    """Boxes on a grid of whole numbers, partly outside the picture, with scores that are all different."""
    count = draw(st.integers(0, 40))
    scores = draw(st.lists(st.integers(1, 1000), min_size=count, max_size=count, unique=True))
    rows = []
    for score in scores:
        x, y = draw(st.integers(-30, 60)), draw(st.integers(-30, 60))
        wide, high = draw(st.integers(1, 40)), draw(st.integers(1, 40))
        rows.append(((x, y, x + wide, y + high), score / 1000, draw(st.integers(0, 3))))
    return rows


@given(crowds(), st.sampled_from([0.31, 0.47, 0.603, 0.651]))
def test_the_same_stay_as_in_an_independent_implementation(rows: list[tuple[Box, float, int]], iou: float) -> None:
    kept = suppress(detections(rows), iou, 1000)
    expected = detections(suppress_naively(rows, iou))
    np.testing.assert_array_equal(kept.boxes, expected.boxes)
    np.testing.assert_array_equal(kept.scores, expected.scores)
    np.testing.assert_array_equal(kept.class_ids, expected.class_ids)


@given(crowds())
def test_what_stayed_stays_when_asked_again(rows: list[tuple[Box, float, int]]) -> None:
    once = suppress(detections(rows), 0.47, 1000)
    np.testing.assert_array_equal(suppress(once, 0.47, 1000).boxes, once.boxes)


def test_it_agrees_with_supervision() -> None:
    supervision: Any = pytest.importorskip("supervision")
    random = np.random.default_rng(7)
    corners = random.uniform(0, 400, (300, 2))
    boxes = np.hstack((corners, corners + random.uniform(10, 120, (300, 2)))).astype(np.float32)
    scores = (random.permutation(300) + 1).astype(np.float32) / 300
    class_ids = random.integers(0, 5, 300).astype(np.int32)
    theirs = supervision.Detections(xyxy=boxes, confidence=scores, class_id=class_ids).with_nms(0.5)
    ours = suppress(Detections(boxes, scores, class_ids), 0.5, 1000)
    assert {tuple(box) for box in theirs.xyxy.tolist()} == {tuple(box) for box in ours.boxes.tolist()}


def test_the_best_are_kept_when_there_are_too_many_and_come_first() -> None:
    rows = [((20.0 * at, 0.0, 20.0 * at + 10, 10.0), (at + 1) / 10, 0) for at in range(8)]
    kept = suppress(detections(rows), 0.5, 3)
    np.testing.assert_allclose(kept.scores, [0.8, 0.7, 0.6])


def test_neighbouring_classes_never_meet_even_left_of_the_picture() -> None:
    rows = [((90.0, 0.0, 100.0, 10.0), 0.9, 0), ((-11.0, 0.0, -1.0, 10.0), 0.8, 1)]
    assert len(suppress(detections(rows), 0.1, 10)) == 2


def test_nothing_gives_nothing() -> None:
    assert len(suppress(Detections.empty(), 0.5, 10)) == 0
