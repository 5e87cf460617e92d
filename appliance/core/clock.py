"""Time, honestly: UTC with its quality, and a clock that never steps."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from appliance.core.kernel_clock import KernelClock
from appliance.core.witness import WITNESS, read_witness, utc_offset

TIMESYNCD = Path("/run/systemd/timesync/synchronized")  # made by systemd-timesyncd(8) once it has the time
LEAST_ERROR_NS = 25_000_000  # timesyncd tells the kernel no error at all; an answer over the Internet has some
UNTOLD_ERROR_NS = 1_000_000_000  # where a sandbox forbids to ask the kernel, and nobody asks it for us
SET_SINCE_NS = 10_000_000  # a witness of before UTC was set by more says nothing of it
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


class SystemClock:
    """The machine's own clocks. Safe to call from any thread.

    Args:
        witness: Where the kernel's word is written down for a daemon whose sandbox forbids to ask it.
        kernel: What is asked first.
    """

    def __init__(self, witness: Path = WITNESS, kernel: KernelClock | None = None) -> None:
        self._was_synced = False
        self._witness = witness
        self._kernel = kernel or KernelClock()

    def now(self) -> Stamp:
        """Give this moment on both clocks."""
        return Stamp(datetime.now(UTC), time.clock_gettime_ns(time.CLOCK_BOOTTIME))

    def quality(self) -> ClockQuality:
        """Tell how far UTC can be trusted now: the kernel's word, written down where a sandbox forbids to ask it.

        Where nothing is written down, timesyncd's word counts.
        """
        return self._judged(is_synced=self._told()[0])

    def reading(self) -> Reading:
        """Tell how UTC stands to CLOCK_BOOTTIME now."""
        _, before_ns = utc_offset()
        for _ in range(TRIES):
            is_synced, error_ns, pending_ns = self._told()
            mono_ns, offset_ns = utc_offset()
            if abs(offset_ns - before_ns) <= STEADY_NS:
                break
            before_ns = offset_ns  # UTC was set meanwhile: the kernel's word may be of before or after
        else:
            is_synced = False
        return Reading(
            mono_ns, offset_ns + (pending_ns if is_synced else 0), error_ns, self._judged(is_synced=is_synced)
        )

    def _told(self) -> tuple[bool, int, int]:
        """Tell whether UTC is synced, by how many nanoseconds it may be off, and how many are still to be slewed."""
        told = self._kernel.told()
        if told is not None:
            return told.is_synced, max(LEAST_ERROR_NS, told.error_ns), told.pending_ns
        witness = read_witness(self._witness)
        if witness is None:
            return TIMESYNCD.exists(), UNTOLD_ERROR_NS, 0
        was_set = abs(utc_offset()[1] - witness.offset_ns) > SET_SINCE_NS
        return witness.is_synced and not was_set, max(LEAST_ERROR_NS, witness.error_ns), 0

    def _judged(self, *, is_synced: bool) -> ClockQuality:
        if is_synced:
            self._was_synced = True
            return ClockQuality.SYNCED
        return ClockQuality.HOLDOVER if self._was_synced else ClockQuality.UNSYNCED


def read_boot_id() -> str:
    """Give the kernel's id of this boot, 32 hexadecimal digits."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip().replace("-", "")
