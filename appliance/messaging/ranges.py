"""Sets of sequence numbers as sorted runs: what gap records are made of."""

from collections.abc import Iterable, Sequence

Run = tuple[int, int]
"""First and last number of a run, both included."""


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
