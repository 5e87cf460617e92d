"""A boot partition that takes nothing more: a real one of little room, or a folder that gives the kernel's errors."""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol

import pytest

_PAGE: Final = 4096  # bytes; room is given in these
_ROOM: Final = 32  # pages
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class BootPartition(Protocol):
    """What can befall it.

    Attributes:
        place: Its folder.
    """

    place: Path

    def fill(self) -> None:
        """Take all room there is."""

    def clear(self) -> None:
        """Give that room back."""

    def protect(self) -> None:
        """Be read-only from now on."""

    def unprotect(self) -> None:
        """Be written to again."""


class Mounted:
    """A real one, in memory, for not every kernel knows FAT."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def fill(self) -> None:
        with (self.place / "ballast").open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(512)):
                pass
        assert os.statvfs(self.place).f_bavail == 0

    def clear(self) -> None:
        (self.place / "ballast").unlink()

    def protect(self) -> None:
        subprocess.run(["mount", "-o", "remount,ro", self.place], check=True)

    def unprotect(self) -> None:
        subprocess.run(["mount", "-o", "remount,rw", self.place], check=True)


@contextmanager
def mounted(place: Path) -> Iterator[Mounted]:
    """Mount one in the place of a folder, with what is in it; without root the test is skipped."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts a partition")
    given = {path.name: path.read_bytes() for path in place.iterdir()}
    options = f"size={_ROOM * _PAGE}"
    command: list[str | Path] = ["mount", "-t", "tmpfs", "-o", options, "edgecam-card", place]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        for name, content in given.items():
            (place / name).write_bytes(content)
        yield Mounted(place)
    finally:
        subprocess.run(["umount", place], check=True)


class Failing:
    """A folder whose files are written as the kernel would let them be; it needs no root.

    Where it is full, what was written anew gets no name: that is when the outcome of a write is known at the latest.
    """

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.place = place
        self._is_full = self._is_read_only = False
        self._room = 0  # pages, once it is full
        for module, name in ((os, "open"), (os, "replace"), (os, "unlink"), (Path, "open")):
            monkeypatch.setattr(module, name, self._around(getattr(module, name), name))

    def fill(self) -> None:
        (self.place / "ballast").write_bytes(bytes((_ROOM - self._taken()) * _PAGE))
        self._is_full, self._room = True, self._taken()

    def clear(self) -> None:
        (self.place / "ballast").unlink()

    def protect(self) -> None:
        self._is_read_only = True

    def unprotect(self) -> None:
        self._is_read_only = False

    def _around(self, act: Callable[..., Any], name: str) -> Callable[..., Any]:
        def refuse_or_act(path: str | bytes | Path, *arguments: Any, **named: Any) -> Any:
            if Path(os.fsdecode(path)).parent == self.place:
                if self._is_read_only and (name in ("replace", "unlink") or _is_to_write(*arguments, **named)):
                    raise OSError(errno.EROFS, os.strerror(errno.EROFS), os.fsdecode(path))
                if self._is_full and name == "replace" and self._taken() > self._room:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fsdecode(path))
            return act(path, *arguments, **named)

        return refuse_or_act

    def _taken(self) -> int:
        return sum(_pages(path) for path in self.place.iterdir())


def _pages(path: Path) -> int:
    return -(-path.stat().st_size // _PAGE)


def _is_to_write(how: str | int = "r", *_: Any, **__: Any) -> bool:
    """Tell it of the mode of `Path.open` or the flags of `os.open`."""
    return bool(how & _WRITES) if isinstance(how, int) else any(letter in how for letter in "wax+")
