"""A device that has just been flashed, below a folder: its files are real, its programs do what they do to files."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.core.errors import UnavailableError
from appliance.provisioning.system import Account, Places

ACCOUNTS = {"edgecam": Account(991, 991, Path("/var/lib/edgecam"))}
GROUPS = ("sudo", "adm", "video", "edgecam", "systemd-journal")


class Cut(BaseException):
    """The power is gone."""


class NewDevice:
    """The seam to the machine's programs, and what was asked of it.

    Args:
        root: An empty folder.
        serial: Of its board.
        programs: What is installed.
    """

    def __init__(self, root: Path, serial: str = "10000000aa", programs: tuple[str, ...] = ()) -> None:
        self.places, self.programs = Places(root), {"openssl", "sshd", *programs}
        self.asked: list[tuple[str, ...]] = []
        self.accounts = dict(ACCOUNTS)
        for folder in ("boot/firmware", "etc/ssh", "etc/edgecam", "etc/sudoers.d", "etc/cloud/cloud.cfg.d", "var/lib"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        zones = root / "usr/share/zoneinfo/Europe"
        zones.mkdir(parents=True, exist_ok=True)
        (zones / "London").write_bytes(b"TZif")
        self.write("/usr/share/zoneinfo/iso3166.tab", "# codes\nFR\tFrance\nGB\tBritain (UK)\n")
        self.write("/etc/hostname", "raspberrypi\n")
        self.write("/etc/hosts", "127.0.0.1\tlocalhost\n127.0.1.1\traspberrypi\n")
        self.write("/etc/machine-id", f"{'0' * 31}1\n")
        self.write("/etc/group", "".join(f"{name}:x:1:\n" for name in GROUPS))
        self.write("/etc/ssh/ssh_host_ed25519_key", "of the image")
        self.move(serial)

    def write(self, path: str, text: str) -> None:
        place = self.places.at(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def read(self, path: str) -> str:
        return self.places.at(path).read_text()

    def move(self, serial: str) -> None:
        """Have the card in a board of this serial number."""
        self.write("/proc/device-tree/serial-number", f"{serial}\0")

    def has(self, program: str) -> bool:
        return program in self.programs

    def run(self, *command: str) -> str:
        self.asked.append(command)
        if command[0] == "useradd":
            home = Path("/home", command[-1])
            self.places.at(home).mkdir(parents=True, exist_ok=True)
            if command[-1] in self.accounts:
                raise UnavailableError("useradd: it exists")
            self.accounts[command[-1]] = Account(1000, 1000, home)
        elif command[0] == "openssl":
            name = command[command.index("-subj") + 1] if "-subj" in command else "nobody"
            made = f"{command[1]} {name} {os.urandom(8).hex()}\n"
            Path(command[command.index("-out") + 1]).write_text(made)
        elif command[:2] == ("ssh-keygen", "-A"):
            key = "/etc/ssh/ssh_host_ed25519_key"
            if not self.places.at(key).exists():
                self.write(key, os.urandom(8).hex())
        return ""

    def account(self, name: str) -> Account | None:
        return self.accounts.get(name)


class Moments:
    """Cuts the power before or after a file gets its name, is removed, or a program runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._left: int | None = None
        monkeypatch.setattr(os, "fsync", lambda _: None)  # a hundred devices: what was written is read by this machine
        for name in ("replace", "unlink", "chown", "pwrite"):
            monkeypatch.setattr(os, name, self._around(getattr(os, name)))

    def arm(self, device: NewDevice, number: int) -> None:
        self._left = number
        device.run = self._around(device.run)  # type: ignore[method-assign]

    def disarm(self) -> None:
        self._left = None

    def _around(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def cut_or_act(*arguments: Any, **named: Any) -> Any:
            self._tick()
            result = act(*arguments, **named)
            self._tick()
            return result

        return cut_or_act

    def _tick(self) -> None:
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                raise Cut
