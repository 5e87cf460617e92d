"""What bias correction needs of an ONNX graph: arXiv:1906.04721, section 4.2 and appendix D."""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

_BIAS = 2  # the input of a convolution
_SUFFIX = "_corrected_bias"


def levels(graph: Any, names: Iterable[str]) -> list[tuple[str, ...]]:
    """Give these nodes in groups: none depends on another of its own or of a later group.

    Args:
        graph: Whose nodes are in the order in which they run.
        names: Of nodes.
    """
    wanted = set(names)
    depth: dict[str, int] = {}  # by tensor: how many of the nodes lie before it
    groups: dict[int, list[str]] = {}
    for node in graph.node:
        before = max((depth.get(name, 0) for name in node.input), default=0)
        if node.name in wanted:
            groups.setdefault(before, []).append(node.name)
            before += 1
        depth.update(dict.fromkeys(node.output, before))
    return [tuple(groups[at]) for at in sorted(groups)]


def up_to(model: Any, tensors: Sequence[str]) -> Any:
    """Give the part of a model that these tensors come from, with them as outputs."""
    makers = {name: node for node in model.graph.node for name in node.output if name}
    needed: set[str] = set()
    left = list(tensors)
    while left:  # not in the order of the nodes: quantizers append theirs where they please
        name = left.pop()
        if name not in needed:
            needed.add(name)
            left.extend(each for each in (makers[name].input if name in makers else ()) if each)
    part = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    part.graph.name = model.graph.name
    part.graph.node.extend(node for node in model.graph.node if needed & set(node.output))
    part.graph.initializer.extend(one for one in model.graph.initializer if one.name in needed)
    part.graph.input.extend(one for one in model.graph.input if one.name in needed)
    part.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors)
    return part


def with_biases(model: Any, added: Mapping[str, NDArray[np.float32]]) -> Any:
    """Give a copy of a model in which something is added to the biases of some convolutions, by their names."""
    model = deepcopy(model)
    stored = {one.name: one for one in model.graph.initializer}
    for node in model.graph.node:
        if node.name not in added:
            continue
        # a bias of its own: another convolution may share the one that it has
        name, whole = f"{node.name}{_SUFFIX}", added[node.name]
        if len(node.input) > _BIAS:
            whole = whole + onnx.numpy_helper.to_array(stored[node.input[_BIAS]])
            node.input[_BIAS] = name
        else:
            node.input.append(name)
        model.graph.initializer.append(onnx.numpy_helper.from_array(whole.astype(np.float32), name))
    read = {name for node in model.graph.node for name in node.input}
    for one in [one for one in model.graph.initializer if one.name not in read]:
        model.graph.initializer.remove(one)
    return model


def add_to_stored(graph: Any, added: Mapping[str, NDArray[np.float32]]) -> None:
    """Add to the 32-bit biases of what ONNX Runtime's quantizer made of a model that `with_biases` gave."""
    stored = {one.name: one for one in graph.initializer}
    for name, more in added.items():
        bias = stored[f"{name}{_SUFFIX}_quantized"]
        scale = onnx.numpy_helper.to_array(stored[f"{bias.name}_scale"])
        steps = onnx.numpy_helper.to_array(bias) + np.rint(more / scale)
        bias.CopyFrom(onnx.numpy_helper.from_array(steps.astype(np.int32), bias.name))
