"""A card's first boot, with a real cloud-init: it ends with messages at the broker, also when its power is cut."""

import json
import os
import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.device.conftest import PORT
from tests.powercut.cuts import SURVIVAL
from tests.powercut.forgetful import Lost
from tests.simulators.broker import Mosquitto
from tests.simulators.card import Card
from tests.simulators.guest import Guest, Network, wait_for
from tests.simulators.ssh import log_in
from tests.simulators.subscriber import Subscriber

pytestmark = pytest.mark.timeout(900)  # a boot installs 400 MB

SECRET = "quite secret 42"  # noqa: S105 - of a broker that lives for one test
CUTS, SEED = int(os.environ.get("CUTS") or "20"), int(os.environ.get("SEED") or "7")
WITHIN = 240.0  # seconds, of a boot that installs everything
FLUSHED, UNFLUSHED = ("var/tmp/flushed", "boot/firmware/flushed"), ("var/tmp/unflushed", "boot/firmware/unflushed")
TRIES = 5  # at a moment that lasts for a fraction of a second


@dataclass(frozen=True)
class Site:
    """Where a card is put to use: its network, its broker, its owner's key, and what the owner asks."""

    network: Network
    broker: Mosquitto
    key: Path
    asked: str
    console: Path


@pytest.fixture
def locked(broker: Mosquitto, network: Network, tmp_path: Path) -> Mosquitto:
    """A broker that lets nobody in without the password."""
    users = tmp_path / "users"
    broker.add_user(users, "door", SECRET)
    broker.configure("allow_anonymous false", f"password_file {users}", f"listener {PORT} {network.here}")
    broker.start()
    return broker


@pytest.fixture
def asked(network: Network, key: Path) -> str:
    """What the owner writes."""
    return f"""\
hostname = "gate"
time_zone = "Europe/London"

[ssh]
keys = ["{key.with_suffix(".pub").read_text().strip()}"]

[broker]
url = "mqtt://{network.here}:{PORT}"
username = "door"
password = "{SECRET}" # of the broker

[cameras.street]
kind = "synthetic"
"""


@pytest.fixture
def site(network: Network, locked: Mosquitto, key: Path, asked: str, tmp_path: Path) -> Site:
    return Site(network, locked, key, asked, tmp_path / "console")


def boot(card: Card, site: Site, within: float | None = None) -> Guest:
    return Guest(card.root, site.network, site.console, volatile="no", within=within)


def wait_until_it_publishes(guest: Guest, card: Card, subscriber: Subscriber, within: float = WITHIN) -> str:
    """Wait for the device's own messages and give its id."""

    def told() -> dict[str, str]:
        report = card.read("edgecam-setup-report.json")
        return json.loads(report) if report else {}

    try:
        wait_for(lambda: told().get("verdict") == "done", within, "the report")
        device = str(told()["device"])
        # the report may be of the boot before: systemd itself may not answer yet
        wait_for(lambda: guest.run("systemctl", "is-active", "edgecam").stdout == "active\n", within, "the service")
        count = len(subscriber.bodies(f"{device}/street/events"))
        wait_for(lambda: len(subscriber.bodies(f"{device}/street/events")) > count, within, "an event")
    except AssertionError as error:
        said = guest.run("journalctl", "--no-pager", "-b", "-n", "60").stdout
        raise AssertionError(f"{error}\n{card.read('edgecam-setup-report.txt')}\n{said}") from error
    return device


def check_set_up(guest: Guest, card: Card, user: str = "admin") -> None:
    """Everything that was asked is so, and the password is not on the card."""
    assert guest.run("hostname").stdout == "gate\n"
    assert guest.run("readlink", "/etc/localtime").stdout.strip() == "/usr/share/zoneinfo/Europe/London"
    assert guest.path(f"/home/{user}/.ssh/authorized_keys").read_text().count("me@desk") == 1
    assert guest.run("systemctl", "is-active", "ssh.service").stdout == "active\n"
    assert "passwordauthentication no" in guest.run("sshd", "-T").stdout.splitlines()
    assert guest.run("stat", "-c", "%a %U", "/etc/credstore/edgecam.broker-password").stdout == "600 root\n"
    assert guest.run("stat", "-c", "%a %U", "/etc/edgecam/tls/device.key").stdout == "600 edgecam\n"
    assert guest.run("sudo", "-u", user, "sudo", "-n", "true").returncode == 0
    assert not any(SECRET in path.read_text(errors="replace") for path in card.boot.iterdir() if path.is_file())
    assert "password = { moved = true } # of the broker" in card.read("edgecam-setup.toml")


