from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.errors import ModelError
from appliance.core.results import Segmentation
from appliance.inference.preprocess import Letterbox
from appliance.inference.segmentation import fit_to_frame, polygon_region, shares, shares_by_zone, to_label_map

SEEDS = st.integers(0, 2**32 - 1)
UNIT = st.floats(-0.25, 1.25, width=32)
CORNERS = st.lists(st.tuples(UNIT, UNIT), min_size=3, max_size=8)


@given(seed=SEEDS, classes=st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_the_highest_class_of_each_cell_counts(seed: int, classes: int) -> None:
    values = np.random.default_rng(seed).normal(0, 1, (1, 5, 4, classes)).astype(np.float32)
    expected = [[max(range(classes), key=lambda at, c=cell: c[at]) for cell in row] for row in values[0].tolist()]
    assert to_label_map(values, classes, "nhwc").tolist() == expected
    assert to_label_map(values.transpose(0, 3, 1, 2), classes, "nchw").tolist() == expected
    ids = np.array([expected], np.int64)
    assert to_label_map(ids, classes, "labels").tolist() == expected
    assert to_label_map(ids[..., None].astype(np.float32), classes, "labels").tolist() == expected


@pytest.mark.parametrize(
    ("output", "layout", "expected"),
    [
        (np.full((1, 2, 2), 3, np.int64), "labels", "gave the class ids 3 to 3 for 3 labels"),
        (np.full((1, 2, 2), -1, np.int64), "labels", "gave the class ids -1 to -1"),
        (np.full((1, 2, 2), np.nan, np.float32), "labels", "gave the class ids nan to nan"),
        (np.full((1, 2, 2), 0.5, np.float32), "labels", "no whole numbers"),
        (np.zeros((2, 2, 2), np.int64), "labels", r"gave a tensor of shape \(2, 2, 2\)"),
        (np.zeros((1, 0, 2), np.int64), "labels", r"gave a tensor of shape \(1, 0, 2\)"),
        (np.zeros((1, 2, 2, 4), np.float32), "nhwc", r"shape \(1, 2, 2, 4\) for 3 labels in nhwc"),
        (np.zeros((1, 2, 2, 3), np.float32), "nchw", r"shape \(1, 2, 2, 3\) for 3 labels in nchw"),
        (np.full((1, 2, 2, 3), np.inf, np.float32), "nhwc", "not finite"),
    ],
)
def test_what_cannot_be_a_label_map_is_refused(output: np.ndarray, layout: str, expected: str) -> None:
    with pytest.raises(ModelError, match=expected):
        to_label_map(output, 3, layout)  # type: ignore[arg-type]  # one of the layouts


@given(
    seed=SEEDS,
    source=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    inner=st.tuples(st.integers(1, 16), st.integers(1, 16)),
    offset=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    cells=st.tuples(st.integers(1, 25), st.integers(1, 25)),
)
@settings(max_examples=80, deadline=None)
def test_each_pixel_of_the_frame_has_the_class_of_the_cell_that_its_centre_lies_in(
    seed: int, source: tuple[int, int], inner: tuple[int, int], offset: tuple[int, int], cells: tuple[int, int]
) -> None:
    label_map = np.random.default_rng(seed).integers(0, 9, cells[::-1]).astype(np.uint8)
    whole = (inner[0] + 2 * offset[0], inner[1] + 2 * offset[1])
    found = fit_to_frame(label_map, Letterbox(*offset, *inner, *source), whole).class_ids

    def cell(pixel: int, axis: int) -> int:
        centre = offset[axis] + Fraction(2 * pixel + 1, 2) * Fraction(inner[axis], source[axis])
        return floor(centre * Fraction(cells[axis], whole[axis]))

    for row in range(source[1]):
        for column in range(source[0]):
            assert found[row, column] == label_map[cell(row, 1), cell(column, 0)]


def test_what_a_crop_cut_off_has_the_class_of_the_border() -> None:
    label_map = np.array([[1, 2, 3, 4]], np.uint8)
    found = fit_to_frame(label_map, Letterbox(-2, 0, 8, 4, 8, 4), (4, 4)).class_ids
    assert found[0].tolist() == [1, 1, 1, 2, 3, 4, 4, 4]


def test_shares_are_of_the_picture_or_of_a_region() -> None:
    segmentation = Segmentation(np.array([[0, 0, 1, 2], [0, 0, 1, 2]], np.uint8))
    assert shares(segmentation, 4).tolist() == [0.5, 0.25, 0.25, 0.0]
    right = np.array([[False, False, True, True]] * 2)
    assert shares(segmentation, 4, right).tolist() == [0.0, 0.5, 0.5, 0.0]
    assert shares(segmentation, 4, np.zeros((2, 4), bool)).tolist() == [0.0] * 4
    by_zone = shares_by_zone(segmentation, 4, {"right": right, "left": ~right})
    assert by_zone["left"].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert segmentation.mask(1).tolist() == [[False, False, True, False]] * 2


def is_inside(x: float, y: float, corners: list[tuple[float, float]]) -> bool:
    """Count the edges to the right of a point: odd inside (W. R. Franklin, "PNPOLY", 1970)."""
    odd = False
    for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
            odd = not odd
    return odd


@given(corners=CORNERS, width=st.integers(1, 30), height=st.integers(1, 30))
@settings(max_examples=80, deadline=None)
def test_a_region_has_the_pixels_whose_centres_lie_inside(
    corners: list[tuple[float, float]], width: int, height: int
) -> None:
    region = polygon_region(np.array(corners, np.float64), width, height)
    for row in range(height):
        for column in range(width):
            x, y = (column + 0.5) / width, (row + 0.5) / height
            near = {is_inside(x + shift, y, corners) for shift in (-1e-9, 0, 1e-9)}
            if len(near) == 1:  # else rounding decides
                assert region[row, column] in near


@given(corners=CORNERS, split=st.tuples(UNIT, UNIT), width=st.integers(1, 30), height=st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_zones_that_share_their_borders_share_no_pixel_and_leave_none_out(
    corners: list[tuple[float, float]], split: tuple[float, float], width: int, height: int
) -> None:
    whole = polygon_region(np.array(corners), width, height)
    # a fan of triangles around any point: each inner edge belongs to two of them
    fan = [
        polygon_region(np.array([split, one, other]), width, height)
        for one, other in zip(corners, [*corners[1:], corners[0]], strict=True)
    ]
    assert (np.logical_xor.reduce(fan) == whole).all()


def test_a_rectangle_has_its_pixels() -> None:
    region = polygon_region(np.array([(0.25, 0.5), (0.75, 0.5), (0.75, 1.0), (0.25, 1.0)]), 4, 4)
    assert region.tolist() == [[False] * 4] * 2 + [[False, True, True, False]] * 2
