"""The filters against the textbook's eight-state filter, written out with matrices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from appliance.tracking.kalman import (
    INITIAL_VELOCITY_STD,
    MEASUREMENT_STD,
    POSITION_DRIFT,
    VELOCITY_DRIFT,
    KalmanFilters,
)

ALL = np.array([0])
NONE = np.array([], np.intp)


class Textbook:
    """x' = F x, P' = F P F' + Q; K = P H' (H P H' + R)^-1; the state is (x, y, w, h) and their velocities."""

    def __init__(self, box: NDArray[np.float64]) -> None:
        centred = self.centred(box)
        size = centred[2:].mean()
        self.x = np.concatenate((centred, np.zeros(4)))
        self.p = np.diag([(MEASUREMENT_STD * size) ** 2] * 4 + [*(INITIAL_VELOCITY_STD * size) ** 2])
        self.h = np.eye(4, 8)

    @staticmethod
    def centred(box: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate(((box[:2] + box[2:]) / 2, box[2:] - box[:2]))

    def predict(self, dt: float) -> None:
        f = np.eye(8) + dt * np.eye(8, k=4)
        q = np.kron(np.array(((dt**3 / 3, dt**2 / 2), (dt**2 / 2, dt))), np.diag(VELOCITY_DRIFT))
        q += np.diag([POSITION_DRIFT * dt] * 4 + [0.0] * 4)
        q *= self.x[2:4].mean() ** 2
        self.x, self.p = f @ self.x, f @ self.p @ f.T + q

    def correct(self, box: NDArray[np.float64]) -> None:
        r = np.eye(4) * (MEASUREMENT_STD * self.x[2:4].mean()) ** 2
        gain = self.p @ self.h.T @ np.linalg.inv(self.h @ self.p @ self.h.T + r)
        self.x = self.x + gain @ (self.centred(box) - self.h @ self.x)
        self.p = (np.eye(8) - gain @ self.h) @ self.p


def box_at(x: float, y: float, wide: float = 40.0, high: float = 100.0) -> NDArray[np.float64]:
    return np.array((x - wide / 2, y - high / 2, x + wide / 2, y + high / 2))


@given(st.integers(0, 2**32), st.lists(st.floats(0.0, 0.3), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_it_gives_what_the_matrices_give(seed: int, intervals: list[float]) -> None:
    random = np.random.default_rng(seed)
    boxes = np.array([box_at(200 + 300 * at, 300, 200 + 10 * at, 300) for at in range(3)])
    filters, books = KalmanFilters(), [Textbook(box) for box in boxes]
    filters.add(boxes)
    for dt in intervals:
        filters.predict(dt, NONE)
        seen = np.flatnonzero(random.random(3) < 0.8)
        boxes += random.normal(0, 3, boxes.shape)
        filters.correct(seen, boxes[seen])
        for at, book in enumerate(books):
            book.predict(dt)
            if at in seen:
                book.correct(boxes[at])
            assert filters._state[:2, at].ravel() == pytest.approx(book.x, rel=1e-9, abs=1e-6)
            assert filters._state[2, at] == pytest.approx(np.diag(book.p)[:4], rel=1e-9)
            assert filters._state[3, at] == pytest.approx(np.diag(book.p, 4), rel=1e-9)
            assert filters._state[4, at] == pytest.approx(np.diag(book.p)[4:], rel=1e-9)


@pytest.mark.parametrize("fps", [2.0, 10.0, 30.0])
def test_a_steady_walker_is_foreseen_at_any_frame_rate(fps: float) -> None:
    filters = KalmanFilters()
    filters.add(box_at(100, 300)[None])
    for at in range(1, int(3 * fps)):
        filters.predict(1 / fps, NONE)
        filters.correct(ALL, box_at(100 + 80 * at / fps, 300)[None])
    filters.predict(1.0, NONE)
    assert filters.boxes[0] == pytest.approx(box_at(100 + 80 * (int(3 * fps) - 1) / fps + 80, 300), abs=5.0)


def test_an_unseen_box_keeps_its_size() -> None:
    filters = KalmanFilters()
    filters.add(box_at(100, 300)[None])
    for at in range(1, 10):  # walks behind a wall: narrower and narrower
        filters.predict(0.1, NONE)
        filters.correct(ALL, box_at(100, 300, wide=40 - 3 * at)[None])
    sides = filters.boxes[0, 2:] - filters.boxes[0, :2]
    filters.predict(2.0, ALL)
    assert filters.boxes[0, 2:] - filters.boxes[0, :2] == pytest.approx(sides)


def test_a_box_never_turns_inside_out() -> None:
    filters = KalmanFilters()
    filters.add(box_at(100, 300)[None])
    for at in range(1, 10):
        filters.predict(0.1, NONE)
        filters.correct(ALL, box_at(100, 300, wide=40 - 4 * at)[None])
    filters.predict(60.0, NONE)
    assert (filters.boxes[0, 2:] > filters.boxes[0, :2]).all()


def test_another_resolution_scales_place_and_speed() -> None:
    filters = KalmanFilters()
    filters.add(box_at(100, 300)[None])
    filters.predict(0.1, NONE)
    filters.correct(ALL, box_at(110, 300)[None])
    ahead = KalmanFilters()
    ahead._state = filters._state.copy()
    ahead.predict(0.5, NONE)
    filters.rescale(2.0, 2.0)
    filters.predict(0.5, NONE)
    assert filters.boxes == pytest.approx(ahead.boxes * 2)
