"""When devices ask, and by what time they judge: spread evenly, and right without a clock."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from appliance.core.clock import ClockQuality
from appliance.updates.timekeeping import (
    EARLIEST,
    is_in_window,
    judged_time,
    phase,
    until_first_check,
    until_next_check,
    until_next_try,
)

HOURS_6 = 6 * 3600.0
ISSUED = "2027-03-01T00:00:00Z"


@pytest.mark.parametrize("year", [1970, 2040])
def test_a_clock_that_was_never_right_is_not_believed(year: int) -> None:
    wrong = datetime(year, 1, 1, tzinfo=UTC)
    assert judged_time(wrong, ClockQuality.UNSYNCED, None) == EARLIEST
    assert judged_time(wrong, ClockQuality.UNSYNCED, ISSUED) == datetime(2027, 3, 1, tzinfo=UTC)


def test_a_clock_that_is_right_is_believed_but_not_before_what_was_signed() -> None:
    now = datetime(2027, 6, 1, tzinfo=UTC)
    for quality in (ClockQuality.SYNCED, ClockQuality.HOLDOVER):
        assert judged_time(now, quality, ISSUED) == now
        assert judged_time(now - timedelta(days=200), quality, ISSUED) == datetime(2027, 3, 1, tzinfo=UTC)


def test_a_hundred_thousand_devices_ask_evenly() -> None:
    source = random.Random(1)
    bins = [0] * 72
    for number in range(100_000):
        now = 1_800_000_000.0
        for _ in range(3):
            now += until_next_check(f"device-{number}", HOURS_6, now, source)
        bins[int(now % HOURS_6 / HOURS_6 * len(bins))] += 1
    assert max(bins) / (sum(bins) / len(bins)) <= 1.2


def test_a_device_keeps_its_phase_and_never_asks_twice_at_once() -> None:
    source, now = random.Random(2), 1_800_000_000.0
    for _ in range(200):
        wait = until_next_check("door", HOURS_6, now, source)
        assert 0.45 * HOURS_6 <= wait <= 1.55 * HOURS_6
        now += wait
        off = (now - phase("door", HOURS_6)) % HOURS_6
        assert min(off, HOURS_6 - off) <= 0.051 * HOURS_6


def test_a_site_that_comes_back_at_once_does_not_ask_at_once() -> None:
    source = random.Random(3)
    waits = [until_first_check(source) for _ in range(1000)]
    assert min(waits) >= 120
    assert max(waits) <= 1200
    assert max(waits) - min(waits) > 1000


def test_tries_back_off_and_do_as_the_server_asks() -> None:
    source, wait = random.Random(4), 0.0
    waits = []
    for _ in range(50):
        wait = until_next_try(wait, 0.0, source)
        waits.append(wait)
    assert min(waits) >= 30
    assert max(waits) <= 3600
    assert sum(waits[20:]) / 30 > 300
    assert until_next_try(30.0, 7200.0, source) >= 7200


def test_not_even_the_first_try_again_is_made_by_all_devices_at_once() -> None:
    waits = [until_next_try(0.0, 0.0, random.Random(number)) for number in range(1000)]
    assert max(waits) - min(waits) > 50.0
    assert max(sum(low <= wait < low + 6.0 for wait in waits) for low in range(30, 90)) < 200


@pytest.mark.parametrize(
    ("window", "hour", "is_open"),
    [(None, 12, True), (("01:00", "05:00"), 3, True), (("01:00", "05:00"), 5, False), (("22:00", "04:00"), 23, True)],
)
def test_the_owner_s_window(window: tuple[str, str] | None, hour: int, is_open: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert is_in_window(window, datetime(2026, 11, 22, hour, tzinfo=UTC)) is is_open
