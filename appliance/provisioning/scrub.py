"""Takes secrets off the boot partition, which any computer can read."""

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from appliance.core.errors import ConfigError, StorageError
from appliance.core.files import sync_directory, write_atomically
from appliance.provisioning.plan import Plan
from appliance.provisioning.reading import read_text, without_secrets
from appliance.provisioning.repeated import digest
from appliance.provisioning.report import JSON, TEXT
from appliance.provisioning.secrets import SHORTEST, in_remarks

_MOST = 64 << 10  # bytes
_ASIDE, _FRESH = "edgecam-setup.old", "edgecam-setup.new"
_REPORTS = (TEXT, JSON)  # they show no secret, and may have its word by chance: a device's name
_MOST_FILES = 200  # of the boot partition that are looked into


def is_left(path: Path) -> bool:
    """Tell whether the file with its secrets is still set aside, because a cut came between."""
    return path.with_name(_ASIDE).exists()


def scrub(path: Path, plan: Plan) -> None:
    """Leave the setup file without its secrets, and remove the private file beside it.

    What has secrets is written over while it still has a name, and removed then: after a cut it is found again, and no
    room that the file system has given back holds any. So the setup file is set aside, once the new one lies beside it.
    A card that is pulled out in between has it under that name; the next boot puts the new one in its place. What the
    card's own controller keeps in cells that are out of reach, nobody can take away.

    Raises:
        StorageError: The partition cannot be written to; the secrets are still there.
    """
    aside, fresh = path.with_name(_ASIDE), path.with_name(_FRESH)
    try:
        if plan.private_file:
            _wipe(path.with_name(plan.private_file))
        there = _readable(path)  # one that cannot be read is not what was carried out: its owner is told of it
        if plan.redacted_text and there is not None and digest(there) == plan.original != plan.redacted:
            # first: a card without room for it keeps the file as it is
            write_atomically(fresh, plan.redacted_text.encode())
            _wipe(aside)
            os.replace(path, aside)  # noqa: PTH105 - as files are replaced elsewhere
        if not path.exists() and aside.exists():
            if not fresh.exists():
                write_atomically(fresh, plan.redacted_text.encode())
            os.replace(fresh, path)  # noqa: PTH105
            sync_directory(path.parent)
        if path.exists():
            _wipe(aside)
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot take the passwords out of {path}: {error.strerror or error}") from error


def remarks_with_passwords(path: Path) -> list[int]:
    """Give the lines of the setup file, as its owner wrote it, whose remarks have passwords that `scrub` takes out."""
    for one in (path, path.with_name(_ASIDE)):
        if one.exists() and (lines := in_remarks(_readable(one) or "")):
            return lines
    return []


def put_back(path: Path) -> None:
    """Put a setup file that is set aside in its place again, where no plan knows of it any more: it is all there is.

    If the owner has written another one since, that one counts, and what is aside is wiped.

    Raises:
        StorageError: The partition cannot be written to; what is aside is still there.
    """
    aside, fresh = path.with_name(_ASIDE), path.with_name(_FRESH)
    try:
        if not path.exists() or _left_of(aside) == _readable(path):
            os.replace(aside, path)  # noqa: PTH105 - as above; what had the name before holds no secret
            sync_directory(path.parent)
        elif _readable(path) is None:
            return  # it is refused, and its owner told; until it can be read nothing else is taken away
        _wipe(aside)
        fresh.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot take {aside} away: {error.strerror or error}") from error


def _readable(path: Path) -> str | None:
    try:
        return read_text(path)
    except ConfigError:
        return None


def _left_of(aside: Path) -> str:
    """Give what the setup file is once it has no secrets; empty: it is written over already."""
    try:
        return without_secrets(read_text(aside))
    except ConfigError:
        return ""


def holding(path: Path, secrets: Collection[str]) -> tuple[list[str], list[str]]:
    """Look for a setup file's secrets in other files beside it, such as an editor's copies.

    Returns:
        Names of files that hold one; names of those that were not looked into, for there are too many or they cannot be
        read.

    Raises:
        StorageError: The folder cannot be read.
    """
    sought = [secret.encode() for secret in secrets if len(secret) >= SHORTEST]
    found: list[str] = []
    unseen: list[str] = []
    looked = 0
    for entry in _beside(path) if sought else ():
        try:
            if not entry.is_file() or entry.stat().st_size > _MOST:
                continue
            if looked == _MOST_FILES:
                unseen.append(entry.name)
                continue
            looked += 1
            with entry.open("rb") as file:
                content = file.read(_MOST)
            found += [entry.name] if any(secret in content for secret in sought) else []
        except OSError:
            unseen.append(entry.name)
    return found, unseen


def _beside(path: Path) -> list[Path]:
    """Give the other files, those first whose names speak for a copy.

    Raises:
        StorageError: The folder cannot be read.
    """
    try:
        others = [entry for entry in path.parent.iterdir() if entry != path and entry.name not in _REPORTS]
    except OSError as error:
        raise StorageError(f"cannot look into {path.parent}: {error.strerror}") from error
    return sorted(others, key=lambda entry: ("edgecam" not in entry.name.casefold(), entry.name))


def tidy(folder: Path) -> None:
    """Remove what cuts have left of our own files' writing; nothing may be under way."""
    for path in folder.glob(".edgecam-setup*.????????"):
        with suppress(OSError):  # clutter, without secrets
            path.unlink()


def _wipe(path: Path) -> None:
    """Write over a file, then remove it; nothing where there is none."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        size = min(os.fstat(file.fileno()).st_size, _MOST)
        os.pwrite(file.fileno(), bytes(size), 0)
        os.fsync(file.fileno())
    path.unlink()
    sync_directory(path.parent)
