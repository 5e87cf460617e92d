"""SSD without its postprocessing: anchors, offsets and activations against loops in Python's own numbers."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.decoding import SsdSpec
from appliance.core.errors import ModelError
from appliance.core.manifest import ModelManifest
from appliance.inference.decoders import Choice
from appliance.inference.decoders.ssd import SsdDecoder, make_anchors
from tests.unit.inference.decoders.reference import Found, assert_same, float32, manifest_of

ALL = np.ones(3, bool)
LAYERS = [
    {"stride": 16, "anchors": [[0.1, 1.0], [0.2, 2.0], [0.2, 0.5]]},
    {"stride": 40, "anchors": [[0.5, 1.0], [0.6, 3.0]]},
]
SSD: dict[str, Any] = {"kind": "ssd", "layers": LAYERS, "activation": "softmax", "background": "first"}
ANCHORS = 4 * 6 * 3 + 2 * 3 * 2
Activated = tuple[str, str]
ACTIVATED = [("softmax", "first"), ("softmax", "last"), ("sigmoid", "first"), ("sigmoid", "none"), ("none", "first")]
SEEDS = st.integers(0, 2**32 - 1)
CHOICES = st.builds(
    Choice, st.sampled_from([0.05, 0.3, 0.6]), st.tuples(*[st.booleans()] * 3).map(np.array), st.booleans()
)


def anchors_of(manifest: ModelManifest) -> list[list[float]]:
    assert isinstance(manifest.decoder, SsdSpec)
    anchors: list[list[float]] = make_anchors(manifest, manifest.decoder).tolist()
    return anchors


def anchors_naively(width: int, height: int, layers: list[dict[str, Any]], cells: str, unit: str) -> list[list[float]]:
    """multiple_grid_anchor_generator.py, _generate; EfficientDet's tf2/anchors.py, _generate_boxes."""
    anchors = []
    for layer in layers:
        rows, columns = math.ceil(height / layer["stride"]), math.ceil(width / layer["stride"])
        step_x, step_y = (width / columns, height / rows) if cells == "evenly" else (layer["stride"],) * 2
        for row in range(rows):
            for column in range(columns):
                for scale, ratio in layer["anchors"]:
                    base_x, base_y = (step_x, step_y) if unit == "cells" else (min(width, height),) * 2
                    anchors.append(
                        [
                            (column + 0.5) * step_x,
                            (row + 0.5) * step_y,
                            scale * math.sqrt(ratio) * base_x,
                            scale / math.sqrt(ratio) * base_y,
                        ]
                    )
    return anchors


def activate_naively(logits: list[float], activation: str, background: str) -> list[float]:
    """Give the scores of the classes, without that of the background."""
    if activation == "softmax":
        weights = [math.exp(one - max(logits)) for one in logits]
        scores = [weight / sum(weights) for weight in weights]
    elif activation == "sigmoid":
        scores = [1 / (1 + math.exp(-one)) for one in logits]
    else:
        scores = logits
    return {"first": scores[1:], "last": scores[:-1], "none": scores}[background]


def ssd_naively(boxes: Any, logits: Any, manifest: ModelManifest, choice: Choice) -> Found:
    """faster_rcnn_box_coder.py, _decode."""
    spec = manifest.decoder
    assert isinstance(spec, SsdSpec)
    numbers = spec.class_numbers or range(len(manifest.labels))
    layers = [one.model_dump() for one in spec.layers]
    anchors = anchors_naively(manifest.input.width, manifest.input.height, layers, spec.cells, spec.scale_unit)
    found: Found = []
    for box, row, (x, y, w, h) in zip(boxes.tolist(), logits.tolist(), anchors, strict=True):
        scores = activate_naively(row, spec.activation, spec.background)
        scores = [scores[number] for number in numbers]
        dx, dy, dw, dh = box if spec.box_order == "xywh" else (box[1], box[0], box[3], box[2])
        vx, vy, vw, vh = spec.variances
        cx, cy, bw, bh = x + dx * vx * w, y + dy * vy * h, w * math.exp(dw * vw), h * math.exp(dh * vh)
        best = max(range(len(scores)), key=lambda at, scores=scores: scores[at])  # type: ignore[misc]
        for class_id in range(len(scores)) if choice.every_class else [best]:
            if scores[class_id] >= choice.min_score and choice.wanted[class_id]:
                found.append(((cx - bw / 2, cy - bh / 2, cx + bw / 2, cy + bh / 2), scores[class_id], class_id))
    return found


@pytest.mark.parametrize("cells", ["evenly", "strides"])
@pytest.mark.parametrize("unit", ["input", "cells"])
@pytest.mark.parametrize("size", [(96, 64), (300, 300), (320, 200)])
def test_anchors_lie_where_the_publications_put_them(cells: str, unit: str, size: tuple[int, int]) -> None:
    manifest = manifest_of({**SSD, "cells": cells, "scale_unit": unit}, width=size[0], height=size[1], tensors=2)
    np.testing.assert_allclose(anchors_of(manifest), anchors_naively(*size, LAYERS, cells, unit), rtol=1e-5)


