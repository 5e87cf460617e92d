"""What bias correction needs of an ONNX graph: arXiv:1906.04721, section 4.2."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

_BIAS = 2  # the input of a convolution
_BESIDE = "_beside"
_CONVERSIONS = {"QuantizeLinear", "DequantizeLinear"}


def beside(model: Any, variant: Any, names: Iterable[str]) -> tuple[Any, dict[str, tuple[str, str]]]:
    """Put convolutions of the 8-bit variant beside those of the float model, reading the same maps.

    Args:
        model: In float.
        variant: What ONNX Runtime's quantizer made of it, in the QDQ format.
        names: Of the convolutions; in the variant all of them are in 8 bits.

    Returns:
        The model with both, and by convolution the tensors that they give: in float, in 8 bits.
    """
    both = deepcopy(model)
    ours = {node.name: node for node in model.graph.node}
    theirs = {node.name: node for node in variant.graph.node}
    makers = {name: node for node in variant.graph.node if node.op_type in _CONVERSIONS for name in node.output}
    known = {one.name for one in model.graph.initializer}
    both.graph.initializer.extend(one for one in variant.graph.initializer if one.name not in known)
    taken: set[str] = set()
    pairs: dict[str, tuple[str, str]] = {}
    for name in names:
        left = [theirs[name]]
        while left:  # back to what the float model has
            node = left.pop()
            if node.name in taken:
                continue
            taken.add(node.name)
            left += [makers[each] for each in node.input if each in makers]
            copy = both.graph.node.add()
            copy.CopyFrom(node)
            copy.name += _BESIDE
            copy.output[0] += _BESIDE
            copy.input[:] = [f"{each}{_BESIDE}" if each in makers else _plain(each) for each in node.input]
        pairs[name] = (ours[name].output[0], f"{theirs[name].output[0]}{_BESIDE}")
    return both, pairs


def _plain(tensor: str) -> str:
    return tensor.removesuffix("_QuantizeLinear_Input")  # so the quantizer calls what a model gives, before 8 bits


def with_biases(model: Any, added: Mapping[str, NDArray[np.float32]]) -> Any:
    """Give a copy of a model in which something is added to the biases of some convolutions, by their names."""
    model = deepcopy(model)
    if not added:
        return model
    stored = {one.name: one for one in model.graph.initializer}
    replaced = set()
    for node in model.graph.node:
        if node.name not in added:
            continue
        # a bias of its own: another convolution may share the one that it has
        name, whole = f"{node.name}_corrected_bias", added[node.name]
        if len(node.input) > _BIAS:
            whole = whole + onnx.numpy_helper.to_array(stored[node.input[_BIAS]])
            replaced.add(node.input[_BIAS])
            node.input[_BIAS] = name
        else:
            node.input.append(name)
        model.graph.initializer.append(onnx.numpy_helper.from_array(whole.astype(np.float32), name))
    for name in replaced - _read(model.graph):
        model.graph.initializer.remove(stored[name])
    return model


def _read(graph: Any) -> set[str]:
    """Give the names of what a graph reads, also in the graphs that its nodes hold, and of what it gives."""
    read = {name for node in graph.node for name in node.input} | {one.name for one in graph.output}
    inner = (one for node in graph.node for attribute in node.attribute for one in (attribute.g, *attribute.graphs))
    return read.union(*map(_read, inner))
