"""Time, honestly: UTC with its quality, and a clock that never steps."""

import ctypes
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from appliance.core.witness import WITNESS, read_witness

TIMESYNCD = Path("/run/systemd/timesync/synchronized")  # made by systemd-timesyncd(8) once it has the time
STA_UNSYNC = 0x0040  # <sys/timex.h>: the kernel does not hold the clock to be synchronised


class ClockQuality(StrEnum):
    """How far UTC can be trusted."""

    SYNCED = "synced"
    """The kernel holds the clock to be disciplined by NTP, PTP or GPS."""
    HOLDOVER = "holdover"
    """It was synced earlier in this boot and runs free now."""
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


class Clock(Protocol):
    """What a component needs to tell the time; a test brings one it can turn by hand."""

    def now(self) -> Stamp:
        """Give this moment on both clocks."""

    def quality(self) -> ClockQuality:
        """Tell how far UTC can be trusted now."""


class SystemClock:
    """The machine's own clocks. Safe to call from any thread.

    Args:
        witness: Where the kernel's word is written down for a daemon whose sandbox forbids to ask it.
    """

    def __init__(self, witness: Path = WITNESS) -> None:
        self._was_synced = False
        self._witness = witness
        self._libc = ctypes.CDLL(None, use_errno=True)

    def now(self) -> Stamp:
        """Give this moment on both clocks."""
        return Stamp(datetime.now(UTC), time.clock_gettime_ns(time.CLOCK_BOOTTIME))

    def quality(self) -> ClockQuality:
        """Tell how far UTC can be trusted now: the kernel's word, written down where a sandbox forbids to ask it.

        Where nothing is written down, timesyncd's word counts.
        """
        # struct timex is 208 bytes on every Linux we run on; all zero, its `modes` asks for nothing to be changed.
        buffer = ctypes.create_string_buffer(256)
        if self._libc.adjtimex(buffer) >= 0:
            # layout on 64 bit: modes, pad, offset, freq, maxerror, esterror, then int status
            is_synced = not int.from_bytes(buffer.raw[40:44], "little") & STA_UNSYNC
        elif (witness := read_witness(self._witness)) is not None:
            is_synced = witness.is_synced
        else:
            is_synced = TIMESYNCD.exists()
        if is_synced:
            self._was_synced = True
            return ClockQuality.SYNCED
        return ClockQuality.HOLDOVER if self._was_synced else ClockQuality.UNSYNCED


def read_boot_id() -> str:
    """Give the kernel's id of this boot, 32 hexadecimal digits."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip().replace("-", "")
