"""A small detector in ONNX with every operator that ours have, written with onnx.helper: seeded weights, no meaning."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE = 32
CLASSES = 2


def tiny_detector(*, opset: int = 17, batch: int | str = 1, extra: str = "") -> bytes:
    """Give an ONNX file: bytes (batch, 3, 32, 32) in, scores (1, 2, 20) and distances (1, 4, 20) out, strides 8 and 16.

    Args:
        opset: Of its operators.
        batch: Size of the first axis; a word leaves it open.
        extra: Operator that is put before the scores' sigmoid: ``Erf``.
    """
    random = np.random.default_rng(5)
    weights: dict[str, np.ndarray] = {}
    nodes = []

    def node(kind: str, inputs: list[str], *outputs: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, inputs, list(outputs), f"{outputs[0]}_node", **attributes))
        return outputs[0]

    def weight(name: str, value: np.ndarray) -> str:
        weights[name] = value
        return name

    def convolution(source: str, inside: int, outside: int, name: str, *, kernel: int = 1, stride: int = 1) -> str:
        values = random.normal(0, 0.5, (outside, inside, kernel, kernel)).astype(np.float32)
        inputs = [source, weight(f"{name}.w", values), weight(f"{name}.b", np.zeros(outside, np.float32))]
        pads = [kernel // 2] * 4
        return node("Conv", inputs, name, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)

    pixels = node("Cast", ["image"], "pixels", to=TensorProto.FLOAT)
    stem = node("Relu", [convolution(pixels, 3, 8, "stem", kernel=3, stride=2)], "stem.relu")
    weights["stem.w"] /= 255
    pooled = node("MaxPool", [stem], "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    fine = node("Relu", [convolution(pooled, 8, 8, "fine", kernel=3, stride=2)], "fine.relu")
    node("Split", [fine], "first", "second", axis=1)
    mixed = node("Concat", ["first", convolution("second", 4, 4, "branch")], "mixed", axis=1)
    order = weight("order", np.arange(8).reshape(2, 4).T.reshape(-1).astype(np.int64))
    fine = node("Gather", [mixed, order], "shuffled", axis=1)
    coarse = node("Relu", [convolution(fine, 8, 8, "coarse", kernel=3, stride=2)], "coarse.relu")
    scales = weight("scales", np.array([1, 1, 2, 2], np.float32))
    up = node(
        "Resize", [coarse, "", scales], "up", mode="nearest", coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )  # fmt: skip
    levels = {"fine": node("Add", [fine, up], "sum"), "coarse": coarse}
    for output, channels in (("scores", CLASSES), ("distances", 4)):
        parts = []
        for level, maps in levels.items():
            cells = {"fine": 16, "coarse": 4}[level]
            shape = weight(f"{output}.{level}.shape", np.array([1, channels, cells], np.int64))
            made = convolution(maps, 8, channels, f"{output}.{level}")
            parts.append(node("Reshape", [made, shape], f"{output}.{level}.cells"))
        whole = node("Concat", parts, f"{output}.whole", axis=2)
        if output == "scores":
            whole = node(extra, [whole], "extra") if extra else whole
            node("Sigmoid", [whole], output)
        else:
            node("Identity", [whole], output)
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [batch, 3, SIZE, SIZE])],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, CLASSES, 20]),
            helper.make_tensor_value_info("distances", TensorProto.FLOAT, [1, 4, 20]),
        ],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
