"""UTC of one process and its children as a test wants it, while they run; see clock_shim.c."""

import mmap
import shutil
import struct
import subprocess
import time
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("clock_shim.c")
_TOLD = struct.Struct("qq")


class FakedClock:
    """Makes a library that is preloaded into a process, and tells it the time. Skips the test without a C compiler.

    Args:
        directory: Where the library and what it is told are kept.
        wrong_s: By how many seconds UTC is ahead of what it really is, at first.
        synced: Whether the kernel holds it to be synced, at first.
    """

    def __init__(self, directory: Path, *, wrong_s: float, synced: bool) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            pytest.skip("a C compiler makes the clock of this test, and is not installed: apt-get install gcc")
        library, told = directory / "clock_shim.so", directory / "clock"
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE), "-ldl"], check=True)
        told.write_bytes(bytes(_TOLD.size))
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_SHIM": str(told)}
        with told.open("r+b") as file:
            self._told = mmap.mmap(file.fileno(), _TOLD.size)
        self.set(wrong_s=wrong_s, synced=synced)

    def set(self, *, wrong_s: float, synced: bool) -> None:
        """Set UTC, as somebody at the keyboard does (the kernel gives up its trust) or as NTP does."""
        # the kernel's trust goes first and comes last: nobody sees a wrong UTC that is trusted
        if not synced:
            self._told[8:16] = struct.pack("q", 0)
        self._told[0:8] = struct.pack("q", round(wrong_s * 1e9))
        self._told[8:16] = struct.pack("q", int(synced))


def true_offset_ns() -> int:
    """Give UTC minus CLOCK_BOOTTIME as the machine itself has them, in nanoseconds."""
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
