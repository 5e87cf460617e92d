"""Setting up: from the file on the card to a device, whatever happens in between."""

import errno
import json
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.config import load_settings
from appliance.core.errors import StorageError, UnavailableError
from appliance.provisioning import Provisioner, Report, read_setup
from appliance.provisioning.system import Account
from tests.simulators.new_device import Cut, NewDevice

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdd0DjK3Fq2Yp5nq0wmyhR8D0cMpaXBc0Q0vZ1m4nnP me@desk"
WIFI, BROKER, CAMERA = "a wireless secret", "the broker secret", "cam #1 secret"
WHOLE = f"""\
# my door
hostname = "door"
time_zone = "Europe/London"

[wifi]
ssid = "home"
country = "GB"
password = "{WIFI}" # from the router

[ssh]
keys = ["{KEY}"]

[broker]
url = "mqtts://broker.example.org"
username = "door"
password = '{BROKER}'
ca_file = "ca.pem"

[cameras.door]
kind = "rtsp"
url = "rtsp://192.0.2.10/stream1"
username = "watch"
password = "{CAMERA}"
"""
ON_THE_CARD = ("edgecam-setup.toml", "edgecam-setup-report.txt", "edgecam-setup-report.json", "ca.pem")
PEM = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"


@pytest.fixture
def device(tmp_path: Path) -> NewDevice:
    return new_device(tmp_path)


def new_device(root: Path) -> NewDevice:
    device = NewDevice(root, programs=("nmcli", "rfkill", "raspi-config"))
    device.places.at("/etc/NetworkManager").mkdir()
    device.write("/boot/firmware/edgecam-setup.toml", WHOLE)
    device.write("/boot/firmware/ca.pem", PEM)
    return device


def boot(device: NewDevice) -> Report | None:
    return Provisioner(device.places, device).at_boot(lambda *_: None)


def on_the_card(device: NewDevice) -> str:
    return "".join(path.read_text() for path in device.places.boot.iterdir())


def mode(device: NewDevice, path: str) -> int:
    return stat.S_IMODE(device.places.at(path).stat().st_mode)


def check_set_up(device: NewDevice) -> None:
    """Everything that was asked is so, and no secret is where others could read it."""
    assert device.read("/etc/hostname") == "door\n"
    assert "127.0.1.1\tdoor" in device.read("/etc/hosts")
    assert str(device.places.at("/etc/localtime").readlink()) == "/usr/share/zoneinfo/Europe/London"
    assert device.read("/home/admin/.ssh/authorized_keys").splitlines() == [KEY]
    assert "NOPASSWD" in device.read("/etc/sudoers.d/010-edgecam-admin")
    assert f"psk={WIFI}\n" in device.read("/etc/NetworkManager/system-connections/edgecam.nmconnection")
    assert device.read("/etc/credstore/edgecam.broker-password") == f"{BROKER}\n"
    assert device.read("/etc/edgecam/secrets/camera-door") == f"{CAMERA}\n"
    secret = (
        "/etc/NetworkManager/system-connections/edgecam.nmconnection",
        "/etc/credstore/edgecam.broker-password",
        "/etc/edgecam/secrets/camera-door",
        "/etc/edgecam/tls/device.key",
        "/var/lib/edgecam-setup/plan.json",
    )
    assert {path: mode(device, path) for path in secret} == dict.fromkeys(secret, 0o600)
    settings = load_settings(device.places.configuration)
    identity = json.loads(device.read("/var/lib/edgecam-setup/identity.json"))
    assert settings.device.id == identity["device_id"]
    assert settings.messaging.broker == "mqtts://broker.example.org"
    assert str(settings.messaging.tls.ca_file) == "/etc/edgecam/tls/ca.pem"
    assert device.read("/etc/edgecam/tls/ca.pem") == PEM
    assert ("systemctl", "--no-block", "restart", "edgecam.service") in device.asked
    kept = device.read("/var/lib/edgecam-setup/plan.json")
    told = device.read("/etc/edgecam/edgecam.toml")
    assert not any(secret in text for secret in (WIFI, BROKER, CAMERA) for text in (on_the_card(device), kept, told))


