"""Writes down why the daemon failed: ``python3 -m appliance.daemon.failure FILE HOW``, started by systemd.

The journal of an appliance is volatile; what ended the daemon should still be known after the next boot.
"""

import json
import os
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from appliance.core.clock import read_boot_id
from appliance.core.errors import EdgecamError
from appliance.core.files import write_atomically
from appliance.diagnostics.doctor.unit import ended_for_memory

UNIT = "edgecam.service"
KILLED = "signal:killed:KILL"
MOST_RECORDS = 30
MOST_BYTES = 256 << 10  # of the file, when it is read again
LINES, MOST_CHARACTERS = 15, 300  # of the journal's tail
SAME_WITHIN_NS = 3600 * 10**9  # the same cause is written once an hour: a loop of failures must not wear the card
_TIMEOUT = 5.0  # seconds for systemctl and journalctl each


def failure_record(how: str, shown: str, said: str, boot_id: str, *, is_out_of_memory: bool = False) -> dict[str, Any]:
    """Give what is to be written down, JSON types only.

    Args:
        how: ``RESULT:CODE:STATUS``, as systemd.exec(5) has them for ExecStopPost=.
        shown: Output of ``systemctl show --property=NRestarts --value``; empty: not known.
        said: The journal's last lines.
        boot_id: Of the kernel.
        is_out_of_memory: The kernel ended it so for want of memory; with OOMPolicy=continue systemd says "signal".
    """
    result, code, status = [*how[:100].split(":"), "", ""][:3]
    if is_out_of_memory and result == "signal":
        result = "oom-kill"
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "mono_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        "boot_id": boot_id,
        "result": result,
        "code": code,
        "status": status,
        "restarts": int(shown) if shown.strip().isdecimal() else None,
        "said": [line[:MOST_CHARACTERS] for line in said.splitlines()[-LINES:]],
    }


def with_record(content: bytes, record: dict[str, Any]) -> bytes | None:
    """Give the file's new content, a record a line, oldest first; None where the same is known for under an hour."""
    lines = [line for line in content[-MOST_BYTES:].splitlines() if _parsed(line)]
    last = _parsed(lines[-1]) if lines else {}
    same = all(last.get(key) == record.get(key) for key in ("boot_id", "result", "code", "status"))
    if same and lines and 0 <= record["mono_ns"] - int(last.get("mono_ns", 0)) < SAME_WITHIN_NS:
        return None
    return b"\n".join([*lines[-MOST_RECORDS + 1 :], json.dumps(record).encode(), b""])


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:  # half a line, of a disk that was full
        return {}
    return value if isinstance(value, dict) else {}


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT, check=False)  # noqa: S603 - systemd's own
    except (OSError, subprocess.TimeoutExpired):
        return ""  # what is known without it is written down all the same
    return done.stdout[-MOST_BYTES:].decode("utf-8", "replace")


def read_tail(path: Path) -> bytes:
    """Give the end of a file, `MOST_BYTES` at the most; nothing where there is no file that can be read."""
    try:
        # not waited for: where a pipe lies in its place, opening it would never end
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            told = os.fstat(file.fileno())
            if not stat.S_ISREG(told.st_mode):
                return b""
            file.seek(max(0, told.st_size - MOST_BYTES))
            return file.read(MOST_BYTES)
    except OSError:
        return b""


def main(path: Path, how: str) -> int:
    """Write the record and give the exit status."""
    shown = _output("systemctl", "show", "--property=NRestarts", "--value", UNIT)
    said = _output("journalctl", "--no-pager", "--quiet", "--output=cat", f"--lines={LINES}", f"--unit={UNIT}")
    is_out_of_memory = how == KILLED and ended_for_memory()
    record = failure_record(how, shown, said, read_boot_id(), is_out_of_memory=is_out_of_memory)
    try:
        if (new := with_record(read_tail(path), record)) is not None:
            write_atomically(path, new, mode=0o640)
    except EdgecamError as error:
        sys.stderr.write(f"<3>{error}\n")  # sd-daemon(3): an error
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
