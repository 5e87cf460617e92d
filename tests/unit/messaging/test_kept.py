from hypothesis import given
from hypothesis import strategies as st

from appliance.messaging.kept import LAST_KEY, SETTLED, Kept, KeptRun


def runs(kept: Kept) -> list[tuple[int, int]]:
    return [(run.first, run.last) for run in kept]


def run(first: int, last: int, *, boot: int = 1, at: int = 0) -> KeptRun:
    return KeptRun(first, last, boot, at, at)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40), st.integers(0, 8))))
def test_it_knows_exactly_what_was_added_and_not_carved_out(steps: list[tuple[bool, int, int]]) -> None:
    kept, expected = Kept(None, 1000), set[int]()
    for is_added, first, more in steps:
        taken = kept.carve(first, first + more)
        assert {key for low, high in taken for key in range(low, high + 1)} == expected & {
            *range(first, first + more + 1)
        }
        expected -= {*range(first, first + more + 1)}
        if is_added:
            kept.add(run(first, first + more))
            expected |= {*range(first, first + more + 1)}
        assert {key for low, high in runs(kept) for key in range(low, high + 1)} == expected
        assert kept.rows == len(expected)
        assert runs(kept) == sorted(runs(kept))
        free = {key for low, high in kept.between(1, 60) for key in range(low, high + 1)}
        assert free == {*range(1, 61)} - expected


def test_neighbours_become_one_run_even_when_the_one_between_comes_last() -> None:
    kept = Kept(None, 1000)
    for first, last in ((1, 3), (5, 6), (4, 4)):
        kept.add(run(first, last))
    assert runs(kept) == [(1, 6)]


def test_a_run_grows_no_longer_than_a_part_of_the_window() -> None:
    kept = Kept(None, part_ns=100)
    for key, at in ((1, 0), (2, 100), (3, 101), (4, 150)):
        kept.add(run(key, key, at=at))
    assert runs(kept) == [(1, 2), (3, 4)]


def test_what_is_no_longer_needed_is_not_joined_with_what_is() -> None:
    kept = Kept(None, 1000)
    kept.add(run(1, 2, boot=SETTLED))
    kept.add(run(3, 4))
    assert runs(kept) == [(1, 2), (3, 4)]


def test_between_the_runs_lies_all_the_rest_up_to_the_last_key_there_can_be() -> None:
    kept = Kept(None, 1000)
    assert list(kept.between(1)) == [(1, LAST_KEY)]
    kept.add(run(3, 4))
    kept.add(run(8, 9))
    assert list(kept.between(1)) == [(1, 2), (5, 7), (10, LAST_KEY)]
    assert list(kept.between(4, 8)) == [(5, 7)]
