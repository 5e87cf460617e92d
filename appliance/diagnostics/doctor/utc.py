"""The clock: is UTC synchronised, and is it plausible at all."""

from datetime import UTC, datetime, timedelta
from typing import Final

from appliance.core.checkup import CheckState, Outcome
from appliance.core.clock import Clock, ClockQuality

EARLIEST: Final = datetime(2026, 1, 1, tzinfo=UTC)  # Edgecam is not older: a clock before it was never set
LATEST: Final = EARLIEST + timedelta(days=365 * 20)
LARGE_ERROR_MS: Final = 1000.0
_FIX: Final = "sudo timedatectl set-ntp true; name a server in /etc/systemd/timesyncd.conf, and let UDP port 123 out"


def judge_clock(now: datetime, quality: ClockQuality, error_ms: float) -> Outcome:
    """Tell how far UTC can be trusted.

    Args:
        now: What the clock shows, in UTC.
        quality: How far the kernel trusts it.
        error_ms: By how much it may be off; says nothing unless it is synced.
    """
    shown = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if not EARLIEST <= now <= LATEST:
        return _told(
            CheckState.FAILED, f"{shown}, which cannot be: no certificate is valid then", f"sudo date -s TIME; {_FIX}"
        )
    if quality is not ClockQuality.SYNCED:
        return _told(
            CheckState.WARNING, f"{shown}, not synchronised: events say so, and are corrected once it is", _FIX
        )
    if error_ms > LARGE_ERROR_MS:
        return _told(CheckState.WARNING, f"{shown}, synced, but may be {error_ms / 1000:.1f} s off", _FIX)
    return _told(CheckState.OK, f"{shown}, synced to {error_ms:.0f} ms")


def check_clock(clock: Clock) -> Outcome:
    """Look at a clock."""
    reading = clock.reading()
    return judge_clock(clock.now().time, reading.quality, reading.error_ns / 1e6)


def _told(state: CheckState, seen: str, fix: str = "") -> Outcome:
    return Outcome("clock", state, seen, fix)
