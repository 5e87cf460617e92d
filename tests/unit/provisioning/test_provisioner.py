"""Setting up: from the file on the card to a device, whatever happens in between."""

import errno
import json
import os
import re
from contextlib import nullcontext
from pathlib import Path

import pytest

from appliance.config import load_settings
from appliance.provisioning import Provisioner, read_setup
from tests.simulators.new_device import Cut, Moments, NewDevice
from tests.simulators.owner import (
    BROKER,
    ON_THE_CARD,
    WHOLE,
    WIFI,
    boot,
    check_set_up,
    cut_boots,
    new_device,
)


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
    for number, device in cut_boots(tmp_path, moments):
        again = boot(device)
        assert again is None or again.verdict == "done", (number, again)
        check_set_up(device)
        left = {path.name for path in device.places.boot.iterdir()} - set(ON_THE_CARD)
        # of a last boot's report nothing comes after that could be tidied
        assert again is None or left == set(), (number, left)
    assert number > 60  # moments that were tried


def test_interrupted_at_any_moment_with_its_plan_damaged_besides_no_password_stays_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments, number, verdicts = Moments(monkeypatch), 0, set()
    for number, device in cut_boots(tmp_path, moments):
        if (plan := device.places.state / "plan.json").exists():
            plan.write_bytes(bytes(4096))
        again = boot(device)
        left = {path.name for path in device.places.boot.iterdir()} - set(ON_THE_CARD)
        assert (again is not None, left) == (True, set()), number
        assert again is not None
        verdicts.add(again.verdict)
        if again.verdict == "refused":
            # the plan was all that had them: they are asked for, and nothing else is
            assert all(line.endswith("write the password here again") for line in again.mistakes), again
            device.write("/boot/firmware/edgecam-setup.toml", WHOLE)
            boot(device)
        check_set_up(device)
    assert verdicts == {"done", "refused"}


def test_a_file_that_is_changed_later_is_carried_out_with_the_secrets_that_are_there(device: NewDevice) -> None:
    boot(device)
    left = device.read("/boot/firmware/edgecam-setup.toml")
    device.write("/boot/firmware/edgecam-setup.toml", left.replace('hostname = "door"', 'hostname = "gate"'))
    report = boot(device)
    assert report is not None
    assert (report.verdict, report.hostname) == ("done", "gate")
    assert device.read("/etc/credstore/edgecam.broker-password") == f"{BROKER}\n"
    assert f"psk={WIFI}\n" in device.read("/etc/NetworkManager/system-connections/edgecam.nmconnection")


def asked_for(device: NewDevice) -> list[str]:
    """In whose names certificates were asked for, one request after the other."""
    return [one[one.index("-subj") + 1] for one in device.asked if "-subj" in one]


@pytest.mark.parametrize("moment", [None, "openssl", "systemctl"])
def test_a_device_that_gets_another_id_asks_for_a_certificate_in_that_name(
    device: NewDevice, monkeypatch: pytest.MonkeyPatch, moment: str | None
) -> None:
    first = boot(device)
    assert first is not None
    key, before = device.read("/etc/edgecam/tls/device.key"), device.read("/etc/edgecam/tls/device.csr")
    left = device.read("/boot/firmware/edgecam-setup.toml")
    device.write("/boot/firmware/edgecam-setup.toml", f'device_id = "thing-7"\n{left}')
    run = device.run

    def cut(*command: str) -> str:
        said = run(*command)
        if command[0] == moment:
            raise Cut
        return said

    monkeypatch.setattr(device, "run", cut)
    with nullcontext() if moment is None else pytest.raises(Cut):
        boot(device)
    monkeypatch.undo()
    boot(device)
    assert load_settings(device.places.configuration).device.id == "thing-7"
    assert (asked_for(device)[0], asked_for(device)[-1]) == (f"/CN={first.device_id}", "/CN=thing-7")
    assert device.read("/etc/edgecam/tls/device.csr") != before
    assert device.read("/etc/edgecam/tls/device.key") == key


def test_a_request_is_never_one_of_the_key_before(device: NewDevice) -> None:
    boot(device)
    before = device.read("/etc/edgecam/tls/device.csr")
    named = 'ca_file = "ca.pem"\ncert_file = "ca.pem"\nkey_file = "k.pem"\n'
    device.write("/boot/firmware/edgecam-setup.toml", f'[broker]\nurl = "mqtts://b"\n{named}')
    device.write("/boot/firmware/k.pem", "-----BEGIN EC PRIVATE KEY-----\nAA==\n-----END EC PRIVATE KEY-----\n")
    boot(device)
    assert len(asked_for(device)) == 2
    assert device.read("/etc/edgecam/tls/device.csr") != before


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


def test_what_has_failed_before_is_told_beside_the_mistakes_of_the_file_as_it_is_now(device: NewDevice) -> None:
    device.places.at("/etc/credstore").write_text("a file where a folder has to be")
    device.write("/boot/firmware/edgecam-setup.toml~", f"of an editor: {BROKER}\n")
    boot(device)
    device.write("/boot/firmware/edgecam-setup.toml", "hostname = 7\n")
    report = boot(device)
    assert report is not None
    assert (report.verdict, dict(report.steps)["secrets"].state) == ("refused", "failed")
    text = device.read("/boot/firmware/edgecam-setup-report.txt")
    assert text.index("hostname: is 7") < text.index("secrets        FAILED") < text.index("was gone on with")
    told = json.loads(device.read("/boot/firmware/edgecam-setup-report.json"))
    assert (told["verdict"], told["steps"][0]["state"]) == ("refused", "failed")


def test_a_first_file_that_is_refused_has_changed_nothing_and_says_so(device: NewDevice) -> None:
    device.write("/boot/firmware/edgecam-setup.toml", "hostname = 7\n")
    report = boot(device)
    assert report is not None
    assert (report.verdict, report.steps) == ("refused", ())
    assert device.read("/boot/firmware/edgecam-setup-report.txt").startswith("Nothing was changed: ")


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


@pytest.mark.parametrize("there", ["[cameras.door]\nkind = picamera2\n", "\0" * 512], ids=["not TOML", "zeros"])
def test_a_damaged_configuration_keeps_neither_network_nor_login_and_is_told(device: NewDevice, there: str) -> None:
    device.places.configuration.write_text(there)
    report = boot(device)
    assert report is not None
    assert report.verdict == "not done"
    assert [name for name, one in report.steps if one.state != "done"] == ["configuration", "service"]
    told = dict(report.steps)["configuration"].said
    assert f"{device.places.configuration} is no valid TOML: " in told
    assert "move it away; then: sudo edgecam setup --boot" in told
    assert device.places.configuration.read_text() == there
    device.places.configuration.unlink()
    boot(device)
    check_set_up(device)
