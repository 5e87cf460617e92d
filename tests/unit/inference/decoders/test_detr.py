"""DETR and its kind, by hand and against the publications' own way: all pairs of query and class, ranked."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.errors import ModelError
from appliance.inference.decoders import Choice
from appliance.inference.decoders.detr import DetrDecoder
from appliance.inference.nms import suppress
from tests.unit.inference.decoders.reference import Found, assert_same, float32, manifest_of

ALL = np.ones(3, bool)
DETR = {"kind": "detr", "activation": "sigmoid", "background": "none", "nms_iou": 1.0}
SEEDS = st.integers(0, 2**32 - 1)


def detr_naively(boxes: list[list[float]], logits: list[list[float]], most: int, numbers: tuple[int, ...]) -> Found:
    """rfdetr/models/lwdetr.py, PostProcess.forward: sigmoid, the best pairs, centre and size to corners."""
    pairs = [(1 / (1 + math.exp(-row[n])), q, label) for q, row in enumerate(logits) for label, n in enumerate(numbers)]
    found: Found = []
    for score, query, label in sorted(pairs, reverse=True)[:most]:
        x, y, w, h = boxes[query]
        box = ((x - w / 2) * 96, (y - h / 2) * 64, (x + w / 2) * 96, (y + h / 2) * 64)
        found.append((box, score, label))
    return found


@given(SEEDS, st.sampled_from([(0, 1, 2), (1, 2, 4)]), st.sampled_from([("boxes", "scores"), ("scores", "boxes")]))
@settings(max_examples=60, deadline=None)
def test_the_best_pairs_of_query_and_class_stay(seed: int, numbers: tuple[int, ...], order: tuple[str, str]) -> None:
    random = np.random.default_rng(seed)
    boxes = random.random((1, 50, 4), dtype=np.float32)
    logits = random.normal(-2, 2, (1, 50, 5)).astype(np.float32)
    manifest = manifest_of({**DETR, "max_detections": 30, "class_numbers": numbers, "outputs": order}, tensors=2)
    decoder = DetrDecoder(manifest, Choice(0.01, ALL, every_class=True))
    found = decoder.decode([{"boxes": boxes, "scores": logits}[name] for name in order])
    expected = detr_naively(boxes[0].tolist(), logits[0].tolist(), 30, numbers)
    assert_same(suppress(found, 1.0, 30), [one for one in expected if one[1] >= 0.01])


@given(SEEDS, st.sampled_from([0.05, 0.3, 0.7]), st.tuples(*[st.booleans()] * 3))
@settings(max_examples=60, deadline=None)
def test_of_each_query_its_best_class_counts(seed: int, least: float, wanted: tuple[bool, ...]) -> None:
    random = np.random.default_rng(seed)
    boxes, logits = random.random((1, 50, 4), dtype=np.float32), random.normal(-1, 2, (1, 50, 3)).astype(np.float32)
    found = DetrDecoder(manifest_of(DETR, tensors=2), Choice(least, np.array(wanted))).decode([boxes, logits])
    expected = []
    for query in range(50):
        pairs = detr_naively([boxes[0, query].tolist()], [logits[0, query].tolist()], 1, (0, 1, 2))
        expected += [pair for pair in pairs if pair[1] >= least and wanted[pair[2]]]
    assert_same(found, expected)


def test_rf_detr_by_hand() -> None:
    logits = np.full((1, 2, 3), -6.0, np.float32)
    logits[0, 1, 2] = math.log(0.8 / 0.2)
    boxes = float32([[[0.9, 0.9, 0.1, 0.1], [0.5, 0.25, 0.5, 0.5]]])
    found = DetrDecoder(manifest_of(DETR, tensors=2), Choice(0.5, ALL)).decode([boxes, logits])
    assert_same(found, [((24, 0, 72, 32), 0.8, 2)])


def test_the_first_detr_had_a_class_for_nothing() -> None:
    spec = {**DETR, "activation": "softmax", "background": "last"}
    logits = float32([[[0, 0, math.log(5), math.log(3)], [0, 0, math.log(5), math.log(93)]]])
    boxes = float32([[[0.5, 0.5, 1, 1]] * 2])
    found = DetrDecoder(manifest_of(spec, tensors=2), Choice(0.3, ALL)).decode([boxes, logits])
    assert_same(found, [((0, 0, 96, 64), 0.5, 2)])


def test_two_objects_in_one_place_both_stay() -> None:
    logits = np.full((1, 2, 3), 3.0, np.float32)
    boxes = float32([[[0.5, 0.5, 1, 1]] * 2])
    found = DetrDecoder(manifest_of(DETR, tensors=2), Choice(0.3, ALL)).decode([boxes, logits])
    assert len(suppress(found, 1.0, 300)) == 2


def test_what_is_no_number_passes_the_gate() -> None:
    logits = np.full((1, 2, 3), -9.0, np.float32)
    logits[0, 1, 1] = math.nan
    boxes = float32([[[0.5, 0.5, 1, 1]] * 2])
    found = DetrDecoder(manifest_of(DETR, tensors=2), Choice(0.9, ALL)).decode([boxes, logits])
    assert np.isnan(found.scores).tolist() == [True]


def test_tensors_that_do_not_belong_together_are_refused() -> None:
    decoder = DetrDecoder(manifest_of(DETR, tensors=2), Choice(0.3, ALL))
    with pytest.raises(ModelError, match="gave 2 boxes and classes for 3"):
        decoder.decode([np.zeros((1, 2, 4), np.float32), np.zeros((1, 3, 3), np.float32)])
    with pytest.raises(ModelError, match="gave 2 classes of a place where its labels take 3"):
        decoder.decode([np.zeros((1, 2, 4), np.float32), np.zeros((1, 2, 2), np.float32)])
