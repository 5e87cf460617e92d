"""`edgecam setup`: at a boot, by a file, and what it refuses."""

import json
import os
import tempfile
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from appliance.cli.setup import set_up, set_up_at_boot, setup
from appliance.core.errors import ConfigError, UnavailableError
from appliance.provisioning import Provisioner, check_setup, read_setup
from tests.simulators.new_device import NewDevice


def test_at_a_boot_only_the_file_on_the_card_counts() -> None:
    for more in (["--dry-run"], ["--yes"], ["--file", "my.toml"]):
        done = CliRunner().invoke(setup, ["--boot", *more])
        assert done.exit_code == 2, more
        assert "--boot goes by the boot partition's file" in done.output


def test_a_boot_with_nothing_to_do_says_so_to_programs_too(
    device: NewDevice, capsys: pytest.CaptureFixture[str]
) -> None:
    provisioner = Provisioner(device.places, device)
    assert set_up_at_boot(provisioner, as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == {"v": 1, "verdict": "nothing to do"}
    assert set_up_at_boot(provisioner, as_json=False) == 0
    assert capsys.readouterr().out == "nothing to set up\n"
    device.places.setup_file.write_text('hostname = "gate"\n[cameras.yard]\nkind = "synthetic"\n')
    assert set_up_at_boot(provisioner, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "done"


@pytest.mark.parametrize("has_password", [True, False])
def test_secrets_that_lie_beside_a_file_of_the_owners_are_told(
    device: NewDevice, capsys: pytest.CaptureFixture[str], *, has_password: bool
) -> None:
    for name in ("device.pem", "device.key"):
        kind = "CERTIFICATE" if name.endswith("pem") else "PRIVATE KEY"
        device.write(f"/root/{name}", f"-----BEGIN {kind}-----\nx\n-----END {kind}-----\n")
    password = 'username = "me"\npassword = "secret 7"\n' if has_password else ""
    device.write(
        "/root/my.toml",
        f'[broker]\nurl = "mqtts://b"\ncert_file = "device.pem"\nkey_file = "device.key"\n{password}'
        '[cameras.yard]\nkind = "synthetic"\n',
    )
    provisioner, path = Provisioner(device.places, device), device.places.at("/root/my.toml")
    asked = read_setup(path, device.places, provisioner.is_kept)
    assert set_up(asked, path, device.places, provisioner, is_agreed=True, as_json=True) == 0
    said = capsys.readouterr().err
    assert f"{path.with_name('device.key')} is still there" in said
    assert (f"{path} still has the passwords in it" in said) is has_password
    assert path.with_name("device.key").exists()


def test_who_does_not_agree_is_shown_what_it_was_and_changes_nothing(device: NewDevice) -> None:
    provisioner = Provisioner(device.places, device)
    asked = check_setup({"hostname": "gate"}, "", Path("the answers"), device.places, provisioner.is_kept)
    with (
        CliRunner().isolation(input="n\n") as (_, told, _both),
        pytest.raises(click.Abort),
    ):
        set_up(asked, None, device.places, provisioner, is_agreed=False, as_json=False)
    said = told.getvalue().decode()
    assert 'hostname = "gate"' in said
    assert "nothing was changed" in said
    assert device.read("/etc/hostname") == "raspberrypi\n"


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
