"""When a connection is tried again, on a clock that is turned by hand or computed."""

import random
from collections import Counter

import pytest

from appliance.config import MessagingSettings
from appliance.messaging.manners import BOOTED, HOURLY, MOST_WAIT, Manners
from appliance.messaging.reasons import Pace
from tests.simulators.device_fleet import Fleet


class Hand:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def manners(hand: Hand, device_id: str = "dev", seed: int = 1, spread: float = 50.0, start: float = 10.0) -> Manners:
    return Manners(
        device_id, reconnect_spread=spread, start_spread=start, monotonic=hand, random_source=random.Random(seed)
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_banned_device_tries_at_most_eight_times_in_any_hour(seed: int) -> None:
    hand = Hand()
    mine = manners(hand, seed=seed)
    tries = []
    while hand.seconds < 24 * 3600.0:
        hand.seconds += mine.wait(Pace.BANNED)
        tries.append(hand.seconds)
    for begin in tries:
        assert sum(begin <= at < begin + 3600.0 for at in tries) <= HOURLY
    assert len(tries) > 20, "it does not give up either"


@pytest.mark.parametrize(("pace", "hourly"), [(Pace.LASTING, 30), (Pace.BUSY, 30), (Pace.TAKEN, 40), (Pace.QUICK, 300)])
def test_no_pace_is_a_tight_loop(pace: Pace, hourly: int) -> None:
    hand = Hand()
    mine = manners(hand)
    tries = 0
    while hand.seconds < 3600.0:
        hand.seconds += mine.wait(pace)
        tries += 1
    assert tries <= hourly


def test_waits_are_short_again_only_after_a_stable_minute() -> None:
    hand = Hand()
    mine = manners(hand)
    for _ in range(20):
        mine.connected()
        hand.seconds += 59.0
        last = mine.wait(Pace.LASTING)
    waits = [mine.wait(Pace.LASTING) for _ in range(20)]
    assert max([last, *waits]) > 400.0
    mine.connected()
    hand.seconds += 61.0
    assert mine.wait(Pace.LASTING) <= 10.0


def test_a_minute_that_was_not_held_does_not_count_later() -> None:
    hand = Hand()
    mine = manners(hand)
    for _ in range(10):
        mine.wait(Pace.LASTING)
    mine.connected()
    hand.seconds += 5.0
    mine.wait(Pace.QUICK)
    hand.seconds += 100.0
    assert max(mine.wait(Pace.LASTING) for _ in range(20)) > 400.0


def test_after_a_boot_each_device_of_a_site_has_a_moment_of_its_own() -> None:
    waits = Counter(int(manners(Hand(), f"camera-{number:03}", seed=number).first_wait(20.0)) for number in range(500))
    assert set(waits) == set(range(10))
    assert max(waits.values()) <= 75, "evenly spread: 50 in each second, but for chance"
    again = [manners(Hand(), "camera-007", seed=seed).first_wait(20.0) for seed in range(20)]
    assert max(again) - min(again) <= 1.0, "the same at every boot, but for a tenth"
    assert len(set(again)) == 20


def test_a_daemon_that_is_started_long_after_the_boot_waits_for_nothing() -> None:
    assert manners(Hand()).first_wait(BOOTED + 1.0) == 0.0
    assert manners(Hand(), start=0.0).first_wait(1.0) == 0.0


def test_three_takeovers_within_five_minutes_are_a_fight_and_three_in_a_day_are_not() -> None:
    hand = Hand()
    mine = manners(hand)
    found = []
    for seconds in (0.0, 60.0, 100.0, 4000.0, 8000.0, 8001.0, 8002.0):
        hand.seconds = seconds
        found.append(mine.taken_over())
    assert found == [False, False, True, False, False, False, True]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("away", [0.0, 5.0, 30.0, 40.0, 120.0, 1200.0])
def test_a_thousand_devices_come_back_to_a_restarted_broker_at_most_five_percent_a_second(
    away: float, seed: int
) -> None:
    assert MessagingSettings().reconnect_spread == Fleet.reconnect_spread
    fleet = Fleet(1000, [(0.0, away)], until=away + 600.0)
    fleet.run(seed)
    assert len(fleet.connected_at) == 1000
    assert max(fleet.connects.values()) <= 50
    assert max(fleet.connected_at.values()) <= max(50.0, away + MOST_WAIT)
    assert max(fleet.attempts.values()) <= 55, "nor do they hammer one that is not there"


def test_a_broker_that_falls_again_and_again_is_not_rushed_either() -> None:
    fleet = Fleet(1000, [(0.0, 5.0), (50.0, 60.0), (70.0, 71.0), (200.0, 200.5)], until=900.0)
    fleet.run(7)
    assert max(fleet.connects.values()) <= 50
    assert len(fleet.connected_at) == 1000


def test_without_the_spread_the_same_fleet_would_rush() -> None:
    fleet = Fleet(1000, [(0.0, 2.0)], reconnect_spread=0.0, until=300.0)
    fleet.run(1)
    assert max(fleet.connects.values()) > 200
