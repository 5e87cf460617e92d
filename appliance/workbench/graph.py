"""Counts the parameters and multiply-adds of an ONNX file."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx

_WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization"}
_IN_INTEGERS = {"QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger"}  # QOperator form
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GraphSize:
    """How large a network is.

    Attributes:
        parameters: Weights and biases of convolutions, matrix products and normalisations.
        multiply_adds: Of convolutions and matrix products, for one picture; None: some size is not known.
    """

    parameters: int
    multiply_adds: int | None


def count_graph(content: bytes) -> GraphSize | None:
    """Count in an ONNX file, in float or in QDQ form.

    Returns:
        None where the onnx library cannot follow its shapes, or some of its steps calculate in integers.
    """
    try:
        graph = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(content), data_prop=True).graph
    except onnx.shape_inference.InferenceError:
        return None
    if any(node.op_type in _IN_INTEGERS for node in graph.node):
        return None
    stored = _stored(graph)
    shapes = {value.name: _sizes(value) for value in (*graph.input, *graph.value_info, *graph.output)}
    used: dict[str, int] = {}
    steps: list[int | None] = []
    for node in graph.node:
        if node.op_type not in _WEIGHTED:
            continue
        # the picture comes first; a matrix product may have its weights there
        names = node.input if node.op_type == "MatMul" else node.input[1:]
        used |= {name: math.prod(stored[name]) for name in names if name in stored}
        if node.op_type != "BatchNormalization":
            steps.append(_multiply_adds(node, stored, shapes))
    known = [step for step in steps if step is not None]
    return GraphSize(sum(used.values()), sum(known) if len(known) == len(steps) else None)


def _stored(graph: onnx.GraphProto) -> dict[str, Shape]:
    """Give the shape of each stored tensor, also by the name under which it comes out of a step from 8 bits."""
    stored = {one.name: tuple(one.dims) for one in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            value = next((one for one in node.attribute if one.name == "value"), None)
            stored[node.output[0]] = tuple(value.t.dims) if value is not None else ()
        elif node.op_type == "DequantizeLinear" and node.input[0] in stored:
            stored[node.output[0]] = stored[node.input[0]]
    return stored


def _sizes(value: onnx.ValueInfoProto) -> Shape | None:
    sizes = [one.dim_value for one in value.type.tensor_type.shape.dim]
    return tuple(sizes) if sizes and all(sizes) else None


def _multiply_adds(node: onnx.NodeProto, stored: Mapping[str, Shape], shapes: Mapping[str, Shape | None]) -> int | None:
    place, weights = next(((at, stored[name]) for at, name in enumerate(node.input[:2]) if name in stored), (0, None))
    # what a transposed convolution reads is spread, what others give is gathered
    counted = shapes.get(node.input[0] if node.op_type == "ConvTranspose" else node.output[0])
    if weights is None or counted is None:
        return None
    return math.prod(counted) * _each(node, weights, is_first=place == 0)


def _each(node: onnx.NodeProto, weights: Sequence[int], *, is_first: bool) -> int:
    """Give the multiply-adds for each value that counts."""
    if node.op_type in {"Conv", "ConvTranspose"}:
        return math.prod(weights[1:])
    if node.op_type == "Gemm":
        is_turned = any(one.name == "transB" and one.i for one in node.attribute)
        return weights[1] if is_turned else weights[0]
    # the axis that is summed over: the last of what stands first, the last but one of what stands second
    return weights[-2] if len(weights) > 1 and not is_first else weights[-1]
