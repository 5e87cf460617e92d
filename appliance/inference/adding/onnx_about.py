"""What an ONNX file says of itself. Pure; no ONNX library is needed.

Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3.
"""

from collections import Counter
from math import prod

from appliance.inference.adding.about import MOST_TEXT, About, from_entries, predominant
from appliance.inference.runtimes.onnx_file import fields, read_number

_DOC, _GRAPH, _ENTRY = 6, 7, 14  # of ModelProto
_KEY, _VALUE = 1, 2  # of StringStringEntryProto
_INITIALIZER, _DIMS, _TYPE = 5, 1, 2  # of GraphProto, TensorProto
_KINDS = {1: "fp32", 2: "int8", 3: "int8", 10: "fp16", 16: "fp16"}  # FLOAT, UINT8, INT8, FLOAT16, BFLOAT16
_MOST_ENTRIES = 256


def read_about(model: bytes) -> About:
    """Read the entries and the weights' types; nothing is known of a file that is damaged.

    Args:
        model: The file's content.
    """
    entries: dict[str, str] = {}
    weights: Counter[str] = Counter()
    try:
        for number, value, _ in fields(memoryview(model)):
            if number == _ENTRY and len(entries) < _MOST_ENTRIES:
                texts = {at: bytes(text) for at, text, _ in fields(value) if at in {_KEY, _VALUE}}
                if len(texts.get(_VALUE, b"")) <= MOST_TEXT and len(texts.get(_KEY, b"")) <= MOST_TEXT:
                    entries[_text(texts.get(_KEY, b""))] = _text(texts.get(_VALUE, b""))
            elif number == _GRAPH:
                weights.update(_weights(value))
    except (IndexError, ValueError):
        return About()  # whoever loads it says what is wrong
    return from_entries(entries, predominant(weights))


def _weights(graph: memoryview) -> Counter[str]:
    """Count the weights of each kind of number."""
    found: Counter[str] = Counter()
    for number, tensor, _ in fields(graph):
        if number != _INITIALIZER:
            continue
        kind, sizes = 0, list[int]()
        for at, value, whole in fields(tensor):
            if at == _TYPE:
                kind = read_number(value)
            elif at == _DIMS and whole[0] & 7 == 0:
                sizes.append(read_number(value))
            elif at == _DIMS:  # packed
                sizes += _packed(value)
        if kind in _KINDS:
            found[_KINDS[kind]] += prod(sizes)
    return found


def _packed(value: memoryview) -> list[int]:
    numbers = []
    start = 0
    for at, byte in enumerate(value, start=1):
        if byte < 0x80:  # noqa: PLR2004 - the top bit says that more follows
            numbers.append(read_number(value[start:at]))
            start = at
    return numbers


def _text(value: bytes) -> str:
    return value.decode("utf-8", errors="replace")
