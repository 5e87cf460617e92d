"""The way in which a network sees most, mirrored too, is the way it was trained with."""

from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from appliance.core.frame import Frame, PixelLayout
from appliance.core.manifest import InputSpec
from appliance.core.results import Detections
from appliance.inference.adding.deciding import Wishes, to_try
from appliance.inference.adding.families import recognise
from appliance.inference.adding.model_file import open_model_file
from appliance.inference.adding.trial import SCALES, Outcome, agreement, judge, numbers_of, scale_of, variants
from appliance.inference.folders import find_models
from tests.shared_data import SHARED, needs

START = InputSpec.model_validate({"width": 64, "height": 64, "colour": "rgb", "fit": "stretch"})
TRUTH = {  # as the data's MANIFEST.json has it
    "yolox_nano_416_coco80": ("bgr", "0..255"),
    "picodet_s_416_coco80": ("rgb", "imagenet"),
    "nanodet_m_320_coco80": ("bgr", "imagenet"),
    "fastestdet_352_coco80": ("bgr", "0..1"),
}


def detections(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    table = np.array(rows, np.float64).reshape(-1, 6)
    return Detections(table[:, :4].astype(np.float32), table[:, 4].astype(np.float32), table[:, 5].astype(np.int32))


def test_what_is_seen_mirrored_too_counts_for_it_and_all_else_against_it() -> None:
    found = detections((10, 0, 30, 20, 0.8, 1), (50, 50, 60, 60, 0.5, 2))
    mirrored = detections((70, 0, 90, 20, 0.6, 1))
    assert agreement(found, mirrored, 100) == pytest.approx(2 * 0.48 - (0.64 + 0.25 + 0.36) / 2, abs=1e-5)
    assert agreement(found, detections((70, 0, 90, 20, 0.6, 3)), 100) < 0
    assert agreement(detections(), detections(), 100) == 0.0
    twice = detections((10, 0, 30, 20, 0.8, 1), (10, 0, 30, 20, 0.8, 1))
    assert agreement(twice, mirrored, 100) == pytest.approx(2 * 0.48 - (1.28 + 0.36) / 2, abs=1e-5)


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
@pytest.mark.parametrize("scale", list(SCALES))
def test_a_scale_is_recognised_again_in_either_order_of_channels(colour: str, scale: str) -> None:
    mean, std = numbers_of(scale, colour)
    spec = InputSpec.model_validate({**START.model_dump(), "colour": colour, "mean": mean, "std": std})
    assert scale_of(spec) == scale


def test_all_ways_that_are_open_are_tried_once() -> None:
    ways = variants(START, ["rgb", "bgr"], list(SCALES), [])
    assert len({(one.colour, one.mean, one.std) for one in ways}) == 8
    assert variants(START, [], [], []) == [START]


def test_one_property_is_judged_whatever_the_others_were() -> None:
    rgb, bgr = START, START.model_copy(update={"colour": "bgr"})
    verdict = judge([Outcome(rgb, 1.0), Outcome(rgb, 3.0), Outcome(bgr, 2.0)], lambda one: one.colour)
    assert (verdict.best, verdict.ratio, verdict.is_decisive) == ("rgb", 1.5, True)
    assert not judge([Outcome(rgb, 1.0), Outcome(bgr, 0.9)], lambda one: one.colour).is_decisive
    assert not judge([Outcome(rgb, 0.0), Outcome(bgr, 0.0)], lambda one: one.colour).is_decisive


def frame(path: Path) -> Frame:
    image = np.asarray(cv2.imread(str(path)), np.uint8)
    return Frame(image, PixelLayout.BGR, image.shape[1], image.shape[0], "sample", 0, datetime.now(UTC), 0)


@needs("eval", "models/yolox_nano_416_coco80.onnx")
@pytest.mark.parametrize("name", list(TRUTH))
def test_photographs_tell_how_real_networks_were_trained_though_nobody_says_it(name: str) -> None:
    photographs = sorted(SHARED.glob("eval/**/*.jpg"))
    frames = [frame(path) for path in photographs[:: len(photographs) // 6][:6]]
    known = [one.manifest for one in find_models()]
    path = SHARED / "models" / f"{name}.onnx"
    colour, scale = TRUTH[name]
    with open_model_file(path, known, frames, size=None, threads=1) as opened:
        assert recognise(opened.seen, known)[0].is_known
        wrong = {"yolox": "0..1"}.get(opened.reading.family, "0..255")
        opened.reading.input.update(
            {"colour": "rgb", "mean": numbers_of(wrong, "rgb")[0], "std": numbers_of(wrong, "rgb")[1]}
        )
        draft = opened.draft(Wishes())
        assert to_try(draft) == (["rgb", "bgr"], list(SCALES))
        outcomes = list(opened.try_inputs(draft, opened.inputs_to_try(draft)))
    assert judge(outcomes, scale_of).best == scale
    assert judge(outcomes, lambda one: one.colour).best == colour
