"""The kernel's word on the clock, written down by a service of its own for a daemon that may not ask it.

The call that tells whether UTC is synchronised is the one that sets it, adjtimex(2); the daemon's sandbox shuts it.
`edgecam-clock.timer` runs this module beside the daemon once a minute: ``python3 -m appliance.core.witness FILE``.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from appliance.core.errors import EdgecamError, UnavailableError
from appliance.core.files import write_atomically
from appliance.core.kernel_clock import KernelClock

WITNESS = Path("/run/edgecam-clock/witness")
FRESH_NS = 180 * 10**9  # of a witness: three turns of the timer
MOST_BYTES = 128  # of a witness: four numbers
MAX_DRIFT = 500e-6  # seconds in a second; the kernel lets `maxerror` grow by it, "MAXFREQ" in <linux/timex.h>


@dataclass(frozen=True, slots=True)
class Witness:
    """What the kernel said of UTC.

    Attributes:
        mono_ns: When, CLOCK_BOOTTIME in nanoseconds.
        is_synced: Whether it holds UTC to be disciplined by NTP, PTP or GPS.
        offset_ns: UTC minus CLOCK_BOOTTIME then, nanoseconds: another one since says that UTC was set.
        error_ns: By how much UTC may be off now, nanoseconds: what was told, and what came since.
    """

    mono_ns: int
    is_synced: bool
    offset_ns: int
    error_ns: int


def utc_offset() -> tuple[int, int]:
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


def read_witness(path: Path = WITNESS) -> Witness | None:
    """Give what was written down; None where there is nothing of the last minutes, or nothing that can be read."""
    try:
        with path.open("rb") as file:
            fields = file.read(MOST_BYTES).decode("ascii").split()
        mono_ns, is_synced, offset_ns, error_ns = (int(field) for field in fields)
    except (OSError, ValueError):
        return None
    age_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - mono_ns
    if not 0 <= age_ns <= FRESH_NS or error_ns < 0:
        return None
    return Witness(mono_ns, is_synced == 1, offset_ns, error_ns + int(age_ns * MAX_DRIFT))


def ask_kernel() -> Witness:
    """Ask the kernel itself.

    Raises:
        UnavailableError: A sandbox forbids it.
    """
    told = KernelClock().told()
    if told is None:
        raise UnavailableError("the kernel may not be asked for its clock here; see ProtectClock= in systemd.exec(5)")
    mono_ns, offset_ns = utc_offset()
    return Witness(mono_ns, told.is_synced, offset_ns, told.error_ns + abs(told.pending_ns))


def write_witness(path: Path, witness: Witness) -> None:
    """Write it down for `read_witness`.

    Raises:
        StorageError: It cannot be written.
    """
    line = f"{witness.mono_ns} {int(witness.is_synced)} {witness.offset_ns} {witness.error_ns}\n"
    write_atomically(path, line.encode("ascii"))


if __name__ == "__main__":
    try:
        write_witness(Path(sys.argv[1]) if len(sys.argv) > 1 else WITNESS, ask_kernel())
    except EdgecamError as trouble:
        sys.stderr.write(f"<3>{trouble}\n")  # sd-daemon(3): an error
        sys.exit(trouble.exit_code)
