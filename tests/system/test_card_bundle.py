"""The bundle's own scripts on a system of their own: what they leave, what they write, and when they are done.

dpkg, apt and the shell are real, on a /var of their own; systemctl is not, as no systemd runs there. Whole boots, and
power cuts in them, are what `make test-firstboot` is for.
"""

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
OWN = ("unshare", "--mount", "--map-root-user", "--propagation", "private")
DEFAULTS = {
    "systemd/journald.conf": ("systemd/journald.conf.d", "Storage=volatile"),
    "systemd/system.conf": ("systemd/system.conf.d", "RuntimeWatchdogSec=15"),
    "rpi/swap.conf": ("rpi/swap.conf.d", "Mechanism=zram"),
}
FOREIGN = "armhf"


def can_be_had() -> bool:
    if not all(shutil.which(name) for name in ("unshare", "dpkg-deb", "apt-get", "systemd-analyze")):
        return False
    tried = subprocess.run([*OWN, "mount", "-t", "tmpfs", "tmpfs", "/var"], capture_output=True, check=False)
    return tried.returncode == 0


pytestmark = pytest.mark.skipif(
    not can_be_had(), reason="needs Debian and mounts of its own: unshare --mount is refused"
)


class System:
    """A boot partition, and a system of which only /var and /etc are its own."""

    def __init__(self, folder: Path) -> None:
        self.boot, self._var, self.etc, self._tools = (folder / name for name in ("boot", "var", "etc", "tools"))
        shutil.copytree(REPOSITORY / "image/bundle", self.boot)
        for place in (
            "lib/dpkg/info",
            "lib/dpkg/updates",
            "lib/dpkg/triggers",
            "lib/apt/lists",
            "cache/apt",
            "log/apt",
        ):
            (self._var / place).mkdir(parents=True)
        (self._var / "lib/dpkg/status").touch()
        self.etc.mkdir()
        for name in ("alternatives", "apt", "dpkg", "group", "ld.so.cache", "ld.so.conf", "nsswitch.conf", "passwd"):
            # who is not root here cannot read all of it, nor need to
            subprocess.run(["cp", "-R", f"/etc/{name}", self.etc], check=False, capture_output=True, timeout=60)
        self.units = self.etc / "systemd/system"
        self.units.mkdir(parents=True)
        self._tools.mkdir()
        asked = self._tools / "systemctl"
        asked.write_text(f'#!/bin/sh\necho "$@" >>"{self._tools}/asked"\n')
        asked.chmod(0o755)

    @property
    def report(self) -> Path:
        return self.boot / "edgecam-setup-report.txt"

    @property
    def marker(self) -> Path:
        return self._var / "lib/edgecam-setup/installed"

    @property
    def packages(self) -> list[str]:
        return sorted(path.name for path in (self.boot / "edgecam").iterdir() if path.suffix == ".deb")

    def put(self, name: str, version: str = "1", architecture: str = "all", depends: str = "") -> None:
        """Put a package onto the card, that unpacks to one file below /var."""
        root = self._tools / name
        (root / "DEBIAN").mkdir(parents=True, exist_ok=True)
        (root / f"var/lib/{name}").mkdir(parents=True, exist_ok=True)
        (root / f"var/lib/{name}/file").write_text(version)
        control = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: nobody <n@example.org>\n"
        control += f"Description: a test\n{f'Depends: {depends}' if depends else ''}"
        (root / "DEBIAN/control").write_text(control.strip() + "\n")
        file = self.boot / f"edgecam/{name}_{version}_{architecture}.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Znone", "--build", root, file],
            check=True,
            capture_output=True,
            timeout=60,
        )
        self.sign()

    def sign(self) -> None:
        files = [self.boot / "edgecam" / name for name in self.packages]
        told = "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)
        (self.boot / "edgecam/SHA256SUMS").write_text(told)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run something there, as root."""
        enter = f'mount --bind "{self._var}" /var && mount --bind "{self.etc}" /etc && exec "$@"'
        environment = {"PATH": f"{self._tools}:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
        whole = [*OWN, "sh", "-c", enter, "sh", *command]
        return subprocess.run(whole, env=environment, capture_output=True, text=True, check=False, timeout=60)

    def begin(self) -> None:
        """Do what a boot does at first."""
        done = self.run("sh", str(self.boot / "edgecam/begin"))
        assert done.returncode == 0, done.stderr

    def install(self) -> int:
        """Do what the unit does, and give its exit status."""
        return self.run("sh", str(self.boot / "edgecam/install")).returncode

    def set(self, name: str, text: str) -> Path:
        file = self.etc / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def asked(self) -> list[str]:
        """Give what systemd was asked since the last time."""
        file = self._tools / "asked"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return lines


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


def test_another_bundle_is_left_to_its_owner(installed: System) -> None:
    installed.put("edgecam", version="2")
    installed.begin()
    assert installed.install() == 0
    assert installed.packages == ["edgecam_2_all.deb"]


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
