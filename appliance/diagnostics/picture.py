"""A frame as a JPEG that a broker takes."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.core.errors import UnavailableError
from appliance.core.frame import Frame, PixelLayout

MOST_SIDE: Final = 1280  # pixels
MOST_BYTES: Final = 120 << 10  # AWS IoT Core, quotas: 128 KB a message
QUALITIES: Final = (80, 60, 40)  # of a JPEG, best first
_HALVINGS: Final = 4

_FROM_PLANES: Final = {PixelLayout.I420: cv2.COLOR_YUV2BGR_I420, PixelLayout.NV12: cv2.COLOR_YUV2BGR_NV12}


def encode_jpeg(frame: Frame) -> bytes:
    """Give a frame's picture, its longer side at most `MOST_SIDE`, in at most `MOST_BYTES`: coarser where it must be.

    Raises:
        UnavailableError: It cannot be encoded.
    """
    code = _FROM_PLANES.get(frame.layout)
    picture = frame.image if code is None else np.asarray(cv2.cvtColor(frame.image, code), np.uint8)
    side = min(MOST_SIDE, max(picture.shape[:2]))
    for _ in range(_HALVINGS):
        scaled = _scaled(picture, side)
        for quality in QUALITIES:
            is_done, coded = cv2.imencode(".jpg", scaled, (cv2.IMWRITE_JPEG_QUALITY, quality))
            if is_done and coded.size <= MOST_BYTES:
                return coded.tobytes()
        side //= 2
    raise UnavailableError(f"the picture of camera {frame.camera} cannot be made a JPEG of {MOST_BYTES} bytes")


def _scaled(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    factor = side / max(width, height)
    if factor >= 1.0:
        return picture
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
