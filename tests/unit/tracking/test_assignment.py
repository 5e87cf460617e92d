"""The pairing is the best one there is; checked against scipy.optimize.linear_sum_assignment."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from appliance.tracking.assignment import assign

SHAPES = st.tuples(st.integers(0, 12), st.integers(0, 12))


def best_total(gains: NDArray[np.float64], least: float) -> float:
    """SciPy's answer to the same question: a square-ish problem in which staying alone costs nothing."""
    optimize = pytest.importorskip("scipy.optimize")
    rows = gains.shape[0]
    alone = np.full((rows, rows), -1e6)
    np.fill_diagonal(alone, 0.0)
    worth = np.concatenate((np.where(gains >= least, gains - least, -1e6), alone), axis=1)
    return float(worth[optimize.linear_sum_assignment(worth, maximize=True)].sum())


def check(gains: NDArray[np.float64], least: float) -> None:
    rows, columns = assign(gains, least)
    assert len(set(rows.tolist())) == len(rows)
    assert len(set(columns.tolist())) == len(columns)
    assert rows.tolist() == sorted(rows.tolist())
    assert (gains[rows, columns] >= least).all()
    assert float((gains[rows, columns] - least).sum()) == pytest.approx(best_total(gains, least), abs=1e-9)


@given(SHAPES.flatmap(lambda shape: arrays(np.float64, shape, elements=st.floats(0.0, 1.0))), st.floats(0.0, 0.9))
@settings(max_examples=150, deadline=None)
def test_no_better_pairing_exists(gains: NDArray[np.float64], least: float) -> None:
    check(gains, least)


@given(SHAPES.flatmap(lambda shape: arrays(np.float64, shape, elements=st.sampled_from((0.0, 0.3, 0.5, 0.9)))))
@settings(max_examples=150, deadline=None)
def test_ties_and_contests_are_settled_as_well(gains: NDArray[np.float64]) -> None:
    check(gains, 0.2)


@pytest.mark.parametrize(("rows", "columns"), [(60, 60), (80, 30), (30, 80)])
def test_crowds_are_paired_as_well(rows: int, columns: int) -> None:
    random = np.random.default_rng(rows + columns)
    check(random.random((rows, columns)), 0.2)
    check(random.random((rows, 1)) * random.random((1, columns)), 0.1)  # all want the same


def test_one_gives_way_when_both_gain() -> None:
    rows, columns = assign(np.array([[0.9, 0.8], [0.8, 0.0]]), 0.2)
    assert (rows.tolist(), columns.tolist()) == ([0, 1], [1, 0])


def test_nothing_is_paired_below_the_least() -> None:
    rows, columns = assign(np.array([[0.1, 0.19], [0.3, 0.0]]), 0.2)
    assert (rows.tolist(), columns.tolist()) == ([1], [0])
