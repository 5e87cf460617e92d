"""What the kernel says of UTC: adjtimex(2), asked and never told."""

import ctypes
from dataclasses import dataclass

STA_UNSYNC = 0x0040  # <sys/timex.h>: the kernel does not hold the clock to be synchronised
STA_NANO = 0x2000  # <sys/timex.h>: `offset` is in nanoseconds, else in microseconds


@dataclass(frozen=True, slots=True)
class Told:
    """The kernel's word.

    Attributes:
        is_synced: Whether it holds UTC to be disciplined by NTP, PTP or GPS.
        error_ns: By how much UTC may be off once all is slewed, nanoseconds; says nothing unless it is synced.
        pending_ns: What is still to be slewed, nanoseconds.
    """

    is_synced: bool
    error_ns: int
    pending_ns: int


class _Timex(ctypes.Structure):
    """The head of ``struct timex``; all zero, its `modes` asks for nothing to be changed."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


class KernelClock:
    """The machine's kernel. Safe to call from any thread."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)

    def told(self) -> Told | None:
        """Give the kernel's word, or None where a sandbox forbids to ask."""
        timex = _Timex()
        if self._libc.adjtimex(ctypes.byref(timex)) < 0:
            return None
        pending_ns = timex.offset if timex.status & STA_NANO else timex.offset * 1000
        return Told(not timex.status & STA_UNSYNC, timex.maxerror * 1000, pending_ns)
