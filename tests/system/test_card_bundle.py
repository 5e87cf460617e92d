"""The bundle's own scripts on a system of their own: what they leave, what they write, and when they are done.

dpkg, apt and the shell are real, on a /var of their own; systemctl is not, as no systemd runs there. Whole boots, and
power cuts in them, are what `make test-firstboot` is for.
"""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.simulators.debian import System, can_be_had

REPOSITORY = Path(__file__).resolve().parents[2]
DEFAULTS = {
    "systemd/journald.conf": ("systemd/journald.conf.d", "Storage=volatile"),
    "systemd/system.conf": ("systemd/system.conf.d", "RuntimeWatchdogSec=15"),
    "rpi/swap.conf": ("rpi/swap.conf.d", "Mechanism=zram"),
}
FOREIGN = "armhf"

pytestmark = pytest.mark.skipif(
    not can_be_had(), reason="needs Debian and mounts of its own: unshare --mount is refused"
)


@pytest.fixture
def system(tmp_path: Path) -> System:
    return System(tmp_path)


@pytest.fixture
def installed(system: System) -> System:
    _all_packages(system)
    system.begin()
    assert system.install() == 0
    assert "start edgecam.service" in system.asked()
    return system


def architecture() -> str:
    return subprocess.check_output(["dpkg", "--print-architecture"], text=True, timeout=10).strip()


def written(system: System) -> tuple[int, int]:
    """Give what tells a file that was written again."""
    told = system.report.stat()
    return told.st_ino, told.st_mtime_ns


def test_nothing_is_left_of_the_installation_but_its_mark(installed: System) -> None:
    assert installed.packages == []
    assert list(installed.units.rglob("*.service")) == []
    assert installed.marker.exists()
    installed.begin()
    assert installed.asked() == []


@pytest.mark.parametrize("how", ["-r", "-P"])
def test_what_its_owner_removes_stays_away(installed: System, how: str) -> None:
    assert installed.run("dpkg", how, "edgecam").returncode == 0
    if how == "-P":  # what edgecam.postrm does
        shutil.rmtree(installed.marker.parent)
    seen = []
    for _ in range(2):
        installed.begin()
        assert installed.asked() == []
        assert list(installed.units.rglob("*.service")) == []
        seen.append(written(installed) if installed.report.exists() else None)
    assert seen[0] == seen[1], "the card was written at each boot"


def test_a_bundle_without_its_packages_is_told_once(system: System) -> None:
    system.begin()
    assert "its packages are not on the card" in system.report.read_text()
    before = written(system)
    system.begin()
    assert written(system) == before
    assert system.asked() == []


def test_who_copies_the_bundle_anew_after_a_purge_has_it_installed_again(installed: System) -> None:
    assert installed.run("dpkg", "-P", "edgecam", "edgecam-runtime").returncode == 0
    shutil.rmtree(installed.marker.parent)
    _all_packages(installed)
    installed.begin()
    assert installed.asked() == ["daemon-reload", "--no-block start edgecam-install.service"]
    assert installed.install() == 0
    assert installed.marker.exists()


def _all_packages(system: System) -> None:
    system.put("edgecam")
    system.put("edgecam-runtime", architecture=architecture())


def _some_packages(system: System) -> None:
    _all_packages(system)
    (system.boot / "edgecam/edgecam_1_all.deb").unlink()


@pytest.mark.parametrize("left", [_all_packages, _some_packages])
def test_a_cut_before_the_end_of_tidying_up_is_made_good(installed: System, left: Callable[[System], None]) -> None:
    before = installed.boot / "edgecam/SHA256SUMS"
    left(installed)
    # the same bundle, as it was before; what is built again has other times in it
    before.write_text(installed.marker.read_text())
    installed.begin()
    assert "--no-block start edgecam-install.service" in installed.asked()
    assert installed.install() == 0
    assert installed.packages == []
    assert list(installed.units.rglob("*.service")) == []
    assert not installed.report.exists()


@pytest.mark.parametrize(("is_signed", "is_removed"), [(True, False), (False, False), (True, True)])
def test_another_bundle_is_left_to_its_owner_and_told_once(
    installed: System, *, is_signed: bool, is_removed: bool
) -> None:
    installed.put("edgecam", version="2")
    if not is_signed:
        (installed.boot / "edgecam/SHA256SUMS").unlink()
    if is_removed:
        assert installed.run("dpkg", "-r", "edgecam").returncode == 0
    installed.begin()
    note = installed.boot / "edgecam/NOT-INSTALLED.txt"
    assert "sudo apt-get install /boot/firmware/edgecam/edgecam*.deb" in note.read_text()
    before = note.stat().st_mtime_ns
    installed.begin()
    assert note.stat().st_mtime_ns == before, "the card was written at each boot"
    assert installed.asked() == []
    assert list(installed.units.rglob("*.service")) == []
    assert installed.install() == 0  # as where a cut has left the unit
    assert installed.packages == ["edgecam_2_all.deb"]
    assert not installed.report.exists()
    for path in (installed.boot / "edgecam").glob("*.deb"):
        path.unlink()
    (installed.boot / "edgecam/SHA256SUMS").unlink(missing_ok=True)
    installed.begin()
    assert not note.exists()


