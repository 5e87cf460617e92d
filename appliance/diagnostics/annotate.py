"""Draws what was detected into a picture."""

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.core.frame import Frame, PixelLayout
from appliance.core.results import Detections

_FROM_PLANES = {PixelLayout.I420: cv2.COLOR_YUV2BGR_I420, PixelLayout.NV12: cv2.COLOR_YUV2BGR_NV12}
_GOLDEN_ANGLE = 0.381966  # of a turn: neighbouring class ids get colours far apart


def annotate(frame: Frame, detections: Detections, labels: Sequence[str]) -> NDArray[np.uint8]:
    """Give a copy of the frame's image with boxes, labels and scores, shape (H, W, 3), BGR.

    Args:
        frame: The frame; it is left as it is.
        detections: In pixels of the source frame.
        labels: The model's, by class id.
    """
    code = _FROM_PLANES.get(frame.layout)
    picture = frame.image.copy() if code is None else np.asarray(cv2.cvtColor(frame.image, code), np.uint8)
    height, width = picture.shape[:2]
    scale = np.array((width / frame.width, height / frame.height) * 2)
    size = max(0.4, min(width, height) / 900)
    corners = (detections.boxes * scale).round().astype(int).tolist()
    # the best is drawn last, on top
    for box, score, class_id in reversed(list(zip(corners, detections.scores, detections.class_ids, strict=True))):
        _draw(picture, box, f"{labels[class_id]} {score:.2f}", _colour(int(class_id)), size)
    return picture


def _draw(picture: NDArray[np.uint8], box: Sequence[int], text: str, colour: tuple[int, int, int], size: float) -> None:
    x1, y1, x2, y2 = box
    thickness = max(1, round(size * 2))
    cv2.rectangle(picture, (x1, y1), (x2, y2), colour, thickness)
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, thickness)
    left, top = max(0, min(x1, picture.shape[1] - width)), max(0, y1 - height - below)
    cv2.rectangle(picture, (left, top), (left + width, top + height + below), colour, cv2.FILLED)
    cv2.putText(picture, text, (left, top + height), cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), thickness, cv2.LINE_AA)


def _colour(class_id: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(class_id * _GOLDEN_ANGLE % 1.0, 0.75, 1.0)
    return round(blue * 255), round(green * 255), round(red * 255)