def test_what_is_asked_is_so_afterwards_and_its_secrets_are_off_the_card(device: NewDevice) -> None:
    report = boot(device)
    assert report is not None
    assert report.verdict == "done", report
    check_set_up(device)
    left = device.read("/boot/firmware/edgecam-setup.toml")
    assert left == re.sub(r"(?m)^password = ('[^']*'|\"[^\"]*\")", "password = { moved = true }", WHOLE)
    text = device.read("/boot/firmware/edgecam-setup-report.txt")
    assert "This device is set up." in text
    assert "ssh admin@door.local" in text
    assert f"edgecam/{report.device_id}/#" in text
    assert json.loads(device.read("/boot/firmware/edgecam-setup-report.json"))["verdict"] == "done"


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


def test_other_files_on_the_card_with_a_password_in_them_are_named(device: NewDevice) -> None:
    device.write("/boot/firmware/edgecam-setup.toml~", f"of an editor: {BROKER}\n")
    device.write("/boot/firmware/config.txt", "# of the system\n")
    boot(device)
    text = device.read("/boot/firmware/edgecam-setup-report.txt")
    assert "PASSWORDS ARE STILL ON THE CARD: edgecam-setup.toml~ has one of them; remove it" in text
    assert "config.txt" not in text
    assert BROKER not in text


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


def test_a_damaged_plan_is_set_aside_and_the_file_carried_out_again(device: NewDevice) -> None:
    first = boot(device)
    device.write("/var/lib/edgecam-setup/plan.json", "\0" * 4096)
    report = boot(device)
    assert first is not None
    assert report is not None
    assert (report.verdict, report.device_id) == ("done", first.device_id)
    assert "could not be read any more" in device.read("/boot/firmware/edgecam-setup-report.txt")
    check_set_up(device)
    assert boot(device) is None


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


def test_of_a_report_that_somebody_has_blown_up_no_more_is_read_than_is_written(device: NewDevice) -> None:
    with device.places.at("/boot/firmware/edgecam-setup-report.txt").open("wb") as file:
        file.truncate(1 << 40)
    boot(device)
    check_set_up(device)


def test_a_boot_with_nothing_new_does_nothing(device: NewDevice) -> None:
    boot(device)
    device.asked.clear()
    assert boot(device) is None
    assert device.asked == []


def test_interrupted_at_any_moment_it_finishes_at_the_next_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = Moments(monkeypatch)
    number = 0
    while True:
        number += 1
        device = new_device(tmp_path / str(number))
        moments.arm(device, number)
        try:
            boot(device)
        except Cut:
            moments.disarm()
        else:
            break
        again = boot(device)
        assert again is None or again.verdict == "done", (number, again)
        check_set_up(device)
        left = {path.name for path in device.places.boot.iterdir()} - set(ON_THE_CARD)
        # of a last boot's report nothing comes after that could be tidied
        assert again is None or left == set(), (number, left)
    assert number > 60  # moments that were tried


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


def test_a_file_that_is_changed_later_is_carried_out_with_the_secrets_that_are_there(device: NewDevice) -> None:
    boot(device)
    left = device.read("/boot/firmware/edgecam-setup.toml")
    device.write("/boot/firmware/edgecam-setup.toml", left.replace('hostname = "door"', 'hostname = "gate"'))
    report = boot(device)
    assert report is not None
    assert (report.verdict, report.hostname) == ("done", "gate")
    assert device.read("/etc/credstore/edgecam.broker-password") == f"{BROKER}\n"
    assert f"psk={WIFI}\n" in device.read("/etc/NetworkManager/system-connections/edgecam.nmconnection")


