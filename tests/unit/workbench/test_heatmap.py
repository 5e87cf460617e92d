import numpy as np

from appliance.workbench.confusion import Confusion
from appliance.workbench.heatmap import _SIDE, draw_confusion


def test_right_is_green_wrong_is_red_and_what_never_occurred_is_left_out() -> None:
    counts = ((8, 0, 0, 0), (0, 0, 0, 0), (6, 0, 2, 2), (0, 0, 0, 0))
    picture = draw_confusion(Confusion(("cat", "unseen", "dog", "background"), counts, 3, 0.4), "a title — here")
    first = draw_confusion(Confusion(("cat", "dog", "background"), ((8, 0, 0), (6, 2, 2), (0, 0, 0)), 3, 0.4), "x")
    assert picture.shape[0] == first.shape[0]  # three rows in both
    cells = picture[-12 - 3 * _SIDE : -12]
    assert (cells[:, -11:] == 255).all()  # what lies right of the matrix is paper
    green, red = (cells[_SIDE - 6, :, channel].astype(int) for channel in (1, 2))
    assert (green - red > 40).any()  # the first row: all right
    assert not (red - green > 40).any()
    green, red = (cells[2 * _SIDE - 6, :, channel].astype(int) for channel in (1, 2))
    assert (red - green > 40).any()  # the second: mostly wrong


def test_a_matrix_of_eighty_labels_is_drawn_whole() -> None:
    labels = tuple(f"label {at}" for at in range(80))
    counts = tuple(tuple(int(row == column) for column in range(81)) for row in range(81))
    picture = draw_confusion(Confusion((*labels, "background"), counts, 0, 0.5), "title")
    assert picture.shape[1] > 81 * _SIDE
    assert picture.dtype == np.uint8


def test_nothing_at_all_is_a_picture_too() -> None:
    picture = draw_confusion(Confusion(("cat", "background"), ((0, 0), (0, 0)), 0, 0.5), "title")
    assert picture.shape[0] < 2 * _SIDE  # the title and the note, no row
    assert (picture < 128).any()  # written


def test_of_very_many_labels_the_most_frequent_are_drawn_and_the_note_says_so() -> None:
    def diagonal(sizes: list[int]) -> Confusion:
        labels = tuple(f"label {at:03}" for at in range(len(sizes)))
        counts = tuple(tuple(size * (row == column) for column in range(len(sizes))) for row, size in enumerate(sizes))
        return Confusion((*labels[:-1], "background"), counts, 0, 0.5)

    many, most = (draw_confusion(diagonal([9] * 100 + [1] * rare + [1]), "title") for rare in (900, 0))
    assert many.shape == most.shape  # 100 labels and the background in both
    differs = np.flatnonzero((many != most).any(axis=(1, 2)))
    assert differs.size > 0
    assert 30 <= differs.min() <= differs.max() < 50  # in the note, the second line, alone
