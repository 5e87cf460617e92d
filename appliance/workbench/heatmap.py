"""Draws a matrix of confusion as a picture."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.workbench.confusion import Confusion

_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX
_SIDE = 58  # pixels of a cell
_MOST_LABELS = 100  # 5800 pixels
_INK, _FAINT, _PAPER = (40, 40, 40), (215, 215, 215), (255, 255, 255)  # BGR
_RIGHT, _WRONG = np.array((80, 140, 20)), np.array((40, 50, 210))  # BGR, of a cell that holds all of its row


def draw_confusion(confusion: Confusion, title: str) -> NDArray[np.uint8]:
    """Draw rows for what is there, columns for what was detected; counts, and shares of the row in per cent.

    What is right is green, what is wrong red, the more of the row the darker. Labels that neither are there nor were
    detected are left out; of more than 100, the picture says so and shows the most frequent.

    Args:
        confusion: The matrix.
        title: A line above it; what is not ASCII is shown as a question mark.

    Returns:
        Shape (H, W, 3), BGR.
    """
    counts = np.array(confusion.counts)
    totals = counts.sum(axis=1)
    occurring = np.flatnonzero(counts.sum(axis=0) + totals > 0)
    shown = _most_frequent(counts, occurring)
    labels = [_plain(confusion.labels[at]) for at in shown.tolist()]
    counts = counts[np.ix_(shown, shown)]
    background = len(confusion.labels) - 1
    longest = max([_width(label) for label in labels], default=0) + 16
    left, top = longest + 24, longest + 84
    size = _SIDE * len(labels)
    note = f"counts, and per cent of the row; scores from {confusion.min_score:g}; {confusion.ignored} ignored"
    if len(shown) < len(occurring):
        note = f"the {_MOST_LABELS} most frequent labels, {len(occurring) - len(shown)} rarer ones left out; {note}"
    width = max(left + size + 12, 24 + max(_width(_plain(title)), _width(note)))
    picture = np.full((top + size + 12, width, 3), _PAPER, np.uint8)
    _write(picture, _plain(title), 12, 22)
    _write(picture, note, 12, 44)
    _write(picture, "detected as", left, 68)
    _write(picture, "is", 12, top - 8)
    for row, label in enumerate(labels):
        _write(picture, label, left - 8 - _width(label), top + row * _SIDE + _SIDE // 2 + 5)
        _write_upwards(picture, label, left + row * _SIDE + _SIDE // 2, top - 6)
        total = int(totals[shown[row]])
        for column in range(len(labels)):
            is_right = row == column and int(shown[row]) != background
            corner = (left + column * _SIDE, top + row * _SIDE)
            _draw_cell(picture, corner, int(counts[row, column]), total, is_right=is_right)
    return picture


def _most_frequent(counts: NDArray[np.int64], occurring: NDArray[np.intp]) -> NDArray[np.intp]:
    """Choose the labels that are drawn, in their order; the background, the last row, is no label and stays."""
    background = len(counts) - 1
    labels = occurring[occurring != background]
    often = counts.sum(axis=0) + counts.sum(axis=1)
    kept = labels[np.argsort(-often[labels], kind="stable")[:_MOST_LABELS]]
    return np.sort(np.concatenate([kept, occurring[occurring == background]]))


def confusion_png(confusion: Confusion, title: str) -> bytes:
    """Give the content of a PNG file of it; see `draw_confusion`."""
    _, content = cv2.imencode(".png", draw_confusion(confusion, title), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return content.tobytes()


def _draw_cell(picture: NDArray[np.uint8], corner: tuple[int, int], count: int, total: int, *, is_right: bool) -> None:
    x, y = corner
    share = count / total if total else 0.0
    full = _RIGHT if is_right else _WRONG
    # the root: a tenth of the row is to be seen, not only a half
    colour = np.array(_PAPER) + (full - np.array(_PAPER)) * share**0.5
    cell = picture[y : y + _SIDE, x : x + _SIDE]
    cell[:] = colour.round().astype(np.uint8)
    cv2.rectangle(picture, corner, (x + _SIDE, y + _SIDE), _FAINT, 1)
    if not count:
        return
    ink = _PAPER if share > 0.45 else _INK  # noqa: PLR2004 - where dark ink is not read any more
    for text, below, scale in ((str(count), 26, 0.5), (f"{share * 100:.0f}%", 46, 0.4)):
        start = x + (_SIDE - _width(text, scale)) // 2
        cv2.putText(picture, text, (start, y + below), _FONT, scale, ink, 1, cv2.LINE_AA)


def _write(picture: NDArray[np.uint8], text: str, x: int, y: int) -> None:
    cv2.putText(picture, text, (x, y), _FONT, 0.5, _INK, 1, cv2.LINE_AA)


def _write_upwards(picture: NDArray[np.uint8], text: str, x: int, y: int) -> None:
    """Write from (x, y) upwards, centred on x."""
    strip = np.full((20, _width(text) + 4, 3), _PAPER, np.uint8)
    _write(strip, text, 0, 14)
    turned = np.rot90(strip)
    high, wide = turned.shape[:2]
    picture[y - high : y, x - wide // 2 : x - wide // 2 + wide] = turned


def _width(text: str, scale: float = 0.5) -> int:
    return int(cv2.getTextSize(text, _FONT, scale, 1)[0][0])


def _plain(text: str) -> str:
    return text.encode("ascii", "replace").decode("ascii")  # the font has no more
