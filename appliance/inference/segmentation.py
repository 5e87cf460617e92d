"""From a segmentation network's output to the class of each pixel of the frame, and what each class covers. Pure."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from appliance.core.errors import ModelError
from appliance.core.results import Segmentation
from appliance.core.tasks import MOST_SEGMENTED
from appliance.inference.faults import NumbersError
from appliance.inference.preprocess import Letterbox

OutputLayout = Literal["labels", "nhwc", "nchw"]


def to_label_map(output: NDArray[Any], classes: int, layout: OutputLayout) -> NDArray[np.uint8]:
    """Give the class of each cell of a network's output.

    Args:
        output: (1, H, W) or (1, H, W, 1) of class ids, as DeepLab gives them; or logits or scores of all classes, the
            highest of which counts: (1, H, W, classes) or (1, classes, H, W).
        classes: How many labels the model has, the background among them where it has one.
        layout: Which of these it is.

    Returns:
        Shape (H, W).

    Raises:
        ModelError: It has another shape, or values that cannot be.
    """
    if not 1 <= classes <= MOST_SEGMENTED:
        raise ModelError(f"a segmentation model has 1 to {MOST_SEGMENTED} labels, not {classes}")
    if layout == "labels":
        return _checked_labels(output, classes)
    axis = 3 if layout == "nhwc" else 1
    is_map = output.ndim == 4 and output.size > 0  # noqa: PLR2004 - N, H, W, C
    if not is_map or output.shape[0] != 1 or output.shape[axis] != classes:
        raise ModelError(f"the model gave a tensor of shape {output.shape} for {classes} labels in {layout}")
    if not np.isfinite(output.sum(dtype=np.float64)):
        raise NumbersError("the model gave numbers that are not finite; it is broken")
    label_map: NDArray[np.uint8] = output[0].argmax(axis=axis - 1).astype(np.uint8)
    return label_map


def _checked_labels(output: NDArray[Any], classes: int) -> NDArray[np.uint8]:
    size = output.shape[1:3]
    if output.ndim not in {3, 4} or output.size == 0 or output.shape[0] != 1 or output.size != np.prod(size):
        raise ModelError(f"the model gave a tensor of shape {output.shape}, not (1, rows, columns)")
    values = output.reshape(size)
    if not (values.min() >= 0 and values.max() < classes):  # neither is so where one is no number
        raise NumbersError(f"the model gave the class ids {values.min()} to {values.max()} for {classes} labels")
    label_map: NDArray[np.uint8] = values.astype(np.uint8)
    if (label_map != values).any():
        raise NumbersError("the model gave class ids that are no whole numbers")
    return label_map


def fit_to_frame(label_map: NDArray[np.uint8], letterbox: Letterbox, input_size: tuple[int, int]) -> Segmentation:
    """Give each pixel of the source frame the class of the cell that its centre lies in.

    Args:
        label_map: Shape (H, W), spread over the whole input.
        letterbox: Where the frame lies in the input.
        input_size: Width and height of the input, pixels.
    """
    width, height = input_size
    rows = _nearest(letterbox.source_height, letterbox.top, letterbox.height, height, label_map.shape[0])
    columns = _nearest(letterbox.source_width, letterbox.left, letterbox.width, width, label_map.shape[1])
    return Segmentation(label_map[rows].take(columns, axis=1))


def _nearest(source: int, offset: int, inner: int, whole: int, cells: int) -> NDArray[np.intp]:
    """Give the cell of each pixel along one axis.

    In whole numbers, so that no rounding moves a border: pixel p's centre lies at (2 p + 1) / (2 source) of the inner
    part.
    """
    middles = np.arange(1, 2 * source, 2, dtype=np.int64)
    places = (offset * 2 * source + middles * inner) * cells // (2 * source * whole)
    # a picture that was cropped reaches beyond the cells: its border is taken for what lies there
    return np.clip(places, 0, cells - 1).astype(np.intp)


def shares(segmentation: Segmentation, classes: int, region: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Give how much of the picture each class covers, shape (classes,), 0..1; all 0 for a region without pixels.

    Args:
        segmentation: Of a frame.
        classes: How many labels the model has.
        region: Shape (height, width): only these pixels; None: the whole picture.
    """
    chosen = segmentation.class_ids if region is None else segmentation.class_ids[region]
    counts = np.bincount(chosen.reshape(-1), minlength=classes)[:classes]
    return counts / max(chosen.size, 1)


def shares_by_zone(
    segmentation: Segmentation, classes: int, zones: Mapping[str, NDArray[np.bool_]]
) -> dict[str, NDArray[np.float64]]:
    """Give how much of each zone each class covers; see `shares`.

    Args:
        segmentation: Of a frame.
        classes: How many labels the model has.
        zones: The pixels of each zone, from `polygon_region`; made once for a frame size.
    """
    return {name: shares(segmentation, classes, region) for name, region in zones.items()}


def polygon_region(polygon: NDArray[np.float64], width: int, height: int) -> NDArray[np.bool_]:
    """Give the pixels whose centres lie in a polygon, by the rule by which objects stand in zones.

    Even-odd; a point on the border belongs to one side only, so that zones which share a border never share a pixel
    (W. R. Franklin, "PNPOLY", 1970).

    Args:
        polygon: Shape (K, 2), corners x, y in order, 0..1 of the picture, not closed; may reach beyond it.
        width: Of the picture, pixels.
        height: Of the picture, pixels.

    Returns:
        Shape (height, width).
    """
    (x1, y1), (x2, y2) = polygon.T, np.roll(polygon, -1, axis=0).T
    # from the upper end to the lower one: the same edge of another zone gives the same numbers
    is_up = y1 > y2
    x1, y1, x2, y2 = (np.where(is_up, b, a) for a, b in ((x1, x2), (y1, y2), (x2, x1), (y2, y1)))
    y = (np.arange(height) + 0.5)[:, None] / height
    is_passed = (y1 > y) != (y2 > y)  # (height, edges)
    part = np.divide(y - y1, y2 - y1, out=np.zeros(is_passed.shape), where=is_passed)  # a level edge is passed nowhere
    crossings = x1 + part * (x2 - x1)
    # a centre at (column + 0.5) / width is odd with each crossing to its right: columns before this one
    before = np.clip(np.ceil(crossings * width - 0.5), 0, width).astype(np.intp)
    rows, edges = is_passed.nonzero()
    ends = np.zeros((height, width + 1), np.uint8)  # may wrap: only odd or even counts
    np.add.at(ends, (rows, before[rows, edges]), 1)
    to_the_right = ends[:, ::-1].cumsum(axis=1, dtype=np.uint8)[:, ::-1]
    region: NDArray[np.bool_] = to_the_right[:, 1:] % 2 == 1
    return region
