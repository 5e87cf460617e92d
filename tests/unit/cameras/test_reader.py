import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from appliance.cameras.reader import MOST_WEDGED, Reader
from appliance.core.clock import SystemClock
from appliance.core.errors import ConfigError, UnavailableError


class Tap:
    """A capture that gives pictures as a test lets it."""

    def __init__(self) -> None:
        self.given = 0
        self.ends = False
        self.released = threading.Event()
        self.flows, self.hangs = threading.Event(), threading.Event()
        self.flows.set()

    def read(self) -> tuple[bool, np.ndarray | None]:
        if not self.flows.is_set():
            self.hangs.set()
            assert self.flows.wait(30)
        if self.ends:
            return False, None
        self.given += 1
        return True, np.array([[[self.given >> 8 & 255, self.given & 255, 0]]], np.uint8)

    def release(self) -> None:
        self.released.set()


@pytest.fixture
def tap() -> Iterator[Tap]:
    tap = Tap()
    yield tap
    tap.ends = True
    tap.flows.set()
    assert tap.released.wait(5)


def make() -> Reader:
    return Reader("door", SystemClock(), where="[cameras.door] tap", fix="check the tap")


def test_the_newest_picture_wins(tap: Tap) -> None:
    reader = make()
    reader.open(lambda: tap, timeout=5, first=5)
    deadline = time.monotonic() + 5
    while tap.given < 100 and time.monotonic() < deadline:
        pass
    given = tap.given
    high, low, _ = reader.read(timeout=5).image[0, 0].tolist()
    assert high << 8 | low >= given - 1
    assert reader.dropped >= given - 3
    reader.close()


def test_a_read_ends_in_time_while_the_library_hangs(tap: Tap) -> None:
    reader = make()
    reader.open(lambda: tap, timeout=5, first=5)
    tap.flows.clear()
    assert tap.hangs.wait(5)
    began = time.monotonic()
    reader.read(timeout=0.2)  # what it had before
    with pytest.raises(UnavailableError, match=r"\[cameras\.door\] tap: no picture came within 0\.2 s; check the tap"):
        reader.read(timeout=0.2)
    assert time.monotonic() - began < 10
    reader.close()
    assert reader.wedged == 1


def test_a_thread_that_hangs_is_left_behind_and_lets_go_when_it_comes_back(tap: Tap) -> None:
    reader = make()
    reader.open(lambda: tap, timeout=5, first=5)
    tap.flows.clear()
    assert tap.hangs.wait(5)
    began = time.monotonic()
    reader.close()
    assert time.monotonic() - began < 10
    assert reader.wedged == 1
    tap.flows.set()
    assert tap.released.wait(5)


def test_threads_that_hang_are_bounded() -> None:
    reader, release = make(), threading.Event()

    def hang() -> Tap:
        release.wait(30)
        raise UnavailableError("too late")

    for _ in range(MOST_WEDGED):
        with pytest.raises(UnavailableError, match=r"did not answer within 0\.05 s"):
            reader.open(hang, timeout=0.05, first=1)
    assert reader.wedged == MOST_WEDGED
    with pytest.raises(UnavailableError, match="3 earlier attempts still hang"):
        reader.open(hang, timeout=0.05, first=1)
    release.set()
    deadline = time.monotonic() + 5
    while reader.wedged and time.monotonic() < deadline:
        pass
    assert reader.wedged == 0


def test_an_error_while_connecting_is_the_openers() -> None:
    def refuse() -> Tap:
        raise ConfigError("wrong password")

    reader = make()
    with pytest.raises(ConfigError, match="wrong password"):
        reader.open(refuse, timeout=5, first=5)
    assert not reader.is_open


def test_a_capture_without_pictures_did_not_open(tap: Tap) -> None:
    tap.ends = True
    with pytest.raises(UnavailableError, match="opened but gave no picture"):
        make().open(lambda: tap, timeout=5, first=5)


def test_the_end_is_told_at_once_and_again(tap: Tap) -> None:
    reader = make()
    reader.open(lambda: tap, timeout=5, first=5)
    tap.ends = True
    assert tap.released.wait(5)
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(UnavailableError, match="the stream ended"):
            reader.read(timeout=5)
    assert time.monotonic() - began < 4
    reader.close()
