"""Each decoder against its publication, worked out one cell at a time in Python's own numbers."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.core.decoding import KINDS, DistancesSpec
from appliance.core.errors import ModelError
from appliance.core.manifest import ModelManifest
from appliance.core.registry import load
from appliance.core.results import Detections
from appliance.inference.decoders import DECODERS, Choice, Decoder, grid
from appliance.inference.decoders.distances import DistancesDecoder
from appliance.inference.decoders.fastestdet import FastestdetDecoder
from appliance.inference.decoders.nanodet import NanodetDecoder
from appliance.inference.decoders.yolox import YoloxDecoder
from tests.simulators.models import manifest

WIDTH, HEIGHT, CLASSES = 96, 64, 80
ALL = np.ones(CLASSES, bool)
Found = list[tuple[tuple[float, ...], float, int]]
Outputs = list[NDArray[np.float32]]
Make = Callable[[np.random.Generator], Outputs]


def scores_like(random: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    """Mostly low, a few high, as a detector's are."""
    return (random.random(shape) ** 30).astype(np.float32)


def cells(strides: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
    for stride in strides:
        for row in range(math.ceil(HEIGHT / stride)):
            for column in range(math.ceil(WIDTH / stride)):
                yield row, column, stride


def yolox_outputs(random: np.random.Generator) -> Outputs:
    count = sum(1 for _ in cells((8, 16, 32)))
    out = np.zeros((1, count, 5 + CLASSES), np.float32)
    out[0, :, :4] = random.normal(0, 1, (count, 4))
    out[0, :, 4] = random.random(count)
    out[0, :, 5:] = scores_like(random, count, CLASSES)
    return [out]


def yolox_naively(outputs: Outputs, least: float) -> Found:
    """arXiv:2107.08430; yolox/utils/demo_utils.py, demo_postprocess."""
    found = []
    for values, (row, column, stride) in zip(outputs[0][0].tolist(), cells((8, 16, 32)), strict=True):
        x, y = (values[0] + column) * stride, (values[1] + row) * stride
        w, h = math.exp(values[2]) * stride, math.exp(values[3]) * stride
        class_id = max(range(CLASSES), key=lambda at: values[5 + at])
        score = values[4] * values[5 + class_id]
        if score >= least:
            found.append(((x - w / 2, y - h / 2, x + w / 2, y + h / 2), score, class_id))
    return found


def nanodet_outputs(random: np.random.Generator, strides: tuple[int, ...], *lead: int) -> Outputs:
    counts = [sum(1 for _ in cells((stride,))) for stride in strides]
    scores = [scores_like(random, *lead, count, CLASSES) for count in counts]
    return scores + [random.normal(0, 3, (*lead, count, 32)).astype(np.float32) for count in counts]


def nanodet_naively(outputs: Outputs, least: float, strides: tuple[int, ...]) -> Found:
    """arXiv:2006.04388, section 3.2: a side is the mean of its distribution, from the cell's centre."""
    found = []
    for level, stride in enumerate(strides):
        scores = outputs[level].reshape(-1, CLASSES).tolist()
        sides = outputs[level + len(strides)].reshape(-1, 4, 8).tolist()
        for at, (row, column, _) in enumerate(cells((stride,))):
            class_id = max(range(CLASSES), key=lambda c: scores[at][c])
            if scores[at][class_id] < least:
                continue
            reach = []
            for logits in sides[at]:
                weights = [math.exp(logit) for logit in logits]
                reach.append(sum(k * weight for k, weight in enumerate(weights)) / sum(weights) * stride)
            x, y = (column + 0.5) * stride, (row + 0.5) * stride
            found.append(((x - reach[0], y - reach[1], x + reach[2], y + reach[3]), scores[at][class_id], class_id))
    return found


def fastestdet_outputs(random: np.random.Generator) -> Outputs:
    out = np.zeros((1, 5 + CLASSES, HEIGHT // 16, WIDTH // 16), np.float32)
    out[0, 0] = random.random(out.shape[2:])
    out[0, 1:5] = random.normal(0, 1, (4, *out.shape[2:]))
    out[0, 5:] = scores_like(random, CLASSES, *out.shape[2:])
    return [out]


def fastestdet_naively(outputs: Outputs, least: float) -> Found:
    """https://github.com/dog-qiuqiu/FastestDet, utils/tool.py, handle_preds."""
    found = []
    for row, column, stride in cells((16,)):
        values = outputs[0][0, :, row, column].tolist()
        class_id = max(range(CLASSES), key=lambda at: values[5 + at])
        score = values[0] ** 0.6 * values[5 + class_id] ** 0.4
        if score < least:
            continue
        x, y = (math.tanh(values[1]) + column) * stride, (math.tanh(values[2]) + row) * stride
        w, h = WIDTH / (1 + math.exp(-values[3])), HEIGHT / (1 + math.exp(-values[4]))
        found.append(((x - w / 2, y - h / 2, x + w / 2, y + h / 2), score, class_id))
    return found


def distances_outputs(random: np.random.Generator) -> Outputs:
    count = sum(1 for _ in cells((8, 16, 32)))
    scores = scores_like(random, 1, CLASSES, count)
    return [scores, random.normal(2, 2, (1, 4, count)).astype(np.float32)]


def distances_naively(outputs: Outputs, least: float) -> Found:
    """arXiv:1904.01355, equation 1: how far the sides of the box are from the cell's centre."""
    found = []
    for at, (row, column, stride) in enumerate(cells((8, 16, 32))):
        class_id = max(range(CLASSES), key=lambda c: outputs[0][0, c, at])
        if (score := float(outputs[0][0, class_id, at])) < least:
            continue
        left, top, right, bottom = (side * stride for side in outputs[1][0, :, at].tolist())
        x, y = (column + 0.5) * stride, (row + 0.5) * stride
        found.append(((x - left, y - top, x + right, y + bottom), score, class_id))
    return found


def small(name: str) -> ModelManifest:
    if name == "distances":  # no family of others' models: the manifest comes with each model that is trained
        decoder = DistancesSpec(kind="distances", strides=(8, 16, 32), nms_iou=0.6, min_score=0.3)
        changes = {"name": "distances", "decoder_spec": decoder}
        return manifest("yolox", WIDTH, HEIGHT).model_copy(update=changes)
    return manifest(name, WIDTH, HEIGHT)


def ranked(found: Detections) -> Found:
    rows = zip(map(tuple, found.boxes.tolist()), found.scores.tolist(), found.class_ids.tolist(), strict=True)
    return sorted(rows, key=lambda row: (-row[1], row[0]))


def assert_same(found: Detections, expected: Found) -> None:
    ours, theirs = ranked(found), sorted(expected, key=lambda row: (-row[1], row[0]))
    assert [row[2] for row in ours] == [row[2] for row in theirs]
    np.testing.assert_allclose([row[1] for row in ours], [row[1] for row in theirs], rtol=1e-5)
    np.testing.assert_allclose([row[0] for row in ours], [row[0] for row in theirs], rtol=1e-4, atol=1e-3)
    assert (found.boxes.dtype, found.scores.dtype, found.class_ids.dtype) == (np.float32, np.float32, np.int32)


@pytest.mark.parametrize("least", [0.01, 0.2, 0.5])
@pytest.mark.parametrize("seed", [1, 2])
class TestAgainstThePublication:
    def test_yolox(self, least: float, seed: int) -> None:
        outputs = yolox_outputs(np.random.default_rng(seed))
        expected = yolox_naively(outputs, least)
        assert len(expected) > 3
        assert_same(YoloxDecoder(small("yolox"), Choice(least, ALL)).decode(outputs), expected)

    def test_nanodet(self, least: float, seed: int) -> None:
        outputs = nanodet_outputs(np.random.default_rng(seed), (8, 16, 32))
        expected = nanodet_naively(outputs, least, (8, 16, 32))
        assert len(expected) > 3
        assert_same(NanodetDecoder(small("nanodet"), Choice(least, ALL)).decode(outputs), expected)

    def test_picodet(self, least: float, seed: int) -> None:
        outputs = nanodet_outputs(np.random.default_rng(seed), (8, 16, 32, 64), 1)
        expected = nanodet_naively(outputs, least, (8, 16, 32, 64))
        assert len(expected) > 3
        assert_same(NanodetDecoder(small("picodet"), Choice(least, ALL)).decode(outputs), expected)

    def test_fastestdet(self, least: float, seed: int) -> None:
        outputs = fastestdet_outputs(np.random.default_rng(seed))
        expected = fastestdet_naively(outputs, least)
        assert len(expected) > 3
        assert_same(FastestdetDecoder(small("fastestdet"), Choice(least, ALL)).decode(outputs), expected)

    def test_distances(self, least: float, seed: int) -> None:
        outputs = distances_outputs(np.random.default_rng(seed))
        expected = distances_naively(outputs, least)
        assert len(expected) > 3
        assert_same(DistancesDecoder(small("distances"), Choice(least, ALL)).decode(outputs), expected)


CASES = [
    ("distances", DistancesDecoder, distances_outputs),
    ("yolox", YoloxDecoder, yolox_outputs),
    ("nanodet", NanodetDecoder, lambda random: nanodet_outputs(random, (8, 16, 32))),
    ("picodet", NanodetDecoder, lambda random: nanodet_outputs(random, (8, 16, 32, 64), 1)),
    ("fastestdet", FastestdetDecoder, fastestdet_outputs),
]


@pytest.mark.parametrize(("name", "kind", "make"), CASES)
class TestEveryDecoder:
    def test_gives_nothing_where_nothing_reaches_the_lowest_score(
        self, name: str, kind: type[Decoder], make: Make
    ) -> None:
        outputs = [output * 0 for output in make(np.random.default_rng(3))]
        assert len(kind(small(name), Choice(0.3, ALL)).decode(outputs)) == 0

    def test_leaves_its_outputs_as_they_were(self, name: str, kind: type[Decoder], make: Make) -> None:
        outputs = make(np.random.default_rng(3))
        before = [output.copy() for output in outputs]
        kind(small(name), Choice(0.1, ALL)).decode(outputs)
        assert all((a == b).all() for a, b in zip(outputs, before, strict=True))

    def test_drops_what_is_not_wanted_and_calls_it_nothing_else(
        self, name: str, kind: type[Decoder], make: Make
    ) -> None:
        outputs = make(np.random.default_rng(3))
        everything = kind(small(name), Choice(0.1, ALL)).decode(outputs)
        wanted = ALL.copy()
        wanted[everything.class_ids[0]] = False
        found = kind(small(name), Choice(0.1, wanted)).decode(outputs)
        expected = everything.select(everything.class_ids != everything.class_ids[0])
        assert ranked(found) == ranked(expected)

    def test_gives_every_class_of_a_cell_when_asked(self, name: str, kind: type[Decoder], make: Make) -> None:
        outputs = make(np.random.default_rng(3))
        best = kind(small(name), Choice(0.1, ALL)).decode(outputs)
        every = kind(small(name), Choice(0.1, ALL, every_class=True)).decode(outputs)
        assert len(every) > len(best)
        assert set(ranked(best)) <= set(ranked(every))
        assert every.scores.min() >= np.float32(0.1) * (1 - 1e-6)

    def test_lets_what_is_no_number_through_for_the_detector_to_see(
        self, name: str, kind: type[Decoder], make: Make
    ) -> None:
        outputs = [np.full_like(output, np.nan) for output in make(np.random.default_rng(3))]
        found = kind(small(name), Choice(0.3, ALL)).decode(outputs)
        assert np.isnan(found.scores).any()


def test_the_softmax_does_not_overflow() -> None:
    outputs = nanodet_outputs(np.random.default_rng(1), (8, 16, 32))
    outputs[0][0, 5] = 0.9
    outputs[3][:] = 0.0
    outputs[3][0, 7] = 500.0  # exp(500) is no float32
    found = NanodetDecoder(small("nanodet"), Choice(0.89, ALL)).decode(outputs)
    best = found.select(found.class_ids == 5)
    np.testing.assert_allclose(best.boxes[0], [4 - 7 * 8, 4 - 3.5 * 8, 4 + 3.5 * 8, 4 + 3.5 * 8], rtol=1e-5)


def test_the_grid_goes_row_by_row_and_rounds_up() -> None:
    places, strides = grid(manifest("yolox", 40, 20), (16, 32))
    assert places.tolist() == [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1], [0, 0], [1, 0]]
    assert strides.ravel().tolist() == [16] * 6 + [32] * 2


def test_every_kind_of_a_manifest_has_a_decoder_and_no_other() -> None:
    assert sorted(DECODERS) == sorted(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_decoder_refuses_a_manifest_of_another_kind(kind: str) -> None:
    other = "nanodet" if kind == "yolox" else "yolox"
    with pytest.raises(ModelError, match=rf"decoder\.kind is '{other}', not '{kind}'"):
        load(DECODERS, kind, "kind")(small(other), Choice(0.3, ALL))
