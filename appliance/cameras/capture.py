"""Opens cv2.VideoCapture quietly: what goes wrong is told by our own errors, not on stderr."""

import os
from collections.abc import Sequence

import cv2


def open_capture(source: str, backend: int, parameters: Sequence[int] = ()) -> cv2.VideoCapture:
    """Open `source`; whether that worked is for the caller to judge by `isOpened()` and by frames.

    Args:
        source: A path or an address.
        backend: ``cv2.CAP_FFMPEG`` or ``cv2.CAP_V4L2``.
        parameters: Pairs of property and value, in one flat list.
    """
    # OpenCV reads this once, at the first capture of the process; its log could otherwise name an address with its
    # password. Set by an owner who looks for a fault, it stays as it is.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2.VideoCapture(source, backend, list(parameters))