def test_ssd_mobilenet_has_1917_anchors_the_first_of_which_are_known() -> None:
    scales = [0.2 + 0.15 * at for at in range(6)] + [1.0]
    layers: list[dict[str, Any]] = [{"stride": 16, "anchors": [[0.1, 1.0], [0.2, 2.0], [0.2, 0.5]]}]
    for at, (scale, following) in enumerate(pairwise(scales)):
        if at > 0:
            ratios = [[scale, ratio] for ratio in (1.0, 2.0, 0.5, 3.0, 1 / 3)]
            layers.append({"stride": 16 << at, "anchors": [*ratios, [math.sqrt(scale * following), 1.0]]})
    anchors = anchors_of(manifest_of({**SSD, "layers": layers}, width=300, height=300, tensors=2))
    assert len(anchors) == 1917  # box_encodings of ssd_mobilenet_v1_coco and v2_coco: (1, 1917, 4)
    # 19 x 19 cells, scale 0.1 and 0.2 with an aspect ratio of 2
    np.testing.assert_allclose(anchors[0], [300 / 38, 300 / 38, 30, 30], rtol=1e-5)
    np.testing.assert_allclose(anchors[1], [300 / 38, 300 / 38, 60 * math.sqrt(2), 60 / math.sqrt(2)], rtol=1e-5)
    np.testing.assert_allclose(anchors[-1], [150, 150, 300 * math.sqrt(0.95), 300 * math.sqrt(0.95)], rtol=1e-5)


def test_efficientdet_lite0_has_19206_anchors_whose_last_map_has_cells_of_no_whole_size() -> None:
    octaves = [[4 * 2 ** (octave / 3), ratio] for octave in range(3) for ratio in (1.0, 2.0, 0.5)]
    layers = [{"stride": 8 << at, "anchors": octaves} for at in range(5)]
    spec = {**SSD, "layers": layers, "scale_unit": "cells", "activation": "sigmoid", "background": "none"}
    anchors = anchors_of(manifest_of(spec, width=320, height=320, tensors=2))
    assert len(anchors) == 9 * (40**2 + 20**2 + 10**2 + 5**2 + 3**2)
    np.testing.assert_allclose(anchors[0], [4, 4, 32, 32], rtol=1e-5)
    np.testing.assert_allclose(anchors[-9][:4], [320 * 5 / 6, 320 * 5 / 6, 320 / 3 * 4, 320 / 3 * 4], rtol=1e-5)


@given(
    seed=SEEDS,
    choice=CHOICES,
    changes=st.fixed_dictionaries(
        {
            "activated": st.sampled_from(ACTIVATED),
            "box_order": st.sampled_from(["yxhw", "xywh"]),
            "class_numbers": st.sampled_from([(), (0, 1, 2), (0, 2, 3)]),
            "outputs": st.sampled_from([("boxes", "scores"), ("scores", "boxes")]),
        }
    ),
    tensors=st.sampled_from([2, 4]),
)
@settings(max_examples=80, deadline=None)
def test_ssd_against_its_publication(seed: int, choice: Choice, changes: dict[str, Any], tensors: int) -> None:
    random = np.random.default_rng(seed)
    (activation, background), numbers, order = changes["activated"], changes["class_numbers"], changes["outputs"]
    boxes = random.normal(0, 2, (ANCHORS, 4)).astype(np.float32)
    width = max(numbers or (2,)) + 1 + (background != "none")
    logits = random.normal(0, 2, (ANCHORS, width)).astype(np.float32)
    if activation == "none":
        logits = random.random((ANCHORS, width), dtype=np.float32)
    spec = {
        **SSD,
        "activation": activation,
        "background": background,
        "box_order": changes["box_order"],
        "class_numbers": numbers,
        "outputs": order,
        "variances": [0.1, 0.15, 0.2, 0.25],
    }
    manifest = manifest_of(spec, tensors=tensors)
    named = {"boxes": boxes, "scores": logits}
    outputs = [named[name][None] for name in order]
    if tensors == 4:
        outputs = [
            part
            for name in order
            for part in (named[name][:72].reshape(1, 4, 6, -1), named[name][72:].reshape(1, 2, 3, -1))
        ]
    assert_same(SsdDecoder(manifest, choice).decode(outputs), ssd_naively(boxes, logits, manifest, choice))


