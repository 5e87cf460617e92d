"""Hints: they move a look forward, never more often than every ten minutes, and never all devices at once."""

import random
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from appliance.updates.choosing import Device
from appliance.updates.hints import MOST_BYTES, PAUSE, Hint, read_hint, until_hinted_look
from appliance.updates.lookout import MOST_RETRIES, Lookout
from appliance.updates.orders import BringAnswer, BringOrder, CheckAnswer, CheckOrder, Progress, Repository
from appliance.updates.refusals import Code, RefusedError, UnreachedError
from appliance.updates.rollout import Whom
from appliance.updates.service import Fleet
from appliance.updates.state import State
from appliance.updates.store import Store
from tests.simulators.updating import TurnedClock

NEVER = float("inf")


class Draws(random.Random):
    """Counts how often it was asked, and gives the least."""

    count = 0

    def uniform(self, a: float, b: float) -> float:
        assert a <= b
        self.count += 1
        return a


class Away:
    """A fleet that cannot be asked.

    Attributes:
        asked_for: Seconds for which it asks to be left alone.
        is_back: It can.
        is_forged: What it has is not signed as it must be.
    """

    asked_for, is_back, is_forged = 0.0, False, False

    def check(self, _: CheckOrder) -> CheckAnswer:
        if self.is_back:
            return CheckAnswer(timestamp=8, offers={}, unsigned={})
        if self.is_forged:
            raise RefusedError(Code.BAD_SIGNATURE, "signed by nobody")
        raise UnreachedError(Code.SERVER, "503", self.asked_for)

    def bring(self, wanted: BringOrder, tell: Callable[[Progress], None]) -> BringAnswer:
        raise NotImplementedError


class Heard:
    """A lookout for which it is not time yet, and what it is told."""

    def __init__(self, folder: Path, source: random.Random | None = None, *, device: str = "door") -> None:
        self.away, self.time = Away(), 1000.0
        self.waiting: deque[bytes] = deque()
        self.source = Draws()
        fleet = Fleet(
            Repository(url="http://127.0.0.1", root=folder, channel="stable", model="persons"),
            Device(Whom(device), "9", "x86_64"),
            first=6 * 3600.0,
            hints=lambda: self.waiting.popleft() if self.waiting else None,
        )
        clock = TurnedClock(datetime(2026, 11, 23, tzinfo=UTC))
        self.lookout = Lookout(
            fleet, Store(folder), clock, self.away, source or self.source, monotonic=lambda: self.time
        )

    def is_due_after(self, *hints: bytes) -> bool:
        self.waiting.extend(hints)
        self.lookout.heed(State(timestamp=7))
        assert not self.waiting
        return self.lookout.is_due

    def looks(self, seconds: float) -> list[float]:
        """Let time pass, and give after how many seconds the fleet was asked, in vain."""
        began, asked = self.time, []
        while self.time < began + seconds:
            if self.lookout.is_due:
                asked.append(self.time - began)
                with pytest.raises(UnreachedError):
                    self.lookout.look(State(timestamp=7))
            self.time += 1.0
        return asked


@pytest.fixture
def heard(tmp_path: Path) -> Heard:
    return Heard(tmp_path)


def test_a_hint_says_what_is_new_and_over_what_time_a_fleet_is_to_look() -> None:
    assert read_hint(b'{"timestamp": 8}') == Hint(timestamp=8, within=0.0)
    assert read_hint(b'{"timestamp": 8, "within": 3600, "later": [1]}') == Hint(timestamp=8, within=3600.0)


@pytest.mark.parametrize(
    "payload",
    [
        *(b"", b"8", b"[]", b"{}", b"\xff", b'{"timestamp": 0}', b'{"timestamp": "8"}', b'{"timestamp": 8.5}'),
        *(b'{"timestamp": 8, "within": -1}', b'{"timestamp": 8, "within": 1e9}', b'{"timestamp": 8, "within": NaN}'),
        *(b'{"timestamp": 8}' + b" " * MOST_BYTES, b"[" * 100_000),
    ],
)
def test_whatever_else_comes_is_passed_over(heard: Heard, payload: bytes) -> None:
    with pytest.raises(ValueError, match="accepted is"):
        read_hint(payload)
    assert not heard.is_due_after(payload)
    assert heard.is_due_after(payload, b'{"timestamp": 8}'), "what comes after it is heard"


def test_what_was_seen_already_is_no_news_however_often_the_broker_says_it(heard: Heard) -> None:
    assert not heard.is_due_after(b'{"timestamp": 7}', b'{"timestamp": 6}', b'{"timestamp": 7}')
    assert heard.is_due_after(b'{"timestamp": 8}')


def test_a_storm_of_hints_brings_a_look_now_and_another_in_ten_minutes(heard: Heard) -> None:
    drawn = heard.source.count
    heard.is_due_after(*(f'{{"timestamp": {number}, "within": 3600}}'.encode() for number in range(8, 1008)))
    assert heard.source.count - drawn == 2, "one for now, one for ten minutes later; the least of many would be a herd"


