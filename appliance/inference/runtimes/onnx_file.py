"""Makes the weights of an ONNX file constants. Pure: bytes in, bytes out.

Some exporters list every weight among the graph's inputs too, so that a caller could replace it. ONNX Runtime then
may not fold it into its neighbours: PicoDet-S takes 0.73 of the time once they are off the list.
Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3; encoding:
https://protobuf.dev/programming-guides/encoding/.
"""

from collections.abc import Iterator

_MODEL_GRAPH, _GRAPH_INITIALIZER, _GRAPH_INPUT, _TENSOR_NAME, _VALUE_NAME = 7, 5, 11, 8, 1
_BYTES = 2  # wire type


def without_weight_inputs(model: bytes) -> bytes:
    """Give the model with no weight among its inputs; the same bytes when there is none, or when it is damaged."""
    view = memoryview(model)
    try:
        parts: list[bytes | memoryview] = []
        for number, value, whole in fields(view):
            graph = _without_weight_inputs(value) if number == _MODEL_GRAPH else None
            if graph is None:
                parts.append(whole)
            else:
                parts += [varint(_MODEL_GRAPH << 3 | _BYTES), varint(sum(map(len, graph))), *graph]
    except (IndexError, ValueError):
        return model  # whoever loads it says what is wrong, with the file's name
    return b"".join(parts) if len(view) != sum(map(len, parts)) else model


def varint(value: int) -> bytes:
    """Give a number of 0 or more as Protocol Buffers write it: seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def _without_weight_inputs(graph: memoryview) -> list[memoryview] | None:
    weights = {_name(value, _TENSOR_NAME) for number, value, _ in fields(graph) if number == _GRAPH_INITIALIZER}
    inputs = {_name(value, _VALUE_NAME) for number, value, _ in fields(graph) if number == _GRAPH_INPUT}
    if not weights & inputs:
        return None
    return [
        whole
        for number, value, whole in fields(graph)
        if number != _GRAPH_INPUT or _name(value, _VALUE_NAME) not in weights
    ]


def _name(message: memoryview, field: int) -> bytes:
    return next((bytes(value) for number, value, _ in fields(message) if number == field), b"")


def fields(message: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """Give number, value and all bytes of each field of a message.

    Raises:
        ValueError: It is damaged; so may IndexError.
    """
    at = 0
    while at < len(message):
        start = at
        key, at = _read_varint(message, at)
        first = at
        match key & 7:
            case 0:
                _, at = _read_varint(message, at)
            case 1:
                at += 8
            case 2:
                size, first = _read_varint(message, at)
                at = first + size
            case 5:
                at += 4
            case other:
                raise ValueError(f"wire type {other}")
        if at > len(message):
            raise ValueError("cut off")
        yield key >> 3, message[first:at], message[start:at]


def read_number(value: memoryview) -> int:
    """Give the number that a field's value is.

    Raises:
        ValueError: It is none; so may IndexError.
    """
    return _read_varint(value, 0)[0]


def _read_varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the top bit says that more follows
            return value, at
    raise ValueError("number too long")
