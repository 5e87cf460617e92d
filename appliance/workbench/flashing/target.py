"""What a card would be written over: a disk's facts, and whether that may be."""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.core.errors import ConfigError

_SYSTEM = ("/", "/boot", "/boot/efi", "/boot/firmware", "/efi", "/home", "/nix", "/opt", "/srv", "/usr", "/var")
_SECTOR = 512  # bytes: the unit of /sys/block/*/size


@dataclass(frozen=True, slots=True)
class Target:
    """Where an image would go.

    Attributes:
        path: The device or file.
        is_disk: It is a disk, and not a file.
        size: Its bytes; of a file that is not there, what is free on its disk.
        title: What it is, for people.
        is_card: It can be pulled out: a card, or on USB.
        mounts: Where it, or a part of it, is mounted.
        uses: What else holds it: swap, encryption, a volume group.
        whole: Of a part of a disk: the disk; empty: it is whole.
        sequence: A number that the kernel gives no second disk or card; empty: it gives none (before 5.15).
        is_used: It is a file with something in it.
    """

    path: Path
    is_disk: bool
    size: int
    title: str
    is_card: bool = False
    mounts: Sequence[str] = ()
    uses: Sequence[str] = ()
    whole: str = ""
    sequence: str = ""
    is_used: bool = False


def refusal(target: Target, needed: int, *, is_fixed_wanted: bool) -> str:
    """Tell why an image must not go there; empty: it may.

    Args:
        target: Where it would go.
        needed: Bytes of the image.
        is_fixed_wanted: The owner says that a disk which cannot be pulled out is meant.
    """
    if target.whole:
        return f"{target.path} is a part of a disk: give the whole, /dev/{target.whole}"
    system = [place for place in target.mounts if place in _SYSTEM]
    if system or target.uses:
        return f"{target.path} is in use by this system ({', '.join([*system, *target.uses])}): it is never written to"
    if target.mounts:
        return f"{target.path} is mounted at {', '.join(target.mounts)}; do: sudo umount {' '.join(target.mounts)}"
    if target.is_disk and not target.is_card and not is_fixed_wanted:
        return f"{target.path} ({target.title}) cannot be pulled out: is it meant? Then say so with --fixed"
    if target.size < needed:
        return f"{target.path} has {target.size / 1e9:.1f} GB, and the system needs {needed / 1e9:.1f}"
    return ""


def is_another(before: Target, now: Target) -> bool:
    """Tell whether another disk has come to a path, between two looks at it."""
    return (before.is_disk, now.is_disk) != (False, False) and (
        (before.title, before.sequence) != (now.title, now.sequence)
    )


def read_target(path: Path, sys: Path = Path("/sys"), proc: Path = Path("/proc")) -> Target:
    """Read what is at a path; a file may also not be there yet.

    Args:
        path: A disk such as /dev/sdb, or a file.
        sys: Where the kernel tells of disks.
        proc: Where it tells of what is mounted.

    Raises:
        ConfigError: It is neither, or cannot be looked at.
    """
    try:
        told = path.stat()
    except FileNotFoundError:
        if not path.parent.is_dir() or path.parent == Path("/dev"):
            raise ConfigError(f"{path} is not there; `lsblk` shows the disks") from None
        return _file(path, 0)
    except OSError as error:
        raise ConfigError(f"cannot look at {path}: {error.strerror}") from error
    if stat.S_ISREG(told.st_mode):
        return _file(path, told.st_size)
    if not stat.S_ISBLK(told.st_mode):
        raise ConfigError(f"{path} is neither a disk nor a file; `lsblk` shows the disks")
    return _disk(path, told.st_rdev, sys, proc)


def _file(path: Path, size: int) -> Target:
    space = os.statvfs(path.parent)
    free = space.f_bavail * space.f_frsize
    return Target(path, is_disk=False, size=size + free, title="a file", is_card=True, is_used=size > 0)


def _disk(path: Path, number: int, sys: Path, proc: Path) -> Target:
    place = (sys / "dev/block" / f"{os.major(number)}:{os.minor(number)}").resolve()
    parts = [place, *(child for child in place.glob(f"{place.name}*") if (child / "dev").exists())]
    numbers = {_line(part / "dev") for part in parts}
    names = {f"/dev/{part.name}" for part in parts}
    uses = [f"/dev/{holder.name}" for part in parts for holder in (part / "holders").glob("*")]
    uses += ["swap" for line in _lines(proc / "swaps") if line.split()[:1] and line.split()[0] in names]
    maker = " ".join(filter(None, [_line(place / "device/vendor"), _line(place / "device/model")]))
    size = int(_line(place / "size") or 0) * _SECTOR
    can_go = _line(place / "removable") == "1" or "/usb" in str(place) or "/mmc_host/" in str(place)
    return Target(
        path,
        is_disk=True,
        size=size,
        title=f"{maker or _line(place / 'device/name') or place.name}, {size / 1e9:.1f} GB",
        is_card=can_go,
        mounts=tuple(_mounts(numbers, names, proc)),
        uses=tuple(uses),
        whole=place.parent.name if (place / "partition").exists() else "",
        sequence=_line(place / "diskseq"),
    )


def _mounts(numbers: set[str], names: set[str], proc: Path) -> list[str]:
    """Give where devices are mounted: by number, and by name, for some file systems have numbers of their own."""
    found = []
    for line in _lines(proc / "self/mountinfo"):  # proc_pid_mountinfo(5)
        before, _, after = line.partition(" - ")
        fields, source = before.split(), after.split()[1:2]
        if fields[2] in numbers or (source and source[0] in names):
            found.append(fields[4].encode().decode("unicode_escape"))
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _line(path: Path) -> str:
    return (_lines(path) or [""])[0].strip()
