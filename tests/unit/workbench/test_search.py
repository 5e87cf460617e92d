from dataclasses import dataclass, field

import pytest

from appliance.workbench.search import Bounds, Choice, find_smallest

NODES = [f"n{at}" for at in range(40)]
BOUNDS = Bounds(size=1000, quick=0.29, whole=0.29)


@dataclass
class KnownTrial:
    """A model of which all is known: each node's harm in 8 bits, and the bytes that its float adds."""

    harm: dict[str, float]
    bytes_each: int = 10
    shake: float = 0.0  # by how much some of the pictures flatter
    asked: list[Choice] = field(default_factory=list)

    def size(self, in_float: Choice) -> int:
        return 500 + self.bytes_each * len(in_float)

    def whole(self, in_float: Choice) -> float:
        self.asked.append(in_float)
        return 0.30 - sum(harm for node, harm in self.harm.items() if node not in in_float)

    def quick(self, in_float: Choice) -> float:
        return self.whole(in_float) + self.shake


def test_exactly_the_nodes_that_do_harm_stay_in_float() -> None:
    trial = KnownTrial({"n0": 0.2, "n1": 0.1, "n2": 0.05})
    assert find_smallest(NODES, trial, BOUNDS) == ("n0", "n1", "n2")


def test_nothing_stays_in_float_where_nothing_does_harm() -> None:
    assert find_smallest(NODES, KnownTrial({}), BOUNDS) == ()


def test_a_harmless_node_that_was_ranked_too_high_is_given_back() -> None:
    trial = KnownTrial({"n0": 0.2, "n7": 0.1})
    assert find_smallest(NODES, trial, BOUNDS) == ("n0", "n7")


def test_the_choice_is_widened_until_it_will_do_on_all_pictures() -> None:
    trial = KnownTrial({"n0": 0.2, "n9": 0.015}, shake=0.01)  # some of the pictures do not show what n9 does
    found = find_smallest(NODES, trial, BOUNDS)
    assert found is not None
    assert trial.whole(found) >= BOUNDS.whole
    assert {"n0", "n9"} <= set(found)


def test_none_is_given_when_the_drop_cannot_be_kept_within_the_size() -> None:
    trial = KnownTrial({"n39": 0.2}, bytes_each=50)  # room for ten nodes, and the one that counts is ranked last
    assert find_smallest(NODES, trial, BOUNDS) is None
    assert max(map(len, trial.asked)) <= 10  # what would be too large is not even tried


def test_a_choice_that_is_too_large_is_not_given_though_it_has_fewer_nodes() -> None:
    class OddTrial(KnownTrial):
        def size(self, in_float: Choice) -> int:
            return 2000 if len(in_float) == 2 else super().size(in_float)  # a conversion more than with three

    found = find_smallest(NODES, OddTrial({"n0": 0.2, "n7": 0.1}), BOUNDS)
    assert found is not None
    assert len(found) > 2
    assert {"n0", "n7"} < set(found)


def test_none_is_given_when_even_all_in_8_bits_is_too_large() -> None:
    trial = KnownTrial({})
    assert find_smallest(NODES, trial, Bounds(size=499, quick=0.0, whole=0.0)) is None
    assert trial.asked == []


@pytest.mark.parametrize("harmful", [1, 5, 17, 40])
def test_the_search_asks_for_few_of_the_many_sets(harmful: int) -> None:
    trial = KnownTrial(dict.fromkeys(NODES[:harmful], 0.02))
    found = find_smallest(NODES, trial, BOUNDS)
    assert found == tuple(NODES[:harmful])
    assert len(trial.asked) <= 40
