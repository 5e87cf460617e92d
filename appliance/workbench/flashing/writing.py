"""Writes an image to a disk or file and reads it back."""

import hashlib
import lzma
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from appliance.core.errors import ModelError, StorageError

Progress = Callable[[int, int | None], None]
_CHUNK = 4 << 20  # bytes
_CLEARED = 1 << 20  # bytes at the beginning, with the table of partitions: nothing starts from what is half written
_XZ = b"\xfd7zXZ\0"


def write_image(
    source: Path, target: Path, digest: str | None, size: int | None, progress: Progress
) -> tuple[str, int]:
    """Write an image, unpacked on the way; blocks until it is on the disk.

    The beginning, which has the table of partitions, is written last and only if the whole is what was meant: what was
    broken off or is something else never starts.

    Args:
        source: An image, .xz or as it is.
        target: A disk or file that may be written over.
        digest: SHA-256 of the image; None: unknown.
        size: Its bytes; None: unknown.
        progress: Is told how many bytes were written.

    Returns:
        SHA-256 and bytes of what was written.

    Raises:
        ModelError: The source is damaged, or another image.
        StorageError: The target cannot be written to.
    """
    # for a disk: nobody else may have it, and it is not mounted (open(2))
    flags = os.O_WRONLY | (os.O_EXCL if target.is_block_device() else os.O_CREAT | os.O_TRUNC)
    try:
        descriptor = os.open(target, flags, 0o644)
    except OSError as error:
        raise StorageError(f"cannot write to {target}: {error.strerror}; is it in use, or do you need sudo?") from error
    with os.fdopen(descriptor, "wb") as disk:
        try:
            return _write(source, disk, digest, size, progress)
        except OSError as error:
            raise StorageError(f"{target} stopped taking bytes: {error.strerror}; try another card") from error


def _write(source: Path, disk: IO[bytes], digest: str | None, size: int | None, progress: Progress) -> tuple[str, int]:
    found, written, first = hashlib.sha256(), 0, b""
    disk.write(bytes(_CLEARED))
    disk.flush()
    os.fsync(disk.fileno())
    for chunk in _chunks(source):
        found.update(chunk)
        if not first:
            first = chunk
            disk.seek(len(chunk))
        else:
            disk.write(chunk)
        written += len(chunk)
        if size is not None and written > size:
            raise ModelError(f"{source} has more than {size} bytes in it: another image than the one that is meant")
        progress(written, size)
    if digest is not None and found.hexdigest() != digest:
        raise ModelError(f"{source} is another image than the one that is meant; the card does not start with it")
    disk.flush()
    os.fsync(disk.fileno())
    disk.seek(0)
    disk.write(first)
    disk.flush()
    os.fsync(disk.fileno())
    return found.hexdigest(), written


def _chunks(source: Path) -> Iterator[bytes]:
    try:
        with source.open("rb") as file:
            is_packed = file.read(len(_XZ)) == _XZ
        with lzma.open(source) if is_packed else source.open("rb") as image:
            while chunk := image.read(_CHUNK):
                yield chunk
    except (lzma.LZMAError, EOFError) as error:
        raise ModelError(f"{source} is damaged: {error}; remove it, and have it brought again") from error


def read_back(target: Path, digest: str, size: int, progress: Progress) -> None:
    """Read what was written, from the disk itself, and compare.

    Raises:
        StorageError: It gives back something else: the card is broken, or not as large as it says.
    """
    found, seen = hashlib.sha256(), 0
    try:
        with target.open("rb") as disk:
            os.posix_fadvise(disk.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # not what memory still has of it
            while seen < size and (chunk := disk.read(min(_CHUNK, size - seen))):
                found.update(chunk)
                seen += len(chunk)
                progress(seen, size)
    except OSError as error:
        raise StorageError(f"{target} cannot be read back: {error.strerror}; try another card") from error
    if found.hexdigest() != digest:
        raise StorageError(f"{target} gives back other bytes than were written: the card is broken; try another one")
