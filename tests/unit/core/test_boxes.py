"""How much of each other boxes cover, counted in pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.boxes import overlap, shared_areas


@given(st.integers(0, 2**32), st.integers(0, 8), st.integers(0, 8))
@settings(max_examples=60, deadline=None)
def test_overlaps_are_shared_area_over_joint_area(seed: int, rows: int, columns: int) -> None:
    random = np.random.default_rng(seed)
    a, b = (np.sort(random.integers(0, 20, (count, 2, 2)), axis=1).reshape(-1, 4) for count in (rows, columns))
    pixels = np.zeros((2, max(rows, columns), 20, 20), np.bool_)
    for side, boxes in enumerate((a, b)):
        for at, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
            pixels[side, at, y1:y2, x1:x2] = True
    for row, column in np.ndindex(rows, columns):
        shared = (pixels[0, row] & pixels[1, column]).sum()
        joint = (pixels[0, row] | pixels[1, column]).sum()
        assert shared_areas(a.astype(float), b.astype(float))[row, column] == shared
        assert overlap(a.astype(float), b.astype(float))[row, column] == pytest.approx(shared / max(joint, 1))
