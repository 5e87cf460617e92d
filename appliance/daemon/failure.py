"""Writes down why the daemon failed: ``python3 -m appliance.daemon.failure FILE``, started by systemd.

The journal of an appliance is volatile; what ended the daemon should still be known after the next boot.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from appliance.core.clock import read_boot_id
from appliance.core.errors import EdgecamError
from appliance.core.files import write_atomically

UNIT = "edgecam.service"
MOST_RECORDS = 30
MOST_BYTES = 256 << 10  # of the file, when it is read again
LINES, MOST_CHARACTERS = 15, 300  # of the journal's tail
SAME_WITHIN_NS = 3600 * 10**9  # the same cause is written once an hour: a loop of failures must not wear the card
_TIMEOUT = 5.0  # seconds for systemctl and journalctl each
_PROPERTIES = {"Result": "result", "ExecMainCode": "code", "ExecMainStatus": "status", "NRestarts": "restarts"}


def failure_record(environment: Mapping[str, str], shown: str, said: str, boot_id: str) -> dict[str, Any]:
    """Give what is to be written down, JSON types only.

    Args:
        environment: Systemd's ``MONITOR_…`` of systemd.exec(5); before version 251 there are none.
        shown: Output of ``systemctl show``, which may already be of the next start.
        said: The journal's last lines.
        boot_id: Of the kernel.
    """
    record: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "mono_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        "boot_id": boot_id,
    }
    for line in shown.splitlines():
        name, _, value = line.partition("=")
        if name in _PROPERTIES:
            record[_PROPERTIES[name]] = value[:100]
    for name, key in (("SERVICE_RESULT", "result"), ("EXIT_CODE", "code"), ("EXIT_STATUS", "status")):
        if told := environment.get(f"MONITOR_{name}"):
            record[key] = told[:100]
    record["said"] = [line[:MOST_CHARACTERS] for line in said.splitlines()[-LINES:]]
    return record


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


def main(path: Path) -> int:
    """Write the record and give the exit status."""
    shown = _output("systemctl", "show", UNIT, *(f"--property={name}" for name in _PROPERTIES))
    said = _output("journalctl", "--no-pager", "--quiet", "--output=cat", f"--lines={LINES}", f"--unit={UNIT}")
    record = failure_record(os.environ, shown, said, read_boot_id())
    try:
        content = path.read_bytes()
    except OSError:
        content = b""
    try:
        if (new := with_record(content, record)) is not None:
            write_atomically(path, new, mode=0o640)
    except EdgecamError as error:
        sys.stderr.write(f"<3>{error}\n")  # sd-daemon(3): an error
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
