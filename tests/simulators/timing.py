"""A clock and a timer that a test turns by hand."""

from datetime import UTC, datetime, timedelta

from appliance.core.clock import ClockQuality, Reading, Stamp

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

    def reading(self) -> Reading:
        now = self.now()
        return Reading(now.mono_ns, round(now.time.timestamp() * 1e9) - now.mono_ns, 0, self.quality())


class SetClock:
    """A clock whose UTC is set, rightly or wrongly, while time itself goes on.

    Attributes:
        seconds: CLOCK_BOOTTIME, in seconds.
        booted: UTC of the boot, as it really was.
        wrong: By how many seconds UTC as it is shown is ahead of what it really is.
        synced: The kernel holds UTC to be synchronised.
        error_ns: By how much it says that UTC may be off.
    """

    def __init__(self, booted: datetime = START, *, wrong: float = 0.0, synced: bool = True) -> None:
        self.seconds, self.booted, self.wrong, self.synced, self.error_ns = 10.0, booted, wrong, synced, 25_000_000
        self.was_synced = False

    @property
    def mono_ns(self) -> int:
        return round(self.seconds * 1e9)

    @property
    def utc_ns(self) -> int:
        """What UTC really is."""
        return self.booted_ns + self.mono_ns

    @property
    def booted_ns(self) -> int:
        return int(self.booted.timestamp()) * 10**9

    def now(self) -> Stamp:
        return Stamp(self.booted + timedelta(seconds=self.seconds + self.wrong), self.mono_ns)

    def quality(self) -> ClockQuality:
        self.was_synced |= self.synced
        if self.synced:
            return ClockQuality.SYNCED
        return ClockQuality.HOLDOVER if self.was_synced else ClockQuality.UNSYNCED

    def reading(self) -> Reading:
        offset_ns = self.booted_ns + round(self.wrong * 1e9)
        return Reading(self.mono_ns, offset_ns, self.error_ns, self.quality())
