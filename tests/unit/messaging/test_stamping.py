import json
from typing import Any

import pytest

from appliance.core.clock import ClockQuality
from appliance.core.message import Message
from appliance.messaging.payloads import Identity, Origin, encode_late, parse_utc, render, utc_text
from appliance.messaging.stamping import Bounds, Offset, bounded, corrected

BOOTED = 1_769_860_800_000_000_000  # 2026-01-31T12:00:00Z
OFFSET = Offset(BOOTED, 25_000_000, 300_000_000_000)
NUMBER = Identity("0011223344556677", 7)
SECOND = 1_000_000_000


def payload(
    clock: ClockQuality = ClockQuality.UNSYNCED,
    identity: Identity | None = NUMBER,
    wrong_ns: int = -BOOTED,
    **body: Any,
) -> bytes:
    """Give what was encoded ten seconds after the boot by a clock that was wrong by so much."""
    origin = Origin(BOOTED + 10 * SECOND + wrong_ns, 10 * SECOND, clock, "b007")
    return render("gate-1", Message("door/events", body, camera="door"), origin, identity)


@pytest.mark.parametrize("identity", [NUMBER, None], ids=["durable", "state"])
@pytest.mark.parametrize("years", [-56, 14], ids=["1970", "2040"])
def test_what_was_queued_at_a_wrong_time_gets_the_right_one(identity: Identity | None, years: int) -> None:
    before = payload(identity=identity, wrong_ns=years * 365 * 86400 * SECOND, type="start")
    after = json.loads(corrected(before, OFFSET))
    assert after["time"] == "2026-01-31T12:00:10.000Z"
    assert (after["clock"], after["time_source"], after["time_error_ms"]) == ("holdover", "corrected", 54)
    same = {name: value for name, value in json.loads(before).items() if name not in {"time", "clock"}}
    assert {name: after[name] for name in same} == same


def test_a_start_moves_with_its_event() -> None:
    start = utc_text(7 * SECOND)  # three seconds before, by the same wrong clock
    after = json.loads(corrected(payload(start_time=start, label='"start_time":"'), OFFSET))
    assert after["start_time"] == "2026-01-31T12:00:07.000Z"
    assert after["label"] == '"start_time":"'


@pytest.mark.parametrize("clock", [ClockQuality.SYNCED, ClockQuality.HOLDOVER])
def test_what_was_queued_at_a_known_time_is_not_touched(clock: ClockQuality) -> None:
    known = payload(clock, label='{"clock":"unsynced"}')
    assert corrected(known, OFFSET) is known
    assert bounded(known, Bounds(1, 2)) is known


def test_a_correction_is_made_once_and_a_late_one_says_that_it_is_late() -> None:
    once = corrected(payload(), OFFSET)
    assert corrected(once, OFFSET) is once
    assert json.loads(encode_late(once, 9.0))["queued_s"] == 9.0


@pytest.mark.parametrize("text", [b"", b"offline", b"{}", b'{"v":1,"n":2}', b'{"seq":1}'])
def test_what_is_no_payload_of_ours_is_not_touched(text: bytes) -> None:
    assert corrected(text, OFFSET) == text
    assert bounded(text, Bounds(1, 2)) == text


def test_the_error_grows_with_the_time_that_the_clock_ran_free() -> None:
    assert OFFSET.error(OFFSET.at_ns) == 25_000_000
    assert OFFSET.error(OFFSET.at_ns - 300 * SECOND) == OFFSET.error(OFFSET.at_ns + 300 * SECOND) == 55_000_000


def test_a_boot_that_never_knew_the_time_has_bounds_rather_than_a_guess() -> None:
    before = payload()
    after = json.loads(bounded(before, Bounds(BOOTED, BOOTED + 3600 * SECOND)))
    assert (after["time"], after["clock"]) == (json.loads(before)["time"], "unsynced")
    assert after["time_after"] == "2026-01-31T12:00:00.000Z"
    assert parse_utc(after["time_before"]) >= BOOTED + 3600 * SECOND
    assert "time_after" not in json.loads(bounded(before, Bounds(None, BOOTED)))
    assert bounded(before, Bounds(None, None)) is before
