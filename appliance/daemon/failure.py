"""Writes down why the daemon failed: ``python3 -m appliance.daemon.failure FILE HOW``, started by systemd.

The journal of an appliance is volatile; what ended the daemon should still be known after the next boot. The next start
waits for the record (the unit's Before=): where a release was on trial, it asks what took the memory.
"""

import subprocess
import sys
from pathlib import Path

from appliance.core.clock import read_boot_id
from appliance.core.errors import EdgecamError
from appliance.core.files import write_atomically
from appliance.daemon.failures import LINES, MOST_BYTES, STATE, attempt_of, failure_record, read_tail, with_record
from appliance.diagnostics.doctor.unit import ended_for_memory

UNIT = "edgecam.service"
KILLED = "signal:killed:KILL"
_TIMEOUT = 5.0  # seconds for systemctl and journalctl each


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT, check=False)  # noqa: S603 - systemd's own
    except (OSError, subprocess.TimeoutExpired):
        return ""  # what is known without it is written down all the same
    return done.stdout[-MOST_BYTES:].decode("utf-8", "replace")


def main(path: Path, how: str) -> int:
    """Write the record and give the exit status."""
    shown = _output("systemctl", "show", "--property=NRestarts", "--value", UNIT)
    said = _output("journalctl", "--no-pager", "--quiet", "--output=cat", f"--lines={LINES}", f"--unit={UNIT}")
    is_out_of_memory = how == KILLED and ended_for_memory()
    boot_id = read_boot_id()
    attempt = attempt_of(read_tail(path.parent / STATE), boot_id)
    record = failure_record(how, shown, said, boot_id, is_out_of_memory=is_out_of_memory, attempt=attempt)
    try:
        if (new := with_record(read_tail(path), record)) is not None:
            write_atomically(path, new, mode=0o640)
    except EdgecamError as error:
        sys.stderr.write(f"<3>{error}\n")  # sd-daemon(3): an error
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
