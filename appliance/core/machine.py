"""What the machine says of itself: temperature, throttling, memory, disk."""

import os
import platform
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

CPUFREQ = Path("/sys/devices/system/cpu/cpufreq")
THERMAL = Path("/sys/class/thermal")
THROTTLED = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")  # Raspberry Pi firmware, bits as vcgencmd's
HOT_C = 80.0  # a Raspberry Pi slows itself down from here on (Raspberry Pi documentation, "Frequency management")
DISK_LOW_MB = 64.0  # below it SQLite soon cannot commit
UNDERVOLTAGE, CAPPED, THROTTLING, SOFT_LIMIT = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_FLAGS = {
    UNDERVOLTAGE: "under-voltage",
    CAPPED: "frequency capped",
    THROTTLING: "throttled",
    SOFT_LIMIT: "soft temperature limit",
}


@dataclass(frozen=True, slots=True)
class Machine:
    """Readings of one moment; None where this machine does not tell.

    Attributes:
        temperature_c: Hottest thermal zone in degrees Celsius.
        throttled: Why the processor is slowed down now; empty: it is not.
        memory_mb: Resident memory of this process in MB (10^6 bytes).
        disk_free_mb: Free space where the state is kept, in MB.
        load: Load average of the last minute.
    """

    temperature_c: float | None
    throttled: tuple[str, ...] | None
    memory_mb: float | None
    disk_free_mb: float | None
    load: float


def read_machine(state_dir: Path) -> Machine:
    """Take the readings; costs a few file reads and never raises for one that is missing."""
    return Machine(_temperature(), _throttled(), _memory(), _disk(state_dir), os.getloadavg()[0])


def read_frequency() -> float | None:
    """Give the clock of the fastest core now, in MHz; None where the kernel does not tell."""
    readings = []
    for path in CPUFREQ.glob("policy*/scaling_cur_freq"):
        try:
            readings.append(int(path.read_text(encoding="ascii")) / 1000.0)
        except (OSError, ValueError):
            continue  # a core that is switched off
    return max(readings, default=None)


def read_available_memory() -> float | None:
    """Give how much memory could be had without swapping, in MB; None where the kernel does not tell."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = re.search(r"(?m)^MemAvailable:\s+(\d+) kB$", text)
    return int(found[1]) * 1024 / 1e6 if found else None


def hardware_name() -> str:
    """Give the board's name where the device tree tells it, else the processor architecture."""
    try:
        return Path("/proc/device-tree/model").read_text(encoding="utf-8", errors="replace").rstrip("\0\n")
    except OSError:
        return platform.machine()


def _temperature() -> float | None:
    readings = []
    for path in THERMAL.glob("thermal_zone*/temp"):
        try:
            readings.append(int(path.read_text(encoding="ascii")) / 1000.0)
        except (OSError, ValueError):
            continue  # a zone that is switched off says so with an error
    return max(readings, default=None)


def peak_memory() -> float | None:
    """Give the peak of this process's resident memory in MB; None where /proc does not tell.

    Not getrusage: its figure begins with that of the process that started this one.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 / 1e6 if found else None


def _throttled() -> tuple[str, ...] | None:
    try:
        bits = int(THROTTLED.read_text(encoding="ascii"), 16)
    except (OSError, ValueError):
        return None
    return tuple(name for bit, name in _FLAGS.items() if bits & bit)


def _memory() -> float | None:
    try:
        resident = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return resident * os.sysconf("SC_PAGE_SIZE") / 1e6


def _disk(state_dir: Path) -> float | None:
    try:
        return shutil.disk_usage(state_dir).free / 1e6
    except OSError:
        return None


def be_first_to_go() -> None:
    """Have the kernel end this process before any other where memory runs out; the daemon looks at what is free."""
    with suppress(OSError):  # no Linux, or not allowed
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
