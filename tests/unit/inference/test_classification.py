import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.errors import ModelError
from appliance.inference.classification import ExponentialSmoother, rank, to_scores

VALUES = st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=12)
SCORES = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9]), min_size=1, max_size=12)
SECOND = 1_000_000_000


def float32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


@given(values=VALUES)
@settings(deadline=None)
def test_softmax_and_sigmoid_are_what_their_formulas_say(values: list[float]) -> None:
    logits = np.array(values, np.float32).reshape(1, 1, 1, -1)
    weights = [math.exp(value - max(values)) for value in values]
    expected = [weight / sum(weights) for weight in weights]
    np.testing.assert_allclose(to_scores(logits, len(values), "softmax"), expected, rtol=1e-4, atol=1e-7)
    expected = [1 / (1 + math.exp(-value)) for value in values]
    np.testing.assert_allclose(to_scores(logits, len(values), "sigmoid"), expected, atol=1e-6)


def test_scores_stay_scores_and_what_an_8_bit_network_rounds_up_is_1() -> None:
    assert to_scores(float32(0.0, 0.5, 1.003), 3, "none").tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("output", [(0.5, math.nan), (0.5, math.inf), (-0.1, 0.5), (0.5, 7.0)])
def test_what_is_no_score_is_refused(output: tuple[float, float]) -> None:
    with pytest.raises(ModelError, match=r"not finite|are they logits\?"):
        to_scores(float32(*output), 2, "none")


def test_an_output_of_other_labels_is_refused() -> None:
    with pytest.raises(ModelError, match=r"gave a tensor of shape \(3,\) for 2 labels"):
        to_scores(float32(0, 0, 1), 2, "softmax")


@given(scores=SCORES, most=st.integers(1, 5), least=st.sampled_from([0.0, 0.1, 0.3]), data=st.data())
@settings(deadline=None)
def test_the_best_labels_are_given_in_order(scores: list[float], most: int, least: float, data: st.DataObject) -> None:
    wanted = data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))
    found = rank(float32(*scores), most=most, min_score=float(np.float32(least)), wanted=np.array(wanted))
    order = sorted(range(len(scores)), key=lambda at: (-scores[at], at))
    expected = [at for at in order if scores[at] >= least and wanted[at]][:most]
    assert found.class_ids.tolist() == expected
    np.testing.assert_allclose(found.scores, [scores[at] for at in expected], rtol=1e-6)
    assert (found.scores.dtype, found.class_ids.dtype, len(found)) == (np.float32, np.int32, len(expected))


def test_a_new_state_has_come_63_percent_of_the_way_after_a_time_constant_whatever_the_frame_rate() -> None:
    for steps in (1, 7, 50):
        smoother = ExponentialSmoother(2.0)
        smoother.update(float32(1, 0), 0)
        for step in range(1, steps + 1):
            calmed = smoother.update(float32(0, 1), step * 2 * SECOND // steps)
        np.testing.assert_allclose(calmed, [math.exp(-1), 1 - math.exp(-1)], rtol=1e-4)


def test_one_wrong_frame_does_not_change_what_is_seen() -> None:
    smoother = ExponentialSmoother(1.0)
    for frame in range(20):
        calmed = smoother.update(float32(0, 1) if frame == 10 else float32(1, 0), frame * SECOND // 10)
        assert calmed.argmax() == 0


def test_the_average_is_left_alone_by_what_comes_next() -> None:
    smoother = ExponentialSmoother(1.0)
    given_scores = float32(1, 0)
    first = smoother.update(given_scores, 0)
    smoother.update(float32(0, 1), 10 * SECOND)
    assert first.tolist() == given_scores.tolist() == [1, 0]


def test_another_number_of_classes_is_refused() -> None:
    smoother = ExponentialSmoother(1.0)
    smoother.update(float32(1, 0), 0)
    with pytest.raises(ModelError, match="gave 3 scores and 2 before"):
        smoother.update(float32(1, 0, 0), 1)
