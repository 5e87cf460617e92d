"""How small the delta is from one 8-bit form of the bundled model to another: calibrated anew, and with another head.

``python -m tests.bench.deltas FOLDER``: of pictures, at least 128. The head stands for training that reached the last
convolutions only: each of their weights moves by noise, for what matters to a delta is which bytes change.
"""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from appliance.cameras.pictures import list_pictures
from appliance.core.manifest import ModelManifest, read_manifest
from appliance.inference.folders import bundled_models
from appliance.inference.preprocess import Preprocessor
from appliance.workbench.evaluate import read_frame
from appliance.workbench.publishing.deltas import make_delta
from appliance.workbench.quantizer import Quantizer

NAME = "edgecam-nano"
PICTURES = 64  # as `edgecam-workbench quantize` takes
NOISE = 0.05  # of each weight


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    cv2.setNumThreads(1)
    files = list_pictures(parser.parse_args().pictures)
    random.Random(1).shuffle(files)
    folder = bundled_models() / NAME
    weights = (folder / f"{NAME}-fp32.onnx").read_bytes()
    manifest = read_manifest(folder)
    first, second = (inputs(manifest, files[start : start + PICTURES]) for start in (0, PICTURES))
    changed, share = with_another_head(weights)
    half = [*first[: PICTURES // 2], *second[: PICTURES // 2]]
    others = {
        "calibrated on other pictures": (weights, second),
        "calibrated on half other pictures": (weights, half),
        f"another head, {share:.1%} of the weights": (changed, first),
    }
    for is_steady in (True, False):
        before = in_8_bits(weights, first, is_steady=is_steady)
        for what, (content, pictures) in others.items():
            made = make_delta(before, in_8_bits(content, pictures, is_steady=is_steady))
            steady = "--steady, " if is_steady else ""
            print(
                f"{steady}{what}: {made.size} of {made.whole} bytes, {made.share:.2%}; packed {made.packed}", flush=True
            )


def inputs(manifest: ModelManifest, files: Sequence[Path]) -> list[NDArray[Any]]:
    """Give pictures as the model takes them."""
    preprocessor, found = Preprocessor(manifest.input), []
    for file in files:
        preprocessor.write(read_frame(file))
        found.append(preprocessor.tensor.copy())
    return found


def in_8_bits(weights: bytes, pictures: Sequence[NDArray[Any]], *, is_steady: bool) -> bytes:
    """Give the model in 8 bits, with all that has such a form; steady: with rounded ranges."""
    quantizer = Quantizer(weights, NAME)
    for _ in quantizer.calibrate(pictures):
        pass
    if is_steady:
        quantizer.round_ranges()
    return quantizer.variant()


def with_another_head(weights: bytes) -> tuple[bytes, float]:
    """Give the model with other weights in the last convolution before each output, and how many of all that are."""
    model = onnx.load_from_string(weights)
    makers = {output: node for node in model.graph.node for output in node.output}
    last = set()
    waiting = [output.name for output in model.graph.output]
    while waiting:
        node = makers.get(waiting.pop())
        if node is not None and node.op_type == "Conv":
            last.add(node.input[1])
        elif node is not None:
            waiting += node.input
    noise, moved, whole = np.random.default_rng(1), 0, 0
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        whole += values.size
        if tensor.name in last:
            moved += values.size
            other = values * (1 + noise.normal(0, NOISE, values.shape)).astype(values.dtype)
            tensor.CopyFrom(numpy_helper.from_array(other, tensor.name))
    return model.SerializeToString(), moved / whole


if __name__ == "__main__":
    main()
