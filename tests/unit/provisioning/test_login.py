"""Who logs in: by key, and nobody else."""

import errno
import os
from pathlib import Path

import pytest

from appliance.core.errors import UnavailableError
from appliance.provisioning.system import Account
from tests.simulators.new_device import NewDevice
from tests.simulators.owner import (
    KEY,
    boot,
)


def test_host_keys_that_a_cut_cloud_init_never_made_are_made(device: NewDevice) -> None:
    device.places.at("/etc/ssh/ssh_host_ed25519_key").unlink()
    boot(device)
    assert device.read("/etc/ssh/ssh_host_ed25519_key")


def test_a_full_disk_is_told_with_the_name_that_an_owner_knows(
    device: NewDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def refuse_keys(source: str, target: Path) -> None:
        if target.name == "authorized_keys":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse_keys)
    report = boot(device)
    assert report is not None
    ssh = dict(report.steps)["ssh"]
    path = device.places.at("/home/admin/.ssh/authorized_keys")
    assert (ssh.state, ssh.said) == ("failed", f"cannot write {path}: No space left on device")


@pytest.mark.parametrize("user", ["edgecam", "nobody"])
def test_an_account_of_the_system_s_own_gets_no_keys_and_nobody_is_locked_out(device: NewDevice, user: str) -> None:
    device.accounts["nobody"] = Account(65534, 65534, Path("/nonexistent"))
    device.write("/boot/firmware/edgecam-setup.toml", f'[ssh]\nuser = "{user}"\nkeys = ["{KEY}"]\n')
    report = boot(device)
    assert report is not None
    ssh = dict(report.steps)["ssh"]
    assert (ssh.state, "name another" in ssh.said) == ("left out", True)
    assert not device.places.at("/etc/ssh/sshd_config.d/10-edgecam.conf").exists()
    assert not any(command[0] == "usermod" for command in device.asked)


def test_where_accounts_cannot_be_changed_the_owner_gets_in_nevertheless(device: NewDevice) -> None:
    device.places.at("/home/admin").mkdir(parents=True)
    device.accounts["admin"] = Account(1000, 1000, Path("/home/admin"))
    run = device.run

    def refuse(*command: str) -> str:
        if command[0] == "usermod":
            raise UnavailableError("`usermod` failed with 1: cannot lock /etc/passwd")
        return run(*command)

    device.run = refuse  # type: ignore[method-assign] # of a root that is read-only
    report = boot(device)
    assert report is not None
    assert dict(report.steps)["ssh"].state == "failed"
    assert device.read("/home/admin/.ssh/authorized_keys").splitlines() == [KEY]
    assert ("systemctl", "--no-block", "restart", "ssh.service") in device.asked


def test_an_ssh_server_that_was_started_in_vain_too_often_is_started_once_more(device: NewDevice) -> None:
    boot(device)
    asked = [one for one in device.asked if "ssh.service" in one or one[0] == "ssh-keygen"]
    assert [one[1:3] for one in asked[:3]] == [("-A",), ("reset-failed", "ssh.service"), ("--no-block", "restart")]


def test_the_host_s_own_keys_are_on_disk_before_the_server_starts_and_the_step_is_done(device: NewDevice) -> None:
    device.write("/etc/ssh/ssh_host_ed25519_key", "whoever made it did not flush it")
    boot(device)
    flushed = ("sync", *(str(device.places.at(path)) for path in ("/etc/ssh/ssh_host_ed25519_key", "/etc/ssh")))
    made, restarted = ("ssh-keygen", "-A"), ("systemctl", "--no-block", "restart", "ssh.service")
    assert device.asked.index(made) < device.asked.index(flushed) < device.asked.index(restarted)


def test_a_key_that_is_listed_twice_is_there_once(device: NewDevice) -> None:
    device.write("/boot/firmware/edgecam-setup.toml", f'[ssh]\nkeys = ["{KEY}", "{KEY}"]\n')
    boot(device)
    assert device.read("/home/admin/.ssh/authorized_keys").splitlines() == [KEY]


@pytest.mark.parametrize("what", ["folder", "file", "pipe"])
def test_root_follows_nothing_that_an_account_has_put_in_the_place_of_its_keys(
    device: NewDevice, tmp_path: Path, what: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "authorized_keys").write_text("of somebody else\n")
    home = device.places.at("/home/admin")
    home.mkdir(parents=True)
    if what == "folder":
        (home / ".ssh").symlink_to(elsewhere)
    else:
        (home / ".ssh").mkdir()
        place = home / ".ssh/authorized_keys"
        os.mkfifo(place) if what == "pipe" else place.symlink_to(elsewhere / "authorized_keys")
    report = boot(device)
    assert report is not None
    ssh = dict(report.steps)["ssh"]
    assert (ssh.state, "by hand" in ssh.said) == ("left out", True)
    assert [path.read_text() for path in elsewhere.iterdir()] == ["of somebody else\n"]
    assert not device.places.at("/etc/ssh/sshd_config.d/10-edgecam.conf").exists(), "nobody is locked out"