def test_the_same_file_with_its_passwords_is_cleaned_again(device: NewDevice) -> None:
    boot(device)
    device.write("/boot/firmware/edgecam-setup.toml", WHOLE)
    boot(device)
    check_set_up(device)


def test_a_card_whose_system_was_replaced_asks_for_the_passwords_again(device: NewDevice, tmp_path: Path) -> None:
    boot(device)
    left = device.read("/boot/firmware/edgecam-setup.toml")
    other = new_device(tmp_path / "other")
    other.write("/boot/firmware/edgecam-setup.toml", left)
    report = boot(other)
    assert report is not None
    assert report.verdict == "refused"
    assert [line.split(":")[0] for line in report.mistakes] == [
        "wifi.password",
        "broker.password",
        "cameras.door.password",
    ]


def test_a_copied_card_becomes_a_device_of_its_own_and_says_so(device: NewDevice) -> None:
    first = boot(device)
    key, host_key = device.read("/etc/edgecam/tls/device.key"), device.read("/etc/ssh/ssh_host_ed25519_key")
    device.move("20000000bb")
    report = boot(device)
    assert first is not None
    assert report is not None
    assert report.verdict == "done"
    assert report.device_id != first.device_id
    assert first.device_id in device.read("/boot/firmware/edgecam-setup-report.txt")
    assert device.read("/etc/edgecam/tls/device.key") != key
    assert device.read("/etc/ssh/ssh_host_ed25519_key") != host_key
    assert load_settings(device.places.configuration).device.id == report.device_id
    assert boot(device) is None


def test_a_copied_file_that_names_the_device_does_not_make_two_of_one_name(device: NewDevice) -> None:
    def change(old: str, new: str) -> str:
        path = "/boot/firmware/edgecam-setup.toml"
        device.write(path, device.read(path).replace(old, new))
        report = boot(device)
        assert report is not None
        return report.device_id

    device.write("/boot/firmware/edgecam-setup.toml", f'device_id = "door-1"\n{WHOLE}')
    assert boot(device) is not None
    assert load_settings(device.places.configuration).device.id == "door-1"
    device.move("20000000bb")
    report = boot(device)
    assert report is not None
    own = report.device_id
    assert own != "door-1"
    assert "device_id door-1 of the setup file is another machine's" in report.as_text()
    # its owner changes something else: the line is as it was copied, and not meant
    assert change('hostname = "door"', 'hostname = "gate"') == own
    assert change('device_id = "door-1"', 'device_id = "gate-1"') == "gate-1"
    # the other machine is gone: the line is taken out, and written again
    assert change('device_id = "gate-1"', 'device_id = "door-1"') == "door-1"


def test_a_copied_file_can_be_made_to_mean_its_name_after_all(device: NewDevice) -> None:
    path = "/boot/firmware/edgecam-setup.toml"
    device.write(path, f'device_id = "door-1"\n{WHOLE}')
    boot(device)
    device.move("20000000bb")
    boot(device)
    left = device.read(path)
    device.write(path, left.replace('device_id = "door-1"\n', ""))
    between = boot(device)
    device.write(path, left)
    report = boot(device)
    assert between is not None
    assert report is not None
    assert between.device_id != "door-1"
    assert report.device_id == load_settings(device.places.configuration).device.id == "door-1"


def test_a_copied_card_becomes_its_own_device_though_its_file_has_a_mistake(device: NewDevice) -> None:
    first = boot(device)
    device.write("/boot/firmware/edgecam-setup.toml", "hostname = 7\n")
    device.move("20000000bb")
    report = boot(device)
    assert first is not None
    assert report is not None
    assert report.verdict == "refused"
    assert "hostname: is 7" in device.read("/boot/firmware/edgecam-setup-report.txt")
    assert load_settings(device.places.configuration).device.id == report.device_id != first.device_id


def test_two_devices_from_one_card_image_have_different_ids(tmp_path: Path) -> None:
    reports = [boot(new_device(tmp_path / name)) for name in ("one", "two")]
    assert len({report.device_id for report in reports if report}) == 2


