"""Our decoders against TensorFlow Lite's own postprocessing, inside a network that ends in it."""

import math
from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.core.manifest import ModelManifest
from appliance.inference.decoders import Choice
from appliance.inference.decoders.listed import ListedDecoder
from appliance.inference.decoders.ssd import SsdDecoder
from tests.shared_data import SHARED, needs
from tests.unit.inference.decoders.reference import assert_same, manifest_of

FILE = "models/ssd_traffic_lstm_postprocess_uint8.tflite"
PICTURE = "models/sample_bus.jpg"
SIZE, MAPS = 256, (32, 16, 8)  # pixels of the input; cells a side
ALL = np.ones(3, bool)


@cache
def run_network() -> dict[str, NDArray[Any]]:
    """Give what goes into the operation and what comes out, as real numbers."""
    litert = pytest.importorskip("ai_edge_litert.interpreter", reason="LiteRT runs TensorFlow Lite's operations")
    with pytest.warns(UserWarning, match="preserve_all_tensors"):
        network = litert.Interpreter(str(SHARED / FILE), num_threads=1, experimental_preserve_all_tensors=True)
    network.allocate_tensors()
    picture, *states = network.get_input_details()
    small = cv2.resize(cv2.imread(str(SHARED / PICTURE)), (SIZE, SIZE))
    network.set_tensor(picture["index"], cv2.cvtColor(small, cv2.COLOR_BGR2RGB)[None])
    for state in states:
        network.set_tensor(state["index"], np.zeros(state["shape"], state["dtype"]))
    network.invoke()
    (operation,) = (one for one in network._get_ops_details() if one["op_name"] == "TFLite_Detection_PostProcess")
    names = ("offsets", "scores", "anchors", "boxes", "classes", "chosen", "count")
    details = {one["index"]: one for one in network.get_tensor_details()}
    found = {}
    for name, index in zip(names, [*operation["inputs"], *operation["outputs"]], strict=True):
        tensor = network.get_tensor(index)
        scale, zero = details[index]["quantization"]
        found[name] = (tensor.astype(np.float32) - zero) * np.float32(scale) if scale else tensor.copy()
    return found


def ssd_of(anchors: NDArray[np.float32]) -> ModelManifest:
    """Give a manifest with the scales and ratios of the network's first cell of each map, y, x, height, width."""
    layers, first = [], 0
    per_cell = len(anchors) // sum(cells**2 for cells in MAPS)
    for cells in MAPS:
        sides = anchors[first : first + per_cell, 2:].tolist()
        layers.append({"stride": SIZE // cells, "anchors": [[math.sqrt(h * w), w / h] for h, w in sides]})
        first += cells**2 * per_cell
    spec = {"kind": "ssd", "layers": layers, "activation": "none", "background": "first"}
    return manifest_of(spec, width=SIZE, height=SIZE, tensors=2)


@needs(FILE, PICTURE)
def test_what_the_operation_lists_is_read_as_it_is() -> None:
    tensors = run_network()
    spec = {"kind": "listed", "box_order": "yxyx", "unit": "normalised"}
    outputs = [tensors[name] for name in ("boxes", "classes", "chosen", "count")]
    found = ListedDecoder(manifest_of(spec, width=SIZE, height=SIZE, tensors=4), Choice(0.01, ALL)).decode(outputs)
    rows = zip(*(tensors[name][0].tolist() for name in ("boxes", "chosen", "classes")), strict=True)
    expected = [
        ((x1 * SIZE, y1 * SIZE, x2 * SIZE, y2 * SIZE), score, int(number)) for (y1, x1, y2, x2), score, number in rows
    ]
    assert len(expected) == tensors["count"][0] == 40
    assert_same(found, expected)


@needs(FILE, PICTURE)
def test_anchors_that_the_manifest_makes_are_those_of_the_network() -> None:
    tensors = run_network()
    manifest = ssd_of(tensors["anchors"])
    ours = SsdDecoder(manifest, Choice(0.01, ALL))._anchors / SIZE
    # theirs have 8 bits: steps of 0.004
    np.testing.assert_allclose(ours[:, [1, 0, 3, 2]], tensors["anchors"], atol=0.004)


@needs(FILE, PICTURE)
def test_without_the_operation_we_find_what_it_finds() -> None:
    tensors = run_network()
    least = float(tensors["chosen"].min()) - 1e-4
    decoder = SsdDecoder(ssd_of(tensors["anchors"]), Choice(least, ALL))
    candidates = decoder.decode([tensors["offsets"], tensors["scores"]])
    for at in range(40):
        y1, x1, y2, x2 = (tensors["boxes"][0, at] * SIZE).tolist()
        twins = (candidates.class_ids == tensors["classes"][0, at]) & np.isclose(
            candidates.scores, tensors["chosen"][0, at], atol=1e-5
        )
        nearest = np.abs(candidates.boxes[twins] - [x1, y1, x2, y2]).max(axis=1).min()
        assert nearest < 0.012 * SIZE  # three steps of the anchors
