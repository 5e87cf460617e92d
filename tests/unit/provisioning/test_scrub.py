"""Copies of the setup file that its owner's programs have left beside it."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from tests.simulators.new_device import NewDevice
from tests.simulators.owner import BROKER, WHOLE, boot


def test_a_copy_is_named_though_hundreds_of_files_lie_before_it_and_the_rest_is_counted(device: NewDevice) -> None:
    for number in range(210):
        device.write(f"/boot/firmware/a{number:03}", "of the system\n")
    device.write("/boot/firmware/edgecam-setup.toml.bak", WHOLE)
    boot(device)
    text = device.read("/boot/firmware/edgecam-setup-report.txt")
    assert "PASSWORDS ARE STILL ON THE CARD: edgecam-setup.toml.bak has one of them" in text
    # 200 are looked into: the copy, ca.pem is the last by name, and 199 of these
    assert "12 files were not looked into for passwords, a199 for one" in text


def test_a_file_that_cannot_be_read_is_told_and_ends_no_search(
    device: NewDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.write("/boot/firmware/bad", "what the card does not give back\n")
    device.write("/boot/firmware/notes.txt", f"{BROKER}\n")
    bad, opened = device.places.at("/boot/firmware/bad"), Path.open

    def fail(self: Path, *arguments: Any, **named: Any) -> Any:
        if self == bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(self))
        return opened(self, *arguments, **named)

    monkeypatch.setattr(Path, "open", fail)
    boot(device)
    text = device.read("/boot/firmware/edgecam-setup-report.txt")
    assert "notes.txt has one of them" in text
    assert "1 file was not looked into for passwords, bad for one" in text
