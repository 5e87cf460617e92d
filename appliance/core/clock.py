"""Time, honestly: UTC with its quality, and a clock that never steps."""

import ctypes
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

TIMESYNCD = Path("/run/systemd/timesync/synchronized")  # made by systemd-timesyncd(8) once it has the time
STA_UNSYNC = 0x0040  # <sys/timex.h>: the kernel does not hold the clock to be synchronised
STA_NANO = 0x2000  # <sys/timex.h>: `offset` is in nanoseconds, else in microseconds
LEAST_ERROR_NS = 25_000_000  # timesyncd tells the kernel no error at all; an answer over the Internet has some
UNTOLD_ERROR_NS = 1_000_000_000  # where a sandbox forbids to ask the kernel
STEADY_NS = 1_000_000  # a reading is taken again when UTC moved by more while it was taken
TRIES = 5  # readings before a clock that is set again and again counts as not synced


class ClockQuality(StrEnum):
    """How far UTC can be trusted."""

    SYNCED = "synced"
    """The kernel holds the clock to be disciplined by NTP, PTP or GPS."""
    HOLDOVER = "holdover"
    """It ran free from a moment of the same boot at which it was synced."""
    UNSYNCED = "unsynced"
    """It was never synced in this boot; without a battery-backed clock UTC may be years off."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """One moment on both clocks.

    Attributes:
        time: UTC.
        mono_ns: CLOCK_BOOTTIME in nanoseconds: counts through suspend, never steps, starts at boot.
    """

    time: datetime
    mono_ns: int


@dataclass(frozen=True, slots=True)
class Reading:
    """How UTC stands to CLOCK_BOOTTIME at one moment.

    The kernel slews both clocks alike, so their difference changes only when somebody sets UTC.

    Attributes:
        mono_ns: CLOCK_BOOTTIME of the moment, nanoseconds.
        offset_ns: UTC minus CLOCK_BOOTTIME, nanoseconds; with what the kernel still has to slew, if it is synced.
        error_ns: By how much UTC may be off, nanoseconds; says nothing unless it is synced.
        quality: How far UTC can be trusted.
    """

    mono_ns: int
    offset_ns: int
    error_ns: int
    quality: ClockQuality


class Clock(Protocol):
    """What a component needs to tell the time; a test brings one it can turn by hand."""

    def now(self) -> Stamp:
        """Give this moment on both clocks."""

    def quality(self) -> ClockQuality:
        """Tell how far UTC can be trusted now."""

    def reading(self) -> Reading:
        """Tell how UTC stands to CLOCK_BOOTTIME now."""


class _Timex(ctypes.Structure):
    """The head of ``struct timex``, see adjtimex(2); all zero, its `modes` asks for nothing to be changed."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


class SystemClock:
    """The machine's own clocks. Safe to call from any thread."""

    def __init__(self) -> None:
        self._was_synced = False
        self._libc = ctypes.CDLL(None, use_errno=True)

    def now(self) -> Stamp:
        """Give this moment on both clocks."""
        return Stamp(datetime.now(UTC), time.clock_gettime_ns(time.CLOCK_BOOTTIME))

    def quality(self) -> ClockQuality:
        """Tell how far UTC can be trusted now: the kernel's word, or timesyncd's where a sandbox forbids to ask it."""
        return self._judged(is_synced=self._kernel()[0])

    def reading(self) -> Reading:
        """Tell how UTC stands to CLOCK_BOOTTIME now."""
        _, before_ns = _difference()
        for _ in range(TRIES):
            is_synced, error_ns, pending_ns = self._kernel()
            mono_ns, offset_ns = _difference()
            if abs(offset_ns - before_ns) <= STEADY_NS:
                break
            before_ns = offset_ns  # UTC was set meanwhile: the kernel's word may be of before or after
        else:
            is_synced = False
        return Reading(
            mono_ns, offset_ns + (pending_ns if is_synced else 0), error_ns, self._judged(is_synced=is_synced)
        )

    def _kernel(self) -> tuple[bool, int, int]:
        """Tell whether UTC is synced, by how many nanoseconds it may be off, and how many are still to be slewed."""
        timex = _Timex()
        if self._libc.adjtimex(ctypes.byref(timex)) < 0:
            return TIMESYNCD.exists(), UNTOLD_ERROR_NS, 0
        pending_ns = timex.offset if timex.status & STA_NANO else timex.offset * 1000
        error_ns = max(LEAST_ERROR_NS, timex.maxerror * 1000)
        return not timex.status & STA_UNSYNC, error_ns, pending_ns

    def _judged(self, *, is_synced: bool) -> ClockQuality:
        if is_synced:
            self._was_synced = True
            return ClockQuality.SYNCED
        return ClockQuality.HOLDOVER if self._was_synced else ClockQuality.UNSYNCED


def _difference() -> tuple[int, int]:
    """Give CLOCK_BOOTTIME and UTC minus CLOCK_BOOTTIME, nanoseconds: the best of three, as we may be interrupted."""
    tries = []
    for _ in range(3):
        first = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        utc = time.time_ns()
        last = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        middle = (first + last) // 2
        tries.append((last - first, middle, utc - middle))
    _, mono_ns, offset_ns = min(tries)
    return mono_ns, offset_ns


def read_boot_id() -> str:
    """Give the kernel's id of this boot, 32 hexadecimal digits."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip().replace("-", "")
