"""How far two ways of running a model agree."""

import numpy as np
import pytest

from appliance.inference.golden import GoldenObject
from appliance.inference.measuring.agreement import match, of_labels, of_objects, of_pixels, of_tensors


def found(label: str = "car", score: float = 0.9, left: float = 0.0) -> GoldenObject:
    return GoldenObject(label=label, score=score, box=(left, 0.0, left + 10.0, 10.0))


def test_the_same_objects_agree_wholly() -> None:
    agreement = of_objects([[found(), found(left=50.0)]], [[found(score=0.8), found(left=50.0)]], 0.35)
    assert agreement is not None
    assert (agreement.value, agreement.compared, round(agreement.difference, 3)) == (1.0, 4, 0.05)


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ([], 0.0),
        ([found("bus")], 0.0),
        ([found(left=5.0)], 0.0),  # overlaps by a third
        ([found(), found(left=50.0)], 2 / 3),
        ([found(), found("car", 0.4, 50.0)], 1.0),  # near the threshold it may be there or not
    ],
)
def test_each_object_that_only_one_side_has_lowers_the_agreement(given: list[GoldenObject], value: float) -> None:
    agreement = of_objects([[found()]], [given], 0.35)
    assert agreement is not None
    assert agreement.value == pytest.approx(value)


def test_one_object_is_not_matched_twice() -> None:
    assert match([found(), found(left=1.0)], [found()]) == [(0, 0)]


def test_where_nothing_is_found_there_is_nothing_to_agree_on() -> None:
    assert of_objects([[], [found(score=0.36)]], [[], []], 0.35) is None


def test_tensors_agree_by_angle_class_ids_by_how_many_are_the_same() -> None:
    values = np.array([1.0, 2.0, 3.0], np.float32)
    same = of_tensors([values], [values])
    turned = of_tensors([values], [values[::-1]])
    labels = of_tensors([np.array([1, 2, 3, 4])], [np.array([1, 2, 3, 9])])
    assert same is not None
    assert turned is not None
    assert labels is not None
    assert (same.value, same.difference) == (pytest.approx(1.0), 0.0)
    assert turned.value == pytest.approx(10 / 14)
    assert labels.value == 0.75


def test_tensors_that_are_not_finite_agree_with_nothing_and_other_shapes_are_not_compared() -> None:
    values = np.array([1.0, 2.0], np.float32)
    broken = of_tensors([values], [np.array([np.nan, 2.0], np.float32)])
    assert broken is not None
    assert broken.value == 0.0
    assert of_tensors([values], [values[:1]]) is None


def test_of_classifiers_it_is_the_pictures_with_the_same_best_label_that_one_is_sure_of() -> None:
    sure, other, unsure = (np.array(one, np.float32) for one in ([0.9, 0.1], [0.1, 0.8], [0.3, 0.2]))
    found = of_labels(np.stack([sure, sure, unsure, sure]), np.stack([sure - 0.1, other, unsure, unsure]), 0.3)
    assert found is not None
    assert (found.of, found.compared) == ("labels", 3)
    assert found.value == pytest.approx(2 / 3)
    assert found.difference == pytest.approx((0.1 + 0.6) / 2)
    assert of_labels(unsure[None], unsure[None], 0.3) is None
    assert of_labels(sure[None], np.ones((1, 3), np.float32), 0.3) is None


def test_of_label_maps_it_is_the_pixels_with_the_same_label_where_either_has_one() -> None:
    first, second = np.array([[-1, -1, 1, 2]]), np.array([[-1, 1, 1, 1]])
    found = of_pixels([first, first], [second, first])
    assert found is not None
    assert (found.of, found.compared) == ("pixels", 5)
    assert found.value == pytest.approx(3 / 5)
    nothing = np.full((1, 4), -1)
    assert of_pixels([nothing], [nothing]) is None
    assert of_pixels([first], [nothing[:, :2]]) is None
