"""Files that are in memory only, for other processes of ours: no disk ever sees what is in them."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def memory_file(content: bytes | int) -> Iterator[int]:
    """Give an open file in memory, with this content or of this size; a child cannot make it larger or smaller.

    Args:
        content: Nobody can change it any more; or how many bytes there are to be, which may be written.
    """
    file = os.memfd_create("edgecam", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        if isinstance(content, int):
            os.truncate(file, content)
        else:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(file, rest) :]
        # or the first look at what a child has cut off would end this process with SIGBUS
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals | (0 if isinstance(content, int) else fcntl.F_SEAL_WRITE))
        yield file
    finally:
        os.close(file)


def read_memory_file(file: int) -> bytes:
    """Give what is in such a file, whoever has read it before."""
    size, at, parts = os.fstat(file).st_size, 0, []
    while at < size and (part := os.pread(file, size - at, at)):
        parts.append(part)
        at += len(part)
    return b"".join(parts)
