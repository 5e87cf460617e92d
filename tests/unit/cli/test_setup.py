"""`edgecam setup`: questions, files, and what it refuses."""

import json
import os
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.cli.setup import setup
from appliance.cli.setup_questions import ask
from appliance.core.errors import ConfigError, UnavailableError
from appliance.provisioning import Provisioner, check_setup
from tests.simulators.new_device import NewDevice

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdd0DjK3Fq2Yp5nq0wmyhR8D0cMpaXBc0Q0vZ1m4nnP me@desk"


@pytest.fixture
def device(tmp_path: Path) -> NewDevice:
    return NewDevice(tmp_path)


def test_enter_at_every_question_keeps_what_is_so(device: NewDevice) -> None:
    device.places.configuration.write_text('[messaging]\nbroker = "mqtt://b"\n[cameras.yard]\nkind = "synthetic"\n')
    with CliRunner().isolation(input="\n" * 10):
        values = ask(device.places, is_quiet=False)
    assert values == {"hostname": "raspberrypi", "time_zone": "UTC"}


def test_answers_become_what_a_setup_file_would_say(device: NewDevice) -> None:
    device.write("/usr/share/zoneinfo/UTC", "TZif")
    answers = [
        "My Gate",
        "gate",
        "UTC",
        "",
        "home",
        "gb",
        "a wireless secret",
        "mqtts://b.example.org",
        "me",
        "secret 7",
    ]
    with CliRunner().isolation(input="\n".join([*answers, "1", "street", ""])) as (_, told, _both):
        values = ask(device.places, is_quiet=False)
        said = told.getvalue().decode()
    asked = check_setup(values, "", Path("the answers"), device.places, lambda _: False)
    assert "1 to 63 of a-z, 0-9 and -" in said  # and asked again
    assert asked.setup.hostname == "gate"
    assert asked.setup.wifi is not None
    assert asked.setup.wifi.country == "GB"
    assert asked.secrets == {"wifi.password": "a wireless secret", "broker.password": "secret 7"}
    assert len(asked.setup.cameras) == 1
    assert "secret" not in said


def test_an_answer_that_is_not_accepted_is_asked_for_again_and_the_others_are_kept(device: NewDevice) -> None:
    device.write("/usr/share/zoneinfo/UTC", "TZif")
    device.places.configuration.write_text('[cameras.yard]\nkind = "synthetic"\n')
    wrong_and_right = {
        "hostname": ("My Gate", "gate"),
        "time zone": ("Europe/Londn", "Europe/London"),
        "key": ("ssh-ed25519 AAAA me", KEY),
        "network": ("ä" * 17, "home"),
        "country": ("uk", "gb"),
        "password": ("short", "long enough"),
        "broker": ("mqtt://me:secret@host", "mqtt://host"),
    }
    lines = [answer for both in wrong_and_right.values() for answer in both] + ["door", ""]
    with CliRunner().isolation(input="\n".join([*lines, ""])) as (_, told, _both):
        values = ask(device.places, is_quiet=False)
        said = told.getvalue().decode()
    assert values == {
        "hostname": "gate",
        "time_zone": "Europe/London",
        "ssh": {"keys": [KEY]},
        "wifi": {"ssid": "home", "country": "GB", "password": "long enough"},
        "broker": {"url": "mqtt://host", "username": "door"},
    }
    for why in ("did you mean Europe/London?", "is no public key", "has 34 bytes", "Britain is GB", "they go into"):
        assert why in said
    assert "short" not in said


def test_a_configuration_that_is_broken_already_does_not_ask_for_ever(device: NewDevice) -> None:
    device.places.configuration.write_text("[messaging]\nkeepalive = 1\n[cameras.yard]\nkind = 'synthetic'\n")
    with CliRunner().isolation(input="\n" * 10):
        assert ask(device.places, is_quiet=False)["hostname"] == "raspberrypi"


def test_a_dry_run_shows_what_would_be_and_no_password(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text('hostname = "gate"\n[broker]\nurl = "mqtt://b"\npassword = "a secret"\n')
    done = CliRunner().invoke(setup, ["--file", str(file), "--dry-run", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["asked"] == {"hostname": "gate", "broker": {"url": "mqtt://b", "password": {"moved": True}}}
    assert told["secrets"] == ["broker.password"]
    assert "a secret" not in done.output
    text = CliRunner().invoke(setup, ["--file", str(file), "--dry-run"])
    assert "Passwords that would be moved: broker.password" in text.stdout


def test_what_cannot_ask_has_to_be_told_to_go_on() -> None:
    done = CliRunner().invoke(setup, ["--json"])
    assert done.exit_code == 2
    assert "say --yes" in done.output


def test_a_file_with_mistakes_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text("hostname = 7\n")
    done = CliRunner().invoke(setup, ["--file", str(file), "--dry-run"])
    assert isinstance(done.exception, ConfigError)
    assert "hostname: is 7" in str(done.exception)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
@pytest.mark.parametrize("folder_mode", [0o700, 0o755])
def test_who_may_not_look_at_what_is_there_is_told_what_to_do(folder_mode: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        device = NewDevice(Path(folder))
        Path(folder).chmod(0o755)
        device.places.configuration.write_text('[device]\nid = "door"\n')
        device.places.configuration.chmod(0o600)
        device.places.configuration.parent.chmod(folder_mode)
        os.seteuid(65534)
        try:
            with pytest.raises(UnavailableError, match="members of the group edgecam alone; do: sudo edgecam setup"):
                ask(device.places, is_quiet=False)
        finally:
            os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_who_may_not_look_for_a_secret_is_told_what_to_do() -> None:
    with tempfile.TemporaryDirectory() as folder:
        device = NewDevice(Path(folder))
        Path(folder).chmod(0o755)
        (Path(folder) / "etc/credstore").mkdir(mode=0o700)
        provisioner = Provisioner(device.places, device)
        os.seteuid(65534)
        try:
            with pytest.raises(UnavailableError, match=r"broker\.password: only root may look"):
                provisioner.is_kept("broker.password")
        finally:
            os.seteuid(0)
