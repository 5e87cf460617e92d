"""Which family a network is of, by the shapes and values of what it gives. Pure: arrays in, readings out."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.core.manifest import ModelManifest, Signature, TensorSpec
from appliance.inference.adding.other_tasks import recognise_other_tasks
from appliance.inference.adding.reading import Reading, Seen
from appliance.inference.signature import bind

_STRIDES = (8, 16, 32)
_FAR = 0.6  # of the input's size: there are cells beyond it in every network
_FAMILIES = {"yolox", "nanodet", "fastestdet", "distances", "detr"}  # decoders whose signatures tell them apart
_ULTRALYTICS = {"colour": "rgb", "fit": "letterbox-centre", "pad": 114, "std": [255.0] * 3}
_TENSORFLOW = {"colour": "rgb", "fit": "stretch"}
_DETR = {
    "colour": "rgb",
    "fit": "stretch",
    "mean": [123.675, 116.28, 103.53],
    "std": [58.395, 57.12, 57.375],
}


def recognise(seen: Seen, known: Iterable[ModelManifest]) -> list[Reading]:
    """Give what a network could be, the likeliest first; empty where nothing that is known gives such tensors.

    Args:
        seen: The network and what it gave.
        known: Manifests of families.
    """
    found = list(_by_manifests(seen, known))
    for rule in _RULES:
        found += rule(seen)
    return sorted(found, key=lambda one: not one.is_known) or recognise_other_tasks(seen)


def _by_manifests(seen: Seen, known: Iterable[ModelManifest]) -> Iterator[Reading]:
    """Fit families with as many classes as make their signature fit."""
    sizes = {size for one in seen.outputs for size in one.shape if size is not None}
    for manifest in (one for one in known if one.task == "detect"):
        if manifest.decoder.kind not in _FAMILIES:
            continue
        own = len(manifest.labels)
        counts = [own, *sorted({size - more for size in sizes for more in (0, 5)} - {own})]
        for count in counts:
            if not 1 <= count <= 1000:  # noqa: PLR2004 - a manifest's most labels
                continue
            is_own = count == own and not manifest.artifacts
            labels = manifest.labels if is_own else tuple(f"class {at}" for at in range(count))
            fitted = manifest.model_copy(update={"labels": labels})
            if bind(fitted, seen.inputs, seen.outputs) is None or not _suits(manifest, seen):
                continue
            yield _of_manifest(manifest, count, is_own=is_own and manifest.signature.tells_labels)
            break


def _of_manifest(manifest: ModelManifest, count: int, *, is_own: bool) -> Reading:
    decoder = manifest.decoder.model_dump(mode="json", exclude_defaults=True)
    if not is_own:
        decoder.pop("class_numbers", None)
    usual = manifest.input.model_dump(mode="json", exclude_defaults=True)
    for key in ("width", "height", "layout", "dtype"):
        usual.pop(key, None)
    signature: Signature = manifest.signature
    return Reading(
        family=manifest.name,
        task="detect",
        classes=count,
        decoder=decoder,
        outputs=[one.model_dump(mode="json", exclude_defaults=True) for one in signature.outputs],
        input=usual,
        labels=manifest.labels if is_own else (),
        url=manifest.source.url,
        licence=manifest.licence if is_own else "",
        is_known=is_own,
    )


def _suits(manifest: ModelManifest, seen: Seen) -> bool:
    """Tell whether the values are those of the family too, where another has the same shapes."""
    return manifest.decoder.kind != "yolox" or not _reaches_all_over(seen)


def _reaches_all_over(seen: Seen) -> bool:
    """Tell whether a list of boxes has places in pixels of the input, and not offsets from cells."""
    centres = np.asarray(seen.values[0])[..., :2].reshape(-1, 2)
    size = np.array([seen.picture.width, seen.picture.height])
    return bool(centres.size and (centres.max(axis=0) > size * _FAR).all())


def _is_normalised(boxes: NDArray[Any]) -> bool:
    """Tell whether boxes, some of which lie anywhere, are told in parts of the input."""
    return bool(boxes.size and boxes.min() >= -0.5 and boxes.max() <= 1.5)  # noqa: PLR2004 - boxes may stick out


def _yolov5(seen: Seen) -> list[Reading]:
    if len(seen.outputs) != 1 or len(shape := seen.shape(0)) != 3 or shape[2] < 6:  # noqa: PLR2004 - 5 and a class
        return []
    strides = next(
        (
            (grid, anchors)
            for grid in (_STRIDES, (*_STRIDES, 64))
            for anchors in (1, 3)
            if shape[1] == anchors * seen.picture.cells(*grid)
        ),
        None,
    )
    if strides is None or (strides[1] == 1 and not _reaches_all_over(seen)):
        return []
    anchors = strides[1]
    cells = f"cells({','.join(map(str, strides[0]))})"
    return [
        Reading(
            family="YOLOv5, YOLOv7" if anchors > 1 else "YOLOX, decoded in the network",
            task="detect",
            classes=shape[2] - 5,
            decoder={
                "kind": "yolov5",
                "unit": "normalised" if _is_normalised(np.asarray(seen.values[0])[..., :2]) else "pixels",
                "nms_iou": 0.6,
                "min_score": 0.3,
            },
            outputs=[{"shape": [1, "+".join([cells] * anchors), "5+classes"]}],
            input=_ULTRALYTICS if anchors > 1 else {"colour": "bgr", "fit": "letterbox-topleft", "pad": 114},
        )
    ]


def _yolov8(seen: Seen) -> list[Reading]:
    if len(seen.outputs) != 1 or len(shape := seen.shape(0)) != 3:  # noqa: PLR2004
        return []
    if shape[2] != seen.picture.cells(*_STRIDES) or not 5 <= shape[1] <= 1004:  # noqa: PLR2004 - 4 and the classes
        return []
    centres = np.asarray(seen.values[0])[:, :2]
    return [
        Reading(
            family="YOLOv8, YOLOv9, YOLO11",
            task="detect",
            classes=shape[1] - 4,
            decoder={
                "kind": "yolov8",
                "unit": "normalised" if _is_normalised(centres) else "pixels",
                "nms_iou": 0.7,
                "min_score": 0.25,
            },
            outputs=[{"shape": [1, "4+classes", "cells(8,16,32)"]}],
            input=_ULTRALYTICS,
        )
    ]


def _rows(seen: Seen) -> list[Reading]:
    if len(seen.outputs) != 1:
        return []
    shape = seen.shape(0)
    if len(shape) not in {2, 3, 4} or shape[-1] not in {6, 7} or any(size != 1 for size in shape[:-2]):
        return []
    if shape[-2] == seen.picture.cells(*_STRIDES) or shape[-2] == 3 * seen.picture.cells(*_STRIDES):
        return []  # one class of YOLOv5
    rows = np.asarray(seen.values[0]).reshape(-1, shape[-1]).astype(np.float64)
    columns = ["x1", "y1", "x2", "y2", "score", "class"]
    if shape[-1] == 7:  # noqa: PLR2004
        # OpenVINO's has the class before the score and then the box; YOLOv7's the box, then class and score
        is_openvino = len(shape) == 4 or bool((rows[:, 3:].max(initial=0.0)) <= 1.5)  # noqa: PLR2004
        box = ["x1", "y1", "x2", "y2"]
        columns = ["batch", "class", "score", *box] if is_openvino else ["batch", *box, "class", "score"]
    boxes = rows[:, [columns.index(name) for name in ("x1", "y1", "x2", "y2")]]
    is_list = len(shape) - 2
    return [
        Reading(
            family="end-to-end rows",
            task="detect",
            classes=None,
            decoder={
                "kind": "rows",
                "columns": columns,
                "unit": "normalised" if boxes.size and boxes.max() <= 1.5 else "pixels",  # noqa: PLR2004
                "nms_iou": 1.0,
                "min_score": 0.25,
            },
            outputs=[{"shape": [*([1] * is_list), "any", shape[-1]]}],
            input=_ULTRALYTICS,
        )
    ]


def _listed(seen: Seen) -> list[Reading]:
    """Lists of boxes, classes and scores, perhaps with a count: told apart by their types and values."""
    shapes = [seen.shape(at) for at in range(len(seen.outputs))]
    boxes = [at for at, shape in enumerate(shapes) if len(shape) == 3 and shape[-1] == 4]  # noqa: PLR2004
    if len(seen.outputs) not in {3, 4} or len(boxes) != 1:
        return []
    length = shapes[boxes[0]][1]
    lists = [at for at, shape in enumerate(shapes) if shape in {(1, length), (length,)}]
    counts = [at for at in range(len(shapes)) if at not in {*boxes, *lists} and np.prod(shapes[at]) == 1]
    if len(lists) != 2 or len(counts) != len(shapes) - 3 or length <= 1:  # noqa: PLR2004 - classes and scores
        return []
    classes = max(lists, key=lambda at: _looks_like_numbers(seen.values[at]))
    roles = {boxes[0]: "boxes", classes: "classes", **dict.fromkeys(counts, "count")}
    names = [roles.get(at, "scores") for at in range(len(shapes))]
    others = [one for one in seen.inputs if one is not seen.picture.spec]
    is_dfine = len(others) == 1 and others[0].shape in {(1, 2), (None, 2)}
    is_tensorflow = seen.picture.layout == "nhwc"
    if others and not is_dfine:
        return []
    corners = np.asarray(seen.values[boxes[0]])
    is_normalised = not is_dfine and (is_tensorflow or bool(corners.max(initial=0.0) <= 1.5))  # noqa: PLR2004
    return [
        Reading(
            family="D-FINE, DEIM" if is_dfine else "SSD or EfficientDet" if is_tensorflow else "listed",
            task="detect",
            classes=None,
            decoder={
                "kind": "listed",
                "outputs": names,
                "box_order": "yxyx" if is_tensorflow else "xyxy",
                "unit": "normalised" if is_normalised else "pixels",
                "nms_iou": 1.0,
                "min_score": 0.4,
            },
            outputs=[_listed_pattern(shape, spec) for shape, spec in zip(shapes, seen.outputs, strict=True)],
            constants=[{"shape": [1, 2], "dtype": others[0].dtype, "values": ["width", "height"]}] if is_dfine else [],
            input={"colour": "rgb", "fit": "stretch", "std": [255.0] * 3} if is_dfine else _TENSORFLOW,
        )
    ]


def _listed_pattern(shape: tuple[int, ...], spec: TensorSpec) -> dict[str, Any]:
    sizes: list[int | str] = list(shape)
    for axis in range(min(1, len(sizes) - 1), len(sizes)):
        if not (axis == 2 and sizes[axis] == 4) and not (len(sizes) == 1 and sizes[0] == 1):  # noqa: PLR2004
            sizes[axis] = "any"
    return {"shape": sizes, **({"dtype": spec.dtype} if spec.dtype != "float32" else {})}


def _looks_like_numbers(values: NDArray[Any]) -> tuple[bool, bool, float]:
    """Rank a list by how much it looks like class numbers beside scores."""
    flat = np.asarray(values).reshape(-1)
    is_whole = bool((flat == np.round(flat)).all())
    return flat.dtype.kind in "iu", is_whole and float(flat.max(initial=0)) > 1, float(np.abs(flat).max(initial=0))


def _detr(seen: Seen) -> list[Reading]:
    shapes = [seen.shape(at) for at in range(len(seen.outputs))]
    if len(shapes) != 2 or any(len(shape) != 3 for shape in shapes) or shapes[0][1] != shapes[1][1]:  # noqa: PLR2004
        return []
    if {shapes[0][2] == 4, shapes[1][2] == 4} != {True, False} or shapes[0][1] > 1000:  # noqa: PLR2004 - queries
        return []
    boxes = 0 if shapes[0][2] == 4 else 1  # noqa: PLR2004
    places, width = np.asarray(seen.values[boxes]), shapes[1 - boxes][2]
    if places.min() < -0.05 or places.max() > 1.05:  # noqa: PLR2004 - centres and sizes, in parts of the input
        return []
    logits = np.asarray(seen.values[1 - boxes])
    is_ready = bool(logits.min() >= 0.0 and logits.max() <= 1.0)
    # the first DETR has a class "nothing", which wins nearly everywhere
    has_nothing = not is_ready and bool((logits.argmax(axis=-1) == width - 1).mean() > 0.5)  # noqa: PLR2004
    return [
        Reading(
            family="DETR" if has_nothing else "RT-DETR, RF-DETR",
            task="detect",
            classes=width - has_nothing,
            decoder={
                "kind": "detr",
                "outputs": ["boxes", "scores"] if boxes == 0 else ["scores", "boxes"],
                "activation": "none" if is_ready else "softmax" if has_nothing else "sigmoid",
                "background": "last" if has_nothing else "none",
                "nms_iou": 1.0,
                "min_score": 0.5,
            },
            outputs=[{"shape": [1, shapes[0][1], 4 if at == boxes else width]} for at in (0, 1)],
            input=_DETR,
        )
    ]


_RULES: tuple[Callable[[Seen], list[Reading]], ...] = (_yolov5, _yolov8, _rows, _listed, _detr)
