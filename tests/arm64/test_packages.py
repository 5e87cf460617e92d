"""The packages on arm64, installed by its own dpkg: what is there, and what runs, under user-mode emulation."""

import subprocess

import pytest

from appliance import __version__
from tests.simulators.emulated import Emulated

pytestmark = pytest.mark.timeout(3600)  # the first installs them, under emulation


def test_both_packages_are_installed_and_nothing_is_missing(installed: Emulated) -> None:
    states = installed.run(
        "dpkg-query", "--show", "--showformat=${Package} ${Status} ${Architecture}\n", "edgecam*"
    ).stdout
    assert sorted(states.splitlines()) == [
        "edgecam install ok installed all",
        "edgecam-runtime install ok installed arm64",
    ]
    assert installed.run("dpkg", "--audit").stdout == ""
    assert installed.run("dpkg", "--verify", "edgecam", "edgecam-runtime").stdout == ""


def test_the_unit_starts_with_the_system_under_a_user_of_its_own(installed: Emulated) -> None:
    wanted = installed.path("/etc/systemd/system/multi-user.target.wants/edgecam.service")
    assert wanted.is_symlink()
    unit = installed.path(str(wanted.readlink()))  # Debian 12 writes /lib, which is the same folder
    assert unit.samefile(installed.path("/usr/lib/systemd/system/edgecam.service"))
    assert installed.run("id", "--name", "--groups", "edgecam").stdout.split() == ["edgecam", "video"]


def test_every_library_that_is_brought_is_for_arm64(installed: Emulated) -> None:
    libraries = [path for path in installed.path("/usr/lib/edgecam/vendor").rglob("*.so*") if path.is_file()]
    assert len(libraries) > 10
    machines = {path.name: int.from_bytes(path.read_bytes()[18:20], "little") for path in libraries}
    assert {name for name, machine in machines.items() if machine != 183} == set()  # EM_AARCH64 of the ELF header


def test_the_command_answers(installed: Emulated) -> None:
    assert __version__ in installed.run("edgecam", "--version").stdout
    machine = installed.run("python3", "-c", "import os; print(os.uname().machine)").stdout.strip()
    assert machine == "aarch64"
    assert "known to edgecam-nano" in installed.run("edgecam", "config", "check").stdout


def test_what_the_packages_take_on_the_disk_is_what_they_say(installed: Emulated) -> None:
    sizes = installed.run("dpkg-query", "--show", "--showformat=${Package} ${Installed-Size}\n", "edgecam*").stdout
    for line in sizes.splitlines():
        package, told = line.split()
        listed = installed.run("dpkg", "--listfiles", package).stdout.splitlines()
        files = [installed.path(path) for path in listed]
        taken = sum(-(-path.stat().st_size // 1024) for path in files if path.is_file() and not path.is_symlink())
        assert abs(taken - int(told)) <= int(told) // 100, f"{package}: {taken} KiB, told {told}"
    compiled = list(installed.path("/usr/lib/edgecam").rglob("*.pyc"))
    print("\n" + sizes, f"compiled by Python: {sum(path.stat().st_size for path in compiled) / 1e6:.1f} MB")
    used = subprocess.run(["du", "-sm", installed.root], capture_output=True, text=True, check=True).stdout.split()[0]
    print(f"the whole system: {used} MiB")
