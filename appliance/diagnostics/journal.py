"""What the unit wrote to systemd's journal: asked for, read line by line, and put so that a person reads it."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from appliance.core.errors import UnavailableError
from appliance.diagnostics.doctor.unit import BOOTED, UNIT

MOST_LINE_BYTES: Final = 256 << 10  # of one entry: journald cuts at 48 KiB, and JSON escapes
LEVELS: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3}
"""From which priority on entries are shown (syslog(3))."""

_MOST_SHOWN: Final = 4000  # characters of a message
_OWN: Final = frozenset({"MESSAGE", "PRIORITY", "LOGGER", "TID", "INVOCATION_ID"})
_OWNERS: Final = ("_", "CODE_", "SYSLOG_")  # of journald, and of where in a program it was written


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the journal.

    Attributes:
        time: When it was written, UTC.
        priority: 0 to 7, as of syslog(3).
        message: Its text, fit for a terminal; may have several lines.
        source: Who wrote it: ``edgecam``, ``systemd``.
        fields: What the daemon told beside the text, by name in lower case.
    """

    time: datetime
    priority: int
    message: str
    source: str
    fields: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        level = next((name for name, least in reversed(LEVELS.items()) if self.priority <= least), "debug")
        who = "" if self.source == "edgecam" else f"{self.source}: "
        told = "".join(f"  {name}={value}" for name, value in self.fields.items())
        return f"{self.time.astimezone():%Y-%m-%d %H:%M:%S} {level:<7} {who}{self.message}{told}"


def journal_command(
    *,
    lines: int | None,
    since: str | None = None,
    level: str = "debug",
    is_followed: bool = False,
    booted: Path = BOOTED,
) -> list[str]:
    """Give the command whose output is an entry a line, as JSON.

    Args:
        lines: How many of the newest; None: all.
        since: From when on, as journalctl takes it; None: from the beginning.
        level: From which of `LEVELS` on.
        is_followed: Wait for more.
        booted: By what a machine that systemd runs is known.

    Raises:
        UnavailableError: There is no journal here.
    """
    program = shutil.which("journalctl")
    if program is None or not booted.exists():
        raise UnavailableError(
            "there is no journal here, as systemd does not run this machine; the daemon writes to standard error of "
            "whoever started it"
        )
    asked = [program, f"--unit={UNIT}", "--output=json", "--no-pager", "--quiet", f"--priority={LEVELS[level]}"]
    asked += [f"--since={since}"] if since is not None else []
    # left out, it would be 10 with --follow
    return [*asked, f"--lines={'all' if lines is None else lines}", *(["--follow"] if is_followed else [])]


def parse_entry(line: bytes) -> Entry | None:
    """Read an entry; None: it is none."""
    try:
        told = json.loads(line)
        written = datetime.fromtimestamp(int(told["__REALTIME_TIMESTAMP"]) / 1e6, UTC)
        priority = int(told.get("PRIORITY", 6))
    except (ValueError, KeyError, TypeError, OverflowError):
        return None
    fields = {
        name.lower(): _shown(value)
        for name, value in told.items()
        if not name.startswith(_OWNERS) and name not in _OWN and told.get("SYSLOG_IDENTIFIER") == "edgecam"
    }
    source = _shown(told.get("SYSLOG_IDENTIFIER", "")) or "edgecam"
    # without python3-systemd the daemon's lines come by its standard error, under the program's name
    source = "edgecam" if source.startswith("python") else source
    return Entry(written, priority, _shown(told.get("MESSAGE", "")), source, fields)


def _shown(value: Any) -> str:
    """Give a field with nothing in it that a terminal obeys; journalctl gives bytes that are no text as a list."""
    if isinstance(value, list) and all(isinstance(item, int) and 0 <= item < 256 for item in value):  # noqa: PLR2004 - bytes
        value = bytes(value).decode("utf-8", "replace")
    text = str(value)[:_MOST_SHOWN]
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "?" for letter in text)
