"""Cuts a network where its maps are ready, for compilers that take no reshaping: Hailo's.

What is cut off is the same for every network of this kind: each map is flattened, and those of one output put together.
Scores have their sigmoid before that in place of after it, where the compiler can take it into the convolution.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import onnx

from appliance.core.errors import ModelError
from appliance.workbench.conversion.onnx_form import OnnxForm

_PASSED = {"Concat", "Flatten", "Identity", "Reshape", "Squeeze"}
_MAP_AXES = 4


@dataclass(frozen=True, slots=True)
class Map:
    """An output of the network that was cut.

    Attributes:
        name: Of the tensor, and of the node that gives it.
        output: Of the whole network, that it is a part of.
        shape: (1, channels, rows, columns).
    """

    name: str
    output: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CutNetwork:
    """A network that ends in maps.

    Attributes:
        content: The ONNX file; its picture is float32, with the values that the whole network takes.
        maps: Its outputs; those of one output of the whole network in the order in which they are put together.
    """

    content: bytes
    maps: tuple[Map, ...]


def cut_at_maps(form: OnnxForm, name: str) -> CutNetwork:
    """Cut a network where its maps are ready.

    Args:
        form: The whole network.
        name: What to call it in messages.

    Raises:
        ModelError: It does not end in maps that are flattened and put together.
    """
    model = onnx.shape_inference.infer_shapes(form.model)
    graph = model.graph
    makers = {output: node for node in graph.node for output in node.output}
    known = (*graph.value_info, *graph.output, *graph.input)
    shapes = {one.name: tuple(int(size.dim_value) for size in one.type.tensor_type.shape.dim) for one in known}
    found: list[Map] = []
    renamed: dict[str, str] = {}
    ends: list[Any] = []
    for output, _ in form.outputs:
        for at, (tensor, is_score) in enumerate(_ends(output, makers)):
            shape = shapes.get(tensor, ())
            if len(shape) != _MAP_AXES or tensor in renamed:
                raise ModelError(f"{name} does not end in maps that are put together: {output!r} comes from {tensor!r}")
            end = Map(f"{output}_{at}", output, shape)
            found.append(end)
            renamed[tensor] = f"{end.name}_before" if is_score else end.name
            if is_score:
                ends.append(onnx.helper.make_node("Sigmoid", [renamed[tensor]], [end.name], end.name))
    kept = _needed(graph, set(renamed), makers)
    del graph.node[:]
    graph.node.extend([*(_renamed(node, renamed) for node in kept), *ends])
    _in_float(graph, form.input)
    del graph.output[:], graph.value_info[:]
    for end in found:
        graph.output.append(onnx.helper.make_tensor_value_info(end.name, onnx.TensorProto.FLOAT, end.shape))
    used = {each for node in graph.node for each in node.input}
    weights = [one for one in graph.initializer if one.name in used]
    del graph.initializer[:]
    graph.initializer.extend(weights)
    onnx.checker.check_model(model, full_check=True)
    return CutNetwork(model.SerializeToString(deterministic=True), tuple(found))


def _ends(tensor: str, makers: dict[str, Any], *, is_score: bool = False) -> Iterator[tuple[str, bool]]:
    """Give the tensors that a tensor is put together from, and whether a sigmoid follows."""
    node = makers.get(tensor)
    if node is None or node.op_type not in {*_PASSED, "Sigmoid"}:
        yield tensor, is_score
        return
    for each in node.input if node.op_type == "Concat" else node.input[:1]:
        yield from _ends(each, makers, is_score=is_score or node.op_type == "Sigmoid")


def _needed(graph: Any, wanted: set[str], makers: dict[str, Any]) -> list[Any]:
    """Give the nodes that these tensors are calculated with, in their order."""
    left, needed = list(wanted), set()
    while left:
        node = makers.get(left.pop())
        if node is not None and node.name not in needed:
            needed.add(node.name)
            left.extend(node.input)
    return [node for node in graph.node if node.name in needed]


def _renamed(node: Any, names: dict[str, str]) -> Any:
    """Give a node with other names of tensors; one that gives an output is called as it: compilers ask for either."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.input[:] = [names.get(each, each) for each in node.input]
    copy.output[:] = [names.get(each, each) for each in node.output]
    if list(copy.output) != list(node.output):
        copy.name = copy.output[0]
    return copy


def _in_float(graph: Any, picture: str) -> None:
    """Let the picture be float32: compilers feed bytes themselves, and take no conversion within."""
    casts = [node for node in graph.node if node.op_type == "Cast" and node.input[0] == picture]
    for cast in casts:
        for node in graph.node:
            node.input[:] = [picture if each == cast.output[0] else each for each in node.input]
        graph.node.remove(cast)
    next(one for one in graph.input if one.name == picture).type.tensor_type.elem_type = onnx.TensorProto.FLOAT
