"""Tells which nodes of a LiteRT graph a delegate has taken over. Pure: lists in, numbers out.

LiteRT keeps the nodes that were taken and adds one that stands for them, with the tensors at their border.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

STAND_IN: Final = "DELEGATE"
"""Name of the operator of a node that stands for those a delegate has taken."""


def count_taken(nodes: Sequence[Mapping[str, Any]], stand_ins: range) -> int:
    """Count the nodes that some of a graph's stand-ins stand for.

    Args:
        nodes: Of the graph: ``op_name``, and ``inputs`` and ``outputs`` as numbers of tensors.
        stand_ins: Which of the stand-ins, by their order in `nodes`.
    """
    makers = {tensor: at for at, node in enumerate(nodes) if node["op_name"] != STAND_IN for tensor in node["outputs"]}
    borders = [node for node in nodes if node["op_name"] == STAND_IN]
    return len({at for number in stand_ins for at in _behind(borders[number], nodes, makers)})


def count_stand_ins(nodes: Sequence[Mapping[str, Any]]) -> int:
    """Count the nodes that stand for others."""
    return sum(node["op_name"] == STAND_IN for node in nodes)


def _behind(border: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]], makers: Mapping[int, int]) -> set[int]:
    """Give the nodes between a stand-in's outputs and its inputs, going backwards."""
    found: set[int] = set()
    inputs, waiting = set(border["inputs"]), list(border["outputs"])
    while waiting:
        maker = makers.get(waiting.pop())
        if maker is not None and maker not in found:
            found.add(maker)
            waiting += [tensor for tensor in nodes[maker]["inputs"] if tensor not in inputs]
    return found
