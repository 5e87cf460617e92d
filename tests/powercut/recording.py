"""Runs a scenario on a fresh ext4 file system and gives the log of all that reached its disk."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.powercut import kernel, recorder
from tests.powercut.cuts import Cut, as_file, cuts
from tests.powercut.recorder import FLUSH, WRITE, Operation

IMAGE_BYTES: Final = 24 << 20
# small groups, so that there are spare superblocks: a torn one is repaired from them when a machine boots
MAKE: Final = (
    "-q",
    "-F",
    "-b",
    "4096",
    "-g",
    "2048",
    "-J",
    "size=4",
    "-m",
    "0",
    "-E",
    "lazy_itable_init=0,lazy_journal_init=0",
)
ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Recording:
    """What a scenario did to the disk.

    Attributes:
        base: The disk before.
        log: Writes, flushes and marks, in their order.
        marks: What had been promised before.
    """

    base: bytes
    log: list[Operation]
    marks: Sequence[dict[str, Any]] = ()

    @property
    def bytes_written(self) -> int:
        """Bytes that reached the disk."""
        return sum(len(one.data) for one in self.log if one.kind == WRITE)

    @property
    def flushes(self) -> int:
        """How often it was told to make sure of them."""
        return sum(one.kind == FLUSH for one in self.log)


def missing() -> str:
    """Give what this machine lacks for recordings; empty when it lacks nothing."""
    if os.geteuid() != 0:
        return "needs root, to mount"
    for node in ("/dev/fuse", "/dev/loop-control"):
        if not os.access(node, os.R_OK | os.W_OK):
            return f"needs {node}"
    for program in ("mkfs.ext4", "unshare"):
        if not any(os.access(Path(folder, program), os.X_OK) for folder in (*os.get_exec_path(), "/usr/sbin", "/sbin")):
            return f"needs {program}: apt-get install e2fsprogs util-linux"
    tried = subprocess.run([*_OWN_MOUNTS, "true"], capture_output=True, text=True, check=False)
    # as in a chroot, whose root is no mount
    return f"needs mounts of its own: {tried.stderr.strip()}" if tried.returncode else ""


def make_file_system(image: Path, size: int = IMAGE_BYTES) -> None:
    """Make an ext4 file system in a file, with blocks as large as on a card."""
    image.touch()
    os.truncate(image, size)
    subprocess.run(["mkfs.ext4", *MAKE, str(image)], check=True, env=os.environ | {"PATH": _PATH})


def move_to_own_mounts(module: str) -> None:
    """Run this module again where its mounts are seen by nobody else and go with the process; return once it is so."""
    if "EDGECAM_POWERCUT" in os.environ:
        return
    command = [*_OWN_MOUNTS, sys.executable, "-m", module, *sys.argv[1:]]
    os.execvpe(command[0], command, os.environ | {"EDGECAM_POWERCUT": "1"})  # noqa: S606 - as any shell would


def record(name: str) -> Recording:
    """Run the scenario of this name in a process of its own on a recorded disk."""
    from tests.powercut.scenarios import SCENARIOS

    scenario = SCENARIOS[name]
    before = left_by(record(scenario.begins_after)) if scenario.begins_after else None
    with tempfile.TemporaryDirectory(prefix="powercut-", dir=_memory()) as aside:
        command = (sys.executable, "-m", "tests.powercut", "--stage", name)
        return record_program(command, Path(aside), prepare=scenario.prepare, before=before)


def record_program(
    command: Sequence[str],
    aside: Path,
    *,
    size: int = IMAGE_BYTES,
    prepare: Callable[[Path], None] = lambda _: None,
    before: Cut | None = None,
) -> Recording:
    """Run a program on a recorded disk.

    Args:
        command: The program; gets where the disk is mounted, where to write marks, and `aside`.
        aside: Folder for what is no part of the disk.
        size: Bytes of the disk.
        prepare: Puts on the disk what is there before; it is not recorded.
        before: The disk that a cut has left, in place of a new one.
    """
    with tempfile.TemporaryDirectory(prefix="powercut-", dir=_memory()) as folder:
        work = Path(folder)
        image, log = work / "image", work / "log"
        if before is not None:
            image.write_bytes(before.disk)
        else:
            make_file_system(image, size)
            with image.open("r+b") as file, _mounted(file.fileno(), work / "prepared") as disk:
                prepare(disk)
        base = image.read_bytes()
        with _served(image, log, work / "fuse") as fuse:
            file = os.open(fuse / "disk", os.O_RDWR)
            try:
                with _mounted(file, work / "disk") as disk:
                    subprocess.run([*command, str(disk), str(fuse / "marks"), str(aside)], check=True, cwd=ROOT)
            finally:
                os.close(file)
        return Recording(base, list(recorder.read_log(log)), before.marks if before is not None else ())


def left_by(recording: Recording) -> Cut:
    """Give the disk of a cut in the middle, where something is always half done."""
    found = list(cuts(recording.base, recording.log, 9, seed=len(recording.log)))
    return found[len(found) // 2]


@contextmanager
def after(cut: Cut, target: Path) -> Iterator[Path]:
    """Mount the disk that a cut has left; where that fails, after a repair, as a machine does when it boots.

    Raises:
        OSError: It cannot be mounted even so.
    """
    file = as_file(cut.disk)
    try:
        target.mkdir(exist_ok=True)
        try:
            kernel.mount_image(file, target)
        except OSError:
            # from a spare superblock, which it looks for where large groups would have it
            command = ["e2fsck", "-f", "-y", "-b", "2048", "-B", "4096", f"/proc/{os.getpid()}/fd/{file}"]
            subprocess.run(command, capture_output=True, check=False, env=os.environ | {"PATH": _PATH})
            kernel.mount_image(file, target)
        with _unmounted(target):
            yield target
    finally:
        os.close(file)


_PATH: Final = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
_OWN_MOUNTS: Final = ("unshare", "--mount", "--propagation", "private")


def _memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - a directory of our own is made in it


@contextmanager
def _mounted(file: int, target: Path) -> Iterator[Path]:
    target.mkdir(exist_ok=True)
    kernel.mount_image(file, target)
    with _unmounted(target):
        yield target


@contextmanager
def _unmounted(target: Path) -> Iterator[None]:
    """Unmount at the end of the block, whatever still holds it where that has failed."""
    try:
        yield
    except BaseException:
        kernel.unmount(target, is_detached=True)
        raise
    kernel.unmount(target)


@contextmanager
def _served(image: Path, log: Path, target: Path) -> Iterator[Path]:
    """Serve an image as a disk that remembers, from a process of its own."""
    target.mkdir()
    requests = kernel.connect(target)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with image.open("r+b") as file, log.open("wb") as out:
                recorder.serve(requests, file.fileno(), partial(recorder.write_log, out))
            status = 0
        finally:
            os._exit(status)
    os.close(requests)
    try:
        yield target
        kernel.unmount_when_free(target)
    except BaseException:
        kernel.unmount(target, is_detached=True)
        raise
    finally:
        os.waitpid(child, 0)
