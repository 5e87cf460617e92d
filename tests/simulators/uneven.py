"""A small network whose channels differ in size a thousandfold, so that 8 bits for all of them hurt."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

SIZE = 16
CHANNELS = 8


def write_uneven(between: str = "Relu", *, biases: bool = True) -> bytes:
    """Give its ONNX file.

    Args:
        between: What lies between all convolutions: an operator, "two readers" (then the maps are used elsewhere too),
            or "shared weights" (then two convolutions have the same).
        biases: The convolutions have some.
    """
    random = np.random.default_rng(3)
    weights = {
        "first_weight": random.normal(0, 0.3, (CHANNELS, 3, 3, 3))
        * np.geomspace(0.03, 30, CHANNELS)[:, None, None, None],
        "each_weight": random.normal(0, 0.3, (CHANNELS, 1, 3, 3)),
        "mix_weight": random.normal(0, 0.3, (CHANNELS, CHANNELS, 1, 1))
        / np.geomspace(0.03, 30, CHANNELS)[:, None, None],
        "two_weight": random.normal(0, 0.3, (4, CHANNELS // 2, 3, 3)),
    }
    shared = between == "shared weights"
    kind = between if between in {"Relu", "LeakyRelu", "Sigmoid"} else "Relu"
    stored, nodes, maps = dict(weights), [], "picture"
    for name, groups in (("first", 1), ("each", CHANNELS), ("mix", 1), ("two", 2)):
        inputs = [maps, f"{name}_weight"]
        if biases:
            stored[f"{name}_bias"] = random.normal(0, 0.2, len(weights[f"{name}_weight"]))
            inputs.append(f"{name}_bias")
        pad = weights[f"{name}_weight"].shape[-1] // 2
        nodes.append(helper.make_node("Conv", inputs, [f"{name}_out"], name, pads=[pad] * 4, group=groups))
        maps = f"{name}_out"
        if shared:
            nodes.append(
                helper.make_node(
                    "Conv", [inputs[0], *inputs[1:]], [f"{name}_again"], f"{name}_again", pads=[pad] * 4, group=groups
                )
            )
        if name == "two":
            break
        nodes.append(helper.make_node(kind, [maps], [f"{name}_active"], f"{name}_active"))
        maps = f"{name}_active"
        if name == "mix":
            nodes.append(helper.make_node("MaxPool", [maps], ["pooled"], "pooled", kernel_shape=[2, 2], strides=[2, 2]))
            maps = "pooled"
    outputs = [maps]
    if between == "two readers":
        outputs += ["first_out", "each_active", "pooled"]
    if shared:
        outputs += [f"{name}_again" for name in ("first", "each", "mix", "two")]
    graph = helper.make_graph(
        nodes,
        "uneven",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
