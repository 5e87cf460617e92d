"""Finds which nodes must stay in float. Pure: it is told what a choice weighs and how well it does."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

Choice = tuple[str, ...]
"""Nodes in float, worst first."""
_STEPS = 6  # a choice that fails on all pictures is widened by this part of what is left
_PARTS = (8, 16)  # the choice is thinned out by so many parts: YOLOX-Nano went from 190 nodes to 94 by the first


class Trial(Protocol):
    """Knows every choice; asked for the same one twice, it answers alike."""

    def size(self, in_float: Choice) -> int:
        """Give the bytes of the file."""

    def quick(self, in_float: Choice) -> float:
        """Give the accuracy on some of the pictures."""

    def whole(self, in_float: Choice) -> float:
        """Give the accuracy on all of the pictures."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a choice must keep.

    Attributes:
        size: Most bytes of the file.
        quick: Lowest accuracy on some of the pictures.
        whole: Lowest accuracy on all of them.
    """

    size: int
    quick: float
    whole: float


def find_smallest(ranked: Sequence[str], trial: Trial, bounds: Bounds) -> Choice | None:
    """Give a small set of nodes whose float keeps the accuracy; None where none is found within the size.

    The smallest beginning of the ranking that will do on some of the pictures, by bisection; widened until it will do
    on all of them; then thinned out part by part. There are too many sets to try all, so a smaller one may exist.

    Args:
        ranked: All nodes, the one that hurts most in 8 bits first.
        trial: What is known of each choice.
        bounds: What it must keep.
    """
    nodes = tuple(ranked)
    if trial.size(()) > bounds.size:
        return None
    # with more nodes in float the file grows, but for the few bytes of a conversion that goes
    most = _last(len(nodes), lambda count: trial.size(nodes[:count]) <= bounds.size)
    count = _first(most, lambda count: trial.quick(nodes[:count]) >= bounds.quick)
    step = max(1, (most - count) // _STEPS)
    while not _will_do(nodes[:count], trial, bounds):
        if count == most:
            return None
        count = min(most, count + step)
    thinned = list(_thin(nodes[:count], trial, bounds))
    # some of the pictures are not all of them: the thinnest that will do there too
    return next((each for each in reversed(thinned) if _will_do(each, trial, bounds)), nodes[:count])


def _will_do(choice: Choice, trial: Trial, bounds: Bounds) -> bool:
    return trial.size(choice) <= bounds.size and trial.whole(choice) >= bounds.whole


def _thin(choice: Choice, trial: Trial, bounds: Bounds) -> Iterator[Choice]:
    """Give ever smaller choices that will do on some of the pictures; what hurts least goes first."""
    for parts in _PARTS:
        width = max(1, -(-len(choice) // parts))
        for start in reversed(range(0, len(choice), width)):
            smaller = choice[:start] + choice[start + width :]
            if trial.quick(smaller) >= bounds.quick:
                choice = smaller
                yield choice


def _first(most: int, will_do: Callable[[int], bool]) -> int:
    """Give the lowest number that will do, where all after it do; `most` where none does."""
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if will_do(middle) else (middle + 1, high)
    return low


def _last(most: int, will_do: Callable[[int], bool]) -> int:
    """Give the highest number that will do, where all before it and 0 do."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if will_do(middle) else (low, middle - 1)
    return low
