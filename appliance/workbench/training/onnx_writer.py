"""Writes ONNX files: nodes and weights in, bytes out. Pure; no ONNX library is needed.

Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3; encoding:
https://protobuf.dev/programming-guides/encoding/.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.inference.runtimes.onnx_file import varint

OPSET = 17  # ONNX Runtime knows it since 1.12
_IR_VERSION = 8  # the one of that opset
_ELEMENTS = {"float32": 1, "uint8": 2, "int8": 3, "int64": 7}
_FLOAT, _INT, _STRING, _INTS = 1, 2, 3, 7  # AttributeProto.AttributeType

Attribute = int | float | str | Sequence[int]


class GraphWriter:
    """Collects a graph node by node, in the order in which they run.

    Args:
        name: Of the graph.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[bytes] = []
        self._weights: list[bytes] = []
        self._inputs: list[bytes] = []
        self._outputs: list[bytes] = []

    def weight(self, name: str, value: NDArray[Any]) -> str:
        """Store a tensor and give its name."""
        dims = b"".join(_number(1, size) for size in value.shape)
        content = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<")).tobytes()
        element = _number(2, _ELEMENTS[str(value.dtype)])
        self._weights.append(dims + element + _block(8, name.encode()) + _block(9, content))
        return name

    def node(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Attribute) -> None:
        """Add a node; it is called as its first output."""
        parts = [_block(1, each.encode()) for each in inputs]
        parts += [_block(2, each.encode()) for each in outputs]
        parts += [_block(3, f"{outputs[0]}_node".encode()), _block(4, kind.encode())]
        parts += [_block(5, _attribute(name, value)) for name, value in attributes.items()]
        self._nodes.append(b"".join(parts))

    def input(self, name: str, shape: Sequence[int], dtype: str) -> None:
        """Declare an input."""
        self._inputs.append(_value(name, shape, dtype))

    def output(self, name: str, shape: Sequence[int], dtype: str = "float32") -> None:
        """Declare an output."""
        self._outputs.append(_value(name, shape, dtype))

    def model(self, notes: Mapping[str, str]) -> bytes:
        """Give the file's bytes.

        Args:
            notes: What the file says of itself, by key.
        """
        graph = [_block(1, node) for node in self._nodes]
        graph.append(_block(2, self._name.encode()))
        graph += [_block(5, weight) for weight in self._weights]
        graph += [_block(11, value) for value in self._inputs]
        graph += [_block(12, value) for value in self._outputs]
        opset = _block(1, b"") + _number(2, OPSET)
        properties = [_block(14, _block(1, key.encode()) + _block(2, value.encode())) for key, value in notes.items()]
        producer = _block(2, b"edgecam-workbench")
        parts = [_number(1, _IR_VERSION), producer, _block(7, b"".join(graph)), _block(8, opset), *properties]
        return b"".join(parts)


def _attribute(name: str, value: Attribute) -> bytes:
    head = _block(1, name.encode())
    if isinstance(value, str):
        return head + _block(4, value.encode()) + _number(20, _STRING)
    if isinstance(value, float):
        return head + varint(2 << 3 | 5) + struct.pack("<f", value) + _number(20, _FLOAT)
    if isinstance(value, int):
        return head + _number(3, value) + _number(20, _INT)
    return head + b"".join(_number(8, each) for each in value) + _number(20, _INTS)


def _value(name: str, shape: Sequence[int], dtype: str) -> bytes:
    dims = b"".join(_block(1, _number(1, size)) for size in shape)
    tensor = _number(1, _ELEMENTS[dtype]) + _block(2, dims)
    return _block(1, name.encode()) + _block(2, _block(1, tensor))


def _number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value & 0xFFFFFFFFFFFFFFFF)  # a negative number takes all 64 bits


def _block(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content
