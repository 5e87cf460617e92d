"""A clock and a timer that a test turns by hand."""

from datetime import UTC, datetime, timedelta

from appliance.core.clock import ClockQuality, Stamp

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class HandTimer:
    """Monotonic time that passes only while somebody sleeps, or when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class HandClock:
    """A clock that follows a HandTimer."""

    def __init__(self, timer: HandTimer) -> None:
        self._timer = timer

    def now(self) -> Stamp:
        passed = self._timer.now - 1000.0
        return Stamp(START + timedelta(seconds=passed), 5_000_000_000 + round(passed * 1e9))

    def quality(self) -> ClockQuality:
        return ClockQuality.SYNCED
