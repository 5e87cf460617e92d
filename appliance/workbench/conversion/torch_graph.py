"""An ONNX network as a PyTorch module, from which the converters of other formats start.

Operators: https://onnx.ai/onnx/operators/. Only what detectors of plain convolutions are made of is known; a network
with another operator is refused by its name.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from appliance.core.errors import ModelError

Attributes = Mapping[str, Any]
Step = Callable[[Sequence[Any], Attributes], Any]
_FORMS: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "Conv": {"auto_pad": (b"NOTSET",)},
    "MaxPool": {"auto_pad": (b"NOTSET",), "ceil_mode": (0,), "dilations": ([1, 1],)},
    "Resize": {"mode": (b"nearest",), "coordinate_transformation_mode": (b"asymmetric",), "nearest_mode": (b"floor",)},
}
"""What an attribute may be, by operator, where not all of what ONNX knows can be done."""
_ELEMENTS = {1: torch.float32, 2: torch.uint8, 3: torch.int8, 6: torch.int32, 7: torch.int64}  # TensorProto.DataType


class TorchGraph(nn.Module):
    """Calculates what an ONNX graph says, with its weights as buffers; inputs and outputs in the graph's order.

    Args:
        model: With known shapes, constants as initializers and at most opset 21.
        name: What to call it in messages.

    Raises:
        ModelError: It has an operator, or a form of one, that is not known here.
    """

    def __init__(self, model: onnx.ModelProto, name: str) -> None:
        super().__init__()
        graph = model.graph
        stored = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        told = {name for node in graph.node for name in _told(node)}
        # plain numbers: what follows the program must not take them for something that is calculated
        self._constants = {key: value.reshape(-1).tolist() for key, value in stored.items() if key in told}
        self._places: dict[str, str] = {}
        for at, key in enumerate(one for one in stored if one not in told):
            self._places[key] = f"weight_{at}"
            self.register_buffer(f"weight_{at}", torch.from_numpy(stored[key].copy()))
        self.inputs = tuple(one.name for one in graph.input if one.name not in stored)
        self.outputs = tuple(one.name for one in graph.output)
        self._program: list[tuple[Step, tuple[str, ...], tuple[str, ...], Attributes]] = []
        for node in graph.node:
            attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
            for key, accepted in _FORMS.get(node.op_type, {}).items():
                if attributes.get(key, accepted[0]) not in accepted:
                    raise ModelError(f"{name}: {node.op_type} {node.name} with {key} cannot be converted here")
            attributes["outputs"] = len(node.output)
            step = _STEPS.get(node.op_type) if node.domain in {"", "ai.onnx"} else None
            if step is None:
                raise ModelError(
                    f"{name} has the operator {node.op_type}, which cannot be converted here; known: "
                    f"{', '.join(sorted(_STEPS))}; use the vendor's own converter for this network"
                )
            self._program.append((step, tuple(node.input), tuple(node.output), attributes))

    def forward(self, *pictures: Tensor) -> tuple[Tensor, ...]:
        """Calculate all outputs."""
        values: dict[str, Any] = {"": None, **self._constants}
        values |= {key: getattr(self, place) for key, place in self._places.items()}
        values |= dict(zip(self.inputs, pictures, strict=True))
        for step, inputs, outputs, attributes in self._program:
            result = step([values[each] for each in inputs], attributes)
            values |= dict(zip(outputs, result if isinstance(result, tuple) else (result,), strict=True))
        return tuple(values[each] for each in self.outputs)


def _told(node: onnx.NodeProto) -> Sequence[str]:
    """Give the inputs that say how to calculate, not what with."""
    return node.input[1:] if node.op_type in {"Gather", "Reshape", "Resize", "Split"} else ()


def _cast(values: Sequence[Any], attributes: Attributes) -> Tensor:
    return values[0].to(_ELEMENTS[attributes["to"]])


def _convolution(values: Sequence[Any], attributes: Attributes) -> Tensor:
    pads = list(attributes.get("pads", (0, 0, 0, 0)))
    picture, weight, bias = (*values, None)[:3]
    if pads[:2] != pads[2:]:
        picture = functional.pad(picture, (pads[1], pads[3], pads[0], pads[2]))
        pads = [0, 0]
    return functional.conv2d(
        picture,
        weight,
        bias,
        stride=tuple(attributes.get("strides", (1, 1))),
        padding=tuple(pads[:2]),
        dilation=tuple(attributes.get("dilations", (1, 1))),
        groups=attributes.get("group", 1),
    )


def _pool(values: Sequence[Any], attributes: Attributes) -> Tensor:
    pads = attributes.get("pads", (0, 0, 0, 0))
    return functional.max_pool2d(
        values[0], tuple(attributes["kernel_shape"]), tuple(attributes.get("strides", (1, 1))), tuple(pads[:2])
    )


def _resize(values: Sequence[Any], _: Attributes) -> Tensor:
    return functional.interpolate(values[0], scale_factor=tuple(values[2][2:]), mode="nearest")


def _split(values: Sequence[Any], attributes: Attributes) -> tuple[Tensor, ...]:
    axis = attributes.get("axis", 0)
    if len(values) > 1:
        return tuple(torch.split(values[0], values[1], dim=axis))
    return tuple(torch.chunk(values[0], attributes["outputs"], dim=axis))


def _gather(values: Sequence[Any], attributes: Attributes) -> Tensor:
    return torch.index_select(values[0], attributes.get("axis", 0), torch.tensor(values[1]))


def _reshape(values: Sequence[Any], _: Attributes) -> Tensor:
    return values[0].reshape(tuple(values[1]))


_STEPS: Mapping[str, Step] = {
    "Add": lambda values, _: values[0] + values[1],
    "Cast": _cast,
    "Concat": lambda values, attributes: torch.cat(list(values), dim=attributes["axis"]),
    "Conv": _convolution,
    "Gather": _gather,
    "Identity": lambda values, _: values[0],
    "MaxPool": _pool,
    "Relu": lambda values, _: torch.relu(values[0]),
    "Reshape": _reshape,
    "Resize": _resize,
    "Sigmoid": lambda values, _: torch.sigmoid(values[0]),
    "Split": _split,
}
