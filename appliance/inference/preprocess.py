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
    """Where a picture lies in the model's input; of one that is cropped, where all of it would lie.

    Attributes:
        left: Pixels of the input left of the picture; negative: so many of the picture's are cut off.
        top: Pixels of the input above the picture; likewise.
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
    is_cropped = spec.fit == "crop-centre"
    # in whole numbers: a ratio in floating point can lose the last row to rounding
    if (spec.width * height <= spec.height * width) != is_cropped:
        inner_width, inner_height = spec.width, max(1, height * spec.width // width)
    else:
        inner_width, inner_height = max(1, width * spec.height // height), spec.height
    if is_cropped:
        inner_width, inner_height = inner_width + (inner_width & even), inner_height + (inner_height & even)
    elif even:
        inner_width, inner_height = max(2, inner_width & ~1), max(2, inner_height & ~1)
    left = top = 0
    if spec.fit != "letterbox-topleft":
        left, top = (spec.width - inner_width) // 2, (spec.height - inner_height) // 2
    return Letterbox(left, top, inner_width, inner_height, *source_size)


class Preprocessor:
    """Writes frames into `tensor` without allocating anything per frame. Owned by one thread.

    Attributes:
        tensor: The model's input: (1, channels, H, W) or (1, H, W, channels), of the element type that `spec` says.
    """

    def __init__(self, spec: InputSpec) -> None:
        self._spec = spec
        self._interpolation = _INTERPOLATIONS[spec.interpolation]
        self._is_planar = spec.layout == "nchw"
        size, depth = (spec.height, spec.width), spec.channels
        self.tensor: NDArray[Any] = np.zeros((1, depth, *size) if self._is_planar else (1, *size, depth), spec.dtype)
        # bytes are moved as such, whether they stand for numbers with a sign or not
        values = self.tensor[0].view(np.uint8) if spec.is_integer else self.tensor[0]
        self._channels: NDArray[Any] = values if self._is_planar else values.transpose(2, 0, 1)
        column = (depth, 1, 1)
        mean, std = np.array(spec.mean[:depth]), np.array(spec.std[:depth])
        self._factor = (1.0 / std).astype(np.float32).reshape(column)
        self._offset = (mean / std).astype(np.float32).reshape(column)
        self._table = _table(spec)
        self._is_shifted = spec.dtype == "int8" and spec.quantization is None
        self._key: tuple[PixelLayout, tuple[int, int], int, int] | None = None
        self._arrange(Letterbox(0, 0, spec.width, spec.height, spec.width, spec.height))

    def write(self, frame: Frame) -> Letterbox:
        """Scale a frame into `tensor` and tell where it lies."""
        key = (frame.layout, frame.image_size, frame.width, frame.height)
        if key != self._key:
            even = frame.layout is not PixelLayout.BGR
            self._arrange(fit(self._spec, frame.image_size, (frame.width, frame.height), even=even))
            self._key = key
        self._fill(self._scale(frame)[self._seen])
        return self._letterbox

    def _arrange(self, letterbox: Letterbox) -> None:
        """Make the buffers for one geometry, and the padding, which then stays."""
        self._letterbox = letterbox
        width, height, depth = letterbox.width, letterbox.height, self._spec.channels
        # chroma at half resolution has no odd size: there is room for one more column and row, which are not looked at
        self._even = (width + width % 2, height + height % 2)
        self._converted = np.empty((self._even[1], self._even[0], 3), np.uint8)
        self._scaled = self._converted[:height, :width]
        self._yuv = np.empty(self._even[1] * self._even[0] * 3 // 2, np.uint8)
        rows, columns = _span(letterbox.top, height, self._spec.height), _span(letterbox.left, width, self._spec.width)
        self._seen = (_moved(rows, -letterbox.top), _moved(columns, -letterbox.left))
        self._inside = self._channels[:, rows, columns]
        inner = self._inside.shape[1:]
        self._turned = np.empty((*inner, 3) if depth > 1 else inner, np.uint8)
        self._planes = np.empty((depth, *inner), np.uint8)
        order = [2, 1, 0] if self._spec.colour == "rgb" else [0, 1, 2]
        self._split = [self._planes[at] for at in order[:depth]]
        if self._table is not None:
            self._channels[:] = self._table[:, self._spec.pad].reshape(depth, 1, 1)
            self._looked_up = np.empty((depth, *inner), self._table.dtype)
        else:
            self._channels[:] = self._spec.pad
            self._normalise(self._channels)

    def _scale(self, frame: Frame) -> NDArray[np.uint8]:
        if frame.layout is not PixelLayout.BGR:
            return self._scale_planes(frame)
        size = (self._letterbox.width, self._letterbox.height)
        if frame.image_size == size:
            return frame.image
        cv2.resize(frame.image, size, dst=self._scaled, interpolation=self._interpolation)
        return self._scaled

    def _scale_planes(self, frame: Frame) -> NDArray[np.uint8]:
        """Scale luma and chroma first and convert the small picture: half the work of the other way round."""
        width, height = self._letterbox.width, self._letterbox.height
        if frame.image_size == (width, height):
            cv2.cvtColor(frame.image, _TO_BGR[frame.layout], dst=self._converted)
            return self._scaled
        luma, *chroma = _planes(frame.image.reshape(-1), *frame.image_size, frame.layout)
        scaled, *halves = _planes(self._yuv, *self._even, frame.layout)
        cv2.resize(luma, (width, height), dst=scaled[:height, :width], interpolation=self._interpolation)
        for plane, half in zip(chroma, halves, strict=True):
            if self._even == (width, height):
                cv2.resize(plane, half.shape[1::-1], dst=half, interpolation=self._interpolation)
            else:
                _reach(plane, half, width / 2, height / 2, self._interpolation)
        whole = self._yuv.reshape(self._even[1] * 3 // 2, self._even[0])
        cv2.cvtColor(whole, _TO_BGR[frame.layout], dst=self._converted)
        return self._scaled

    def _fill(self, picture: NDArray[np.uint8]) -> None:
        if self._spec.colour == "grey":
            cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY, dst=self._turned)
            self._fill_planes(self._turned[None])
        elif self._is_planar or not self._spec.is_integer:
            cv2.split(picture, self._split)
            self._fill_planes(self._planes)
        else:  # rows of pixels as they are; through planes it would take ten times as long
            if self._spec.colour == "rgb":
                cv2.cvtColor(picture, cv2.COLOR_BGR2RGB, dst=self._turned)
                picture = self._turned
            if self._table is not None:
                cv2.LUT(picture, self._table.T[None], dst=self._turned)
                picture = self._turned
            rows = self._inside.transpose(1, 2, 0)
            np.copyto(rows, picture)
            self._normalise(rows)

    def _fill_planes(self, planes: NDArray[np.uint8]) -> None:
        """Write planes in the order of the tensor's channels, shape (channels, H, W)."""
        if self._table is None:
            np.copyto(self._inside, planes)
            self._normalise(self._inside)
            return
        for table, plane, looked_up in zip(self._table, planes, self._looked_up, strict=True):
            # every index is in the table: to clip costs nothing, to check would take a buffer
            np.take(table, plane, out=looked_up, mode="clip")
        np.copyto(self._inside, self._looked_up)

    def _normalise(self, channels: NDArray[Any]) -> None:
        if self._is_shifted:
            np.bitwise_xor(channels, np.uint8(0x80), out=channels)  # a byte less 128, by its top bit
        if self._spec.is_integer:
            return
        if self._spec.std != (1.0, 1.0, 1.0):
            np.multiply(channels, self._factor, out=channels)
        if any(self._spec.mean):
            np.subtract(channels, self._offset, out=channels)


