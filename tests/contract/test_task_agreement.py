"""Classifiers and a segmentation network through Edgecam's own path, against LiteRT itself and NumPy alone.

What is compared with shares nothing with Edgecam: it scales the picture, runs the file and takes the argmax by
itself, twice. Scaled by OpenCV the answers must be the same to the last one. Scaled by NumPy, exactly rather than in
OpenCV's 11 bits, an eighth of the input's values differ by 1 of 255, and these networks of 8 bits are moved by that.
The figures are in docs/models.md.
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.config import ModelSettings
from appliance.core.clock import SystemClock
from appliance.core.frame import Frame, PixelLayout
from appliance.core.rle import encode_mask
from appliance.inference.classifier import Classifier
from appliance.inference.ladder import open_best_model
from appliance.inference.segmentation import shares
from appliance.inference.segmenter import Segmenter
from tests.shared_data import SHARED, needs

PICTURES = "eval/coco_val400/images"
BUS = "models/sample_bus.jpg"
CLASSIFIERS = {"mobilenet_v1_0.25_128_quant": 120, "mobilenet_v2_1.0_224_quant": 60}  # with how many photographs
LEAST_ALIKE = 0.9  # of the best labels, where the picture is scaled by NumPy
LEAST_EQUAL = 0.97  # of the pixels of eight photographs, likewise; 0.85 of each
LABELS, DEEPLAB = "models/imagenet_labels.txt", "models/deeplabv3_mnv2_dm05_pascal_quant.tflite"
SEEN = {"000000001818.jpg": "zebra", "000000006012.jpg": "banana", "000000519208.jpg": "elephant"}  # by people
BUS_ID, PERSON_ID = 6, 15  # of PASCAL VOC


def interpreter(file: str) -> Callable[[NDArray[np.uint8]], NDArray[Any]]:
    """Give what runs a file: LiteRT as its documentation shows it."""
    litert = pytest.importorskip("ai_edge_litert.interpreter", reason="LiteRT runs .tflite files")
    network = litert.Interpreter(str(SHARED / file), num_threads=1)
    network.allocate_tensors()
    taken, given = network.get_input_details()[0]["index"], network.get_output_details()[0]["index"]

    def run(tensor: NDArray[np.uint8]) -> NDArray[Any]:
        network.set_tensor(taken, tensor)
        network.invoke()
        answer: NDArray[Any] = network.get_tensor(given)
        return answer

    return run


def scaled(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Stretch a picture to a square by bilinear interpolation between the centres of its pixels; RGB, (1, S, S, 3)."""

    def places(length: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
        at = np.clip((np.arange(side) + 0.5) * length / side - 0.5, 0, length - 1)
        low = np.floor(at).astype(np.intp)
        return low, np.minimum(low + 1, length - 1), at - low

    top, bottom, down = places(picture.shape[0])
    left, right, across = places(picture.shape[1])
    whole = picture[..., ::-1].astype(np.float64)
    rows = whole[top] * (1 - down)[:, None, None] + whole[bottom] * down[:, None, None]
    mixed = rows[:, left] * (1 - across)[None, :, None] + rows[:, right] * across[None, :, None]
    return np.rint(mixed).astype(np.uint8)[None]


def pictures(most: int) -> list[tuple[str, NDArray[np.uint8]]]:
    files = sorted((SHARED / PICTURES).glob("*.jpg"))[:most]
    return [(file.name, np.asarray(cv2.imread(str(file)), np.uint8)) for file in files]


def framed(picture: NDArray[np.uint8]) -> Frame:
    stamp = SystemClock().now()
    height, width = picture.shape[:2]
    return Frame(picture, PixelLayout.BGR, width, height, "test", 0, stamp.time, stamp.mono_ns)


def resized(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Do the same with OpenCV."""
    return np.ascontiguousarray(cv2.resize(picture, (side, side))[None, ..., ::-1])


@pytest.mark.parametrize("name", CLASSIFIERS)
@needs(PICTURES, LABELS, *(f"models/{name}.tflite" for name in CLASSIFIERS))
def test_a_classifier_s_best_label_is_that_of_the_network_by_itself(name: str) -> None:
    run = interpreter(f"models/{name}.tflite")
    model = open_best_model(ModelSettings(use=str(SHARED / f"models/{name}.tflite"), min_score=0.01))
    assert isinstance(model, Classifier)
    names = (SHARED / LABELS).read_text(encoding="utf-8").splitlines()
    count, alike, called = CLASSIFIERS[name], 0, {}
    with model:
        for file, picture in pictures(count):
            best = int(model.classify(framed(picture)).class_ids[0])
            raw = run(resized(picture, model.manifest.input.width))[0]
            assert best == raw.argmax(), file
            called[file] = model.manifest.labels[best]
            assert called[file] in f"{names[best]} bird"  # two cranes: ours have names of their own
            raw = run(scaled(picture, model.manifest.input.width))[0]
            alike += int(raw[best] == raw.max())  # of equal ones either is right
    print(f"{name}: {count} of {count} alike, {alike} where NumPy scales")
    assert alike >= LEAST_ALIKE * count
    assert called[next(iter(SEEN))] == "zebra"


@needs(*(f"{PICTURES}/{file}" for file in SEEN), "models/mobilenet_v2_1.0_224_quant.tflite")
def test_a_photograph_shows_what_people_saw_in_it() -> None:
    pytest.importorskip("ai_edge_litert.interpreter", reason="LiteRT runs .tflite files")
    model = open_best_model(ModelSettings(use=str(SHARED / "models/mobilenet_v2_1.0_224_quant.tflite")))
    assert isinstance(model, Classifier)
    with model:
        for file, label in SEEN.items():
            found = model.classify(framed(np.asarray(cv2.imread(str(SHARED / PICTURES / file)), np.uint8)))
            assert label in model.manifest.labels[found.class_ids[0]]


@needs(PICTURES, BUS, DEEPLAB)
def test_a_segmentation_s_pixels_are_those_of_the_network_by_itself() -> None:
    run = interpreter(DEEPLAB)
    model = open_best_model(ModelSettings(use=f"deeplab={SHARED / DEEPLAB}"))
    assert isinstance(model, Segmenter)
    equal = []
    with model:
        for file, picture in [("bus", np.asarray(cv2.imread(str(SHARED / BUS)), np.uint8)), *pictures(7)]:
            height, width = picture.shape[:2]
            rows = ((np.arange(height) + 0.5) * 513 / height).astype(int)[:, None]
            columns = ((np.arange(width) + 0.5) * 513 / width).astype(int)
            seen = model.segment(framed(picture)).class_ids
            assert (seen == run(resized(picture, 513))[0][rows, columns]).all(), file
            if file == "bus":
                covered = shares(model.segment(framed(picture)), 21)
                assert (covered[BUS_ID] > 0.1, covered[PERSON_ID] > 0.05) == (True, True)
                assert len(encode_mask(seen == BUS_ID).counts) < 6000, "bytes for 874,800 pixels"
            equal.append(float((seen == run(scaled(picture, 513))[0][rows, columns]).mean()))
    print(f"deeplab: all pixels equal; where NumPy scales {np.mean(equal):.4f} of them, at least {min(equal):.4f}")
    assert np.mean(equal) >= LEAST_EQUAL
    assert min(equal) >= 0.85