def test_packages_without_their_sums_are_told(system: System) -> None:
    _all_packages(system)
    (system.boot / "edgecam/SHA256SUMS").unlink()
    assert system.install() == 78
    assert "SHA256SUMS is not on the card: copy all of the bundle onto it" in system.report.read_text()
    assert len(system.packages) == 2


def test_an_end_that_cannot_be_marked_is_none(system: System) -> None:
    _all_packages(system)
    full = "mkdir /var/lib/edgecam-setup && mount -t tmpfs -o size=4k tmpfs /var/lib/edgecam-setup"
    full += " && { head -c 4096 /dev/zero >/var/lib/edgecam-setup/full; }"
    assert system.install(before=full) == 1
    assert len(system.packages) == 2
    assert not system.report.exists()  # it would say that nothing was installed
    cut = system.fail("mv", '*"/installed"')
    assert system.install() == 1
    assert not system.marker.exists()
    assert len(system.packages) == 2
    cut.unlink()
    sums = (system.boot / "edgecam/SHA256SUMS").read_text()
    assert system.install() == 0
    assert system.marker.read_text() == sums
    assert system.packages == []


def test_a_mark_that_a_cut_left_empty_is_made_good(installed: System) -> None:
    _all_packages(installed)
    sums = (installed.boot / "edgecam/SHA256SUMS").read_text()
    installed.marker.write_text("")
    installed.begin()
    assert "--no-block start edgecam-install.service" in installed.asked()
    assert installed.install() == 0
    assert installed.packages == []
    assert installed.marker.read_text() == sums
    installed.begin()
    assert installed.asked() == []


RULE = "admin ALL=(ALL) NOPASSWD:ALL\n"


@pytest.fixture
def with_admin(system: System) -> System:
    """A system on which cloud-init has made its account."""
    _all_packages(system)
    passwd = system.etc / "passwd"
    passwd.write_text(passwd.read_text() + "admin:x:4711:0::/home/admin:/bin/sh\n")
    return system


@pytest.mark.parametrize(("left", "ending"), [(None, "\n"), ("", "\r\n")])
def test_the_right_to_sudo_that_a_cut_took_is_given_back(with_admin: System, left: str | None, ending: str) -> None:
    asked = with_admin.boot / "user-data"
    asked.write_text(asked.read_text(), newline=ending)
    rule = with_admin.etc / "sudoers.d/90-cloud-init-users"
    if left is not None:
        with_admin.set("sudoers.d/90-cloud-init-users", left)
    assert with_admin.install() == 0
    assert rule.read_text() == RULE
    assert rule.stat().st_mode & 0o777 == 0o440
    assert [path.name for path in rule.parent.iterdir()] == [rule.name]


@pytest.mark.parametrize(
    ("left", "old", "new"),
    [
        (None, "  sudo: ALL=(ALL) NOPASSWD:ALL", "  sudo: ALL=(ALL) ALL"),
        ("", "  sudo: ALL=(ALL) NOPASSWD:ALL", "  # sudo: ALL=(ALL) NOPASSWD:ALL"),
        (None, "  sudo: ALL=(ALL) NOPASSWD:ALL\n", ""),
        ("", "  name: admin", "  name: bob"),
    ],
)
def test_nobody_gets_a_right_to_sudo_that_the_card_does_not_ask_for(
    with_admin: System, left: str | None, old: str, new: str
) -> None:
    asked = with_admin.boot / "user-data"
    assert old in asked.read_text()
    asked.write_text(asked.read_text().replace(old, new))
    if left is not None:
        with_admin.set("sudoers.d/90-cloud-init-users", left)
    assert with_admin.install() == 0
    rule = with_admin.etc / "sudoers.d/90-cloud-init-users"
    assert (rule.read_text() if rule.exists() else None) == left


def test_a_rule_for_sudo_that_is_there_stays(with_admin: System) -> None:
    rule = with_admin.set("sudoers.d/90-cloud-init-users", "admin ALL=(ALL) ALL\n")
    assert with_admin.install() == 0
    assert rule.read_text() == "admin ALL=(ALL) ALL\n"


