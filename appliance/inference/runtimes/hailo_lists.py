"""Lays out what a Hailo's own suppression found: from lists one behind the other to one tensor. Pure.

``HAILO_FORMAT_ORDER_HAILO_NMS_BY_CLASS``: for each class how many boxes it has, then those boxes; what lies behind the
last one means nothing. hailort/libhailort/include/hailo/hailort.h of https://github.com/hailo-ai/hailort.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

BOX: Final = 5
"""Values of a box: y1, x1, y2, x2 of 0..1 of the input, and its score."""


def unpack(buffer: NDArray[np.float32], classes: int, boxes: int) -> NDArray[np.float32] | None:
    """Give every class as many places as it can have boxes; those that it does not have are zeros.

    Args:
        buffer: Shape (classes * (1 + 5 * boxes),).
        classes: How many the network has.
        boxes: Most of one class.

    Returns:
        Shape (1, classes, boxes, 5); None where a class has a number of boxes that none can have.
    """
    tensor = np.zeros((1, classes, boxes, BOX), np.float32)
    at = 0
    for number in range(classes):
        count = float(buffer[at])
        if not (count.is_integer() and 0 <= count <= boxes):  # what is no number is no integer either
            return None
        first, at = at + 1, at + 1 + BOX * int(count)
        if count:
            tensor[0, number, : int(count)] = buffer[first:at].reshape(-1, BOX)
    return tensor
