from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from appliance.messaging import gaps

NUMBERS = st.sets(st.integers(1, 60))


def members(runs: list[tuple[int, int]]) -> set[int]:
    return {number for first, last in runs for number in range(first, last + 1)}


@given(NUMBERS, NUMBERS)
def test_runs_hold_exactly_the_numbers_and_no_two_touch(one: set[int], other: set[int]) -> None:
    runs = gaps.merge([*gaps.runs_of(one), *gaps.runs_of(other)])
    assert members(runs) == one | other
    assert gaps.count(runs) == len(one | other)
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(runs))