def test_a_fleet_s_root_of_trust_is_taken_from_the_card(device: NewDevice) -> None:
    fleet = '[fleet]\nurl = "https://models.example.org/fleet"\nroot_file = "root.json"\n'
    device.write("/boot/firmware/edgecam-setup.toml", fleet)
    device.write("/boot/firmware/root.json", '{"signed": {}}')
    report = boot(device)
    assert report is not None
    assert report.verdict == "done"
    settings = load_settings(device.places.configuration)
    assert (settings.fleet.url, str(settings.fleet.root)) == (
        "https://models.example.org/fleet",
        "/etc/edgecam/fleet-root.json",
    )
    assert device.read("/etc/edgecam/fleet-root.json") == '{"signed": {}}'


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


def test_host_keys_that_a_cut_cloud_init_never_made_are_made(device: NewDevice) -> None:
    device.places.at("/etc/ssh/ssh_host_ed25519_key").unlink()
    boot(device)
    assert device.read("/etc/ssh/ssh_host_ed25519_key")


def test_what_cannot_be_done_here_is_said_and_the_rest_is_done(device: NewDevice) -> None:
    device.places.at("/etc/NetworkManager").rmdir()
    report = boot(device)
    assert report is not None
    assert report.verdict == "done"
    left_out = [name for name, one in report.steps if one.state == "left out"]
    assert left_out == ["wifi"]
    assert "NetworkManager is not installed" in device.read("/boot/firmware/edgecam-setup-report.txt")


def test_what_a_read_only_system_does_not_take_is_left_out_and_the_rest_is_done(
    device: NewDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def refuse_names(source: str, target: Path) -> None:
        if target == device.places.at("/etc/hosts"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse_names)
    report = boot(device)
    assert report is not None
    assert report.verdict == "done"
    assert [name for name, one in report.steps if one.state == "left out"] == ["hostname"]
    assert "read-only" in device.read("/boot/firmware/edgecam-setup-report.txt")


def test_a_step_that_fails_is_tried_again_at_the_next_boot_with_its_secrets(device: NewDevice) -> None:
    blocked = device.places.at("/etc/credstore")
    blocked.write_text("a file where a folder has to be")
    report = boot(device)
    assert report is not None
    assert report.verdict == "not done"
    assert "FAILED" in device.read("/boot/firmware/edgecam-setup-report.txt")
    blocked.unlink()
    boot(device)
    check_set_up(device)


def test_over_ssh_the_file_on_the_card_does_not_undo_what_was_said(device: NewDevice, tmp_path: Path) -> None:
    boot(device)
    said = tmp_path / "said.toml"
    said.write_text('hostname = "gate"\n')
    provisioner = Provisioner(device.places, device)
    asked = read_setup(said, device.places, provisioner.is_kept)
    assert provisioner.carry_out(asked, said, lambda *_: None).verdict == "done"
    assert boot(device) is None
    assert device.read("/etc/hostname") == "gate\n"
    assert load_settings(device.places.configuration).messaging.broker == "mqtts://broker.example.org"


def test_over_ssh_the_file_on_the_card_is_cleaned_too(device: NewDevice) -> None:
    provisioner, path = Provisioner(device.places, device), device.places.setup_file
    asked = read_setup(path, device.places, provisioner.is_kept)
    assert provisioner.carry_out(asked, path, lambda *_: None).verdict == "done"
    check_set_up(device)
    assert boot(device) is None


def test_a_file_on_the_card_that_was_never_carried_out_has_its_turn_at_the_next_boot(
    device: NewDevice, tmp_path: Path
) -> None:
    said = tmp_path / "said.toml"
    said.write_text('hostname = "gate"\n')
    provisioner = Provisioner(device.places, device)
    provisioner.carry_out(read_setup(said, device.places, provisioner.is_kept), said, lambda *_: None)
    boot(device)
    check_set_up(device)


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
