"""Takes secrets off the boot partition, which any computer can read."""

import os
from pathlib import Path

from appliance.core.errors import StorageError
from appliance.core.files import sync_directory, write_atomically
from appliance.provisioning.plan import Plan
from appliance.provisioning.reading import digest, read_text

_MOST = 64 << 10  # bytes


def scrub(path: Path, plan: Plan) -> None:
    """Leave the setup file without its secrets, and remove the private file beside it.

    The file is replaced at once and as a whole: a card that is pulled out holds the old one or the new one. Then the
    old one's bytes, whose room the file system has given back, are written over. What the card's own controller keeps
    of them in cells that are out of reach, nobody can take away.

    Raises:
        StorageError: The partition cannot be written to; the secrets are still there.
    """
    try:
        if plan.private_file:
            _remove(path.with_name(plan.private_file))
        if not path.exists() or digest(read_text(path)) != plan.original or plan.original == plan.redacted:
            return  # it is done already, or the owner has written another one meanwhile
        with path.open("r+b") as before:
            write_atomically(path, plan.redacted_text.encode())
            _write_over(before.fileno())
    except OSError as error:
        raise StorageError(f"cannot take the passwords out of {path}: {error.strerror or error}") from error


def _remove(path: Path) -> None:
    if path.exists():
        with path.open("r+b") as file:
            path.unlink()
            _write_over(file.fileno())
        sync_directory(path.parent)


def _write_over(descriptor: int) -> None:
    size = min(os.fstat(descriptor).st_size, _MOST)
    os.pwrite(descriptor, bytes(size), 0)
    os.fsync(descriptor)
