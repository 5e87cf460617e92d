"""Numbers that will never arrive: gap records, and the sorted runs of numbers they are made of."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Run = tuple[int, int]
"""First and last number of a run, both included."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Numbers that will never arrive.

    Attributes:
        count: How many.
        first: The lowest.
        last: The highest.
        runs: Exactly which; empty when there were too many runs to keep.
        reason: Why.
        uncounted_s: Beside those, messages without a number may be lost: what came in within so many seconds.
    """

    count: int
    first: int
    last: int
    runs: tuple[Run, ...]
    reason: str
    uncounted_s: float | None = None


def runs_of(numbers: Iterable[int]) -> list[Run]:
    """Give the runs that hold exactly `numbers`."""
    return merge([(number, number) for number in numbers])


def merge(runs: Iterable[Run]) -> list[Run]:
    """Give sorted runs that hold the same numbers, overlapping and adjacent ones joined."""
    merged: list[Run] = []
    for first, last in sorted(runs):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def count(runs: Sequence[Run]) -> int:
    """Give how many numbers sorted, separate runs hold."""
    return sum(last - first + 1 for first, last in runs)
