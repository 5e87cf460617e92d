"""Writes an image to a disk or file and reads it back."""

import hashlib
import lzma
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, cast

from appliance.core.errors import ModelError, StorageError
from appliance.workbench.flashing.bootfs import boot_offset, partitions_end

Progress = Callable[[int, int | None], None]
_CHUNK = 4 << 20  # bytes
_CLEARED = 1 << 20  # bytes at the beginning, with the table of partitions: nothing starts from what is half written
_SECTOR = 512  # bytes
_XZ = b"\xfd7zXZ\0"


@contextmanager
def claimed(target: Path) -> Iterator[IO[bytes]]:
    """Give a disk or file to write to that is ours until the end; what is in it stays until `write_image`.

    Nobody can mount a disk, or a part of it, meanwhile: a desktop would like to, as soon as there is a table on it.

    Raises:
        StorageError: It is in use, or may not be written to.
    """
    # for a disk: nobody else may have it, and it is not mounted (open(2))
    flags = os.O_RDWR | (os.O_EXCL if target.is_block_device() else os.O_CREAT)
    try:
        descriptor = os.open(target, flags, 0o644)
    except OSError as error:
        raise StorageError(f"cannot write to {target}: {error.strerror}; is it in use, or do you need sudo?") from error
    with os.fdopen(descriptor, "wb", buffering=0) as disk:
        yield disk


def look_through(source: Path, digest: str | None, progress: Progress) -> int:
    """Read an image to its end, unpacked on the way, and give its bytes; blocks, and writes nothing.

    Args:
        source: An image, .xz or as it is.
        digest: SHA-256 of the image, or of the .xz file that it is in; None: unknown.
        progress: Is told how many bytes were read.

    Raises:
        ModelError: It is damaged, another image, or none that can start.
        StorageError: It cannot be read.
    """
    size = 0
    whole = _whole(source)
    for chunk in _Checked(source, digest, None).chunks():
        size += len(chunk)
        progress(size, whole)
    return size


def write_image(
    source: Path, disk: IO[bytes], digest: str | None, size: int | None, progress: Progress
) -> tuple[str, int]:
    """Write an image, unpacked on the way; blocks until it is on the disk.

    The beginning, which has the table of partitions, is written last and only if the whole is what was meant: what was
    broken off or is something else never starts.

    Args:
        source: An image, .xz or as it is.
        disk: What `claimed` gave.
        digest: SHA-256 of the image, or of the .xz file that it is in; None: unknown.
        size: Its bytes; None: unknown.
        progress: Is told how many bytes were written.

    Returns:
        SHA-256 and bytes of what was written.

    Raises:
        ModelError: The source is damaged, another image, or none that can start.
        StorageError: The target cannot be written to, or the source not be read.
    """
    try:
        return _write(source, disk, digest, size, progress)
    except OSError as error:
        raise StorageError(f"{disk.name} stopped taking bytes: {error.strerror}; try another card") from error


class _Hashing:
    """A file that is read once, and hashed on the way."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.found = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        chunk = self._file.read(size)
        self.found.update(chunk)
        return chunk


class _Checked:
    """An image that is given by and by; whoever has all of it has what was meant."""

    def __init__(self, source: Path, digest: str | None, size: int | None) -> None:
        self._source, self._wanted, self._size = source, digest, size
        self.found, self.seen = hashlib.sha256(), 0

    def chunks(self) -> Iterator[bytes]:
        """Give its parts in their order; the first is not given before it is seen that it can start."""
        head, packed = b"", None
        for chunk, file in _chunks(self._source):
            packed = file
            if not head:
                head = chunk[:_SECTOR]
                boot_offset(head)
            self.found.update(chunk)
            self.seen += len(chunk)
            if self._size is not None and self.seen > self._size:
                raise ModelError(f"{self._source} has more than {self._size} bytes in it: another image than is meant")
            yield chunk
        self._judge(head, packed)

    def _judge(self, head: bytes, packed: _Hashing | None) -> None:
        source, found = self._source, self.found.hexdigest()
        if not head or packed is None:
            raise ModelError(f"{source} has nothing in it; accepted: .img or .img.xz of Raspberry Pi OS")
        if self._wanted is not None and self._wanted not in (found, packed.found.hexdigest()):
            raise ModelError(
                f"{source} is another image than the one that is meant (its SHA-256 is {found}); bring it again"
            )
        if self.seen < (end := partitions_end(head)):
            raise ModelError(
                f"{source} is cut short: its partitions end at byte {end}, and it has {self.seen}; bring it again"
            )


def _write(source: Path, disk: IO[bytes], digest: str | None, size: int | None, progress: Progress) -> tuple[str, int]:
    image, first, written = _Checked(source, digest, size), b"", 0
    whole = size or _whole(source)
    for chunk in image.chunks():
        if not first:
            first = chunk
            _clear(disk)
        else:
            _put(disk, written, chunk)
        written += len(chunk)
        progress(written, whole)
    os.fsync(disk.fileno())
    _put(disk, 0, first)
    os.fsync(disk.fileno())
    return image.found.hexdigest(), written


def _clear(disk: IO[bytes]) -> None:
    """Have nothing that starts from what was there; of a file, nothing at all."""
    if stat.S_ISREG(os.fstat(disk.fileno()).st_mode):
        os.ftruncate(disk.fileno(), 0)
    _put(disk, 0, bytes(_CLEARED))
    os.fsync(disk.fileno())


def _put(disk: IO[bytes], offset: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        count = os.pwrite(disk.fileno(), left, offset)
        left, offset = left[count:], offset + count


def _whole(source: Path) -> int | None:
    """Give an image's bytes; None: it is packed, and nobody knows."""
    try:
        return None if _is_packed(source) else source.stat().st_size
    except OSError as error:
        raise _unreadable(source, error) from error


def _is_packed(source: Path) -> bool:
    with source.open("rb") as file:
        return file.read(len(_XZ)) == _XZ


def _unreadable(source: Path, error: OSError) -> StorageError:
    return StorageError(f"{source} cannot be read: {error.strerror}; it is the image and not the card that fails")


def _chunks(source: Path) -> Iterator[tuple[bytes, _Hashing]]:
    """Give an image by and by, unpacked, and the file it is in, as far as it was read."""
    try:
        with source.open("rb") as file:
            read = _Hashing(file)
            with lzma.open(cast("IO[bytes]", read)) if _is_packed(source) else nullcontext(read) as image:
                while chunk := image.read(_CHUNK):
                    yield chunk, read
    except (lzma.LZMAError, EOFError) as error:
        raise ModelError(f"{source} is damaged: {error}; remove it, and have it brought again") from error
    except OSError as error:
        raise _unreadable(source, error) from error


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
