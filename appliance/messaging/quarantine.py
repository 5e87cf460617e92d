"""Puts a file that is corrupt aside, under a name that is free."""

import logging
from pathlib import Path
from typing import Final

from appliance.core.errors import StorageError
from appliance.core.files import sync_directory

MOST: Final = 3  # files that are put aside; beyond, the oldest goes: each may be as large as the outbox

_SUFFIXES: Final = ("", "-wal", "-journal", ".hdr")
_logger = logging.getLogger(__name__)


def header_of(path: Path) -> Path:
    """Give where the spare copy of a database's first page lies."""
    return path.with_suffix(".hdr")


def header_aside(aside: Path) -> Path:
    """Give where that of one lies that was put aside; it is there until all that can be read was carried over."""
    return aside.with_name(f"{aside.name}.hdr")


def put_aside(path: Path) -> Path:
    """Rename a database, its log and its header; give its new name.

    Raises:
        StorageError: It cannot be renamed.
    """
    there = _aside(path)
    number = max(there, default=0) + 1
    aside = path.with_name(f"{path.name}.corrupt-{number}")
    try:
        if header_of(path).exists():
            # before the file itself: then what is found aside without a database in its place is known to be unfinished
            header_of(path).rename(header_aside(aside))
        for suffix in ("", "-wal", "-journal"):
            file = path.with_name(path.name + suffix)
            if file.exists():
                file.rename(aside.with_name(aside.name + suffix))
        for old in sorted(there)[: max(0, len(there) + 1 - MOST)]:
            _logger.warning("%s is deleted: there are %d newer ones", there[old], MOST)
            for suffix in _SUFFIXES:
                there[old].with_name(there[old].name + suffix).unlink(missing_ok=True)
        sync_directory(path.parent)
    except OSError as failure:
        raise StorageError(f"{path} is corrupt and cannot be renamed: {failure.strerror}") from failure
    return aside


def adopt_log(path: Path) -> None:
    """Rename what is left of a database whose renaming a power cut interrupted; SQLite would delete its log."""
    there = _aside(path)
    log = path.with_name(path.name + "-wal")
    if there and log.exists() and not path.exists():
        aside = there[max(there)]
        log.replace(aside.with_name(aside.name + "-wal"))


def unfinished(path: Path) -> Path | None:
    """Give the newest file that was put aside and not yet carried over; None when there is none."""
    there = _aside(path)
    return next((there[number] for number in sorted(there, reverse=True) if header_aside(there[number]).exists()), None)


def aside(path: Path) -> list[Path]:
    """Give the files that were put aside, oldest first.

    Raises:
        OSError: The folder cannot be looked into.
    """
    there = _aside(path)
    return [there[number] for number in sorted(there)]


def _aside(path: Path) -> dict[int, Path]:
    found = path.parent.glob(f"{path.name}.corrupt-*")
    numbered = ((file.name.rpartition("-")[2], file) for file in found)
    return {int(number): file for number, file in numbered if number.isdecimal()}
