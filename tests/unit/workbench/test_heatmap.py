import numpy as np

from appliance.workbench.confusion import Confusion
from appliance.workbench.heatmap import _SIDE, draw_confusion


def test_right_is_green_wrong_is_red_and_what_never_occurred_is_left_out() -> None:
    counts = ((8, 0, 0, 0), (0, 0, 0, 0), (6, 0, 2, 2), (0, 0, 0, 0))
    picture = draw_confusion(Confusion(("cat", "unseen", "dog", "background"), counts, 3, 0.4), "a title — here")
    first = draw_confusion(Confusion(("cat", "dog", "background"), ((8, 0, 0), (6, 2, 2), (0, 0, 0)), 3, 0.4), "x")
    assert picture.shape[0] == first.shape[0]  # three rows in both
    cells = picture[-12 - 3 * _SIDE : -12]
    left = np.flatnonzero((cells[5] == cells[5, -13]).all(axis=1))  # what lies right of the matrix is paper
    assert left.size
    blue, green, red = (cells[_SIDE - 6, :, channel].astype(int) for channel in range(3))
    assert (green - red > 40).any()  # the first row: all right
    assert not (red - green > 40).any()
    blue, green, red = (cells[2 * _SIDE - 6, :, channel].astype(int) for channel in range(3))
    assert (red - green > 40).any()  # the second: mostly wrong
    assert blue.size


def test_a_matrix_of_eighty_labels_is_drawn_whole() -> None:
    labels = tuple(f"label {at}" for at in range(80))
    counts = tuple(tuple(int(row == column) for column in range(81)) for row in range(81))
    picture = draw_confusion(Confusion((*labels, "background"), counts, 0, 0.5), "title")
    assert picture.shape[1] > 81 * _SIDE
    assert picture.dtype == np.uint8


def test_nothing_at_all_is_a_picture_too() -> None:
    assert draw_confusion(Confusion(("cat", "background"), ((0, 0), (0, 0)), 0, 0.5), "title").size
