import pytest

from appliance.core.clock import ClockQuality
from appliance.core.message import Message
from appliance.messaging.parcels import Parcel
from appliance.messaging.payloads import Origin, render
from appliance.messaging.stamping import Offset
from appliance.messaging.timekeeper import Timekeeper
from tests.simulators.timing import SetClock

HOUR, YEAR = 3600.0, 365.25 * 86400.0
WITHIN_NS = 50_000_000


def origin(keeper: Timekeeper, clock: SetClock, quality: ClockQuality | None = None) -> Origin:
    """Give what a message says that comes about now."""
    stamp = clock.now()
    time_ns = int(stamp.time.timestamp()) * 10**9
    keeper.notice(time_ns, stamp.mono_ns)
    return keeper.origin("b007", time_ns, stamp.mono_ns, quality or keeper.quality)


def error_ns(found: Origin, clock: SetClock) -> int:
    return abs(found.time_ns - (clock.booted_ns + found.mono_ns))


def test_a_synced_clock_is_believed() -> None:
    clock = SetClock()
    found = origin(Timekeeper(clock), clock)
    assert (found.clock, found.source, found.error_ms) == (ClockQuality.SYNCED, "", None)
    assert error_ns(found, clock) < WITHIN_NS


@pytest.mark.parametrize("wrong", [-HOUR, HOUR, -10 * YEAR, 10 * YEAR])
def test_who_sets_a_clock_that_was_synced_changes_no_time(wrong: float) -> None:
    clock = SetClock()
    keeper = Timekeeper(clock)
    clock.wrong, clock.synced, clock.seconds = wrong, False, 200.0  # date(1) makes the kernel give up its trust
    found = origin(keeper, clock)
    assert found.clock is ClockQuality.HOLDOVER
    assert found.error_ms is not None
    assert error_ns(found, clock) < WITHIN_NS
    clock.wrong, clock.synced = 0.0, True
    found = origin(keeper, clock)
    assert (found.clock, found.error_ms) == (ClockQuality.SYNCED, None)
    assert error_ns(found, clock) < WITHIN_NS
    assert keeper.figures()["steps"] == 2


def test_a_synced_clock_that_is_set_is_believed_at_once() -> None:
    clock = SetClock(wrong=-HOUR)
    keeper = Timekeeper(clock)
    clock.wrong = 0.0
    assert error_ns(origin(keeper, clock), clock) < WITHIN_NS, "before the next regular look"


@pytest.mark.parametrize("wrong", [-56 * YEAR, 14 * YEAR], ids=["1970", "2040"])
def test_what_came_before_the_clock_was_known_is_counted_back(wrong: float) -> None:
    clock = SetClock(wrong=wrong, synced=False)
    keeper = Timekeeper(clock)
    assert keeper.utc(0) is None
    assert origin(keeper, clock).clock is ClockQuality.UNSYNCED
    came_ns = clock.mono_ns
    clock.seconds, clock.wrong, clock.synced = 310.0, 0.0, True
    assert keeper.look(), "to be kept for a later run in this boot"
    assert not keeper.look(), "once"
    found = keeper.origin("b007", 0, came_ns, ClockQuality.UNSYNCED)
    assert (found.clock, found.source, found.error_ms) == (ClockQuality.HOLDOVER, "corrected", 55)
    assert error_ns(found, clock) < WITHIN_NS


def test_what_is_slewed_after_the_first_sync_does_not_move_what_came_before() -> None:
    clock = SetClock(synced=False)
    keeper = Timekeeper(clock)
    clock.synced = True
    keeper.look()
    first = keeper.known
    clock.wrong = 0.3
    assert not keeper.look()
    assert keeper.known == first
    clock.wrong = 30.0
    assert keeper.look(), "the first answer was plainly wrong"
    assert keeper.known != first


def test_a_later_run_of_the_same_boot_still_knows_the_time() -> None:
    clock = SetClock(wrong=10 * YEAR, synced=False)
    keeper = Timekeeper(clock)
    keeper.recall(Offset(clock.booted_ns, 25_000_000, 5_000_000_000))
    assert keeper.quality is ClockQuality.HOLDOVER
    assert error_ns(origin(keeper, clock), clock) < WITHIN_NS
    keeper.recall(None)
    assert keeper.known is not None


def test_state_that_was_told_too_early_is_told_again_once_the_time_is_known() -> None:
    clock = SetClock(wrong=-56 * YEAR, synced=False)
    keeper = Timekeeper(clock)
    for word in ("online", "stalled"):
        body = render("gate-1", Message("door/status", {"state": word}), origin(keeper, clock))
        keeper.note_state(Parcel("door/status", body, 1, retain=True))
    assert keeper.state_to_tell_again() == []
    clock.wrong, clock.synced = 0.0, True
    keeper.look()
    (parcel,) = keeper.state_to_tell_again()
    assert b'"time":"2026-01-02T03:04:15.000Z"' in parcel.payload
    assert b'"state":"stalled"' in parcel.payload
    assert (parcel.topic, parcel.qos, parcel.retain) == ("door/status", 1, True)
    assert keeper.state_to_tell_again() == []
