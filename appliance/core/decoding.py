"""How the outputs of each family of networks are read: the ``[decoder]`` table of a manifest, one class per kind."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from appliance.core.part import Part

Stride = Annotated[int, Field(ge=1, le=512)]
Strides = Annotated[tuple[Stride, ...], Field(min_length=1, max_length=8)]
Unit = Literal["pixels", "normalised"]  # of the model's input, or 0..1 of its width and height
Variance = Annotated[float, Field(gt=0.0, le=100.0)]
AnchorScale = Annotated[float, Field(gt=0.0, le=100.0)]
AnchorRatio = Annotated[float, Field(ge=0.01, le=100.0)]


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) != len(values):
        raise ValueError("has one twice")
    return values


ClassNumbers = Annotated[
    tuple[Annotated[int, Field(ge=0, le=9999)], ...], Field(max_length=1000), AfterValidator(_distinct)
]


class DecoderSpec(Part):
    """What all decoders have in common.

    Attributes:
        nms_iou: Of two boxes of one class that overlap more than this (IoU), the lower score goes; 1: both stay.
        min_score: Lowest score of a detection unless the owner sets another.
        max_detections: At most so many in one frame.
    """

    nms_iou: Annotated[float, Field(ge=0.05, le=1.0)]
    min_score: Annotated[float, Field(ge=0.01, le=1.0)]
    max_detections: Annotated[int, Field(ge=1, le=1000)] = 300


class NumberedSpec(DecoderSpec):
    """A decoder of networks whose own numbers of the classes need not be 0, 1, 2, ...

    Attributes:
        class_numbers: The network's number of each label, in the order of the labels; empty: 0, 1, 2, ... What it
            finds of a number that is not among them, and is not above them all, is left out.
    """

    class_numbers: ClassNumbers = ()


class YoloxSpec(DecoderSpec):
    """YOLOX: one tensor of raw grid offsets, log sizes, objectness and class scores."""

    kind: Literal["yolox"]
    strides: Strides


class NanodetSpec(DecoderSpec):
    """NanoDet and PicoDet: per level a score tensor and a distribution over distances for each side.

    Attributes:
        strides: Of the levels, in the order of the signature: all score tensors, then all box tensors.
        bins: Values of each side's distribution.
    """

    kind: Literal["nanodet"]
    strides: Strides
    bins: Annotated[int, Field(ge=2, le=64)]


class FastestdetSpec(DecoderSpec):
    """FastestDet: one map of objectness, box and class scores."""

    kind: Literal["fastestdet"]
    stride: Stride


class DistancesSpec(DecoderSpec):
    """Edgecam's own: one tensor of scores, one of each side's distance from the cell's centre, in cells.

    Attributes:
        strides: Of the levels, one after the other in both tensors.
    """

    kind: Literal["distances"]
    strides: Strides


class Yolov5Spec(DecoderSpec):
    """YOLOv5 and YOLOv7 style, and YOLOX decoded in the network: a row for each cell and anchor.

    Attributes:
        unit: Of the boxes.
    """

    kind: Literal["yolov5"]
    unit: Unit = "pixels"


class Yolov8Spec(DecoderSpec):
    """YOLOv8, YOLOv9 and YOLO11 style: a column for each cell, no objectness.

    Attributes:
        unit: Of the boxes.
    """

    kind: Literal["yolov8"]
    unit: Unit = "pixels"


class ScoredSpec(NumberedSpec):
    """A decoder of networks that give a box tensor, and a class tensor before its activation.

    Attributes:
        outputs: Which comes first in the signature.
        activation: What makes scores of the class tensor; none: they are scores already.
        background: Where the class tensor has the class "nothing"; `class_numbers` do not count it.
    """

    outputs: Annotated[tuple[Literal["boxes", "scores"], Literal["boxes", "scores"]], AfterValidator(_distinct)] = (
        "boxes",
        "scores",
    )
    activation: Literal["softmax", "sigmoid", "none"]
    background: Literal["first", "last", "none"]

    @model_validator(mode="after")
    def _softmax_has_a_background(self) -> Self:
        if self.activation == "softmax" and self.background == "none":
            raise ValueError("activation softmax needs a background, else every place would have an object")
        return self


class SsdLayer(Part):
    """One map of an SSD.

    Attributes:
        stride: The map has the input's size over it, rounded up.
        anchors: Scale and aspect ratio (width over height) of the anchors of each cell, in the network's order.
    """

    stride: Stride
    anchors: Annotated[tuple[tuple[AnchorScale, AnchorRatio], ...], Field(min_length=1, max_length=32)]


class SsdSpec(ScoredSpec):
    """SSD and EfficientDet without their postprocessing: class scores, and boxes as offsets from anchors.

    Attributes:
        layers: The maps, finest first. Each of the `outputs` is one tensor for all of them, or one for each.
        cells: Are spread evenly over the input, or lie a stride apart.
        scale_unit: An anchor's scale is a part of the input's shorter side, or a number of cells.
        box_order: Of the offsets.
        variances: Factors for the offsets of x, y, width and height.
    """

    kind: Literal["ssd"]
    layers: Annotated[tuple[SsdLayer, ...], Field(min_length=1, max_length=8)]
    cells: Literal["evenly", "strides"] = "evenly"
    scale_unit: Literal["input", "cells"] = "input"
    box_order: Literal["yxhw", "xywh"] = "yxhw"
    variances: tuple[Variance, Variance, Variance, Variance] = (0.1, 0.1, 0.2, 0.2)


class DetrSpec(ScoredSpec):
    """DETR and its kind (RF-DETR, RT-DETR, D-FINE, DEIM): a set of boxes, centre and size 0..1, with class scores."""

    kind: Literal["detr"]


class ListedSpec(NumberedSpec):
    """Detections as a list, a tensor for each of their properties: networks that end in their own suppression.

    Attributes:
        outputs: What each tensor of the signature is, in its order. Without a count all rows are detections.
        box_order: Corners of the boxes.
        unit: Of the boxes.
    """

    kind: Literal["listed"]
    outputs: Annotated[tuple[Literal["boxes", "classes", "scores", "count"], ...], AfterValidator(_distinct)] = (
        "boxes",
        "classes",
        "scores",
        "count",
    )
    box_order: Literal["yxyx", "xyxy"]
    unit: Unit

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not {"boxes", "classes", "scores"} <= set(self.outputs):
            raise ValueError("outputs: needs boxes, classes and scores")
        return self


class ByClassSpec(NumberedSpec):
    """Detections as a list for each class, in one tensor: networks that end in Hailo's own suppression.

    Attributes:
        box_order: Of the four values before the score.
        unit: Of the boxes.
    """

    kind: Literal["by-class"]
    box_order: Literal["yxyx", "xyxy"] = "yxyx"
    unit: Unit = "normalised"


class RowsSpec(NumberedSpec):
    """Detections as a list, a row of one tensor each: networks that end in their own suppression.

    Attributes:
        columns: What the values of a row are, in their order. A negative batch number ends the list.
        unit: Of the boxes.
    """

    kind: Literal["rows"]
    columns: Annotated[
        tuple[Literal["x1", "y1", "x2", "y2", "score", "class", "batch"], ...], AfterValidator(_distinct)
    ] = ("x1", "y1", "x2", "y2", "score", "class")
    unit: Unit = "pixels"

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not {"x1", "y1", "x2", "y2", "score", "class"} <= set(self.columns):
            raise ValueError("columns: needs x1, y1, x2, y2, score and class")
        return self


AnyDecoder = Annotated[
    YoloxSpec
    | NanodetSpec
    | FastestdetSpec
    | DistancesSpec
    | Yolov5Spec
    | Yolov8Spec
    | SsdSpec
    | DetrSpec
    | ListedSpec
    | ByClassSpec
    | RowsSpec,
    Field(discriminator="kind"),
]
KINDS = (
    "by-class",
    "detr",
    "distances",
    "fastestdet",
    "listed",
    "nanodet",
    "rows",
    "ssd",
    "yolov5",
    "yolov8",
    "yolox",
)
