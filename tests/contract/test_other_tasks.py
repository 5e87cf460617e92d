"""Classifiers and a segmentation network, run by LiteRT, read by us and by a few lines of NumPy."""

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.core.clock import SystemClock
from appliance.core.frame import Frame, PixelLayout
from appliance.core.manifest import InputSpec
from appliance.core.rle import decode_mask, encode_mask
from appliance.inference.classification import rank, to_scores
from appliance.inference.preprocess import Letterbox, Preprocessor
from appliance.inference.segmentation import fit_to_frame, shares, to_label_map
from tests.shared_data import SHARED, needs

ZEBRA = "eval/coco_val400/images/000000001818.jpg"
SEEN = {
    ZEBRA: "zebra",
    "eval/coco_val400/images/000000006012.jpg": "banana",
    "eval/coco_val400/images/000000519208.jpg": "elephant",
}
BUS = "models/sample_bus.jpg"
CLASSIFIERS = {"mobilenet_v1_0.25_128_quant": 128, "mobilenet_v2_1.0_224_quant": 224}
DEEPLAB = "models/deeplabv3_mnv2_dm05_pascal_quant.tflite"
BUS_LABEL, PERSON_LABEL = 6, 15  # of PASCAL VOC


class Network:
    """A file in LiteRT, and our preprocessing before it."""

    def __init__(self, file: str, size: int) -> None:
        litert = pytest.importorskip("ai_edge_litert.interpreter", reason="LiteRT runs .tflite files")
        self._network = litert.Interpreter(str(SHARED / file), num_threads=1)
        self._network.allocate_tensors()
        self.size = size
        self._preprocessor = Preprocessor(
            InputSpec(width=size, height=size, layout="nhwc", dtype="uint8", colour="rgb", fit="stretch")
        )

    def see(self, image: NDArray[np.uint8]) -> tuple[NDArray[Any], float, Letterbox]:
        """Give the output as the file has it, its scale, and where the picture lay."""
        stamp = SystemClock().now()
        frame = Frame(image, PixelLayout.BGR, image.shape[1], image.shape[0], "test", 0, stamp.time, stamp.mono_ns)
        letterbox = self._preprocessor.write(frame)
        return *self.run(self._preprocessor.tensor), letterbox

    def run(self, tensor: NDArray[np.uint8]) -> tuple[NDArray[Any], float]:
        self._network.set_tensor(self._network.get_input_details()[0]["index"], tensor)
        self._network.invoke()
        output = self._network.get_output_details()[0]
        return self._network.get_tensor(output["index"]), output["quantization"][0]


def picture(path: str) -> NDArray[np.uint8]:
    return np.asarray(cv2.imread(str(SHARED / path)), np.uint8)


@pytest.mark.parametrize("name", CLASSIFIERS)
@needs(ZEBRA, BUS, *(f"models/{name}.tflite" for name in CLASSIFIERS))
def test_the_best_label_of_a_classifier_is_the_highest_of_its_output(name: str) -> None:
    network = Network(f"models/{name}.tflite", CLASSIFIERS[name])
    for path in (ZEBRA, BUS):
        output, scale, _ = network.see(picture(path))
        found = rank(to_scores(output.astype(np.float32) * scale, 1001, "none"), most=5)
        small = cv2.resize(picture(path), (network.size, network.size))[..., ::-1]
        raw, _ = network.run(np.ascontiguousarray(small[None]))
        assert found.class_ids[0] == raw[0].argmax()
        assert found.scores[0] == pytest.approx(raw[0].max() / 256)
        assert raw[0][found.class_ids].tolist() == np.sort(raw[0])[:-6:-1].tolist()


@pytest.mark.parametrize("name", SEEN)
@needs(*SEEN, "models/mobilenet_v2_1.0_224_quant.tflite", "models/imagenet_labels.txt")
def test_a_photograph_shows_what_people_saw_in_it(name: str) -> None:
    labels = (SHARED / "models/imagenet_labels.txt").read_text(encoding="utf-8").splitlines()
    output, scale, _ = Network("models/mobilenet_v2_1.0_224_quant.tflite", 224).see(picture(name))
    found = rank(to_scores(output.astype(np.float32) * scale, len(labels), "none"), most=3, min_score=0.2)
    assert SEEN[name] in labels[found.class_ids[0]]


@needs(BUS, DEEPLAB)
def test_a_segmentation_is_the_network_s_label_map_at_the_size_of_the_frame() -> None:
    network = Network(DEEPLAB, 513)
    image = picture(BUS)
    output, _, letterbox = network.see(image)
    segmentation = fit_to_frame(to_label_map(output, 21, "labels"), letterbox, (513, 513))
    height, width = image.shape[:2]
    rows = ((np.arange(height) + 0.5) * 513 / height).astype(int)
    columns = ((np.arange(width) + 0.5) * 513 / width).astype(int)
    assert (segmentation.class_ids == output[0][rows[:, None], columns]).all()
    covered = shares(segmentation, 21)
    assert covered[BUS_LABEL] > 0.1
    assert covered[PERSON_LABEL] > 0.05
    assert covered.sum() == pytest.approx(1.0)
    mask = segmentation.mask(BUS_LABEL)
    rle = encode_mask(mask)
    assert (decode_mask(rle) == mask).all()
    assert len(rle.counts) < 6000  # bytes for 874,800 pixels
