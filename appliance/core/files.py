"""Files: read within bounds, written so that they survive a power cut."""

import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from appliance.core.errors import EdgecamError, StorageError

_LEFT: Final = re.compile(r"\..+\.[a-z0-9_]{8}")  # as tempfile names what `write_atomically` asks for


def read_bounded(path: Path, most: int, refused: type[EdgecamError], what: str) -> bytes:
    """Read a file whole.

    Args:
        path: The file; a pipe would keep the caller waiting.
        most: Bytes that it may have.
        refused: What is raised.
        what: What it should be, for whoever gave another file: ``a recipe``.

    Raises:
        EdgecamError: Of the kind `refused`: it cannot be read, or is larger.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise refused(f"cannot read {path}: {error.strerror or error}") from error
    if len(content) > most:
        bound = f"{most >> 20} MiB" if most >> 20 else f"{most} bytes"
        raise refused(f"{path} is larger than {bound}; is it {what}?")
    return content


def write_atomically(
    path: Path,
    content: bytes,
    mode: int = 0o644,
    owner: tuple[int, int] | None = None,
    *,
    shown: Path | None = None,
) -> None:
    """Replace `path` so that after a power cut it holds either the old bytes or the new ones, never a mix.

    Writes a temporary file beside it, syncs it, renames it, syncs the directory.

    Args:
        path: Where.
        content: What it is to hold.
        mode: Of the file.
        owner: Numbers of user and group; None: whoever calls. It has them before it has its name: whose folder it
            is could put a link in its place.
        shown: By what name a person knows it, where `path` goes by a descriptor.

    Raises:
        StorageError: The directory cannot be written to, the disk is full, or it cannot be given away.
    """
    temporary = ""
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105 - the descriptor-based recipe reads best with os
        sync_directory(path.parent)
    except OSError as error:
        if temporary:
            with suppress(OSError):  # the first error is the one to tell
                os.unlink(temporary)  # noqa: PTH108
        raise StorageError(f"cannot write {shown or path}: {error.strerror or error}") from error


def remove_leftovers(folder: Path) -> None:
    """Remove what calls of `write_atomically` have left in a folder that a power cut has ended; none may be under way.

    Raises:
        StorageError: The folder does not let go of it.
    """
    try:
        for entry in folder.iterdir() if folder.is_dir() else ():
            if _LEFT.fullmatch(entry.name) and entry.is_file():
                entry.unlink()
    except OSError as error:
        raise StorageError(f"cannot tidy {folder}: {error.strerror or error}") from error


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, if it is not there.

    Raises:
        StorageError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"cannot make {folder}: {error.strerror or error}; free the name or give a folder that can be written to"
        ) from error


def sync_directory(directory: Path) -> None:
    """Make renames and removals inside `directory` durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
