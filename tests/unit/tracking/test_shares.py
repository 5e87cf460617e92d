import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.tracking.shares import MOST_TOLD, Shares

LABELS = ("nothing", "road", "grass")
WANTED = np.array([False, True, True])


def covered(road: float, grass: float) -> NDArray[np.float64]:
    return np.array([1.0 - road - grass, road, grass])


def test_the_first_frame_is_told_the_largest_share_first_and_nothing_of_the_background() -> None:
    told = Shares(LABELS, WANTED, {}, 0.02).step(covered(0.2, 0.31256), {})
    assert told == ({"grass": 0.3126, "road": 0.2}, {})
    assert list(told[0]) == ["grass", "road"]


def test_only_a_change_of_a_step_is_told_counted_from_what_was_told_last() -> None:
    shares = Shares(LABELS, WANTED, {}, 0.1)
    shares.step(covered(0.2, 0.3), {})
    assert shares.step(covered(0.25, 0.3), {}) is None
    assert shares.step(covered(0.29, 0.3), {}) is None
    assert shares.step(covered(0.301, 0.3), {}) == ({"road": 0.301, "grass": 0.3}, {})


def test_what_was_seen_once_stays_at_0_and_what_never_was_is_not_there() -> None:
    shares = Shares(LABELS, WANTED, {}, 0.01)
    shares.step(covered(0.2, 0.0005), {})
    assert shares.step(covered(0.0, 0.0), {}) == ({"road": 0.0}, {})


def test_a_zone_tells_its_own_labels_and_its_change_alone_is_worth_a_message() -> None:
    shares = Shares(LABELS, WANTED, {"lane": np.array([True, True, False])}, 0.1)
    assert shares.step(covered(0.2, 0.3), {"lane": covered(0.5, 0.5)}) == (
        {"grass": 0.3, "road": 0.2},
        {"lane": {"road": 0.5}},
    )
    assert shares.step(covered(0.2, 0.3), {"lane": covered(0.5, 0.0)}) is None, "grass does not count there"
    assert shares.step(covered(0.2, 0.3), {"lane": covered(0.7, 0.0)}) is not None


def test_the_end_tells_that_nothing_is_covered_and_only_when_that_is_new() -> None:
    shares = Shares(LABELS, WANTED, {"lane": WANTED}, 0.02)
    shares.step(covered(0.2, 0.0), {"lane": covered(0.5, 0.0)})
    assert shares.finish() == ({"road": 0.0}, {"lane": {"road": 0.0}})
    assert shares.finish() is None


def test_the_end_is_told_though_what_was_covered_is_less_than_a_step() -> None:
    shares = Shares(LABELS, WANTED, {"lane": WANTED}, 0.5)
    shares.step(covered(0.2, 0.0), {"lane": covered(0.4, 0.0)})
    assert shares.finish() == ({"road": 0.0}, {"lane": {"road": 0.0}})
    assert shares.finish() is None
    only_a_zone = Shares(LABELS, WANTED, {"lane": WANTED}, 0.5)
    only_a_zone.step(covered(0.0002, 0.0), {"lane": covered(0.1, 0.0)})
    assert only_a_zone.finish() == ({}, {"lane": {"road": 0.0}})


def test_a_camera_that_never_showed_anything_ends_without_a_word() -> None:
    assert Shares(LABELS, WANTED, {}, 0.02).finish() is None


def test_no_more_labels_are_told_than_a_message_has_room_for() -> None:
    labels = tuple(f"label {number}" for number in range(200))
    told = Shares(labels, np.ones(200, np.bool_), {}, 0.0).step(np.full(200, 1 / 200), {})
    assert told is not None
    assert len(told[0]) == MOST_TOLD == pytest.approx(20)
