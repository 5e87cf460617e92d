"""A disk that remembers: an image served through /dev/fuse, with every write and every flush in a log.

The kernel mounts `disk` through a loop device; `marks` takes lines which go into the same log, so that what a program
promised stands in it before or after each write, exactly as it was.
"""

import errno
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from tests.powercut import kernel

WRITE, FLUSH, MARK = 0, 1, 2
DISK, MARKS = 2, 3  # node numbers; 1 is the directory
_NAMES: Final = {b"disk": DISK, b"marks": MARKS}
_HEAD: Final = struct.Struct("<BQI")


@dataclass(frozen=True, slots=True)
class Operation:
    """Something that reached the disk, or a mark.

    Attributes:
        kind: WRITE, FLUSH or MARK.
        offset: Of a write, bytes.
        data: What was written, or the mark.
    """

    kind: int
    offset: int = 0
    data: bytes = b""


def read_log(path: Path) -> Iterator[Operation]:
    """Give what a log holds, in order."""
    with path.open("rb") as log:
        while head := log.read(_HEAD.size):
            kind, offset, size = _HEAD.unpack(head)
            yield Operation(kind, offset, log.read(size))


def write_log(log: IO[bytes], operation: Operation) -> None:
    """Add an operation to a log."""
    log.write(_HEAD.pack(operation.kind, operation.offset, len(operation.data)) + operation.data)


def serve(file: int, image: int, note: Callable[[Operation], None]) -> None:
    """Answer the kernel until it unmounts.

    Args:
        file: From `kernel.connect`.
        image: The disk's contents.
        note: Takes each operation, before it is answered.
    """
    disk = _Disk(image, note)
    while True:
        try:
            raw = os.read(file, kernel.MOST_WRITE + 4096)
        except OSError as error:
            if error.errno in {errno.EINTR, errno.ENOENT, errno.EAGAIN}:
                continue
            if error.errno == errno.ENODEV:  # unmounted
                return
            raise
        request = kernel.Request(raw)
        if request.opcode not in kernel.UNANSWERED:
            answer = disk.answer(request)
            with suppress(FileNotFoundError):  # who asked was killed, and waits no more
                os.write(file, answer)
        if request.opcode == kernel.DESTROY:
            return


class _Disk:
    def __init__(self, image: int, note: Callable[[Operation], None]) -> None:
        self._image, self._note = image, note
        self._size = os.fstat(image).st_size
        self._answers: dict[int, Callable[[kernel.Request], bytes]] = {
            kernel.INIT: lambda request: request.answer(kernel.welcome(request)),
            kernel.LOOKUP: self._look_up,
            kernel.GETATTR: self._tell,
            kernel.SETATTR: self._tell,
            kernel.OPEN: lambda request: request.answer(kernel.open_answer()),
            kernel.READ: self._read,
            kernel.WRITE: self._write,
            kernel.FSYNC: self._flush,
            kernel.STATFS: lambda request: request.answer(bytes(80)),
            **dict.fromkeys((kernel.RELEASE, kernel.FLUSH, kernel.DESTROY), lambda request: request.answer()),
        }

    def answer(self, request: kernel.Request) -> bytes:
        known = self._answers.get(request.opcode)
        return request.answer(error=errno.ENOSYS) if known is None else known(request)

    def _size_of(self, node: int) -> int:
        return self._size if node == DISK else 0

    def _look_up(self, request: kernel.Request) -> bytes:
        node = _NAMES.get(request.body.rstrip(b"\0"))
        if node is None:
            return request.answer(error=errno.ENOENT)
        return request.answer(kernel.entry_answer(node, self._size_of(node)))

    def _tell(self, request: kernel.Request) -> bytes:
        node = request.node
        return request.answer(kernel.attribute_answer(node, self._size_of(node), is_directory=node == 1))

    def _read(self, request: kernel.Request) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", request.body)
        return request.answer(os.pread(self._image, size, offset) if request.node == DISK else b"")

    def _write(self, request: kernel.Request) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", request.body)
        data = request.body[40 : 40 + size]
        if request.node == DISK:
            os.pwrite(self._image, data, offset)
            self._note(Operation(WRITE, offset, data))
        else:
            self._note(Operation(MARK, 0, data))
        return request.answer(struct.pack("<II", size, 0))

    def _flush(self, request: kernel.Request) -> bytes:
        if request.node == DISK:
            self._note(Operation(FLUSH))
        return request.answer()
