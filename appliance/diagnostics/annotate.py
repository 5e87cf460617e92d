"""Draws into a picture what a model sees there."""

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.core.frame import Frame, PixelLayout
from appliance.core.results import Classifications, Detections, Segmentation

_FROM_PLANES = {PixelLayout.I420: cv2.COLOR_YUV2BGR_I420, PixelLayout.NV12: cv2.COLOR_YUV2BGR_NV12}
_GOLDEN_ANGLE = 0.381966  # of a turn: neighbouring class ids get colours far apart
_OPACITY = 0.5  # of the colours that lie over the picture


def annotate(frame: Frame, detections: Detections, labels: Sequence[str]) -> NDArray[np.uint8]:
    """Give a copy of the frame's image with boxes, labels and scores, shape (H, W, 3), BGR.

    Args:
        frame: The frame; it is left as it is.
        detections: In pixels of the source frame.
        labels: The model's, by class id.
    """
    picture = _copy(frame)
    height, width = picture.shape[:2]
    scale = np.array((width / frame.width, height / frame.height) * 2)
    size = _text_size(picture)
    corners = (detections.boxes * scale).round().astype(int).tolist()
    # the best is drawn last, on top
    for box, score, class_id in reversed(list(zip(corners, detections.scores, detections.class_ids, strict=True))):
        _draw(picture, box, f"{labels[class_id]} {score:.2f}", _colour(int(class_id)), size)
    return picture


def annotate_labels(frame: Frame, found: Classifications, labels: Sequence[str]) -> NDArray[np.uint8]:
    """Give a copy of the frame's image with labels and scores in its upper left corner, shape (H, W, 3), BGR.

    Args:
        frame: The frame; it is left as it is.
        found: Of the whole frame.
        labels: The model's, by class id.
    """
    picture = _copy(frame)
    ranked = zip(found.class_ids.tolist(), found.scores.tolist(), strict=True)
    _list(picture, [(f"{labels[at]} {score:.2f}", _colour(at)) for at, score in ranked])
    return picture


def annotate_pixels(
    frame: Frame, seen: Segmentation, labels: Sequence[str], wanted: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Give a copy of the frame's image with its labels' pixels in translucent colours, shape (H, W, 3), BGR.

    The labels and how much of the picture they cover stand in the upper left corner, the largest first.

    Args:
        frame: The frame; it is left as it is.
        seen: Of the frame, in any size.
        labels: The model's, by class id.
        wanted: Shape (labels,): those that are drawn.
    """
    picture = _copy(frame)
    height, width = picture.shape[:2]
    ids = cv2.resize(seen.class_ids, (width, height), interpolation=cv2.INTER_NEAREST)
    palette = np.array([_colour(at) for at in range(len(labels))], np.uint8)
    chosen = wanted[ids]
    picture[chosen] = (picture[chosen] * (1 - _OPACITY) + palette[ids[chosen]] * _OPACITY).astype(np.uint8)
    shares = np.bincount(ids.reshape(-1), minlength=len(labels))[: len(labels)] / ids.size
    present = np.flatnonzero(wanted & (shares > 0))
    largest = present[np.argsort(-shares[present], kind="stable")].tolist()
    _list(picture, [(f"{labels[at]} {shares[at]:.1%}", _colour(at)) for at in largest])
    return picture


def _copy(frame: Frame) -> NDArray[np.uint8]:
    code = _FROM_PLANES.get(frame.layout)
    return frame.image.copy() if code is None else np.asarray(cv2.cvtColor(frame.image, code), np.uint8)


def _text_size(picture: NDArray[np.uint8]) -> float:
    return max(0.4, float(min(picture.shape[:2])) / 900)


def _list(picture: NDArray[np.uint8], lines: Sequence[tuple[str, tuple[int, int, int]]]) -> None:
    """Write lines below each other from the upper left corner, as far as there is room."""
    size, top = _text_size(picture), 0
    for text, colour in lines:
        top = _write(picture, (0, top), text, colour, size)
        if top >= picture.shape[0]:
            return


def _draw(picture: NDArray[np.uint8], box: Sequence[int], text: str, colour: tuple[int, int, int], size: float) -> None:
    x1, y1, x2, y2 = box
    thickness = max(1, round(size * 2))
    cv2.rectangle(picture, (x1, y1), (x2, y2), colour, thickness)
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, thickness)
    place = max(0, min(x1, picture.shape[1] - width)), max(0, y1 - height - below)
    _write(picture, place, text, colour, size)


def _write(
    picture: NDArray[np.uint8], place: tuple[int, int], text: str, colour: tuple[int, int, int], size: float
) -> int:
    """Write a line on a ground of its colour, and give where the ground ends below."""
    left, top = place
    thickness = max(1, round(size * 2))
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, thickness)
    cv2.rectangle(picture, (left, top), (left + width, top + height + below), colour, cv2.FILLED)
    cv2.putText(picture, text, (left, top + height), cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), thickness, cv2.LINE_AA)
    return top + height + below


def _colour(class_id: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(class_id * _GOLDEN_ANGLE % 1.0, 0.75, 1.0)
    return round(blue * 255), round(green * 255), round(red * 255)
