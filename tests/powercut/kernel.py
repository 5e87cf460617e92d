"""What of Linux a disk that remembers is made of: mounts, loop devices, and the file system protocol of /dev/fuse.

Layouts are those of linux/fuse.h (protocol 7.31) and linux/loop.h. Needs root, and a mount namespace of one's own: what
is left mounted when the process dies goes with it.
"""

import ctypes
import errno
import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_NOSUID_NODEV: Final = 2 | 4
_DETACH: Final = 2
_LOOP_CONFIGURE: Final = 0x4C0A
_LOOP_CTL_GET_FREE: Final = 0x4C82
_AUTOCLEAR: Final = 4  # the loop device goes with its last user


def mount(source: str, target: Path, kind: str, options: str = "") -> None:
    """Mount a file system.

    Raises:
        OSError: The kernel will not.
    """
    arguments = [text.encode() for text in (source, str(target), kind)]
    if _LIBC.mount(*arguments, ctypes.c_ulong(_NOSUID_NODEV), options.encode()):
        number = ctypes.get_errno()
        raise OSError(number, f"cannot mount {source} as {kind} with {options!r}: {os.strerror(number)}")


def unmount(target: Path, *, is_detached: bool = False) -> None:
    """Unmount it; `is_detached`: once nobody uses it any more.

    Raises:
        OSError: It is in use.
    """
    if _LIBC.umount2(str(target).encode(), _DETACH if is_detached else 0):
        number = ctypes.get_errno()
        raise OSError(number, f"cannot unmount {target}: {os.strerror(number)}")


def unmount_when_free(target: Path, within: float = 10.0) -> None:
    """Unmount it once loop devices, which go by themselves, have let go of its files.

    Raises:
        OSError: It is still in use after so many seconds.
    """
    deadline = time.monotonic() + within
    while True:
        try:
            unmount(target)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


@contextmanager
def attached(file: int, begin: int = 0, size: int = 0) -> Iterator[str]:
    """Give a loop device of an open file, which goes after this block, or with what was mounted from it in it.

    Args:
        file: Opened for reading and writing.
        begin: Where a partition begins, in bytes.
        size: Of the partition, in bytes; 0: all that follows.

    Raises:
        OSError: The kernel has none to give.
    """
    with ExitStack() as stack:
        control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
        stack.callback(os.close, control)
        for _ in range(100):
            number = fcntl.ioctl(control, _LOOP_CTL_GET_FREE)
            loop = os.open(f"/dev/loop{number}", os.O_RDWR | os.O_CLOEXEC)
            # struct loop_config: fd, block size, struct loop_info64 with offset and limit after 24 bytes, and its flags
            # after 52, reserved
            config = struct.pack("<II24xQQ12xI176x64x", file, 0, begin, size, _AUTOCLEAR)
            try:
                fcntl.ioctl(loop, _LOOP_CONFIGURE, config)
            except OSError as error:
                os.close(loop)
                if error.errno != errno.EBUSY:  # somebody else was quicker
                    raise
                continue
            stack.callback(os.close, loop)
            yield f"/dev/loop{number}"
            return
        raise OSError(errno.EBUSY, "no free loop device")


def mount_image(
    file: int, target: Path, options: str = "", *, kind: str = "ext4", begin: int = 0, size: int = 0
) -> None:
    """Mount the image in an open file, or the partition of it that `attached` gives, until it is unmounted.

    Raises:
        OSError: The kernel will not.
    """
    with attached(file, begin, size) as device:
        mount(device, target, kind, options)


LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE = 1, 2, 3, 4, 14, 15, 16, 17, 18
FSYNC, FLUSH, INIT, INTERRUPT, DESTROY, BATCH_FORGET = 20, 25, 26, 36, 38, 42
UNANSWERED: Final = frozenset({FORGET, BATCH_FORGET, INTERRUPT})
MOST_WRITE: Final = 1 << 20

_IN: Final = struct.Struct("<IIQQIIIHH")
_OUT: Final = struct.Struct("<IiQ")
_ATTRIBUTES: Final = struct.Struct("<QQQQQQIIIIIIIIII")


class Request:
    """One request of the kernel to a file system.

    Attributes:
        opcode: What is asked.
        node: Of which file.
        body: The rest.
    """

    def __init__(self, raw: bytes) -> None:
        _, self.opcode, self._unique, self.node, *_ = _IN.unpack_from(raw)
        self.body = raw[_IN.size :]

    def answer(self, body: bytes = b"", error: int = 0) -> bytes:
        """Give the answer as the kernel takes it."""
        return _OUT.pack(_OUT.size + len(body), -error, self._unique) + body


def connect(target: Path) -> int:
    """Mount a file system that this process serves; give the file on which requests come."""
    file = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    mount("recorder", target, "fuse", f"fd={file},rootmode=40000,user_id=0,group_id=0,max_read={MOST_WRITE}")
    return file


def welcome(request: Request) -> bytes:
    """Give the answer to INIT: no caches of the kernel's, big writes."""
    _, _, readahead, _ = struct.unpack_from("<IIII", request.body)
    big_writes, max_pages = 1 << 5, 1 << 22
    pages = MOST_WRITE // 4096
    return struct.pack(
        "<IIIIHHIIHHII24x", 7, 31, readahead, big_writes | max_pages, 16, 12, MOST_WRITE, 1, pages, 0, 0, 0
    )


def attributes(node: int, size: int, *, is_directory: bool = False) -> bytes:
    """Give what stat tells of a file."""
    mode = 0o040700 if is_directory else 0o100600
    blocks = (size + 511) // 512
    return _ATTRIBUTES.pack(node, size, blocks, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def attribute_answer(node: int, size: int, *, is_directory: bool = False) -> bytes:
    """Give the answer to GETATTR; the kernel asks anew each time."""
    return struct.pack("<QII", 0, 0, 0) + attributes(node, size, is_directory=is_directory)


def entry_answer(node: int, size: int) -> bytes:
    """Give the answer to LOOKUP."""
    return struct.pack("<QQQQII", node, 0, 0, 0, 0, 0) + attributes(node, size)


def open_answer() -> bytes:
    """Give the answer to OPEN: nothing is cached, every read and write comes here."""
    direct_io = 1
    return struct.pack("<QII", 0, direct_io, 0)