def check_card_is_spared(guest: Guest) -> None:
    """The bundle has brought what Debian, other than Raspberry Pi OS, does not bring."""
    assert guest.run("sh", "-c", "ls /run/log/journal/*/system.journal").returncode == 0
    assert guest.run("systemctl", "show", "-P", "RuntimeWatchdogUSec").stdout == "15s\n"


def test_a_card_with_the_bundle_ends_with_messages_at_the_broker(new_card: Callable[[str], Card], site: Site) -> None:
    account = {"username": "door", "password": SECRET}
    with new_card(site.asked) as card, Subscriber(site.broker.port, **account) as subscriber:
        began = time.monotonic()
        with boot(card, site) as guest:
            device = wait_until_it_publishes(guest, card, subscriber)
            print(f"from power on to the first event: {time.monotonic() - began:.1f} s")
            check_set_up(guest, card)
            guest.wait_for_boot(WITHIN)
            status = log_in(site.key, site.network, "edgecam", "status", "--json")
            assert json.loads(status.stdout)["cameras"]["street"]["frames_processed"] > 0, status
            assert guest.run("cloud-init", "status").stdout.strip() == "status: done"
            assert not list((card.boot / "edgecam").glob("*.deb"))  # room for the system's own updates
            assert "ssh admin@gate.local" in card.read("edgecam-setup-report.txt")
        with boot(card, site, within=60.0) as guest:
            assert wait_until_it_publishes(guest, card, subscriber) == device
            assert "nothing to set up" in guest.journal("edgecam-setup.service")
            check_card_is_spared(guest)
            assert guest.run("hostname").stdout == "gate\n"


def cut_power(card: Card, guest: Guest, chance: random.Random) -> Lost:
    """Cut the power, just after something was written and flushed, and something was written only."""
    flushed, unflushed = (" ".join(f"/{name}" for name in names) for names in (FLUSHED, UNFLUSHED))
    guest.run("sh", "-c", f"echo it | tee {flushed}; sync {flushed}; echo it | tee {unflushed}", check=True)
    return card.lose_power(chance.choice(SURVIVAL), chance.getrandbits(32))


def is_whole(card: Card, name: str) -> bool:
    path = card.root / name
    return path.exists() and path.read_text() == "it\n"


@pytest.mark.timeout(3600)
def test_its_power_cut_at_random_moments_it_is_finished_at_the_next_boot(
    new_card: Callable[[str], Card], site: Site
) -> None:
    account = {"username": "door", "password": SECRET}
    chance = random.Random(SEED)
    whole, forgotten = 0.0, 0
    for number in range(CUTS + 1):
        # the first one is not cut, and tells how long there is to cut in
        with new_card(site.asked) as card, Subscriber(site.broker.port, f"cut-{number}", **account) as subscriber:
            if number:
                moment = chance.uniform(0.0, whole)
                with boot(card, site) as guest:
                    time.sleep(moment)  # the moment is what is tried
                    lost = cut_power(card, guest, chance)
                card.come_back()
                assert all(is_whole(card, name) for name in FLUSHED), number
                forgotten += sum(not is_whole(card, name) for name in UNFLUSHED)
            began = time.monotonic()
            with boot(card, site) as guest:
                wait_until_it_publishes(guest, card, subscriber)
                check_set_up(guest, card)
            took = time.monotonic() - began
            whole = whole or took
            before = f"cut {number} after {moment:.1f} s, {lost}, then" if number else "undisturbed"
            print(f"{before} {took:.1f} s", flush=True)
    # not all: somebody in the guest may flush everything in that moment
    assert forgotten >= CUTS, (
        f"{forgotten} of {CUTS * len(UNFLUSHED)} files that nobody flushed are gone: no power was cut"
    )


