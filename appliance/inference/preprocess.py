"""From a frame to the model's input, straight into one tensor that is there for good."""

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.core.frame import Frame, PixelLayout
from appliance.core.manifest import InputSpec

_INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
}
_TO_BGR = {PixelLayout.I420: cv2.COLOR_YUV2BGR_I420, PixelLayout.NV12: cv2.COLOR_YUV2BGR_NV12}


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where a picture lies in the model's input.

    Attributes:
        left: Pixels of the input left of the picture.
        top: Pixels of the input above the picture.
        width: The picture's width in the input, pixels.
        height: The picture's height in the input, pixels.
        source_width: The frame's width, pixels.
        source_height: The frame's height, pixels.
    """

    left: int
    top: int
    width: int
    height: int
    source_width: int
    source_height: int
    _corner: NDArray[np.float32] = field(init=False, repr=False, compare=False)
    _size: NDArray[np.float32] = field(init=False, repr=False, compare=False)
    _scale: NDArray[np.float32] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        size = _twice(self.source_width, self.source_height)
        object.__setattr__(self, "_corner", _twice(self.left, self.top))
        object.__setattr__(self, "_size", size)
        object.__setattr__(self, "_scale", size / _twice(self.width, self.height))

    def to_source(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give boxes in pixels of the source frame, clipped to it.

        Args:
            boxes: Shape (N, 4), float32, xyxy in pixels of the model's input.
        """
        moved = boxes - self._corner
        moved *= self._scale
        np.maximum(moved, 0.0, out=moved)
        np.minimum(moved, self._size, out=moved)
        return moved


