"""What is asked over SSH comes to what the card has asked, and takes nothing of it away that is not done yet."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from appliance.config import load_settings
from appliance.core.errors import UnavailableError
from appliance.provisioning import Provisioner, Report, read_setup
from appliance.provisioning.wireless import WIFI_PASSWORD
from tests.simulators.new_device import Cut, Moments, NewDevice
from tests.simulators.owner import KEY, boot, check_set_up, cut_boots, new_device

BROKER_ALONE = '[broker]\nurl = "mqtt://other.example.org"\n'
CARD = "/boot/firmware/edgecam-setup.toml"


def say(device: NewDevice, folder: Path, text: str) -> Report:
    said, provisioner = folder / "said.toml", Provisioner(device.places, device)
    said.write_text(text)
    return provisioner.carry_out(read_setup(said, device.places, provisioner.is_kept), said, lambda *_: None)


def states(report: Report | None) -> dict[str, str]:
    assert report is not None
    return {name: one.state for name, one in report.steps}


def refuse(device: NewDevice, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a program fail, until `monkeypatch` is undone."""
    run = device.run

    def run_or_fail(*command: str) -> str:
        if command[0] == program:
            raise UnavailableError(f"`{program}` failed with 1: it says nothing")
        return run(*command)

    monkeypatch.setattr(device, "run", run_or_fail)


