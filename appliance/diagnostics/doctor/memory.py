"""Memory: how much is left, and whether the kernel ended anything for want of it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.core.checkup import CheckState, Outcome

LOW_MB: Final = 50.0
_FIX: Final = "fewer cameras or a smaller model; free lists what takes it"
_OF_UNIT: Final = "sys/fs/cgroup/system.slice/edgecam.service"
_CONTROL: Final = "add cgroup_enable=memory to the line of /boot/firmware/cmdline.txt on a Raspberry Pi, and reboot"


@dataclass(frozen=True, slots=True)
class Memory:
    """Readings of one moment; None where the kernel does not tell.

    Attributes:
        available_mb: What could be had without swapping, MB (10^6 bytes).
        total_mb: MB.
        killed: Processes that the kernel ended for want of memory since the machine was booted.
        killed_of_unit: Those of the service since it was started.
        is_bounded: The service is held to its limit; Raspberry Pi OS leaves that out unless it is asked for
            (github.com/raspberrypi/linux/issues/6980).
    """

    available_mb: float | None
    total_mb: float | None
    killed: int | None
    killed_of_unit: int | None
    is_bounded: bool | None = None


def read_memory(root: Path = Path("/")) -> Memory:
    """Take the readings; three file reads."""
    available = _number(root / "proc/meminfo", r"(?m)^MemAvailable:\s+(\d+) kB$")
    total = _number(root / "proc/meminfo", r"(?m)^MemTotal:\s+(\d+) kB$")
    return Memory(
        None if available is None else available * 1024 / 1e6,
        None if total is None else total * 1024 / 1e6,
        _number(root / "proc/vmstat", r"(?m)^oom_kill (\d+)$"),
        _number(root / _OF_UNIT / "memory.events", r"(?m)^oom_kill (\d+)$"),
        (root / _OF_UNIT / "memory.max").exists() if (root / _OF_UNIT / "cgroup.procs").exists() else None,
    )


def judge_memory(memory: Memory) -> Outcome:
    """Tell whether there is enough."""
    if memory.available_mb is None or memory.total_mb is None:
        return Outcome("memory", CheckState.SKIPPED, "the kernel does not tell how much is left")
    seen = f"{memory.available_mb:,.0f} of {memory.total_mb:,.0f} MB available"
    if memory.killed_of_unit:
        what = f"the kernel ended {memory.killed_of_unit} processes of the service for want of memory; {seen}"
        return Outcome("memory", CheckState.FAILED, what, _FIX)
    if memory.killed:
        what = f"the kernel ended {memory.killed} processes for want of memory since the start; {seen}"
        return Outcome("memory", CheckState.WARNING, what, "sudo dmesg | grep -i 'out of memory' tells which; " + _FIX)
    if memory.available_mb < LOW_MB:
        return Outcome("memory", CheckState.WARNING, seen, _FIX)
    if memory.is_bounded is False:
        what = f"{seen}; the kernel does not hold the service to its limit: a leak takes the whole machine's"
        return Outcome("memory", CheckState.WARNING, what, _CONTROL)
    return Outcome("memory", CheckState.OK, seen)


def _number(path: Path, pattern: str) -> int | None:
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            found = re.search(pattern, file.read(64 << 10))
    except OSError:
        return None
    return int(found[1]) if found else None
