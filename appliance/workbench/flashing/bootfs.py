"""Puts files onto the boot partition of an image or disk, without mounting it: through mtools."""

import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from appliance.core.errors import ModelError, StorageError, UnsupportedError

_FAT = (0x06, 0x0B, 0x0C, 0x0E)  # kinds of partitions in a master boot record
_SECTOR, _TABLE, _ENTRY, _ENTRIES = 512, 446, 16, 4
_TIMEOUT = 600.0
_KERNEL_LINE = "cmdline.txt"
_LIMITS = b"cgroup_enable=memory"


def boot_offset(head: bytes) -> int:
    """Give the byte at which the first partition begins.

    Args:
        head: The first 512 bytes: the master boot record.

    Raises:
        ModelError: There is no such table, or its first partition is not FAT: it is no image of Raspberry Pi OS.
    """
    if len(head) < _SECTOR or head[510:512] != b"\x55\xaa":
        raise ModelError("the image has no table of partitions; accepted: .img or .img.xz of Raspberry Pi OS")
    kind, start = struct.unpack_from("<4xB3xI", head, _TABLE)
    if kind not in _FAT or start == 0:
        raise ModelError(f"the first partition is of kind {kind:#04x} and not FAT; is it an image of Raspberry Pi OS?")
    return int(start) * _SECTOR


def partitions_end(head: bytes) -> int:
    """Give the byte at which the last partition ends: an image that has fewer was cut short.

    Args:
        head: As for `boot_offset`, which it was given to before.
    """
    entries = (struct.unpack_from("<II", head, _TABLE + _ENTRY * number + 8) for number in range(_ENTRIES))
    return max(int(start + count) * _SECTOR for start, count in entries)


def with_memory_limits(line: bytes) -> bytes:
    """Give the kernel's line with what has it hold services to their memory: Raspberry Pi's does so only if asked.

    The firmware's own words come first, and the later word counts (github.com/raspberrypi/linux/issues/6980).
    """
    first, end, rest = line.partition(b"\n")
    return line if _LIMITS in first.split() else first.rstrip() + b" " + _LIMITS + end + rest


def check_tools() -> None:
    """See that what `put_files` needs is installed.

    Raises:
        UnsupportedError: It is not.
    """
    if shutil.which("mcopy") is None:
        raise UnsupportedError("mtools is missing; do: sudo apt-get install mtools")


def put_files(target: Path, folder: Path) -> None:
    """Put all of a folder onto the boot partition, over what is there, and read it back; blocks.

    The kernel's line there is made to hold services to their memory.

    Raises:
        ModelError: It has no boot partition, or none of Raspberry Pi OS.
        StorageError: There is no room, or what is read back is something else.
        UnsupportedError: mtools is not installed.
    """
    check_tools()
    with target.open("rb") as disk:
        place = f"{target}@@{boot_offset(disk.read(_SECTOR))}"
    entries = sorted(folder.iterdir())
    with tempfile.TemporaryDirectory() as made:
        line = Path(made, _KERNEL_LINE)
        _read_line(place, line)
        line.write_bytes(wanted := with_memory_limits(line.read_bytes()))
        _mcopy("-i", place, "-s", "-o", "-Q", *map(str, [*entries, line]), "::/")
    descriptor = os.open(target, os.O_RDWR)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
    with tempfile.TemporaryDirectory() as back:
        _mcopy("-i", place, "-s", "-n", *(f"::/{entry.name}" for entry in entries), back)
        _compare(folder, Path(back))
        _read_line(place, line := Path(back, _KERNEL_LINE))
        if line.read_bytes() != wanted:
            raise StorageError(f"{_KERNEL_LINE} is another one on the card than was written: try another card")


def _read_line(place: str, into: Path) -> None:
    try:
        _mcopy("-i", place, "-n", f"::/{_KERNEL_LINE}", str(into))
    except StorageError as error:
        raise ModelError(f"the boot partition gives no {_KERNEL_LINE}; is it an image of Raspberry Pi OS?") from error


def _compare(folder: Path, back: Path) -> None:
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if path.is_file() and path.read_bytes() != (back / name).read_bytes():
            raise StorageError(f"{name} is another one on the card than was written: try another card")


def _mcopy(*arguments: str) -> None:
    # its own settings only: a user's may name other disks
    clean = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "MTOOLSRC": "/dev/null", "MTOOLS_SKIP_CHECK": "1"}
    done = _run(["mcopy", *arguments], clean)
    if done.returncode:
        said = " ".join(done.stderr.split())[:300]
        raise StorageError(f"the boot partition does not take the files: {said or 'mcopy says nothing'}")


def _run(command: Sequence[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - mtools, with paths of the owner's
            command, capture_output=True, text=True, timeout=_TIMEOUT, check=False, env=environment, errors="replace"
        )
    except subprocess.TimeoutExpired as error:
        raise StorageError(f"the card took nothing for {_TIMEOUT:.0f} s: try another one") from error
