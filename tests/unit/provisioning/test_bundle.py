"""What lies on a new card fits what reads it there."""

import re
import tomllib
from pathlib import Path

import pytest

from appliance.core.errors import ConfigError
from appliance.provisioning import read_setup
from tests.simulators.new_device import NewDevice

ROOT = Path(__file__).resolve().parents[3]
BUNDLE = ROOT / "image/bundle"


def test_the_setup_file_of_the_bundle_is_accepted_as_it_is(tmp_path: Path) -> None:
    device = NewDevice(tmp_path)
    asked = read_setup(BUNDLE / "edgecam-setup.toml", device.places, lambda _: False)
    assert (asked.setup.hostname, asked.secrets) == ("edgecam", {})


def test_every_line_of_it_is_a_setting_once_the_sign_before_it_is_taken_away(tmp_path: Path) -> None:
    device = NewDevice(tmp_path)
    text = re.sub(r"(?m)^#(?=\S)", "", (BUNDLE / "edgecam-setup.toml").read_text())
    path = device.places.setup_file
    path.write_text(text)
    assert tomllib.loads(text).keys() == {
        *("hostname", "time_zone", "device_id", "wifi", "ssh", "broker", "cameras", "fleet"),
    }
    with pytest.raises(ConfigError) as refused:
        read_setup(path, device.places, lambda _: False)
    # what only an owner has: a key, files beside it, a fleet
    told = {line.split(":")[0].strip() for line in str(refused.value).splitlines()[1:]}
    assert told - {"fleet"} == {
        *("ssh.keys[0]", "broker.ca_file", "broker.cert_file", "broker.key_file", "fleet.root_file"),
    }


def test_the_example_of_the_documentation_is_accepted_but_for_what_only_an_owner_has(tmp_path: Path) -> None:
    device = NewDevice(tmp_path)
    page = (ROOT / "docs/provisioning.md").read_text()
    device.places.setup_file.write_text(page.partition("```toml\n")[2].partition("```")[0])
    with pytest.raises(ConfigError) as refused:
        read_setup(device.places.setup_file, device.places, lambda _: False)
    told = {line.split(":")[0].strip() for line in str(refused.value).splitlines()[1:]}
    assert told == {"ssh.keys[0]", "broker.ca_file", "broker.cert_file", "broker.key_file"}


def test_what_a_boot_starts_lies_in_the_bundle() -> None:
    named = re.findall(r"/boot/firmware/(edgecam/[a-z]+)", (BUNDLE / "user-data").read_text())
    named += re.findall(r"/boot/firmware/(edgecam/[a-z]+)", (BUNDLE / "edgecam/edgecam-install.service").read_text())
    assert named == ["edgecam/begin", "edgecam/install"]
    assert all((BUNDLE / name).is_file() for name in named)
    # the name is the setup file's to give, at every boot
    assert "preserve_hostname: true" in (BUNDLE / "user-data").read_text().splitlines()
