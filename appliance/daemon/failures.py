"""What is written down of why the daemon failed, and what its next start asks of it: ``failures.jsonl``.

Standard library alone: it is written without the libraries.
"""

import json
import os
import stat
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

NAME: Final = "failures.jsonl"
OUT_OF_MEMORY: Final = "oom-kill"  # as systemd calls it, systemd.exec(5)
STATE: Final = Path("models/state.json")  # as `updates.store` has it
MOST_RECORDS: Final = 30
MOST_BYTES: Final = 256 << 10  # of a file, when it is read again
LINES, MOST_CHARACTERS = 15, 300  # of the journal's tail
SAME_WITHIN_NS: Final = 3600 * 10**9
"""The same cause is written once an hour: a loop of failures must not wear the card."""
_SAME: Final = ("boot_id", "result", "code", "status", "candidate", "crashes")


class Attempt(NamedTuple):
    """One run of the daemon in which a release was tried.

    Attributes:
        candidate: The release, by the SHA-256 of its manifest.
        crashes: How often the daemon had crashed with it before.
    """

    candidate: str
    crashes: int


def failure_record(
    how: str, shown: str, said: str, boot_id: str, *, is_out_of_memory: bool = False, attempt: Attempt | None = None
) -> dict[str, Any]:
    """Give what is to be written down, JSON types only.

    Args:
        how: ``RESULT:CODE:STATUS``, as systemd.exec(5) has them for ExecStopPost=.
        shown: Output of ``systemctl show --property=NRestarts --value``; empty: not known.
        said: The journal's last lines.
        boot_id: Of the kernel.
        is_out_of_memory: The kernel ended it so for want of memory; with OOMPolicy=continue systemd says "signal".
        attempt: What was tried meanwhile, as `attempt_of` gives it.
    """
    result, code, status = [*how[:100].split(":"), "", ""][:3]
    if is_out_of_memory and result == "signal":
        result = OUT_OF_MEMORY
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "mono_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        "boot_id": boot_id,
        "result": result,
        "code": code,
        "status": status,
        "restarts": int(shown) if shown.strip().isdecimal() else None,
        "candidate": None if attempt is None else attempt.candidate,
        "crashes": None if attempt is None else attempt.crashes,
        "said": [line[:MOST_CHARACTERS] for line in said.splitlines()[-LINES:]],
    }


def with_record(content: bytes, record: dict[str, Any]) -> bytes | None:
    """Give the file's new content, a record a line, oldest first; None where the same is known for under an hour.

    So the newest line is of the failure that was written down last, or of one before it that was the same.
    """
    lines = [line for line in content[-MOST_BYTES:].splitlines() if _parsed(line)]
    last = _parsed(lines[-1]) if lines else {}
    same = all(last.get(key) == record.get(key) for key in _SAME)
    if same and lines and 0 <= record["mono_ns"] - int(last.get("mono_ns", 0)) < SAME_WITHIN_NS:
        return None
    return b"\n".join([*lines[-MOST_RECORDS + 1 :], json.dumps(record).encode(), b""])


def attempt_of(state: bytes, boot_id: str) -> Attempt | None:
    """Give what was tried when the daemon ended; None: nothing was.

    Args:
        state: What the daemon keeps of releases, as it lies on the disk.
        boot_id: Of the kernel: an attempt of another boot was cut short by that.
    """
    update = _parsed(state).get("update")
    if not isinstance(update, dict) or update.get("boot") != boot_id:
        return None
    release, crashes = update.get("release"), update.get("crashes")
    candidate = release.get("sha256") if isinstance(release, dict) else None
    return Attempt(candidate, crashes) if isinstance(candidate, str) and isinstance(crashes, int) else None


def took_the_memory(path: Path, boot_id: str, candidate: str, crashes: int) -> bool:
    """Tell whether the kernel ended the daemon for want of memory in an attempt of this boot.

    A record of another boot, of another attempt, of none or of another end says nothing; nor does a file that is not
    there or cannot be read. So where an attempt could not be written down, none before it speaks in its place.

    Args:
        path: The file.
        boot_id: Of the kernel.
        candidate: The release, by the SHA-256 of its manifest.
        crashes: How often the daemon had crashed with it before that attempt.
    """
    last = _parsed((read_tail(path).splitlines() or [b""])[-1])
    found = tuple(last.get(key) for key in ("result", "candidate", "crashes", "boot_id"))
    return found == (OUT_OF_MEMORY, candidate, crashes, boot_id)


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


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):  # half a line, of a disk that was full
        return {}
    return value if isinstance(value, dict) else {}
