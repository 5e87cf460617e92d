import numpy as np
import pytest

from appliance.cameras.synthetic import MOST_SPRITES, Street, SyntheticCamera
from appliance.config import SyntheticCameraSettings
from tests.simulators.timing import HandClock, HandTimer


def make(timer: HandTimer, **settings: object) -> SyntheticCamera:
    chosen = SyntheticCameraSettings(kind="synthetic", width=320, height=180, **settings)
    camera = SyntheticCamera("door", chosen, HandClock(timer), timer)
    camera.open()
    return camera


@pytest.fixture(scope="module")
def street() -> Street:
    return Street(640, 360, 10.0, seed=1)


def test_a_frame_depends_on_its_number_alone(street: Street) -> None:
    forwards = [street.draw(number) for number in (3, 40, 41, 500)]
    other = Street(640, 360, 10.0, seed=1)
    for number, before in zip((500, 41, 40, 3), forwards[::-1], strict=True):
        assert np.array_equal(other.draw(number), before)


def test_seeds_and_numbers_make_a_difference(street: Street) -> None:
    assert not np.array_equal(street.draw(1), street.draw(2))
    assert not np.array_equal(street.draw(1), Street(640, 360, 10.0, seed=2).draw(1))


def test_the_drawn_frame_may_be_written_to(street: Street) -> None:
    before = street.draw(9)
    street.draw(9)[:] = 0
    assert np.array_equal(street.draw(9), before)


def test_pixels_that_move_are_those_of_the_truth(street: Street) -> None:
    """Where a figure has come or gone, the picture changes by more than its noise; elsewhere it does not."""
    first, second = street.draw(60).astype(int), street.draw(90).astype(int)
    moved = np.abs(first - second).max(axis=2) > 40
    explained = np.zeros_like(moved)
    for number in (60, 90):
        for true in street.truth(number):
            left, top, right, bottom = (int(edge) for edge in true.box)
            explained[top : bottom + 12, max(0, left - 14) : right + 14] = True  # with its shadow
    assert moved.sum() > 2000
    assert (moved & ~explained).sum() < 0.01 * moved.sum()


def test_boxes_are_inside_the_picture_and_as_tight_as_their_share_says(street: Street) -> None:
    labels = set()
    for number in range(0, 600, 10):
        for true in street.truth(number):
            left, top, right, bottom = true.box
            assert 0 <= left < right <= 640
            assert 0 <= top < bottom <= 360
            assert 0 < true.visible <= 1
            labels.add(true.label)
    assert labels == {"person", "bicycle", "car", "truck", "bus"}


def test_what_is_hidden_shows_less_and_what_is_nearest_shows_fully(street: Street) -> None:
    shares = [true.visible for number in range(0, 600, 5) for true in street.truth(number)]
    assert min(shares) < 0.3
    assert sum(share == 1.0 for share in shares) > len(shares) / 3
    for number in range(0, 100, 5):
        truth = street.truth(number)
        inside = [true for true in truth if true.box[0] > 0 and true.box[2] < 640]
        if inside and truth[-1] is inside[-1]:
            assert inside[-1].visible == 1.0  # nothing is nearer than the last one


def test_an_object_keeps_its_number_while_it_crosses(street: Street) -> None:
    boxes: dict[int, list[float]] = {}
    for number in range(200):
        for true in street.truth(number):
            boxes.setdefault(true.number, []).append(true.box[0])
    assert sum(len(places) > 40 for places in boxes.values()) > 5


def test_sprites_in_memory_are_bounded() -> None:
    street = Street(160, 120, 2.0, seed=5)
    for number in range(400):
        street.draw(number)
    assert len(street._sprites) == MOST_SPRITES


def test_real_time_follows_the_clock_and_skips_what_is_overdue() -> None:
    timer = HandTimer()
    camera = make(timer, fps=10.0)
    began = timer.now
    numbers = []
    for _ in range(10):
        frame = camera.read(timeout=5)
        assert frame is not None
        assert timer.now - began == pytest.approx(frame.number / 10, abs=0.1 + 1e-6)
        numbers.append(frame.number)
        timer.now += 0.25
    assert numbers[0] == 0
    assert numbers[-1] == pytest.approx(9 * 2.5, abs=2)


def test_fastest_never_waits_and_its_times_are_the_streets_own() -> None:
    timer = HandTimer()
    camera = make(timer, fps=4.0, pace="fastest", frames=9)
    frames = list(iter(lambda: camera.read(timeout=0), None))
    assert timer.slept == []
    assert [frame.number for frame in frames] == list(range(9))
    assert frames[-1].mono_ns - frames[0].mono_ns == 2_000_000_000


def test_the_camera_tells_the_truth_of_the_frame_it_gave() -> None:
    camera = make(HandTimer(), pace="fastest")
    frame = camera.read(timeout=0)
    assert frame is not None
    assert camera.truth(frame.number) == Street(320, 180, 10.0, seed=1).truth(0)


@pytest.mark.parametrize(("width", "height"), [(160, 120), (480, 640), (1920, 360)])
def test_any_shape_of_picture_can_be_drawn(width: int, height: int) -> None:
    street = Street(width, height, 10.0, seed=1)
    assert street.draw(33).shape == (height, width, 3)
    assert street.truth(33)
