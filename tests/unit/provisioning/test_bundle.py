"""What lies on a new card fits what reads it there."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from appliance.core.errors import ConfigError
from appliance.provisioning import read_setup
from tests.simulators.new_device import NewDevice

ROOT = Path(__file__).resolve().parents[3]
BUNDLE = ROOT / "image/bundle"
FOR_NOW, FOR_GOOD = 1, 78  # what a minute may mend, and what none does: RestartPreventExitStatus of the unit


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


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize(
    "script", ["image/bundle/edgecam/begin", "image/bundle/edgecam/install", "scripts/image", "scripts/flash"]
)
def test_the_scripts_pass_shellcheck(script: str) -> None:
    done = subprocess.run(["shellcheck", ROOT / script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """A boot partition with packages of no content, and programs that tell of a system that can take them."""
    folder = tmp_path / "boot/edgecam"
    folder.mkdir(parents=True)
    for name in ("edgecam_1_all.deb", "edgecam-runtime_1_arm64.deb"):
        (folder / name).write_text(name)
    for name in ("install", "begin"):
        shutil.copy(BUNDLE / "edgecam" / name, folder)
    sums = subprocess.run(
        ["sha256sum", *sorted(path.name for path in folder.iterdir())], cwd=folder, capture_output=True, check=True
    )
    (folder / "SHA256SUMS").write_bytes(sums.stdout)
    says = {
        "dpkg": '[ "$1" != --print-architecture ] || { echo arm64; exit 0; }; echo "dpkg: $*"; [ "$1" = --configure ]',
        "dpkg-query": "exit 1",  # nothing is installed: so nothing beyond the packages is ever done here
        "df": "printf 'a\\n/dev/root 1 1 9000000 1%% /\\n'",
        "apt-get": "echo apt-get: nothing to be had; exit 100",
        "systemctl": "exit 1",
    }
    (tmp_path / "bin").mkdir()
    for name, what in says.items():
        say(tmp_path, name, what)
    return folder


def say(place: Path, program: str, what: str) -> None:
    path = place / "bin" / program
    path.write_text(f"#!/bin/sh\n{what}\n")
    path.chmod(0o755)


def install(folder: Path, status: int) -> str:
    """Run it, which refuses with this exit status, and give what it says on the card."""
    path = f"{folder.parents[1] / 'bin'}:{os.defpath}"
    done = subprocess.run(["sh", folder / "install"], env={"PATH": path}, capture_output=True, check=False, timeout=60)
    assert done.returncode == status, done
    return (folder.parent / "edgecam-setup-report.txt").read_text()


def test_packages_that_do_not_go_with_the_system_are_told_with_what_was_said_last(card: Path) -> None:
    told = install(card, FOR_NOW)
    assert "packages do not go with this system, or need others that no network brought" in told
    assert "apt-get: nothing to be had" in told
    say(card.parents[1], "apt-get", "exit 0")  # it has taken them away again, and calls that fixed
    assert "take Raspberry Pi OS Lite (64-bit) on Debian 13" in install(card, FOR_NOW)


def test_a_system_without_room_is_told_before_anything_is_unpacked_and_may_grow(card: Path) -> None:
    if Path("/usr/lib/edgecam").exists():
        pytest.skip("Edgecam is installed here, so room is not asked for again")
    say(card.parents[1], "df", "printf 'a\\n/dev/root 1 1 307200 1%% /\\n'")
    told = install(card, FOR_NOW)
    assert "has 300 MB free, and 600 are needed: take a larger card" in told
    assert "tried again after a minute, then more and more rarely, and at the next boot" in told
    assert "dpkg: --force-confold" not in told


def test_a_card_that_was_not_written_to_its_end_is_told(card: Path) -> None:
    (card / "edgecam_1_all.deb").write_text("half")
    told = install(card, FOR_GOOD)
    assert "the card is damaged, or was not written to its end" in told
    assert "tried again at the next boot" in told
    assert "dpkg:" not in told
