"""When a device asks, and what time it goes by for that. Pure.

Devices of a fleet ask at phases of their own, so that their requests are spread evenly; waits between tries follow
"Exponential Backoff And Jitter", AWS Architecture Blog, 2015: decorrelated jitter.
"""

import random
from datetime import UTC, datetime
from typing import Final

from appliance.core.clock import ClockQuality
from appliance.updates.rollout import first_64, is_within

EARLIEST: Final = datetime(2026, 11, 22, tzinfo=UTC)
"""When this was written; a clock that says less is wrong."""

FREEZE_AFTER: Final = 7 * 86_400
"""Seconds of checks without a new timestamp after which a device without a clock takes the fleet for frozen."""

_SWAY: Final = 0.05  # of the interval, to either side: two fleets that began together drift apart
_FIRST_LEAST, _FIRST_MOST = 120.0, 1200.0  # seconds after a start; a whole site may have come back at once
_RETRY_LEAST, _RETRY_MOST = 30.0, 3600.0  # seconds


def judged_time(now: datetime, quality: ClockQuality, issued: str | None) -> datetime:
    """Give the time that signatures are judged by.

    A clock that was synchronised is believed, unless it lies before what the fleet has signed. One that never was in
    this boot is not: neither that nothing has expired since 1970, nor that all has in 2040. Only signed words move the
    floor, so that nobody's wrong time lasts.

    Args:
        now: The device's clock, UTC.
        quality: How far it can be trusted.
        issued: Latest time that the fleet has signed, if any was seen.
    """
    floor = max(EARLIEST, datetime.fromisoformat(issued)) if issued else EARLIEST
    return floor if quality is ClockQuality.UNSYNCED else max(now, floor)


def phase(device_id: str, interval: float) -> float:
    """Give the seconds within each interval at which a device asks; the same every time."""
    return first_64(f"edgecam-check-v1\0{device_id}") / 2**64 * interval


def until_first_check(source: random.Random) -> float:
    """Give the seconds from the daemon's start to its first check."""
    return source.uniform(_FIRST_LEAST, _FIRST_MOST)


def until_next_check(device_id: str, interval: float, now: float, source: random.Random) -> float:
    """Give the seconds to a device's next phase, with a little sway; never less than half an interval.

    Args:
        device_id: Its id.
        interval: Seconds between two checks.
        now: Seconds since some moment that all devices share, such as 1970.
        source: Of the sway.
    """
    wait = (phase(device_id, interval) - now) % interval
    wait += interval if wait < interval / 2 else 0.0
    return wait + source.uniform(-_SWAY, _SWAY) * interval


def until_next_try(before: float, asked: float, source: random.Random) -> float:
    """Give the seconds to the next try after one that failed.

    Args:
        before: What this gave last; 0 at first.
        asked: Seconds for which the server asked to be left alone; 0: it did not.
        source: Of the jitter.
    """
    wait = min(_RETRY_MOST, source.uniform(_RETRY_LEAST, max(_RETRY_LEAST, before) * 3.0))
    return max(wait, asked + source.uniform(0.0, _RETRY_LEAST)) if asked else wait


def is_in_window(window: tuple[str, str] | None, now: datetime) -> bool:
    """Tell whether the owner's maintenance window is open; it may go over midnight.

    Args:
        window: Local times ``HH:MM``; None: it is always open.
        now: In the device's own time zone.
    """
    return window is None or is_within(now.time(), window)
