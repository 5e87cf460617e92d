"""What a camera that runs a network itself hands on with a frame: the network's tensors, and what it is."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

MOST_TENSORS: Final = 16  # libcamera's own bound, MAX_NUM_TENSORS
MOST_VALUES: Final = 1 << 20  # of all tensors together; a map of 80 classes on 104 x 104 has fewer


@dataclass(frozen=True, slots=True)
class CameraNetwork:
    """A network that a camera has loaded, as its file tells.

    Attributes:
        sha256: Of its file, 64 hexadecimal digits.
        width: Of its input, pixels.
        height: Of its input, pixels.
        task: ``object detection``, ``classification`` and so on; empty: not told.
        labels: Names of its classes; empty: not told.
        box_order: ``yx`` or ``xy``; empty: not told.
        boxes_are_pixels: Of its input, else 0..1; None: not told.
        keeps_aspect_ratio: It was made for pictures that do; None: not told.
        postprocess: What its outputs still need; empty: nothing, or not told.
    """

    sha256: str
    width: int
    height: int
    task: str = ""
    labels: tuple[str, ...] = ()
    box_order: str = ""
    boxes_are_pixels: bool | None = None
    keeps_aspect_ratio: bool | None = None
    postprocess: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the network found in the very picture that it came with.

    Attributes:
        network: Which one.
        tensors: Its outputs, in its order, with a batch of one; at most `MOST_TENSORS` and `MOST_VALUES`.
        view: Left, top, width and height of what the network saw, in pixels of the source frame; it may reach beyond.
        inference_ms: Milliseconds that the network took; None: not told.
    """

    network: CameraNetwork
    tensors: tuple[NDArray[np.float32], ...]
    view: tuple[float, float, float, float]
    inference_ms: float | None = None