def test_looks_that_hints_bring_about_are_ten_minutes_apart() -> None:
    source = random.Random(1)
    now, hinted, looks = 0.0, -NEVER, []
    while now < 86_400.0:
        if now >= hinted:
            hinted = now + until_hinted_look(Hint(timestamp=8), 60.0, now - hinted, source)
            looks.append(hinted)
        now += 0.5
    assert looks[0] <= 60.0
    assert min(after - before for before, after in pairwise(looks)) >= PAUSE - 1e-6
    assert len(looks) <= 86_400 / PAUSE


@pytest.mark.parametrize(("spread", "within", "most"), [(60.0, 0.0, 60.0), (60.0, 3600.0, 3600.0), (900.0, 1.0, 900.0)])
def test_a_hint_to_a_fleet_is_answered_evenly_over_the_longer_of_two_times(
    spread: float, within: float, most: float
) -> None:
    hint, bins = Hint(timestamp=8, within=within), [0] * 60
    for number in range(100_000):
        wait = until_hinted_look(hint, spread, NEVER, random.Random(number))
        bins[int(wait / most * len(bins))] += 1
    assert max(bins) / (sum(bins) / len(bins)) <= 1.2


def test_a_hinted_look_in_vain_is_tried_again_with_jitter_a_few_times(tmp_path: Path) -> None:
    tries = []
    for seed in range(20):
        heard = Heard(tmp_path, random.Random(seed))
        heard.is_due_after(b'{"timestamp": 8}')
        tries.append(heard.looks(2 * 3600.0))
    assert all(2 <= len(looks) <= 1 + MOST_RETRIES for looks in tries)
    assert all(after - before >= 30.0 for looks in tries for before, after in pairwise(looks))
    assert len({looks[1] - looks[0] for looks in tries}) > 10, "no two devices come back at once"


def test_a_look_in_vain_that_nobody_hinted_waits_for_its_phase(heard: Heard) -> None:
    heard.lookout.hasten(0.0)
    assert len(heard.looks(2 * 3600.0)) == 1


def test_a_server_that_asks_to_be_left_alone_is(heard: Heard) -> None:
    heard.away.asked_for = 3000.0
    heard.is_due_after(b'{"timestamp": 8}')
    first, second, *_ = heard.looks(2 * 3600.0)
    assert second - first >= 3000.0
    heard.time += 3000.0
    heard.away.asked_for = 24 * 3600.0
    heard.lookout.hasten(0.0)
    assert len(heard.looks(23 * 3600.0)) == 1, "neither a try again nor a phase"
    assert not heard.is_due_after(b'{"timestamp": 9}'), "nor a hint"


def test_a_look_that_went_well_ends_the_tries(heard: Heard) -> None:
    heard.is_due_after(b'{"timestamp": 8}')
    assert heard.looks(20.0)
    heard.away.is_back = True
    heard.lookout.look(State(timestamp=7))
    heard.away.is_back = False
    heard.lookout.hasten(0.0)
    assert len(heard.looks(2 * 3600.0)) == 1


def test_a_fleet_that_was_asked_away_until_one_moment_does_not_come_back_at_it(tmp_path: Path) -> None:
    asked, back = 24 * 3600.0, []
    for number in range(10):
        heard = Heard(tmp_path, random.Random(number), device=f"cam-{number}")
        heard.away.asked_for = asked
        heard.lookout.hasten(0.0)
        back.append(heard.looks(asked + 12 * 3600.0)[1])
    assert min(back) >= asked
    assert max(back) - min(back) > 3600.0, "each has its phase"


def test_nor_does_a_hint_gather_it_at_that_moment(tmp_path: Path) -> None:
    asked, back = 3000.0, []
    for number in range(10):
        heard = Heard(tmp_path, random.Random(number))
        heard.away.asked_for = asked
        heard.lookout.hasten(0.0)
        assert len(heard.looks(10.0)) == 1
        heard.is_due_after(b'{"timestamp": 8, "within": 600}')
        back.append(heard.looks(2 * 3600.0)[0])
    assert min(back) >= asked - 10.0
    assert max(back) - min(back) > 300.0


def test_what_was_asked_for_holds_over_a_look_of_the_owner_that_nobody_answers(heard: Heard) -> None:
    heard.away.asked_for = 5 * 3600.0
    heard.lookout.hasten(0.0)
    assert len(heard.looks(10.0)) == 1
    heard.away.asked_for = 0.0
    heard.lookout.hasten(0.0)
    assert len(heard.looks(10.0)) == 1
    heard.is_due_after(b'{"timestamp": 8}')
    assert not heard.looks(4 * 3600.0)


def test_a_hinted_look_that_is_refused_is_not_tried_again(heard: Heard) -> None:
    heard.is_due_after(b'{"timestamp": 8}')
    heard.away.is_forged = True
    with pytest.raises(RefusedError):
        heard.lookout.look(State(timestamp=7))
    heard.away.is_forged = False
    heard.lookout.hasten(0.0)
    assert len(heard.looks(2 * 3600.0)) == 1
