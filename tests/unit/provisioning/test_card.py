"""What is taken off the card, and what is said on it."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.core.errors import StorageError, UnavailableError
from appliance.provisioning import Provisioner
from appliance.provisioning.system import Account
from tests.simulators.new_device import NewDevice
from tests.simulators.owner import (
    BROKER,
    KEY,
    ON_THE_CARD,
    PEM,
    WHOLE,
    boot,
    check_set_up,
    mode,
    on_the_card,
)


def test_nothing_with_a_secret_in_it_is_let_go_of_on_the_card(
    device: NewDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "-----BEGIN EC PRIVATE KEY-----\nAA==\n-----END EC PRIVATE KEY-----\n"
    asked = WHOLE.replace('ca_file = "ca.pem"', 'ca_file = "ca.pem"\ncert_file = "ca.pem"\nkey_file = "k.pem"')
    device.write("/boot/firmware/edgecam-setup.toml", asked)
    device.write("/boot/firmware/k.pem", key)
    let_go: list[str] = []

    def watched(act: Callable[..., Any], *, is_target: bool) -> Callable[..., Any]:
        def watch(*arguments: Any) -> Any:
            lost = Path(arguments[-1] if is_target else arguments[0])
            if lost.parent == device.places.boot and lost.exists():
                let_go.append(lost.read_text())
            return act(*arguments)

        return watch

    # room that is given back keeps what was in it, until something else happens to be written there
    monkeypatch.setattr(os, "replace", watched(os.replace, is_target=True))
    monkeypatch.setattr(os, "unlink", watched(os.unlink, is_target=False))
    report = boot(device)
    assert report is not None
    assert report.verdict == "done"
    assert sorted(map(len, let_go)) == sorted([len(asked), len(key)])
    assert not any(text.strip("\0") for text in let_go)


def test_a_card_without_room_keeps_the_file_as_it_is_and_says_that_passwords_are_still_there(
    device: NewDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def refuse_the_card(source: str, target: Path) -> None:
        if Path(target).parent == device.places.boot and "report" not in Path(target).name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse_the_card)
    report = boot(device)
    assert report is not None
    assert report.verdict == "not done"
    assert device.read("/boot/firmware/edgecam-setup.toml") == WHOLE
    text = device.read("/boot/firmware/edgecam-setup-report.txt")
    assert "PASSWORDS ARE STILL ON THE CARD" in text
    assert "No space left on device" in text
    monkeypatch.setattr(os, "replace", replace)
    boot(device)
    check_set_up(device)


def test_a_card_without_a_setup_file_says_that_there_has_to_be_one(device: NewDevice) -> None:
    device.places.setup_file.unlink()
    assert boot(device) is None, "a system that no bundle was put on, and of which nothing was asked"
    device.write("/boot/firmware/edgecam/install", "of the bundle")
    report = boot(device)
    assert report is not None
    assert report.verdict == "refused"
    assert "edgecam-setup.toml is not there; write one beside this report" in device.read(
        "/boot/firmware/edgecam-setup-report.txt"
    )
    device.write("/boot/firmware/edgecam-setup.toml", WHOLE)
    boot(device)
    check_set_up(device)
    device.places.setup_file.unlink()
    assert boot(device) is None, "it was carried out, and may go"


def test_other_files_on_the_card_with_a_password_in_them_are_named(device: NewDevice) -> None:
    device.write("/boot/firmware/edgecam-setup.toml~", f"of an editor: {BROKER}\n")
    device.write("/boot/firmware/config.txt", "# of the system\n")
    boot(device)
    text = device.read("/boot/firmware/edgecam-setup-report.txt")
    assert (
        "PASSWORDS ARE STILL ON THE CARD: edgecam-setup.toml~ has one of them; remove it if it is a copy of yours"
        in text
    )
    assert "config.txt" not in text
    assert BROKER not in text


def test_what_has_a_passwords_word_by_chance_is_not_to_be_removed_and_our_reports_are_not_named(
    device: NewDevice,
) -> None:
    device.write("/boot/firmware/user-data", "bootcmd: [sh, /boot/firmware/edgecam/begin]\n")
    for host in ("edgecam", "edgecam-2"):  # the second time a report lies there, with the word in it
        asked = f'hostname = "{host}"\n[broker]\nurl = "mqtt://192.0.2.7"\nusername = "me"\npassword = "edgecam"\n'
        device.write("/boot/firmware/edgecam-setup.toml", asked)
        boot(device)
    text = device.read("/boot/firmware/edgecam-setup-report.txt")
    assert "user-data has one of them; remove it if it is a copy of yours; what the system needs may" in text
    assert "report.txt has one" not in text
    assert "report.json has one" not in text


def test_a_password_that_was_taken_out_of_a_remark_is_told_by_its_line_and_wiped(device: NewDevice) -> None:
    asked = 'hostname = "door"\n# password = "hunter2"\n\n# psk = hunter3\n'
    device.write("/boot/firmware/edgecam-setup.toml", asked)
    report = boot(device)
    assert report is not None
    assert report.verdict == "done"
    assert device.read("/boot/firmware/edgecam-setup.toml") == 'hostname = "door"\n# password = ""\n\n# psk = ""\n'
    assert "of edgecam-setup.toml in line 2, 4" in report.as_text()
    assert "cells of its flash" in report.as_text()
    assert "hunter" not in on_the_card(device)
    assert {path.name for path in device.places.boot.iterdir()} <= set(ON_THE_CARD)
    assert boot(device) is None


def test_a_password_that_is_another_setting_too_stays_there_and_is_told(device: NewDevice) -> None:
    asked = '[broker]\nurl = "mqtt://b"\nusername = "hunter22"\npassword = "hunter22" # for the door\n'
    device.write("/boot/firmware/edgecam-setup.toml", asked)
    report = boot(device)
    assert report is not None
    assert device.read("/boot/firmware/edgecam-setup.toml") == asked.replace('= "hunter22" #', "= { moved = true } #")
    assert "stands there as another setting, too" in report.as_text()


def test_an_address_that_may_have_a_password_in_it_is_named_and_not_shown(device: NewDevice) -> None:
    address = "rtsp://192.0.2.10/user=admin&password=hunter2"
    device.write("/boot/firmware/edgecam-setup.toml", f'[cameras.door]\nkind = "rtsp"\nurl = "{address}"\n')
    boot(device)
    text = device.read("/boot/firmware/edgecam-setup-report.txt")
    assert "cameras.door.url may have a password in it, which stays on the card" in text
    assert "hunter2" not in text + device.read("/boot/firmware/edgecam-setup-report.json")


@pytest.mark.parametrize("content", ["", "\r\n", "# nothing but remarks\n"])
def test_an_empty_file_changes_nothing_and_says_what_is_missing(device: NewDevice, content: str) -> None:
    device.write("/boot/firmware/edgecam-setup.toml", content)
    before = {path: device.read(path) for path in ("/etc/hostname", "/etc/hosts")}
    report = boot(device)
    assert report is not None
    assert {path: device.read(path) for path in before} == before
    text = device.read("/boot/firmware/edgecam-setup-report.txt")
    assert "asks for nothing" in text
    assert "without [ssh] keys nobody logs in" in text
    assert "no camera is named: add [cameras.NAME]" in text


def test_who_may_log_in_is_not_missed_once_a_key_is_there(device: NewDevice) -> None:
    boot(device)
    device.write("/boot/firmware/edgecam-setup.toml", 'hostname = "gate"\n')
    report = boot(device)
    assert report is not None
    assert "nobody logs in" not in report.as_text()


@pytest.mark.parametrize(("user", "home"), [("root", "/root"), ("keeper", "/srv/keeper")])
def test_who_logs_in_with_a_home_elsewhere_is_not_said_to_have_no_key(device: NewDevice, user: str, home: str) -> None:
    device.accounts[user] = Account(0 if user == "root" else 1001, 0 if user == "root" else 1001, Path(home))
    asked = f'[ssh]\nuser = "{user}"\nkeys = ["{KEY}"]\n'
    device.write("/boot/firmware/edgecam-setup.toml", asked)
    report = boot(device)
    assert report is not None
    assert f"{user} logs in with 1 key" in report.as_text()
    assert "has an SSH key" not in report.as_text()


def test_an_account_that_was_named_and_got_no_key_is_missed(device: NewDevice) -> None:
    device.accounts["root"] = Account(0, 0, Path("/root"))
    device.programs.discard("sshd")
    device.write("/boot/firmware/edgecam-setup.toml", f'[ssh]\nuser = "root"\nkeys = ["{KEY}"]\n')
    report = boot(device)
    assert report is not None
    assert "no account here has an SSH key" in report.as_text()


def test_a_camera_module_without_its_software_is_told_with_what_to_do(device: NewDevice) -> None:
    device.write("/boot/firmware/edgecam-setup.toml", '[cameras.door]\nkind = "picamera2"\n')
    report = boot(device)
    assert report is not None
    assert "the camera door needs picamera2" in report.as_text()
    assert "python3-picamera2 && sudo systemctl restart edgecam" in report.as_text()
    device.places.at("/usr/lib/python3/dist-packages/picamera2").mkdir(parents=True)
    device.write("/boot/firmware/edgecam-setup.toml", '[cameras.yard]\nkind = "picamera2"\n')
    report = boot(device)
    assert report is not None
    assert "needs picamera2" not in report.as_text()


def test_a_file_that_windows_has_given_an_ending_is_told(device: NewDevice) -> None:
    setup = device.places.setup_file
    hidden = setup.rename(setup.with_name("edgecam-setup.toml.txt"))
    report = boot(device)
    assert report is not None
    assert report.verdict == "refused"
    assert "edgecam-setup.toml.txt is not read: rename it to edgecam-setup.toml" in report.as_text()
    # beside another one that is right, which was carried out
    setup.write_text('hostname = "door"\n')
    report = boot(device)
    assert report is not None
    assert (report.verdict, "edgecam-setup.toml.txt is not read" in report.as_text()) == ("done", True)
    hidden.unlink()
    assert boot(device) is None


@pytest.mark.parametrize(
    "name",
    [
        "edgecam-setup.txt",
        "edgecam-setup.toml.rtf",
        "edgecam-setup (1).toml",
        "edgecam-setup - Copy.toml",
        "edgecam_setup.toml",
        "Edgecam Setup.TOML.TXT",
    ],
)
def test_a_file_that_is_not_quite_called_as_it_has_to_be_is_told(device: NewDevice, name: str) -> None:
    setup = device.places.setup_file
    setup.rename(setup.with_name(name))
    device.write("/boot/firmware/edgecam-setup-report (1).txt", "kept by its owner")
    for _ in range(2):  # the second time reports of ours lie there, too
        report = boot(device)
        assert report is not None
        assert report.verdict == "refused"
        (mistake,) = report.mistakes
        assert mistake.startswith(
            f"edgecam-setup.toml is not there; {name} is not read: rename it to edgecam-setup.toml"
        )


def test_what_keeps_it_from_even_beginning_is_told_on_the_card(device: NewDevice) -> None:
    blocked = device.places.at("/var/lib/edgecam-setup")
    blocked.write_text("a file where a folder has to be")
    with pytest.raises(StorageError, match="cannot"):
        boot(device)
    text = device.read("/boot/firmware/edgecam-setup-report.txt")
    assert "NOT wholly set up yet" in text
    assert str(blocked) in text
    assert BROKER in device.read("/boot/firmware/edgecam-setup.toml"), "nothing was lost"


def test_a_card_that_does_not_answer_is_told_in_words(device: NewDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    path, exists = device.places.setup_file, Path.exists

    def fail(self: Path) -> bool:
        if self == path:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return exists(self)

    monkeypatch.setattr(Path, "exists", fail)
    with pytest.raises(
        StorageError, match=r"edgecam-setup\.toml cannot be read: Input/output error; write the card again"
    ):
        boot(device)
    assert "cannot be read" in device.read("/boot/firmware/edgecam-setup-report.txt")


@pytest.mark.parametrize("place", ["/var/lib/edgecam-setup/plan.json", "/etc/credstore/edgecam.broker-password"])
def test_a_disk_that_does_not_answer_is_not_told_as_a_lack_of_rights(
    device: NewDevice, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    failing, provisioner = device.places.at(place), Provisioner(device.places, device)
    number = errno.EIO

    def fail(act: Callable[..., Any]) -> Callable[..., Any]:
        def opened_or_told(self: Path, *arguments: Any, **named: Any) -> Any:
            if self == failing:
                raise OSError(number, os.strerror(number), str(self))
            return act(self, *arguments, **named)

        return opened_or_told

    monkeypatch.setattr(Path, "open", fail(Path.open))
    monkeypatch.setattr(Path, "stat", fail(Path.stat))
    told = rf"broker\.password: whether it .* cannot read {failing}: Input/output error; write the card again"
    with pytest.raises(StorageError, match=told):
        provisioner.is_kept("broker.password")
    number = errno.EACCES
    with pytest.raises(UnavailableError, match=r"only root may look .* do: sudo edgecam setup"):
        provisioner.is_kept("broker.password")


def test_of_a_report_that_somebody_has_blown_up_no_more_is_read_than_is_written(device: NewDevice) -> None:
    with device.places.at("/boot/firmware/edgecam-setup-report.txt").open("wb") as file:
        file.truncate(1 << 40)
    boot(device)
    check_set_up(device)


def test_a_device_key_that_lay_on_the_card_is_moved_and_not_left_there(device: NewDevice) -> None:
    key = "-----BEGIN EC PRIVATE KEY-----\nAA==\n-----END EC PRIVATE KEY-----\n"
    named = 'ca_file = "ca.pem"\ncert_file = "c.pem"\nkey_file = "k.pem"\n'
    device.write("/boot/firmware/edgecam-setup.toml", f'[broker]\nurl = "mqtts://b"\n{named}')
    device.write("/boot/firmware/c.pem", PEM)
    device.write("/boot/firmware/k.pem", key)
    report = boot(device)
    assert report is not None
    assert report.verdict == "done"
    assert not device.places.at("/boot/firmware/k.pem").exists()
    assert (device.read("/etc/edgecam/tls/device.key"), mode(device, "/etc/edgecam/tls/device.key")) == (key, 0o600)
    assert key not in device.read("/var/lib/edgecam-setup/plan.json")
    assert boot(device) is None


def test_the_same_file_with_its_passwords_is_cleaned_again(device: NewDevice) -> None:
    boot(device)
    device.write("/boot/firmware/edgecam-setup.toml", WHOLE)
    boot(device)
    check_set_up(device)
