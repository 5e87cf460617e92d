"""How far one form of a network is from it: figures worked out by hand."""

import numpy as np
import pytest

from appliance.inference.golden import GoldenObject
from appliance.workbench.conversion.agreement import Sight, compare_sights

PERSON = GoldenObject(label="person", score=0.9, box=(10.0, 10.0, 30.0, 50.0))
CAR = GoldenObject(label="car", score=0.8, box=(60.0, 20.0, 90.0, 40.0))
UNSURE = GoldenObject(label="car", score=0.55, box=(0.0, 0.0, 9.0, 9.0))


def sight(*objects: GoldenObject, outputs: tuple[float, ...] = (0.0, 1.0)) -> Sight:
    tensors = (np.array([[[value, value / 2] for value in outputs]], np.float32),)
    return Sight({"street.png": objects}, (tensors,), 5.0, 0.5)


def test_the_same_is_all_found_and_nothing_lost() -> None:
    found = compare_sights(sight(PERSON, CAR), sight(PERSON, CAR))
    assert (found.expected, found.matched, found.unexpected, found.lost) == (2, 2, 0, 0.0)
    assert (found.largest, found.sqnr_db) == ((0.0,), 200.0)


def test_what_is_missing_or_elsewhere_is_lost_and_raw_differences_are_told() -> None:
    moved = CAR.model_copy(update={"box": (0.0, 60.0, 30.0, 80.0)})
    found = compare_sights(sight(PERSON, CAR), sight(moved, outputs=(0.0, 1.5)))
    assert (found.expected, found.matched, found.unexpected) == (2, 0, 1)
    assert found.lost == 1.5
    assert found.largest == (0.5,)


def test_what_the_network_is_not_sure_of_may_be_missing_or_be_there() -> None:
    without, with_it = sight(PERSON), sight(PERSON, UNSURE)
    assert compare_sights(with_it, without).lost == 0
    assert compare_sights(without, with_it).lost == 0
    assert compare_sights(with_it, without).expected == 1


@pytest.mark.parametrize(("score", "matched"), [(0.65, 1), (0.55, 0)])
def test_a_score_of_8_bits_may_be_lower_but_not_by_any_amount(score: float, matched: int) -> None:
    lower = PERSON.model_copy(update={"score": score})
    assert compare_sights(sight(PERSON), sight(lower)).matched == matched
