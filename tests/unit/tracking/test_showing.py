import numpy as np
import pytest

from appliance.tracking.showing import Showing, Turn

NOTHING, CAT, DOG = range(3)
SECOND = 10**9


def showing(min_score: float = 0.5) -> Showing:
    return Showing(np.array([False, True, True]), min_score)


def step(stage: Showing, at: float, cat: float, dog: float, nothing: float = 0.0) -> Turn | None:
    return stage.step(np.array([nothing, cat, dog], np.float32), round(at * SECOND))


def test_a_label_comes_into_place_at_once_and_is_told_once() -> None:
    stage = showing()
    assert step(stage, 10, cat=0.8, dog=0.1) == Turn(CAT, pytest.approx(0.8), None, 0.0)
    assert step(stage, 11, cat=0.9, dog=0.1) is None
    assert stage.class_id == CAT


def test_another_label_is_told_with_the_one_before_and_how_long_that_lasted() -> None:
    stage = showing()
    step(stage, 10, cat=0.8, dog=0.1)
    assert step(stage, 14.5, cat=0.1, dog=0.7) == Turn(DOG, pytest.approx(0.7), CAT, 4.5)


def test_another_label_needs_a_tenth_more() -> None:
    stage = showing()
    step(stage, 10, cat=0.6, dog=0.1)
    assert step(stage, 20, cat=0.6, dog=0.65) is None
    turn = step(stage, 30, cat=0.6, dog=0.67)
    assert turn is not None
    assert turn.class_id == DOG


def test_a_score_on_the_border_tells_nothing() -> None:
    stage = showing()
    step(stage, 10, cat=0.5, dog=0.0)
    assert [step(stage, 10 + at, cat=0.46 + 0.08 * (at % 2), dog=0.0) for at in range(1, 20)] == [None] * 19
    assert step(stage, 40, cat=0.44, dog=0.0) == Turn(None, 0.0, CAT, 30.0)


def test_a_label_that_may_stay_goes_for_none_that_may_not_come() -> None:
    stage = showing()
    step(stage, 10, cat=0.5, dog=0.0)
    assert step(stage, 20, cat=0.451, dog=0.499) is None
    assert stage.class_id == CAT


def test_a_flicker_is_told_once_a_second_at_most() -> None:
    stage = showing()
    turns = [step(stage, at / 30, cat=0.9 * (at % 2), dog=0.9 * (1 - at % 2)) for at in range(300)]
    assert 2 <= sum(turn is not None for turn in turns) <= 11


def test_what_is_not_wanted_is_never_shown_however_sure_it_is() -> None:
    assert step(showing(), 10, cat=0.1, dog=0.2, nothing=0.99) is None


def test_the_end_ends_what_is_shown_once_and_begins_anew() -> None:
    stage = showing()
    assert stage.finish() is None
    step(stage, 10, cat=0.8, dog=0.1)
    step(stage, 12, cat=0.8, dog=0.1)
    assert stage.finish() == Turn(None, 0.0, CAT, 2.0)
    assert stage.finish() is None
    assert step(stage, 100, cat=0.8, dog=0.1) == Turn(CAT, pytest.approx(0.8), None, 0.0)
