"""Logs: structured fields for the journal, readable lines for a terminal."""

import logging
import os
import sys
from typing import Any

_PLAIN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_LEVELS = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_COLOURS = {logging.WARNING: "\033[33m", logging.ERROR: "\033[31m", logging.CRITICAL: "\033[31m"}


def is_journal_read() -> bool:
    """Tell whether systemd's journal reads our standard error (systemd.exec(5), JOURNAL_STREAM).

    The variable alone does not tell: a terminal that was started from a service inherits it.
    """
    try:
        stream = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stream.st_dev}:{stream.st_ino}"


def start_logging(level: int = logging.INFO) -> None:
    """Send all logs to the journal when systemd reads our output, to standard error otherwise."""
    root = logging.getLogger()
    root.setLevel(level)
    root.handlers[:] = [_journal() if is_journal_read() else _terminal()]


def _terminal() -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(colours=sys.stderr.isatty()))
    return handler


def _journal() -> logging.Handler:
    try:
        # the distribution's package, which may be absent; a type checker in a checkout sees the folder of the units
        from systemd import journal  # type: ignore[attr-defined]  # noqa: PLC0415
    except ImportError:
        # The journal still takes levels from the line's prefix (sd-daemon(3)); only the extra fields are lost.
        handler: logging.Handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Prefixed())
        return handler
    return _Fields(journal)


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in record.__dict__.items() if name not in _PLAIN}


class _Fields(logging.Handler):
    """Each `extra` becomes a field: ``journalctl CAMERA=door``."""

    def __init__(self, journal: Any) -> None:
        super().__init__()
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        fields = {name.upper(): str(value) for name, value in _extra(record).items()}
        text = self.format(record)  # the exception's traceback included
        priority = _LEVELS.get(record.levelno, 6)
        try:
            self._journal.send(text, PRIORITY=priority, LOGGER=record.name, SYSLOG_IDENTIFIER="edgecam", **fields)
        except OSError:
            self.handleError(record)


class _Lines(logging.Formatter):
    """``12:31:02 the broker answered  broker=mqtt://127.0.0.1:1883``."""

    def __init__(self, *, colours: bool) -> None:
        super().__init__("%(asctime)s %(message)s", "%H:%M:%S")
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        if extra := _extra(record):
            line += "  " + " ".join(f"{name}={value}" for name, value in extra.items())
        if record.levelno >= logging.WARNING and not self._colours:
            line = f"{line[:8]} {record.levelname.lower()}:{line[8:]}"
        colour = _COLOURS.get(record.levelno, "") if self._colours else ""
        return f"{colour}{line}\033[0m" if colour else line


class _Prefixed(logging.Formatter):
    """``<6>message``: what the journal understands without a library."""

    def format(self, record: logging.LogRecord) -> str:
        extra = "".join(f" {name}={value}" for name, value in _extra(record).items())
        text = super().format(record) + extra
        prefix = f"<{_LEVELS.get(record.levelno, 6)}>"
        return "\n".join(prefix + line for line in text.splitlines())
