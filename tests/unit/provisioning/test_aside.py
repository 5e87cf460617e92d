"""What a cut has left aside on the card, of which no plan knows any more."""

import errno
import os
from pathlib import Path

import pytest

from appliance.core.errors import StorageError
from appliance.provisioning import Provisioner, read_setup
from appliance.provisioning.reading import camera_secret, without_secrets
from appliance.provisioning.steps import BROKER_PASSWORD
from appliance.provisioning.wireless import WIFI_PASSWORD
from tests.simulators.new_device import Cut, NewDevice
from tests.simulators.owner import BROKER, ON_THE_CARD, WHOLE, boot, check_set_up


def set_aside(device: NewDevice) -> Path:
    """A card as a cut has left it, of a device whose plan is lost."""
    setup = device.places.setup_file
    return setup.rename(setup.with_name("edgecam-setup.old"))


def test_a_file_that_was_set_aside_is_carried_out_though_its_plan_is_lost(device: NewDevice) -> None:
    set_aside(device)
    device.write("/boot/firmware/edgecam-setup.new", "")
    boot(device)
    check_set_up(device)
    assert {path.name for path in device.places.boot.iterdir()} == set(ON_THE_CARD)


@pytest.mark.parametrize("given", ['hostname = "gate"\n', "hostname = 7\n"], ids=["accepted", "refused"])
def test_what_the_owner_has_written_since_counts_and_what_was_aside_is_wiped(device: NewDevice, given: str) -> None:
    aside = set_aside(device)
    device.write("/boot/firmware/edgecam-setup.toml", given)
    boot(device)
    assert not aside.exists()
    assert device.read("/boot/firmware/edgecam-setup.toml") == given


def test_while_what_the_owner_has_written_cannot_be_read_nothing_else_is_taken_away(device: NewDevice) -> None:
    aside = set_aside(device)
    device.places.setup_file.write_bytes('hostname = "gate"\n'.encode("utf-16"))
    report = boot(device)
    assert report is not None
    assert report.verdict == "refused"
    assert aside.read_text() == WHOLE
    device.write("/boot/firmware/edgecam-setup.toml", 'hostname = "gate"\n')
    boot(device)
    assert not aside.exists()


@pytest.mark.parametrize("moment", ["before it is set aside", "while it is aside"])
def test_what_was_accepted_goes_on_though_its_file_was_saved_since_as_what_cannot_be_read(
    device: NewDevice, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    setup, replace = device.places.setup_file, os.replace
    aside = setup.with_name("edgecam-setup.old")

    def cut(source: str | Path, target: Path) -> None:
        if target == aside and moment == "before it is set aside":
            raise Cut
        replace(source, target)
        if target == aside:
            raise Cut

    monkeypatch.setattr(os, "replace", cut)
    with pytest.raises(Cut):
        boot(device)
    monkeypatch.undo()
    setup.write_bytes(WHOLE.encode("utf-16"))
    report = boot(device)
    assert report is not None
    assert (report.verdict, aside.exists()) == ("refused", False)
    assert "UTF-16" in device.read("/boot/firmware/edgecam-setup-report.txt")
    assert device.read("/etc/credstore/edgecam.broker-password") == f"{BROKER}\n"
    device.write("/boot/firmware/edgecam-setup.toml", WHOLE)
    boot(device)
    check_set_up(device)


def test_over_ssh_a_file_that_was_set_aside_is_not_lost(device: NewDevice, tmp_path: Path) -> None:
    set_aside(device)
    said, provisioner = tmp_path / "said.toml", Provisioner(device.places, device)
    said.write_text('hostname = "gate"\n')
    provisioner.carry_out(read_setup(said, device.places, provisioner.is_kept), said, lambda *_: None)
    assert device.read("/boot/firmware/edgecam-setup.toml") == WHOLE
    boot(device)
    check_set_up(device)


def test_where_what_is_aside_cannot_be_taken_away_it_is_told(
    device: NewDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    aside, replace = set_aside(device), os.replace

    def refuse(source: Path, target: Path) -> None:
        if source == aside:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(StorageError, match=r"edgecam-setup\.old away: Read-only file system"):
        boot(device)  # nothing else is there to go by
    device.write("/boot/firmware/edgecam-setup.toml", without_secrets(WHOLE))
    for place in (WIFI_PASSWORD, BROKER_PASSWORD, camera_secret("door")):
        device.write(place, "kept")
    report = boot(device)
    assert report is not None
    assert any(note.startswith("PASSWORDS ARE STILL ON THE CARD: cannot take") for note in report.notes)