def _host_keys(folder: Path) -> list[Path]:
    return list(folder.glob("ssh_host_*_key"))


def test_killed_while_host_keys_are_made_it_still_lets_its_owner_in(
    new_card: Callable[[str], Card], site: Site
) -> None:
    account = {"username": "door", "password": SECRET}
    for number in range(TRIES):
        with new_card(site.asked) as card, Subscriber(site.broker.port, f"keys-{number}", **account) as subscriber:
            keys = card.root / "etc/ssh"
            with boot(card, site):
                # cloud-init removes the image's and makes others, once
                wait_for(lambda keys=keys: not _host_keys(keys), WITHIN, "the removal", every=0.002)
            if _host_keys(keys):
                continue  # on a busy machine the cut came after they were made
            with boot(card, site) as guest:
                wait_until_it_publishes(guest, card, subscriber)
                check_set_up(guest, card)
                assert log_in(site.key, site.network, "hostname").stdout == "gate\n"
            return
    pytest.fail(f"the moment without keys was missed {TRIES} times: nothing was tried")


def test_wrong_input_gives_a_report_that_a_person_understands_and_correcting_it_is_enough(
    new_card: Callable[[str], Card], site: Site
) -> None:
    wrong = site.asked.replace('hostname = "gate"', 'hostname = "My Gate"').replace("Europe/London", "Europe/Londn")
    account = {"username": "door", "password": SECRET}
    # and another account than the one that cloud-init makes
    right = site.asked.replace("[ssh]", '[ssh]\nuser = "owner"')
    with new_card(wrong) as card, Subscriber(site.broker.port, **account) as subscriber:
        with boot(card, site):
            wait_for(lambda: "accepted" in card.read("edgecam-setup-report.txt"), WITHIN, "the report")
            said = card.read("edgecam-setup-report.txt")
            assert "Nothing was changed" in said
            assert 'hostname: is "My Gate"; accepted: 1 to 63 of a-z, 0-9 and -' in said
            assert "did you mean Europe/London?" in said
            assert SECRET not in said
        (card.boot / "edgecam-setup.toml").write_text(right)
        with boot(card, site) as guest:
            wait_until_it_publishes(guest, card, subscriber)
            check_set_up(guest, card, "owner")
            assert log_in(site.key, site.network, "edgecam", "status", user="owner").returncode in (0, 1)


def test_a_damaged_card_says_so(new_card: Callable[[str], Card], site: Site) -> None:
    with new_card(site.asked) as card:
        package = next((card.boot / "edgecam").glob("edgecam_*.deb"))
        subprocess.run(["truncate", "-s", "-100", package], check=True)
        with boot(card, site):
            wait_for(lambda: "damaged" in card.read("edgecam-setup-report.txt"), WITHIN, "the report")
            assert "edgecam_" in card.read("edgecam-setup-report.txt")


def test_a_system_that_the_packages_are_not_for_is_told_and_left_as_it_is(
    new_card: Callable[[str], Card], site: Site
) -> None:
    with new_card(site.asked) as card:
        folder = card.boot / "edgecam"
        package = next(folder.glob("edgecam-runtime_*.deb"))
        other = package.rename(package.with_stem(package.stem.rpartition("_")[0] + "_armhf"))
        sums = folder / "SHA256SUMS"
        sums.write_text(sums.read_text().replace(package.name, other.name))
        with boot(card, site) as guest:
            wait_for(lambda: "64-bit" in card.read("edgecam-setup-report.txt"), WITHIN, "the report")
            assert f"and {other.name} is not" in card.read("edgecam-setup-report.txt")
            assert guest.run("dpkg-query", "-W", "edgecam").returncode != 0
            assert SECRET in card.read("edgecam-setup.toml"), "nothing was lost"
