"""What setting up asks of the machine: where its files are, and the programs that it runs."""

import os
import pwd
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from appliance.core.errors import UnavailableError
from appliance.core.files import make_folder, write_atomically

WITHIN: Final = 60.0
"""Seconds after which a program is taken for stuck."""

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MOST_SAID = 300  # characters
_SETUP_NAME = "edgecam-setup.toml"


@dataclass(frozen=True, slots=True)
class Account:
    """A user: number, group's number, home."""

    uid: int
    gid: int
    home: Path


class System(Protocol):
    """The programs and accounts of a machine."""

    def has(self, program: str) -> bool:
        """Tell whether a program is installed."""

    def run(self, *command: str) -> str:
        """Run a program, without anything secret among its arguments, and give what it prints.

        Raises:
            UnavailableError: It is missing, fails, or takes too long.
        """

    def account(self, name: str) -> Account | None:
        """Give an account; None: there is none of that name."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the machine's files are.

    Attributes:
        root: The folder that everything is below; ``/`` but in tests.
    """

    root: Path = field(default=Path("/"))

    @property
    def boot(self) -> Path:
        """The partition that other computers can read, and that can be written to here.

        /boot/firmware in Raspberry Pi OS; /bootfs where that one is part of a slot.
        """
        known = (self.at(path) for path in ("/bootfs", "/boot/firmware"))
        return next((path for path in known if path.is_dir()), self.at("/boot"))

    @property
    def setup_file(self) -> Path:
        """What the owner asks."""
        return self.boot / _SETUP_NAME

    @property
    def state(self) -> Path:
        """What is to be done and what is done; for root alone, for what stands there is carried out."""
        return self.at("/var/lib/edgecam-setup")

    @property
    def configuration(self) -> Path:
        """Edgecam's configuration."""
        return self.at("/etc/edgecam/edgecam.toml")

    def at(self, path: str | Path) -> Path:
        """Give the place of an absolute path."""
        return self.root / str(path).lstrip("/")


class LocalSystem:
    """This machine."""

    def has(self, program: str) -> bool:
        """Tell whether a program is installed."""
        return any(os.access(Path(folder, program), os.X_OK) for folder in _PATH.split(":"))

    def run(self, *command: str) -> str:
        """Run a program and give what it prints.

        Raises:
            UnavailableError: It is missing, fails, or takes too long.
        """
        clean = {"PATH": _PATH, "LC_ALL": "C.UTF-8"}
        try:
            done = subprocess.run(  # noqa: S603 - names of programs are ours, arguments were checked
                command, capture_output=True, text=True, timeout=WITHIN, check=False, env=clean, errors="replace"
            )
        except subprocess.TimeoutExpired as error:
            raise UnavailableError(f"{command[0]} did not end within {WITHIN:.0f} s") from error
        except OSError as error:
            raise UnavailableError(f"{command[0]} cannot be run: {error.strerror}") from error
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).split())[:_MOST_SAID]
            raise UnavailableError(f"`{' '.join(command)}` failed with {done.returncode}: {said or 'it says nothing'}")
        return done.stdout

    def account(self, name: str) -> Account | None:
        """Give an account; None: there is none of that name."""
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            return None
        return Account(found.pw_uid, found.pw_gid, Path(found.pw_dir))


def place_file(
    path: Path, content: bytes, mode: int, owner: tuple[int, int] | None = None, *, shown: Path | None = None
) -> bool:
    """Have a file with this content, mode and owner; give whether anything had to be changed.

    Args:
        path: Where; folders above it are made.
        content: What it holds.
        mode: Of the file.
        owner: Numbers of user and group; None: whoever calls.
        shown: By what name an owner knows the file, where `path` goes by a descriptor.

    Raises:
        StorageError: It cannot be written.
    """
    if is_placed(path, content, mode, owner):
        return False
    make_folder(path.parent)
    write_atomically(path, content, mode, owner, shown=shown)
    return True


def is_placed(path: Path, content: bytes, mode: int, owner: tuple[int, int] | None = None) -> bool:
    """Tell whether a file is there with this content, mode and owner."""
    try:
        told = path.lstat()
        is_same = (told.st_mode & 0o170777) == (0o100000 | mode) and told.st_size == len(content)
        if owner is not None and (told.st_uid, told.st_gid) != owner:
            return False
        return is_same and path.read_bytes() == content
    except OSError:
        return False
