"""What an ONNX file would have a runtime do, read without one: whether it may. Pure.

Nearly all holes found in ONNX readers were paths to data outside of the file; none is followed here, and a file that
names one is refused. Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Final

from appliance.core.errors import ModelError
from appliance.inference.runtimes.onnx_file import fields, read_number

MOST_NODES: Final = 20_000
MOST_ELEMENTS: Final = 1 << 28  # of one tensor that is stored, taken or given
OPSETS: Final = range(7, 27)

_OWN: Final = {"", "ai.onnx"}  # ONNX's own domain
_MODEL_GRAPH, _MODEL_OPSET, _MODEL_TRAINING, _MODEL_FUNCTION = 7, 8, 20, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_GRAPH_VALUES: Final = (11, 12)  # inputs, outputs
_NODE_TYPE, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_TENSOR_DIMS, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 1, 13, 14
_VALUE_TYPE, _TYPE_TENSOR, _TENSOR_SHAPE, _SHAPE_DIM, _DIM_VALUE = 2, 1, 2, 1, 1
_VARINT = 0  # wire type

# contributed operators of ONNX Runtime that quantizing and its optimizer write
_MICROSOFT: Final = {
    "BiasGelu", "DequantizeLinear", "DynamicQuantizeMatMul", "FastGelu", "FusedConv", "FusedGemm", "FusedMatMul",
    "Gelu", "MatMulInteger16", "MatMulIntegerToFloat", "NhwcMaxPool", "QGemm", "QLinearAdd", "QLinearAveragePool",
    "QLinearConcat", "QLinearConv", "QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearMul",
    "QLinearReduceMean", "QLinearSigmoid", "QLinearSoftmax", "QLinearWhere", "QuantizeLinear", "QuickGelu",
    "SkipLayerNormalization",
}  # fmt: skip
# what runs a graph of its own, any number of times, or is of another kind of program
_NEVER: Final = {"If", "Loop", "Scan", "SequenceMap", "StringNormalizer", "RegexFullMatch", "TfIdfVectorizer"}


@dataclass(frozen=True, slots=True)
class Inspected:
    """What was found in a file that may be loaded.

    Attributes:
        nodes: How many there are.
        elements: Numbers that are stored as weights.
    """

    nodes: int
    elements: int


def inspect_onnx(content: bytes, name: str) -> Inspected:
    """Look whether a file may be loaded.

    Args:
        content: The file.
        name: What to call it in messages.

    Raises:
        ModelError: It may not: it is damaged, refers to other files, has operators or versions that are not accepted,
            or is larger than any model for such a device.
    """
    graphs: list[memoryview] = []
    try:
        for number, value, _ in fields(memoryview(content)):
            if number == _MODEL_GRAPH:
                graphs.append(value)
            elif number == _MODEL_OPSET:
                _check_opset(value, name)
            elif number in {_MODEL_FUNCTION, _MODEL_TRAINING}:
                raise ModelError(f"{name} brings functions or training of its own, which are not accepted")
        if len(graphs) != 1:
            raise ModelError(f"{name} has {len(graphs)} graphs, and a model has one")
        return _check_graph(graphs[0], name)
    except (IndexError, ValueError) as error:
        raise ModelError(f"{name} is no ONNX file, or damaged: {error}") from error


def _check_opset(value: memoryview, name: str) -> None:
    told = {number: field for number, field, _ in fields(value)}
    domain = _text(told.get(1))
    version = read_number(told[2]) if 2 in told else 0  # noqa: PLR2004 - OperatorSetIdProto.version
    if domain in _OWN and version not in OPSETS:  # quantizers list domains that no node is of
        raise ModelError(f"{name} has opset {version}; accepted: {OPSETS.start} to {OPSETS.stop - 1}")


def _check_graph(graph: memoryview, name: str) -> Inspected:
    nodes = elements = 0
    for number, value, _ in fields(graph):
        if number == _GRAPH_NODE:
            nodes += 1
            elements += _check_node(value, name)
            if nodes > MOST_NODES:
                raise ModelError(f"{name} has more than {MOST_NODES} nodes")
        elif number == _GRAPH_INITIALIZER:
            elements += _check_tensor(value, name)
        elif number == _GRAPH_SPARSE:
            raise ModelError(f"{name} has sparse weights, which are not accepted")
        elif number in _GRAPH_VALUES and _elements_of_value(value) > MOST_ELEMENTS:
            raise ModelError(f"{name} takes or gives a tensor of more than {MOST_ELEMENTS} numbers")
    return Inspected(nodes, elements)


def _check_node(node: memoryview, name: str) -> int:
    told = {number: value for number, value, _ in fields(node) if number != _NODE_ATTRIBUTE}
    kind, domain = _text(told.get(_NODE_TYPE)), _text(told.get(_NODE_DOMAIN))
    is_known = domain in _OWN or (domain == "com.microsoft" and kind in _MICROSOFT)
    if not is_known or kind in _NEVER:
        raise ModelError(f"{name} has an operator {kind!r} of {domain or 'ONNX'!r}, which is not accepted")
    elements = 0
    for number, attribute, _ in fields(node):
        if number != _NODE_ATTRIBUTE:
            continue
        for at, value, _ in fields(attribute):
            if at in {_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS}:
                raise ModelError(f"{name} has a graph within a graph ({kind}), which is not accepted")
            if at in {_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS}:
                elements += _check_tensor(value, name)
    return elements


def _check_tensor(tensor: memoryview, name: str) -> int:
    sizes: list[int] = []
    for number, value, whole in fields(tensor):
        if number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and read_number(value) != 0):
            raise ModelError(f"{name} keeps weights in another file, which is not accepted")
        if number == _TENSOR_DIMS:
            sizes += [read_number(value)] if whole[0] & 7 == _VARINT else _packed(value)
    elements = prod(sizes)
    if elements > MOST_ELEMENTS:
        raise ModelError(f"{name} has a tensor of more than {MOST_ELEMENTS} numbers")
    return elements


def _elements_of_value(value: memoryview) -> int:
    """Give how many numbers a tensor has that a graph takes or gives; what is left open counts as one."""
    sizes = 1
    for dim in _inside(value, _VALUE_TYPE, _TYPE_TENSOR, _TENSOR_SHAPE, _SHAPE_DIM):
        sizes *= max(1, next((read_number(size) for number, size, _ in fields(dim) if number == _DIM_VALUE), 1))
    return sizes


def _inside(message: memoryview, *path: int) -> Iterator[memoryview]:
    for number, value, _ in fields(message):
        if number == path[0]:
            if len(path) == 1:
                yield value
            else:
                yield from _inside(value, *path[1:])


def _packed(value: memoryview) -> list[int]:
    numbers, start = [], 0
    for at, byte in enumerate(value, start=1):
        if byte < 0x80:  # noqa: PLR2004 - the top bit says that more follows
            numbers.append(read_number(value[start:at]))
            start = at
    return numbers


def _text(value: memoryview | None) -> str:
    return "" if value is None else bytes(value[:200]).decode("utf-8", "replace")