def _table(spec: InputSpec) -> NDArray[Any] | None:
    """Give what stands for each of the 256 values of a pixel, shape (channels, 256); None where arithmetic is quicker.

    Of integers as bytes, those with a sign included.
    """
    if spec.dtype == "float32" or (spec.is_integer and spec.quantization is None):
        return None
    mean, std = np.array(spec.mean[: spec.channels])[:, None], np.array(spec.std[: spec.channels])[:, None]
    values: NDArray[Any] = (np.arange(256) - mean) / std
    if spec.quantization is None:
        return np.asarray(values, spec.dtype)
    limits = np.iinfo(spec.dtype)
    steps = np.rint(values / spec.quantization.scale) + spec.quantization.zero_point
    return np.asarray(np.clip(steps, limits.min, limits.max), spec.dtype).view(np.uint8)


def _span(start: int, length: int, size: int) -> slice:
    """Give the part of 0..size that `length` places from `start` on cover."""
    return slice(max(0, start), min(size, start + length))


def _moved(span: slice, by: int) -> slice:
    return slice(span.start + by, span.stop + by)


def _planes(flat: NDArray[np.uint8], width: int, height: int, layout: PixelLayout) -> tuple[NDArray[np.uint8], ...]:
    """Give views of luma and chroma: (H, W) and two of (H/2, W/2), or one of (H/2, W/2, 2)."""
    luma, half = width * height, (height // 2, width // 2)
    planes = (flat[:luma].reshape(height, width),)
    if layout is PixelLayout.NV12:
        return (*planes, flat[luma : luma * 3 // 2].reshape(*half, 2))
    middle = luma + luma // 4
    return (*planes, flat[luma:middle].reshape(half), flat[middle : luma * 3 // 2].reshape(half))


def _reach(plane: NDArray[np.uint8], scaled: NDArray[np.uint8], width: float, height: float, how: int) -> None:
    """Scale a plane to a width and height that are not whole; `scaled` reaches beyond them by half a place."""
    across, down = plane.shape[1] / width, plane.shape[0] / height
    places = np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2]])
    flags = how | cv2.WARP_INVERSE_MAP
    cv2.warpAffine(plane, places, scaled.shape[1::-1], dst=scaled, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _twice(x: int, y: int) -> NDArray[np.float32]:
    """Give (x, y, x, y), for both corners of boxes."""
    return np.array((x, y, x, y), np.float32)
