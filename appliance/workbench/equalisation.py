"""Cross-layer equalisation of an ONNX graph: arXiv:1906.04721, section 4.1. The outputs stay what they were.

Where a convolution's channel passes only through what scales with it (ReLU, leaky ReLU, maximum of a window) into the
next convolution, it can be scaled down in the first and up in the second. So that both see weights of alike size.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

_SCALES_ALONG = {"Relu", "LeakyRelu", "MaxPool"}  # f(s x) = s f(x) for every s > 0
_MOST_ROUNDS = 40
_LEAST = 1e-3  # of the largest channel: one far below it is as good as dead, and would be blown up
_SETTLED = 1e-3  # largest change of a scale that is not worth another round


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two convolutions one after the other; names of the initializers, the bias of the first empty without one."""

    first: str
    bias: str
    second: str
    groups: int


def equalise(model: Any) -> int:
    """Scale the weights of a model, in place, until neighbours are of alike size; give how many pairs there are.

    Args:
        model: ONNX, with its weights as constants.
    """
    graph = model.graph
    stored = {one.name: one for one in graph.initializer}
    pairs = _pairs(graph, stored)
    names = {name for pair in pairs for name in (pair.first, pair.bias, pair.second) if name}
    weights = {name: onnx.numpy_helper.to_array(stored[name]).astype(np.float64) for name in names}
    for _ in range(_MOST_ROUNDS):  # one pair's second is the next pair's first: what is scaled here moves there
        if max((_scale(pair, weights) for pair in pairs), default=0.0) < _SETTLED:
            break
    for name, weight in weights.items():
        stored[name].CopyFrom(onnx.numpy_helper.from_array(weight.astype(np.float32), name))
    return len(pairs)


def _scale(pair: _Pair, weights: dict[str, NDArray[np.float64]]) -> float:
    """Make the channels of a pair alike; give the largest change of a scale."""
    first, second = weights[pair.first], weights[pair.second]
    # a group's filters share its channels: (groups, filters, channels, rows, columns)
    grouped = second.reshape(pair.groups, -1, *second.shape[1:])
    before = np.abs(first).reshape(len(first), -1).max(axis=1)
    after = np.abs(grouped).max(axis=(1, 3, 4)).reshape(-1)
    alive = (before > _LEAST * before.max()) & (after > _LEAST * after.max())
    down = np.sqrt(np.where(alive, before, 1.0) / np.where(alive, after, 1.0))  # equation 11
    down = np.where(alive, down, 1.0)
    weights[pair.first] = first / down.reshape(-1, 1, 1, 1)
    if pair.bias:
        weights[pair.bias] = weights[pair.bias] / down
    weights[pair.second] = (grouped * down.reshape(pair.groups, 1, -1, 1, 1)).reshape(second.shape)
    return float(np.abs(down - 1).max())


def _pairs(graph: Any, stored: dict[str, Any]) -> list[_Pair]:
    read = Counter(name for node in graph.node for name in node.input)
    read.update(one.name for one in graph.output)
    readers = {name: node for node in graph.node for name in node.input}
    found = []
    for node in graph.node:
        following = _next(node.output[0], readers, read)
        if following is None or not (_is_plain(node, stored, read) and _is_plain(following, stored, read)):
            continue
        groups = next((one.i for one in following.attribute if one.name == "group"), 1)
        bias = node.input[2] if len(node.input) > 2 else ""  # noqa: PLR2004 - picture, weight, bias
        found.append(_Pair(node.input[1], bias, following.input[1], groups))
    return found


def _next(tensor: str, readers: dict[str, Any], read: Counter[str]) -> Any:
    """Give the convolution that alone reads a tensor, through nothing but what scales along; None without one."""
    while read[tensor] == 1 and tensor in readers:
        node = readers[tensor]
        if node.op_type == "Conv" and node.input[0] == tensor:
            return node
        if node.op_type not in _SCALES_ALONG:
            return None
        tensor = node.output[0]
    return None


def _is_plain(node: Any, stored: dict[str, Any], read: Counter[str]) -> bool:
    """Tell a convolution of maps whose weights are its own constants."""
    if node.op_type != "Conv" or any(name not in stored or read[name] > 1 for name in node.input[1:]):
        return False
    return len(stored[node.input[1]].dims) == 4  # noqa: PLR2004 - filters, channels, rows, columns
