"""What `edgecam setup` asks of the broker, and what of its account stays."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from appliance.provisioning import Provisioner, read_setup
from tests.simulators.new_device import NewDevice
from tests.unit.cli.test_setup_questions import carried_out, questions

PEM = "-----BEGIN CERTIFICATE-----\nof the broker\n-----END CERTIFICATE-----\n"


def messaging(device: NewDevice) -> dict[str, Any]:
    told: dict[str, Any] = tomllib.loads(device.places.configuration.read_text())["messaging"]
    return told


@pytest.fixture
def at_broker(device: NewDevice) -> NewDevice:
    """A device that was set up with a broker that wants a password and has an authority of its own."""
    device.write("/root/ca.pem", PEM)
    device.write(
        "/root/my.toml",
        '[broker]\nurl = "mqtts://a.example"\nusername = "me"\npassword = "secret 7"\nca_file = "ca.pem"\n'
        '[cameras.yard]\nkind = "synthetic"\n',
    )
    provisioner, path = Provisioner(device.places, device), device.places.at("/root/my.toml")
    asked = read_setup(path, device.places, provisioner.is_kept)
    assert provisioner.carry_out(asked, path, lambda *_: None).verdict == "done"
    return device


def test_a_broker_with_another_port_keeps_its_password_and_certificates(at_broker: NewDevice) -> None:
    before = messaging(at_broker)
    values, said = questions(at_broker, [*[""] * 4, "mqtts://a.example:8884", "", ""])
    assert "empty: the one that is there" in said
    assert carried_out(at_broker, values).verdict == "done"
    assert messaging(at_broker) == {**before, "broker": "mqtts://a.example:8884"}
    assert at_broker.read("/etc/credstore/edgecam.broker-password") == "secret 7\n"
    assert at_broker.read("/etc/edgecam/tls/ca.pem") == PEM


def test_a_certificate_of_the_folder_in_which_one_stands_is_not_taken_for_the_one_that_is_there(
    at_broker: NewDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ca.pem").write_text(PEM.replace("broker", "somebody else"))
    values, _ = questions(at_broker, [*[""] * 4, "mqtts://a.example:8884", "", ""])
    assert carried_out(at_broker, values).verdict == "done"
    assert at_broker.read("/etc/edgecam/tls/ca.pem") == PEM


def test_a_password_goes_to_another_host_only_where_the_owner_says_that_it_is_the_same_broker(
    at_broker: NewDevice,
) -> None:
    other, said = questions(at_broker, [*[""] * 4, "mqtts://b.example", "", "you", ""])
    assert "with the same password and certificates?" in said
    assert "Password at the broker (empty: none)" in said
    assert other == {"broker": {"url": "mqtts://b.example", "username": "you"}}
    moved, _ = questions(at_broker, [*[""] * 4, "mqtts://b.example", "y", "", ""])
    assert carried_out(at_broker, moved).verdict == "done"
    assert messaging(at_broker)["username"] == "me"
    assert messaging(at_broker)["password"] == {"credential": "broker-password"}
    assert messaging(at_broker)["tls"] == {"ca_file": "/etc/edgecam/tls/ca.pem"}


def test_a_user_name_that_changes_keeps_the_password_and_none_takes_it_away(at_broker: NewDevice) -> None:
    values, _ = questions(at_broker, [*[""] * 5, "you", ""])
    assert values["broker"]["password"] == {"moved": True}
    values, said = questions(at_broker, [*[""] * 5, "-"])
    assert '"-": none' in said
    assert carried_out(at_broker, values).verdict == "done"
    assert set(messaging(at_broker)) == {"broker", "tls"}


def test_what_was_written_by_hand_and_cannot_stay_is_told(device: NewDevice) -> None:
    device.places.configuration.write_text(
        '[messaging]\nbroker = "mqtts://a.example"\nusername = "me"\npassword = { file = "/root/word" }\n'
        'tls = { ca_file = "/root/ca.pem" }\n[cameras.yard]\nkind = "synthetic"\n'
    )
    assert questions(device, [""] * 7)[0] == {}
    values, said = questions(device, [*[""] * 4, "mqtts://a.example:8884", "", ""])
    assert "Password at the broker (empty: none)" in said
    assert "Taken out of [messaging], for they were written by hand: password, tls.ca_file" in said
    assert values == {"broker": {"url": "mqtts://a.example:8884", "username": "me"}}


@pytest.mark.parametrize("broker", ["none", "embedded"])
def test_where_there_is_no_broker_nobody_is_asked_for_an_account(device: NewDevice, broker: str) -> None:
    device.places.configuration.write_text(f"[messaging]\nbroker = '{broker}'\n[cameras.yard]\nkind = 'synthetic'\n")
    values, said = questions(device, [""] * 5)
    assert values == {}
    assert "User name" not in said
