"""A YOLOX of three layers that really sees: white squares of 8 x 8 pixels on the grid of a 64 x 64 picture are cars.

Needs the onnx package. One layer before it can be planted that no tensor of 8 bits survives.
"""

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE = 64
CAR = 2
BAD, EYE = "blinding", "eye_8"
"""Names of the planted layer and of the one that suffers from it."""
_CHANNELS = 85
_CELLS = {8: 64, 16: 16, 32: 4}


def write_model(path: Path, *, planted: bool = False, hopeless: bool = False, weights_are_inputs: bool = False) -> Path:
    """Write the model.

    Args:
        path: Where to.
        planted: Before the eye that sees, a layer adds a channel of a million that nobody reads: one scale for all
            channels leaves nothing of the picture.
        hopeless: As `planted`, but the channel is always 0 and its weights are huge: the eye's own weights are lost
            in 8 bits, wherever it calculates.
        weights_are_inputs: List the weights among the inputs too, as some exporters do.
    """
    weights: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []
    random = np.random.default_rng(0)

    def conv(name: str, source: str, kernel: np.ndarray, bias: np.ndarray) -> None:
        weights.extend(
            numpy_helper.from_array(value.astype(np.float32), f"{name}_{part}")
            for part, value in (("weight", kernel), ("bias", bias))
        )
        step = list(kernel.shape[2:])
        taken = [source, f"{name}_weight", f"{name}_bias"]
        nodes.append(helper.make_node("Conv", taken, [f"{name}_out"], name, kernel_shape=step, strides=step))

    source, channels = "images", 3
    if planted or hopeless:
        conv(BAD, "images", np.eye(4, 3).reshape(4, 3, 1, 1), np.array([0.0, 0.0, 0.0, 0.0 if hopeless else 1e6]))
        source, channels = f"{BAD}_out", 4
    weights.append(numpy_helper.from_array(np.array([1, _CHANNELS, -1]), "shape"))
    for stride in _CELLS:
        read = channels if stride == 8 else 3
        # all channels read something: a bias on a kernel of zeros has no scale in 8 bits
        kernel = random.normal(0, 1e-3 / (255 * stride), (_CHANNELS, read, stride, stride))
        kernel[:, 3:] = 1e4 if hopeless else 0.0
        bias = np.zeros(_CHANNELS)
        bias[:2] = 0.5  # the middle of the cell
        if stride == 8:
            kernel[[4, 5 + CAR], :3] = 1 / (255 * 3 * stride * stride)  # mean brightness
        conv(f"eye_{stride}", source if stride == 8 else "images", kernel, bias)
        nodes.append(helper.make_node("Reshape", [f"eye_{stride}_out", "shape"], [f"flat_{stride}"], f"flat_{stride}"))
    nodes.append(helper.make_node("Concat", [f"flat_{stride}" for stride in _CELLS], ["all"], "concat", axis=2))
    nodes.append(helper.make_node("Transpose", ["all"], ["output"], "transpose", perm=[0, 2, 1]))
    taken = [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIZE, SIZE])]
    if weights_are_inputs:
        taken += [helper.make_tensor_value_info(one.name, one.data_type, list(one.dims)) for one in weights]
    given = [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, sum(_CELLS.values()), _CHANNELS])]
    graph = helper.make_graph(nodes, "seeing", taken, given, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=8), path)
    return path


def picture(seed: int) -> tuple[np.ndarray, list[list[int]]]:
    """Give a picture, BGR, and its cars: x, y, width, height."""
    random = np.random.default_rng(seed)
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    boxes = []
    for cell in random.choice(64, 3, replace=False).tolist():
        x, y = cell % 8 * 8, cell // 8 * 8
        image[y : y + 8, x : x + 8] = 255
        boxes.append([x, y, 8, 8])
    return image, boxes


def write_dataset(folder: Path, seeds: range) -> Path:
    """Write a dataset in COCO's format, a picture for each seed."""
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for seed in seeds:
        image, boxes = picture(seed)
        name = f"{seed:03}.png"
        cv2.imwrite(str(folder / "images" / name), image)
        images.append({"id": seed + 1, "file_name": name, "width": SIZE, "height": SIZE})
        for box in boxes:
            base = {"id": len(annotations) + 1, "image_id": seed + 1, "category_id": 3, "iscrowd": 0, "area": 64}
            annotations.append({**base, "bbox": box})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 3, "name": "car"}]}
    (folder / "instances.json").write_text(json.dumps(content), encoding="utf-8")
    return folder