def test_what_has_failed_of_the_card_is_tried_again_after_something_else_was_asked_over_ssh(
    device: NewDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(device, "useradd", monkeypatch)
    assert states(boot(device))["ssh"] == "failed"
    said = say(device, tmp_path, BROKER_ALONE)
    assert (said.verdict, states(said)["ssh"]) == ("not done", "failed")
    monkeypatch.undo()
    report = boot(device)
    assert report is not None
    assert (report.verdict, report.user) == ("done", "admin")
    assert device.read("/home/admin/.ssh/authorized_keys").splitlines() == [KEY]
    assert load_settings(device.places.configuration).messaging.broker == "mqtt://other.example.org"
    assert boot(device) is None


@pytest.mark.parametrize("step", ["hostname", "raspi-config", "systemctl"])
def test_what_the_power_was_cut_at_is_done_though_something_else_is_asked_over_ssh(
    device: NewDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    run = device.run

    def cut(*command: str) -> str:
        if command[0] == step:
            raise Cut
        return run(*command)

    monkeypatch.setattr(device, "run", cut)
    with pytest.raises(Cut):
        boot(device)
    monkeypatch.undo()
    assert say(device, tmp_path, 'time_zone = "Europe/London"\n').verdict == "done"
    check_set_up(device)
    assert boot(device) is None


def test_what_the_power_was_cut_at_outlives_what_is_asked_over_ssh_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments, number = Moments(monkeypatch), 0
    for number, device in cut_boots(tmp_path, moments, each=3):
        assert say(device, tmp_path, 'time_zone = "Europe/London"\n').verdict == "done"
        boot(device)
        check_set_up(device)
        assert boot(device) is None, number
    assert number > 60  # of which each third was tried


def test_what_is_asked_over_ssh_takes_the_place_of_the_same_section_that_is_not_done(
    device: NewDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.places.at("/etc/credstore").write_text("a file where a folder has to be")
    refuse(device, "raspi-config", monkeypatch)
    boot(device)
    device.places.at("/etc/credstore").unlink()
    asked = BROKER_ALONE + '[wifi]\nssid = "away"\ncountry = "FR"\n'
    assert states(say(device, tmp_path, asked))["wifi"] == "failed"
    monkeypatch.undo()
    report = boot(device)
    assert report is not None
    assert report.verdict == "done"
    joined = device.read("/etc/NetworkManager/system-connections/edgecam.nmconnection")
    assert ("id=edgecam" in joined, "psk=" in joined) == (True, False)
    assert not device.places.at("/etc/credstore/edgecam.broker-password").exists(), "the password of another broker"


def test_what_is_taken_out_of_the_cards_file_is_not_tried_any_more(
    device: NewDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(device, "raspi-config", monkeypatch)
    assert states(boot(device))["wifi"] == "failed"
    device.write(CARD, 'hostname = "gate"\n')
    report = boot(device)
    assert report is not None
    assert (report.verdict, dict(report.steps)["wifi"].said) == ("done", "stays as it is")


def test_what_has_failed_of_what_was_asked_over_ssh_outlives_a_change_of_the_cards_file(
    device: NewDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.write(CARD, 'hostname = "door"\n')
    boot(device)
    refuse(device, "useradd", monkeypatch)
    assert states(say(device, tmp_path, f'[ssh]\nkeys = ["{KEY}"]\n'))["ssh"] == "failed"
    for name in ("gate", "yard"):
        device.write(CARD, f'hostname = "{name}"\n')
        assert states(boot(device))["ssh"] == "failed"
    monkeypatch.undo()
    report = boot(device)
    assert report is not None
    assert (report.verdict, report.user, report.hostname) == ("done", "admin", "yard")


def test_secrets_of_the_card_that_are_in_no_place_yet_outlive_what_is_asked_over_ssh(
    device: NewDevice, tmp_path: Path
) -> None:
    blocked = device.places.at("/etc/credstore")
    blocked.write_text("a file where a folder has to be")
    assert states(boot(device))["configuration"] == "done"
    assert states(say(device, tmp_path, 'hostname = "door"\n'))["secrets"] == "failed"
    blocked.unlink()
    assert states(boot(device))["secrets"] == "done"
    check_set_up(device)


BROKER_FILE = "/etc/credstore/edgecam.broker-password"
CAMERA_FILE = "/etc/edgecam/secrets/camera-door"
YARD = '[cameras.yard]\nkind = "rtsp"\nurl = "rtsp://192.0.2.11/s"\nusername = "watch"\npassword = "another secret"\n'


@pytest.mark.parametrize(
    ("asked", "gone"),
    [
        (BROKER_ALONE, {BROKER_FILE}),
        (YARD, {CAMERA_FILE}),
        ('[cameras.door]\nkind = "synthetic"\n', {CAMERA_FILE}),
        ('[wifi]\nssid = "open"\ncountry = "GB"\n', {WIFI_PASSWORD}),
        ('hostname = "gate"\n', set()),
        (f"{BROKER_ALONE}password = {{ moved = true }}\nusername = 'me'\n", set()),
    ],
    ids=["broker", "another camera", "a camera without", "open network", "name alone", "password kept"],
)
def test_a_password_whose_place_something_else_has_taken_does_not_stay(
    device: NewDevice, tmp_path: Path, asked: str, gone: set[str]
) -> None:
    boot(device)
    assert say(device, tmp_path, asked).verdict == "done"
    kept = {path for path in (BROKER_FILE, CAMERA_FILE, WIFI_PASSWORD) if device.places.at(path).exists()}
    assert kept == {BROKER_FILE, CAMERA_FILE, WIFI_PASSWORD} - gone
    assert device.places.at("/etc/edgecam/secrets/camera-yard").exists() is (asked == YARD)


def test_a_password_that_the_configuration_still_has_a_use_for_stays(device: NewDevice, tmp_path: Path) -> None:
    boot(device)
    edited = device.read("/etc/edgecam/edgecam.toml").replace(
        "[messaging]", f'[model]\nkey = {{ file = "{CAMERA_FILE}" }}\n\n[messaging]'
    )
    device.places.configuration.write_text(edited)
    assert say(device, tmp_path, YARD).verdict == "done"
    assert device.places.at(CAMERA_FILE).exists()


def test_passwords_of_before_stay_until_the_configuration_is_another_one(
    device: NewDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot(device)
    replace, configured = os.replace, device.places.configuration

    def refuse_configuration(source: str, target: Path) -> None:
        if target == configured:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse_configuration)
    assert states(say(device, tmp_path, BROKER_ALONE + YARD))["configuration"] == "failed"
    assert device.places.at(BROKER_FILE).exists()
    assert device.places.at(CAMERA_FILE).exists()
    monkeypatch.undo()
    unlink = os.unlink

    def cut(path: str | Path, **named: int) -> None:
        if path == device.places.at(BROKER_FILE):
            raise Cut
        unlink(path, **named)

    monkeypatch.setattr(os, "unlink", cut)
    with pytest.raises(Cut):
        boot(device)
    monkeypatch.undo()
    report = boot(device)
    assert report is not None
    assert "passwords that it has no use for any more were removed" in dict(report.steps)["configuration"].said
    assert not device.places.at(BROKER_FILE).exists()
    assert not device.places.at(CAMERA_FILE).exists()
    assert device.read("/etc/edgecam/secrets/camera-yard") == "another secret\n"


def test_interrupted_at_any_moment_the_passwords_of_before_are_gone_at_the_next_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments, number, asked = Moments(monkeypatch), 0, f'{BROKER_ALONE}[wifi]\nssid = "open"\ncountry = "GB"\n{YARD}'
    while True:
        number += 1
        device = new_device(tmp_path / str(number))
        boot(device)
        moments.arm(device, number)
        try:
            say(device, tmp_path, asked)
        except Cut:
            moments.disarm()
        else:
            break
        again = boot(device)
        if again is None and number == 1:
            continue  # before the plan had its name nothing was asked
        assert again is None or again.verdict == "done", (number, again)
        left = [path for path in (BROKER_FILE, CAMERA_FILE, WIFI_PASSWORD) if device.places.at(path).exists()]
        assert left == [], number
        assert "psk=" not in device.read("/etc/NetworkManager/system-connections/edgecam.nmconnection")
    assert number > 30  # moments that were tried


def test_nothing_is_read_or_done_while_somebody_else_sets_the_device_up(device: NewDevice, tmp_path: Path) -> None:
    assert boot(device) is not None
    folder = device.places.at("/var/lib/edgecam-setup")
    (folder / "plan.json").write_text("half of a pl")
    configured = device.places.configuration.read_bytes()
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UnavailableError, match="being set up just now; wait a minute"):
            say(device, tmp_path, BROKER_ALONE)
    assert device.places.configuration.read_bytes() == configured
