"""The disk that keeps the state: room, whether it can be written to, how worn it is."""

import os
import re
import shlex
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.core.checkup import CheckState, Outcome
from appliance.core.machine import DISK_LOW_MB

FULL_MB: Final = 4.0  # below it nothing is certain to be written
FEW_FILES: Final = 100  # free inodes
WORN: Final = 8  # of 11 steps of ten per cent each (JESD84-B51, DEVICE_LIFE_TIME_EST)
_SPENT: Final = 11
_NEAR_END: Final = {2: "most of its reserve is used up", 3: "its reserve is used up"}  # PRE_EOL_INFO
_REPLACE: Final = "replace the card or disk; keep /var/lib/edgecam (docs/OPERATING.md)"


@dataclass(frozen=True, slots=True)
class Disk:
    """Readings of one moment; None where the machine does not tell.

    Attributes:
        folder: What was looked at: the state's folder, or the nearest one above it that is there.
        free_mb: Room for a daemon that is not root, MB (10^6 bytes).
        size_mb: Of the file system, MB.
        free_files: Inodes that are free; None: the file system has no bound.
        is_read_only: It is mounted so.
        errors: How many the file system has noted since it was checked last (ext4).
        written_gb: In its life, GB (ext4).
        worn: Steps of ten per cent of its life that are used up, 1 to 11 (eMMC).
        near_end: 1 normal, 2 warning, 3 urgent (eMMC).
        mount_point: Where its file system is mounted.
    """

    folder: Path
    free_mb: float
    size_mb: float
    free_files: int | None
    is_read_only: bool
    errors: int | None = None
    written_gb: float | None = None
    worn: int | None = None
    near_end: int | None = None
    mount_point: Path = Path("/")


def read_disk(state_dir: Path, system: Path = Path("/sys")) -> Disk:
    """Take the readings; some file reads.

    Args:
        state_dir: Where the state is kept; it need not be there yet.
        system: Where the kernel tells of devices.

    Raises:
        OSError: Not even the root can be looked at.
    """
    state_dir = state_dir.absolute()
    folder = next(one for one in (state_dir, *state_dir.parents) if _is_reached(one) or one == one.parent)
    room = os.statvfs(folder)
    device = folder.stat().st_dev
    block = (system / "dev" / "block" / f"{os.major(device)}:{os.minor(device)}").resolve()
    ext4 = system / "fs" / "ext4" / block.name
    # a partition lies below its disk, which has the link to the chip
    chip = next((one / "device" for one in (block, block.parent) if (one / "device" / "life_time").is_file()), None)
    written = _number(ext4 / "lifetime_write_kbytes")
    return Disk(
        folder,
        room.f_bavail * room.f_frsize / 1e6,
        room.f_blocks * room.f_frsize / 1e6,
        room.f_favail if room.f_files else None,
        bool(room.f_flag & os.ST_RDONLY),
        errors=_number(ext4 / "errors_count"),
        written_gb=None if written is None else written * 1024 / 1e9,
        worn=_number(chip / "life_time") if chip else None,
        near_end=_number(chip / "pre_eol_info") if chip else None,
        mount_point=_mount_point_of(folder),
    )


def judge_disk(disk: Disk) -> list[Outcome]:
    """Tell whether the disk can keep the state (``disk``), and for how long (``disk.wear``)."""
    return [_judge_room(disk), _judge_wear(disk)]


def _judge_room(disk: Disk) -> Outcome:
    seen = f"{disk.free_mb:,.0f} of {disk.size_mb:,.0f} MB free at {disk.folder}"
    if disk.is_read_only:
        mount = f"sudo mount -o remount,rw {shlex.quote(str(disk.mount_point))}"
        fix = f"{mount}; where it comes back so, look into dmesg: the card may be broken"
        return Outcome("disk", CheckState.FAILED, f"{disk.folder} is mounted read-only: no message can be kept", fix)
    if disk.free_mb < FULL_MB:
        return Outcome("disk", CheckState.FAILED, f"full: {seen}", "free some space: sudo journalctl --vacuum-size=50M")
    if disk.free_files is not None and disk.free_files < FEW_FILES:
        what = f"full: room for {disk.free_files} more files at {disk.folder}"
        return Outcome("disk", CheckState.FAILED, what, "delete files; du --inodes -x / tells where they are")
    if disk.free_mb < DISK_LOW_MB:
        return Outcome("disk", CheckState.WARNING, seen, "free some space; otherwise the oldest messages give way")
    return Outcome("disk", CheckState.OK, seen)


def _judge_wear(disk: Disk) -> Outcome:
    known = []
    if disk.worn:
        known.append("its life is over" if disk.worn >= _SPENT else f"up to {disk.worn * 10} % of its life used up")
    if disk.written_gb is not None:
        known.append(f"{disk.written_gb:,.1f} GB written in all")
    seen = ", ".join(known)
    if disk.errors:
        what = f"the file system has noted {disk.errors} errors" + (f"; {seen}" if seen else "")
        return Outcome(
            "disk.wear", CheckState.FAILED, what, "have it checked at the next start (fsck), and look into dmesg"
        )
    if disk.near_end in _NEAR_END or (disk.worn or 0) >= WORN:
        ending = _NEAR_END.get(disk.near_end or 0, "")
        return Outcome("disk.wear", CheckState.WARNING, ", ".join(filter(None, (ending, seen))), _REPLACE)
    if not seen:
        return Outcome("disk.wear", CheckState.SKIPPED, "the disk tells nothing of its wear; SD cards seldom do")
    return Outcome("disk.wear", CheckState.OK, seen)


def _mount_point_of(folder: Path) -> Path:
    there = folder.resolve()  # a link may lead to another file system than the one it lies on
    return next(one for one in (there, *there.parents) if os.path.ismount(one) or one == one.parent)


def _is_reached(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except OSError:  # this user may not look so far
        return False


def _number(path: Path) -> int | None:
    """Give the largest number in a file of the kernel's, decimal or 0x…; None where there is none."""
    with suppress(OSError, ValueError):
        with path.open(encoding="ascii") as file:
            found = re.findall(r"0x[0-9a-fA-F]+|\d+", file.read(200))
        return max(int(each, 0) for each in found)
    return None