def fit(spec: InputSpec, image_size: tuple[int, int], source_size: tuple[int, int], *, even: bool = False) -> Letterbox:
    """Work out where a picture of `image_size` goes.

    Args:
        spec: The model's input.
        image_size: Width and height of the picture in hand, pixels.
        source_size: Width and height of the frame in which boxes are told, pixels.
        even: Only even sizes, as chroma at half resolution needs; a stretched picture keeps the input's own.
    """
    width, height = image_size
    if spec.fit == "stretch":
        return Letterbox(0, 0, spec.width, spec.height, *source_size)
    # in whole numbers: a ratio in floating point can lose the last row to rounding
    if spec.width * height <= spec.height * width:
        inner_width, inner_height = spec.width, max(1, height * spec.width // width)
    else:
        inner_width, inner_height = max(1, width * spec.height // height), spec.height
    if even:
        inner_width, inner_height = max(2, inner_width & ~1), max(2, inner_height & ~1)
    left = top = 0
    if spec.fit == "letterbox-centre":
        left, top = (spec.width - inner_width) // 2, (spec.height - inner_height) // 2
    return Letterbox(left, top, inner_width, inner_height, *source_size)


class Preprocessor:
    """Writes frames into `tensor` without allocating anything per frame. Owned by one thread.

    Attributes:
        tensor: The model's input: (1, 3, H, W) or (1, H, W, 3), float32 or uint8, as `spec` says.
    """

    def __init__(self, spec: InputSpec) -> None:
        self._spec = spec
        self._interpolation = _INTERPOLATIONS[spec.interpolation]
        is_planar = spec.layout == "nchw"
        self._is_plain = not is_planar and spec.dtype == "uint8"
        shape = (1, 3, spec.height, spec.width) if is_planar else (1, spec.height, spec.width, 3)
        self.tensor: NDArray[Any] = np.zeros(shape, spec.dtype)
        self._channels = self.tensor[0] if is_planar else self.tensor[0].transpose(2, 0, 1)
        column = (3, 1, 1)
        self._factor = np.array([1.0 / value for value in spec.std], np.float32).reshape(column)
        self._offset = np.array([m / s for m, s in zip(spec.mean, spec.std, strict=True)], np.float32).reshape(column)
        self._whole = np.empty((1, 1, 3), np.uint8)
        self._key: tuple[PixelLayout, tuple[int, int], int, int] | None = None
        self._arrange(Letterbox(0, 0, spec.width, spec.height, spec.width, spec.height))

    def write(self, frame: Frame) -> Letterbox:
        """Scale a frame into `tensor` and tell where it lies."""
        key = (frame.layout, frame.image_size, frame.width, frame.height)
        if key != self._key:
            even = frame.layout is not PixelLayout.BGR
            self._arrange(fit(self._spec, frame.image_size, (frame.width, frame.height), even=even))
            self._key = key
        self._fill(self._scale(frame))
        return self._letterbox

    def _arrange(self, letterbox: Letterbox) -> None:
        """Make the buffers for one geometry, and the padding, which then stays."""
        self._letterbox = letterbox
        width, height = letterbox.width, letterbox.height
        self._scaled = np.empty((height, width, 3), np.uint8)
        self._turned = np.empty((height, width, 3), np.uint8)
        self._yuv = np.empty(height * width * 3 // 2, np.uint8)
        self._planes = np.empty((3, height, width), np.uint8)
        order = [0, 1, 2] if self._spec.colour == "bgr" else [2, 1, 0]
        self._split = [self._planes[at] for at in order]
        rows = slice(letterbox.top, letterbox.top + height)
        columns = slice(letterbox.left, letterbox.left + width)
        self._inside = self._channels[:, rows, columns]
        self._channels[:] = self._spec.pad
        self._normalise(self._channels)

    def _scale(self, frame: Frame) -> NDArray[np.uint8]:
        size = (self._letterbox.width, self._letterbox.height)
        image = frame.image
        if frame.layout is not PixelLayout.BGR:
            if size[0] % 2 == size[1] % 2 == 0:
                return self._scale_planes(frame)
            # chroma at half resolution has no odd size; the buffer is made anew only where the frame's size is
            self._whole = image = np.asarray(cv2.cvtColor(image, _TO_BGR[frame.layout], dst=self._whole), np.uint8)
        if frame.image_size == size:
            return image
        cv2.resize(image, size, dst=self._scaled, interpolation=self._interpolation)
        return self._scaled

    def _scale_planes(self, frame: Frame) -> NDArray[np.uint8]:
        """Scale luma and chroma first and convert the small picture: half the work of the other way round."""
        width, height = self._letterbox.width, self._letterbox.height
        if frame.image_size == (width, height):
            cv2.cvtColor(frame.image, _TO_BGR[frame.layout], dst=self._scaled)
            return self._scaled
        source = _planes(frame.image.reshape(-1), *frame.image_size, frame.layout)
        target = _planes(self._yuv, width, height, frame.layout)
        for plane, scaled in zip(source, target, strict=True):
            cv2.resize(plane, scaled.shape[1::-1], dst=scaled, interpolation=self._interpolation)
        whole = self._yuv.reshape(height * 3 // 2, width)
        cv2.cvtColor(whole, _TO_BGR[frame.layout], dst=self._scaled)
        return self._scaled

    def _fill(self, picture: NDArray[np.uint8]) -> None:
        if self._is_plain:  # rows of pixels as they are; through planes it would take ten times as long
            if self._spec.colour == "rgb":
                cv2.cvtColor(picture, cv2.COLOR_BGR2RGB, dst=self._turned)
                picture = self._turned
            np.copyto(self._inside.transpose(1, 2, 0), picture)
            return
        cv2.split(picture, self._split)
        np.copyto(self._inside, self._planes)
        self._normalise(self._inside)

    def _normalise(self, channels: NDArray[Any]) -> None:
        if self._spec.std != (1.0, 1.0, 1.0):
            np.multiply(channels, self._factor, out=channels)
        if any(self._spec.mean):
            np.subtract(channels, self._offset, out=channels)


def _planes(flat: NDArray[np.uint8], width: int, height: int, layout: PixelLayout) -> tuple[NDArray[np.uint8], ...]:
    """Give views of luma and chroma: (H, W) and two of (H/2, W/2), or one of (H/2, W/2, 2)."""
    luma, half = width * height, (height // 2, width // 2)
    planes = (flat[:luma].reshape(height, width),)
    if layout is PixelLayout.NV12:
        return (*planes, flat[luma : luma * 3 // 2].reshape(*half, 2))
    middle = luma + luma // 4
    return (*planes, flat[luma:middle].reshape(half), flat[middle : luma * 3 // 2].reshape(half))


def _twice(x: int, y: int) -> NDArray[np.float32]:
    """Give (x, y, x, y), for both corners of boxes."""
    return np.array((x, y, x, y), np.float32)
