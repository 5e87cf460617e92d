"""The card's file, changed after something else was asked over SSH: what it only repeats stays as it was said."""

import json
from pathlib import Path

import pytest

from appliance.config import load_settings
from appliance.core.errors import ConfigError
from appliance.provisioning import Provisioner, Report, read_setup
from tests.simulators.new_device import Moments, NewDevice
from tests.simulators.owner import BROKER, PEM, WHOLE, WIFI, boot, cut_boots

CARD = "/boot/firmware/edgecam-setup.toml"
PLAN = "/var/lib/edgecam-setup/plan.json"
CONNECTION = "/etc/NetworkManager/system-connections/edgecam.nmconnection"
CREDENTIAL = "/etc/credstore/edgecam.broker-password"
OTHER_WIFI, OTHER_BROKER = "another wireless secret", "another broker's secret"
WIFI_SAID = f'[wifi]\nssid = "new home"\ncountry = "GB"\npassword = "{OTHER_WIFI}"\n'
BROKER_SAID = f'[broker]\nurl = "mqtt://other.example.org"\nusername = "me"\npassword = "{OTHER_BROKER}"\n'


def say(device: NewDevice, folder: Path, text: str) -> Report:
    said, provisioner = folder / "said.toml", Provisioner(device.places, device)
    said.write_text(text)
    return provisioner.carry_out(read_setup(said, device.places, provisioner.is_kept), said, lambda *_: None)


def change(device: NewDevice, old: str, new: str) -> None:
    """Change the card's file as its owner would."""
    text = device.read(CARD)
    assert old in text
    device.write(CARD, text.replace(old, new))


def check_said(device: NewDevice) -> None:
    """The network and the broker are those that were asked over SSH, each with its own password."""
    ssid = "".join(f"{byte};" for byte in b"new home")
    assert f"ssid={ssid}\n" in device.read(CONNECTION)
    assert f"psk={OTHER_WIFI}\n" in device.read(CONNECTION)
    messaging = load_settings(device.places.configuration).messaging
    assert (messaging.broker, messaging.username) == ("mqtt://other.example.org", "me")
    assert device.read(CREDENTIAL) == f"{OTHER_BROKER}\n"


def check_named(device: NewDevice, name: str) -> None:
    report = boot(device)
    assert report is not None
    assert (report.verdict, report.hostname, report.mistakes) == ("done", name, ()), report


def test_what_was_asked_over_ssh_stays_though_something_else_of_the_cards_file_is_changed(
    device: NewDevice, tmp_path: Path
) -> None:
    boot(device)
    assert say(device, tmp_path, WIFI_SAID + BROKER_SAID).verdict == "done"
    assert say(device, tmp_path, 'time_zone = "Europe/London"\n').verdict == "done"
    before = "door"
    for name in ("gate", "yard"):
        change(device, f'hostname = "{before}"', f'hostname = "{name}"')
        check_named(device, name)
        check_said(device)
        before = name
    assert boot(device) is None


def test_what_stays_is_named_and_comes_back_once_it_was_taken_out_of_the_file(
    device: NewDevice, tmp_path: Path
) -> None:
    device.write(CARD, 'hostname = "door"\n[wifi]\nssid = "cafe"\ncountry = "GB"\n')
    boot(device)
    assert say(device, tmp_path, '[wifi]\nssid = "typo"\ncountry = "GB"\n').verdict == "done"
    change(device, '"door"', '"gate"')
    report = boot(device)
    assert report is not None
    (note,) = (one for one in report.notes if "over SSH since" in one)
    assert "not as edgecam-setup.toml says: wifi; to have what the file says, take that out of it" in note
    change(device, '[wifi]\nssid = "cafe"\ncountry = "GB"\n', "")
    check_named(device, "gate")
    device.write(CARD, device.read(CARD) + '[wifi]\nssid = "cafe"\ncountry = "GB"\n')
    report = boot(device)
    assert report is not None
    assert not any("over SSH since" in one for one in report.notes)
    ssid = "".join(f"{byte};" for byte in b"cafe")
    assert f"ssid={ssid}\n" in device.read(CONNECTION)


def test_a_file_of_which_all_stays_is_not_told_to_ask_for_nothing(device: NewDevice, tmp_path: Path) -> None:
    device.write(CARD, 'hostname = "door"\n')
    boot(device)
    assert say(device, tmp_path, 'hostname = "yard"\n').hostname == "yard"
    device.write(CARD, 'hostname = "door"\n# the one at the gate\n')
    report = boot(device)
    assert report is not None
    assert report.hostname == "yard"
    assert not any("asks for nothing" in one for one in report.notes)


def test_a_network_whose_name_networkmanager_has_written_as_text_is_known_again(
    device: NewDevice, tmp_path: Path
) -> None:
    boot(device)
    said = WIFI_SAID.replace("new home", "new; home\\\\4")
    assert say(device, tmp_path, said).verdict == "done"
    ssid = "".join(f"{byte};" for byte in b"new; home\\4")
    text = device.read(CONNECTION)
    assert f"ssid={ssid}\n" in text
    device.write(CONNECTION, text.replace(f"ssid={ssid}\n", "ssid=new\\; home\\\\4\n"))
    change(device, 'country = "', 'hidden = true\ncountry = "')
    report = boot(device)
    assert report is not None
    assert report.verdict == "refused"
    assert any(r"was given for new; home\4, not" in one for one in report.mistakes), report.mistakes