def test_an_ssd_by_hand() -> None:
    boxes, logits = np.zeros((1, ANCHORS, 4), np.float32), np.zeros((1, ANCHORS, 4), np.float32)
    logits[..., 0] = 9.0
    # cell in row 1, column 2 of the first map, its second anchor: scale 0.2, twice as wide as high
    at = (1 * 6 + 2) * 3 + 1
    logits[0, at] = [0.0, 0.0, math.log(6), 0.0]  # 6 / (1 + 1 + 6 + 1)
    boxes[0, at] = [1.0, 2.0, 0.0, 5 * math.log(2)]  # a tenth down, two tenths to the right, twice as wide
    found = SsdDecoder(manifest_of(SSD, tensors=2), Choice(0.3, ALL)).decode([boxes, logits])
    w, h = 0.2 * 64 * math.sqrt(2), 0.2 * 64 / math.sqrt(2)
    x, y = 40 + 0.2 * w, 24 + 0.1 * h
    assert_same(found, [((x - w, y - h / 2, x + w, y + h / 2), 6 / 9, 1)])


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        (((1, ANCHORS - 1, 4), (1, ANCHORS, 4)), rf"for {ANCHORS} anchors"),
        (((1, ANCHORS, 4), (1, ANCHORS + 1, 4)), rf"for {ANCHORS} anchors"),
        (((1, ANCHORS, 3), (1, ANCHORS, 4)), r"no list of 4 values|anchors"),
        (((1, ANCHORS, 4), (1, ANCHORS, 3)), "gave 3 classes of a place where its labels take 4"),
    ],
)
def test_tensors_that_do_not_belong_to_the_anchors_are_refused(
    shapes: tuple[tuple[int, ...], tuple[int, ...]], expected: str
) -> None:
    with pytest.raises(ModelError, match=expected):
        SsdDecoder(manifest_of(SSD, tensors=2), Choice(0.3, ALL)).decode([np.zeros(s, np.float32) for s in shapes])


def test_a_signature_with_a_number_of_tensors_that_the_layers_do_not_make_is_refused() -> None:
    with pytest.raises(ModelError, match=r"signature\.outputs has 3 tensors; decoder\.layers takes 2 or 4"):
        SsdDecoder(manifest_of(SSD, tensors=3), Choice(0.3, ALL))


def test_more_anchors_than_a_device_can_hold_are_refused_before_they_are_made() -> None:
    layers = [{"stride": 1, "anchors": [[0.1, 1.0]] * 32}]
    with pytest.raises(ModelError, match="have 536870912 anchors; at most 1000000"):
        SsdDecoder(manifest_of({**SSD, "layers": layers}, width=4096, height=4096, tensors=2), Choice(0.3, ALL))


@pytest.mark.parametrize(
    "activated", [("softmax", "first"), ("softmax", "last"), ("sigmoid", "none"), ("none", "first")]
)
def test_what_is_no_number_passes_every_gate(activated: Activated) -> None:
    spec = {**SSD, "activation": activated[0], "background": activated[1]}
    logits = np.full((1, ANCHORS, 3 if activated[1] == "none" else 4), -9.0, np.float32)
    logits[0, 5, 1] = math.nan
    boxes = np.zeros((1, ANCHORS, 4), np.float32)
    found = SsdDecoder(manifest_of(spec, tensors=2), Choice(0.9, ALL)).decode([boxes, logits])
    assert np.isnan(found.scores).any()


def test_scores_that_just_reach_the_lowest_are_found_whatever_the_rounding() -> None:
    logits = np.full((1, ANCHORS, 3), -9.0, np.float32)
    for least in np.linspace(0.01, 0.99, 99).tolist():
        logits[0, 7, 1] = math.log(least / (1 - least))
        score = 1 / (1 + math.exp(-float(logits[0, 7, 1])))
        spec = {**SSD, "activation": "sigmoid", "background": "none"}
        decoder = SsdDecoder(manifest_of(spec, tensors=2), Choice(score - 1e-6, ALL))
        assert len(decoder.decode([np.zeros((1, ANCHORS, 4), np.float32), logits])) == 1


def test_huge_logits_overflow_nothing() -> None:
    with np.errstate(all="raise", under="ignore"):
        for activation, background in (("softmax", "first"), ("sigmoid", "first")):
            logits = np.full((1, ANCHORS, 4), -500.0, np.float32)
            logits[0, 3, 2] = 500.0
            spec = {**SSD, "activation": activation, "background": background}
            decoder = SsdDecoder(manifest_of(spec, tensors=2), Choice(0.3, ALL))
            found = decoder.decode([np.zeros((1, ANCHORS, 4), np.float32), logits])
            assert found.scores.tolist() == [1.0]
            assert found.class_ids.tolist() == [1]


def test_scores_where_logits_stand_are_refused() -> None:
    logits = float32(np.full((1, ANCHORS, 4), 5.0))
    decoder = SsdDecoder(manifest_of({**SSD, "activation": "none"}, tensors=2), Choice(0.3, ALL))
    with pytest.raises(ModelError, match="gave scores up to 5, which must lie between 0 and 1"):
        decoder.decode([np.zeros((1, ANCHORS, 4), np.float32), logits])
