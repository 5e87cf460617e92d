"""Counting what a delegate has taken."""

from appliance.inference.runtimes.litert_nodes import count_stand_ins, count_taken


def node(name: str, inputs: list[int], outputs: list[int]) -> dict[str, object]:
    return {"op_name": name, "inputs": inputs, "outputs": outputs}


# 0 -> CONV -> 1 -> RELU -> 2 -> TOPK -> 3 -> CONV -> 4; weights are 10 and 11
CHAIN = [
    node("CONV", [0, 10], [1]),
    node("RELU", [1], [2]),
    node("TOPK", [2], [3]),
    node("CONV", [3, 11], [4]),
]


def test_the_nodes_between_the_borders_of_a_stand_in_are_counted() -> None:
    nodes = [*CHAIN, node("DELEGATE", [0, 10], [2]), node("DELEGATE", [3, 11], [4])]
    assert count_stand_ins(nodes) == 2
    assert count_taken(nodes, range(2)) == 3
    assert count_taken(nodes, range(1)) == 2
    assert count_taken(nodes, range(1, 2)) == 1


def test_nothing_is_taken_where_nothing_stands_in() -> None:
    assert count_stand_ins(CHAIN) == count_taken(CHAIN, range(0)) == 0


def test_a_node_with_two_ways_out_counts_once() -> None:
    fork = [node("SPLIT", [0], [1, 2]), node("ADD", [1, 2], [3]), node("DELEGATE", [0], [2, 3])]
    assert count_taken(fork, range(1)) == 2