def test_an_account_that_is_not_there_gets_no_rule_for_sudo(system: System) -> None:
    if system.run("id", "admin").returncode == 0:
        pytest.skip("this system has an account `admin`")
    _all_packages(system)
    assert system.install() == 0
    assert not (system.etc / "sudoers.d").exists()


def test_what_a_cut_left_empty_of_cloud_init_is_taken_away_and_nothing_else(with_admin: System) -> None:
    empty, whole, other = "instance/obj.json", "data/result.json", "instance/empty.txt"
    for name, text in ((empty, ""), (whole, "{}"), (other, "")):
        with_admin.set_state(f"lib/cloud/{name}", text)
    assert with_admin.install() == 0
    left = with_admin.run("sh", "-c", "cd /var/lib/cloud && find . -type f | sort").stdout.split()
    assert left == [f"./{whole}", f"./{other}"]


def test_a_system_that_never_fits_is_told_once_and_not_asked_every_minute(system: System) -> None:
    system.put("edgecam")
    system.put("edgecam-runtime", architecture=FOREIGN)
    unit = (REPOSITORY / "image/bundle/edgecam/edgecam-install.service").read_text()
    assert system.install() == 78
    assert "RestartPreventExitStatus=78\n" in unit
    told = system.report.read_text()
    assert f"is for {architecture()}, and edgecam-runtime_1_{FOREIGN}.deb is not: take Raspberry Pi OS Lite" in told
    assert "tried again at the next boot" in told
    assert system.run("test", "-e", "/var/lib/edgecam").returncode == 1, "something was unpacked"
    before = written(system)
    assert system.install() == 78
    assert written(system) == before


def test_what_waits_for_a_network_is_unpacked_once(system: System) -> None:
    system.put("edgecam", depends="edgecam-nowhere")
    system.put("edgecam-runtime", architecture=architecture())
    assert system.install() == 1
    assert "need others that no network brought" in system.report.read_text()
    unpacked = system.run("stat", "-c", "%i", "/var/lib/edgecam/file").stdout
    assert unpacked
    assert system.install() == 1
    assert system.run("stat", "-c", "%i", "/var/lib/edgecam/file").stdout == unpacked
    system.put("edgecam-nowhere")  # as a network would have it
    assert system.install() == 0
    assert system.run("dpkg-query", "-W", "-f", "${db:Status-Abbrev}", "edgecam").stdout == "ii "


def test_what_spares_the_card_is_brought_where_nobody_has_said_otherwise(system: System) -> None:
    for name in DEFAULTS:
        system.set(name, "[Main]\n#Storage=auto\n#RuntimeWatchdogSec=off\n#Mechanism=auto\n")
    said = {name for name, (_, line) in DEFAULTS.items() if line.partition("=")[0] + "=" in effective(system, name)}
    _all_packages(system)
    assert system.install() == 0
    for name, (folder, line) in DEFAULTS.items():
        brought = list((system.etc / folder).glob("*"))
        if name in said:  # in /usr/lib, by the system that the tests run on
            assert brought == []
            continue
        assert [path.name for path in brought] == ["20-edgecam.conf"]
        assert line in brought[0].read_text().splitlines()
        brought[0].unlink()
    # its owner has taken them away, and they stay away
    system.begin()
    assert not list(system.etc.rglob("20-edgecam.conf"))


@pytest.mark.parametrize("place", ["{name}", "{name}.d/40-rpi.conf"])
def test_what_the_system_or_its_owner_has_set_stays(system: System, place: str) -> None:
    for name, (_, line) in DEFAULTS.items():
        system.set(name, "")
        system.set(place.format(name=name), f"[Main]\n {line.partition('=')[0]} = something\n")
    _all_packages(system)
    assert system.install() == 0
    assert not list(system.etc.rglob("20-edgecam.conf"))


def test_whoever_has_set_anything_of_the_swap_keeps_its_file(system: System) -> None:
    system.set("rpi/swap.conf", "[Main]\n#Mechanism=auto\n[File]\nFixedSizeMiB=3072\n")
    _all_packages(system)
    assert system.install() == 0
    assert not (system.etc / "rpi/swap.conf.d").exists()


def test_a_system_without_rpi_swap_gets_no_setting_for_it(installed: System) -> None:
    assert not (installed.etc / "rpi").exists()


def effective(system: System, name: str) -> str:
    """Give what is set, without comments."""
    told = system.run("systemd-analyze", "cat-config", name).stdout.splitlines()
    return "\n".join(line for line in told if not line.startswith("#"))