def test_a_password_that_was_taken_away_over_ssh_is_not_missed_by_a_file_that_only_repeats_its_broker(
    device: NewDevice, tmp_path: Path
) -> None:
    boot(device)
    assert say(device, tmp_path, '[broker]\nurl = "mqtt://other.example.org"\n').verdict == "done"
    assert not device.places.at(CREDENTIAL).exists()
    change(device, 'hostname = "door"', 'hostname = "gate"')
    device.places.at("/boot/firmware/ca.pem").unlink()
    check_named(device, "gate")
    assert load_settings(device.places.configuration).messaging.broker == "mqtt://other.example.org"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('username = "door"', 'username = "gate"', "broker.password: the one on this device was given for other."),
        ("example.org", "example.net", "was given for other.example.org, not broker.example.net; write the password"),
        (
            'ssid = "home"',
            'ssid = "home 2"',
            "wifi.password: the one on this device was given for new home, not home 2",
        ),
        ('country = "GB"', 'country = "FR"', "wifi.password: the one on this device was given for new home, not home;"),
        ('username = "watch"', 'username = "you"', "cameras.door.password: the one on this device was given for 192."),
    ],
)
def test_a_section_that_is_said_anew_does_not_get_the_password_of_another_address(
    device: NewDevice, tmp_path: Path, old: str, new: str, said: str
) -> None:
    boot(device)
    camera = '[cameras.door]\nkind = "rtsp"\nurl = "rtsp://192.0.2.77/s"\nusername = "u"\npassword = "a third secret"\n'
    say(device, tmp_path, WIFI_SAID + BROKER_SAID + camera)
    change(device, old, new)
    report = boot(device)
    assert report is not None
    assert report.verdict == "refused"
    assert len(report.mistakes) == 1
    assert said in report.mistakes[0]
    check_said(device)
    assert device.read("/etc/edgecam/secrets/camera-door") == "a third secret\n"


def test_a_section_that_is_said_anew_with_its_password_is_carried_out(device: NewDevice, tmp_path: Path) -> None:
    boot(device)
    say(device, tmp_path, WIFI_SAID + BROKER_SAID)
    device.write(CARD, WHOLE)
    report = boot(device)
    assert report is not None
    assert report.verdict == "done"
    assert f"psk={WIFI}\n" in device.read(CONNECTION)
    assert load_settings(device.places.configuration).messaging.broker == "mqtts://broker.example.org"
    assert device.read(CREDENTIAL) == f"{BROKER}\n"


def test_beside_a_mistake_no_password_is_missed_of_what_the_file_only_repeats(
    device: NewDevice, tmp_path: Path
) -> None:
    boot(device)
    say(device, tmp_path, '[broker]\nurl = "mqtt://other.example.org"\n')
    change(device, 'hostname = "door"', "hostname = 7")
    report = boot(device)
    assert report is not None
    assert [line.split(":")[0] for line in report.mistakes] == ["hostname"]


def test_the_cards_file_given_over_ssh_counts_as_a_whole_and_gives_no_password_to_another_address(
    device: NewDevice, tmp_path: Path
) -> None:
    boot(device)
    say(device, tmp_path, 'hostname = "gate"\n')
    path, provisioner = device.places.setup_file, Provisioner(device.places, device)
    asked = read_setup(path, device.places, provisioner.is_kept)
    assert provisioner.carry_out(asked, path, lambda *_: None).hostname == "door"
    say(device, tmp_path, BROKER_SAID)
    with pytest.raises(ConfigError, match=r"was given for other\.example\.org, not broker\.example\.org"):
        provisioner.carry_out(read_setup(path, device.places, provisioner.is_kept), path, lambda *_: None)
    assert load_settings(device.places.configuration).messaging.broker == "mqtt://other.example.org"


def test_another_certificate_beside_the_file_is_said_anew(device: NewDevice, tmp_path: Path) -> None:
    device.write(CARD, 'hostname = "door"\n[broker]\nurl = "mqtts://broker.example.org"\nca_file = "ca.pem"\n')
    boot(device)
    say(device, tmp_path, BROKER_SAID)
    change(device, '"door"', '"gate"')
    boot(device)
    assert load_settings(device.places.configuration).messaging.broker == "mqtt://other.example.org"
    change(device, '"gate"', '"yard"')
    device.write("/boot/firmware/ca.pem", PEM.replace("AA==", "AAA="))
    boot(device)
    assert load_settings(device.places.configuration).messaging.broker == "mqtts://broker.example.org"


def test_the_cards_own_password_goes_with_the_name_that_its_owner_corrects(device: NewDevice, tmp_path: Path) -> None:
    boot(device)
    say(device, tmp_path, 'time_zone = "Europe/London"\n')
    change(device, 'ssid = "home"', 'ssid = "home 2"')
    assert boot(device) is not None
    assert f"psk={WIFI}\n" in device.read(CONNECTION)
    assert "".join(f"{byte};" for byte in b"home 2") in device.read(CONNECTION)


def test_with_a_plan_of_before_a_password_goes_to_no_other_address_either(device: NewDevice, tmp_path: Path) -> None:
    boot(device)
    say(device, tmp_path, WIFI_SAID + BROKER_SAID)
    told = json.loads(device.read(PLAN))
    del told["marks"], told["said"]
    device.write(PLAN, json.dumps(told))
    change(device, 'hostname = "door"', 'hostname = "gate"')
    report = boot(device)
    assert report is not None
    assert [line.split(":")[0] for line in report.mistakes] == ["wifi.password", "broker.password"]
    check_said(device)


def test_interrupted_at_any_moment_what_was_asked_over_ssh_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments, number = Moments(monkeypatch), 0

    def prepare(device: NewDevice) -> None:
        boot(device)
        say(device, tmp_path, WIFI_SAID + BROKER_SAID)
        change(device, 'hostname = "door"', 'hostname = "gate"')

    for number, device in cut_boots(tmp_path, moments, prepare=prepare):
        boot(device)
        check_said(device)
        assert device.read("/etc/hostname") == "gate\n", number
        assert boot(device) is None
    assert number > 20  # moments that were tried
