"""A frame: one picture from one camera, with both of its times."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from appliance.core.answer import Answer


class PixelLayout(StrEnum):
    """How the bytes of `Frame.image` are arranged."""

    BGR = "bgr"
    """Shape (H, W, 3): blue, green, red, interleaved. OpenCV's order."""
    I420 = "i420"
    """Shape (H * 3 / 2, W): the Y plane, then the quarter-size U and V planes. picamera2's YUV420."""
    NV12 = "nv12"
    """Shape (H * 3 / 2, W): the Y plane, then one plane of interleaved U and V."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture and where it came from. The receiver owns `image` and may keep it.

    Attributes:
        image: uint8, arranged as `layout` says.
        layout: Pixel arrangement of `image`.
        width: Width in pixels of the source picture; boxes are reported in it. Larger than the image's own
            width when the camera's ISP has already scaled the picture down for inference.
        height: Height in pixels of the source picture.
        camera: Name of the camera in the configuration.
        number: Counts the frames the camera gave since it was last opened, from 0; of a recording, its place
            there, so that gaps show what was skipped.
        time: UTC at capture, or at arrival where the source does not tell.
        mono_ns: CLOCK_BOOTTIME at the same moment, in nanoseconds: for durations and order.
        answer: What a network in the camera itself found in this picture; None: the camera has none.
    """

    image: NDArray[np.uint8]
    layout: PixelLayout
    width: int
    height: int
    camera: str
    number: int
    time: datetime
    mono_ns: int
    answer: Answer | None = None

    @property
    def image_size(self) -> tuple[int, int]:
        """Width and height in pixels of the picture in `image` itself."""
        rows, columns = self.image.shape[:2]
        return columns, rows if self.layout is PixelLayout.BGR else rows * 2 // 3
