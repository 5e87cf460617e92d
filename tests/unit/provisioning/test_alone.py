"""A boot and somebody over SSH set the device up one after the other, and neither loses what the other has done."""

import os
from pathlib import Path

import pytest

from appliance.core.errors import UnavailableError
from appliance.provisioning import Provisioner, read_setup
from tests.simulators.new_device import NewDevice
from tests.simulators.owner import boot


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_what_is_asked_over_ssh_while_a_boot_reads_is_refused_or_is_so_afterwards(
    device: NewDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    run = device.run

    def refuse_hostname(*command: str) -> str:
        if command[0] == "hostname":
            raise UnavailableError("`hostname` failed with 1: it says nothing")
        return run(*command)

    monkeypatch.setattr(device, "run", refuse_hostname)
    boot(device)
    monkeypatch.undo()
    said, provisioner = tmp_path / "said.toml", Provisioner(device.places, device)
    said.write_text('hostname = "gate"\n')
    asked = read_setup(said, device.places, provisioner.is_kept)
    looks, refused, exists = [0], [], Path.exists

    def say_then_look(path: Path) -> bool:
        if path == device.places.setup_file:
            looks[0] += 1
            if looks[0] == moment:
                try:
                    assert provisioner.carry_out(asked, said, lambda *_: None).verdict == "done"
                    refused.append(False)
                except UnavailableError:
                    refused.append(True)
        return exists(path)

    monkeypatch.setattr(Path, "exists", say_then_look)
    boot(device)
    monkeypatch.undo()
    assert len(refused) == 1
    assert device.read("/etc/hostname") == ("door\n" if refused[0] else "gate\n")
    assert boot(device) is None


def test_a_boot_with_nothing_to_do_writes_nothing_where_setups_are_kept(
    device: NewDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot(device)
    folder = device.places.at("/var/lib/edgecam-setup")

    def state() -> dict[str, int]:
        return {path.name: path.stat().st_ctime_ns for path in (folder, *folder.iterdir())}

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    before = state()
    monkeypatch.setattr(os, "chmod", refuse)
    monkeypatch.setattr(os, "replace", refuse)
    assert boot(device) is None
    assert state() == before


def test_a_device_that_nothing_was_ever_asked_of_gets_no_folder_for_it(device: NewDevice) -> None:
    device.places.setup_file.unlink()
    assert boot(device) is None
    assert not device.places.at("/var/lib/edgecam-setup").exists()
