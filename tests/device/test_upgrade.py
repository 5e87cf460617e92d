"""Upgrades with the real dpkg: one that works, one that dpkg gives up, and those that are taken back by themselves."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance import __version__
from tests.device.conftest import roomy
from tests.simulators.broker import Mosquitto
from tests.simulators.guest import Device, wait_for
from tests.simulators.subscriber import Subscriber

NEXT = f"{__version__}+next"
BROUGHT = "/packages/next"  # in the guest
RUNTIME, LIBRARY = "edgecam-runtime", "/usr/lib/edgecam/vendor/any/pydantic/__init__.py"
KEPT = "/var/cache/edgecam-packages"
BROKEN = 'raise SystemExit("this version is broken")\n'

Change = Callable[[Path], None]
Next = Callable[[Change], list[Path]]


@pytest.fixture
def make_next(packages: list[Path], tmp_path: Path) -> Next:
    """Makes the application's next version, which brings another default configuration; the libraries are the same."""
    _, application = packages
    return lambda change: [_next(application, tmp_path / "next", lambda raw: _to_next(raw, change))]


@pytest.fixture
def make_both(packages: list[Path]) -> Iterator[Next]:
    """Makes the next version of both packages, of which the application needs the libraries of its own version."""
    libraries, application = packages
    with tempfile.TemporaryDirectory(prefix="edgecam-next-", dir=roomy()) as folder:

        def needs_its_own(raw: Path) -> None:
            control = raw / "DEBIAN/control"
            control.write_text(control.read_text().replace(f"(= {__version__})", f"(= {NEXT})"))
            _to_next(raw, works)

        yield lambda change: [
            _next(libraries, Path(folder, "libraries"), change),
            _next(application, Path(folder, "application"), needs_its_own),
        ]


def _next(package: Path, folder: Path, change: Change) -> Path:
    """Make a package of the next version from this one."""
    raw, made = folder / "raw", folder / package.name
    folder.mkdir()
    subprocess.run(["dpkg-deb", "--raw-extract", package, raw], check=True, timeout=100)
    control = raw / "DEBIAN/control"
    control.write_text(control.read_text().replace(f"Version: {__version__}\n", f"Version: {NEXT}\n"))
    change(raw)
    command = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", raw, made]
    subprocess.run(command, check=True, capture_output=True, timeout=100)
    shutil.rmtree(raw)
    return made


def _to_next(raw: Path, change: Change) -> None:
    with (raw / "etc/edgecam/edgecam.toml").open("a") as file:
        file.write("# a remark of the next version\n")
    version = raw / "usr/lib/edgecam/app/appliance/__init__.py"
    version.write_text(version.read_text().replace(__version__, NEXT))
    change(raw)


def works(_: Path) -> None:
    """Leave it as it is."""


def ends_at_once(raw: Path) -> None:
    """Break the daemon, and the command with which it could be asked."""
    (raw / "usr/lib/edgecam/app/appliance/daemon/main.py").write_text(BROKEN)
    (raw / "usr/lib/edgecam/app/appliance/cli/main.py").write_text(BROKEN)


def cannot_be_imported(raw: Path) -> None:
    """Break the libraries: neither daemon nor command comes to its first line."""
    (raw / LIBRARY.lstrip("/")).write_text(BROKEN)


def fails_in(script: str) -> Callable[[Path], None]:
    """Let one of the package's scripts fail."""

    def change(raw: Path) -> None:
        (raw / "DEBIAN" / script).write_text("#!/bin/sh\nexit 1\n")
        (raw / "DEBIAN" / script).chmod(0o755)

    return change


def install(device: Device, packages: list[Path]) -> subprocess.CompletedProcess[str]:
    guest = device.guest
    guest.path(BROUGHT).mkdir(exist_ok=True)
    for package in packages:
        shutil.copy(package, guest.path(BROUGHT))
    brought = [f"{BROUGHT}/{package.name}" for package in packages]
    done = guest.run("dpkg", "--force-confdef", "--force-confold", "-i", *brought, within=120)
    shutil.rmtree(guest.path(BROUGHT))  # what a guest writes lies in memory
    return done


def installed(device: Device, package: str = "edgecam") -> str:
    return device.guest.run("dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", package).stdout


def wait_for_the_end_of_the_trial(device: Device, within: float) -> None:
    guest = device.guest
    try:
        wait_for(lambda: not guest.path(KEPT).exists(), within, "a verdict on the new version")
    except AssertionError as error:
        raise AssertionError(
            f"{error}\n{guest.journal('edgecam-upgrade.service')}\n{guest.journal()[-2000:]}"
        ) from error


def test_an_upgrade_keeps_the_configuration_and_the_messages_that_wait(
    device: Device, broker: Mosquitto, make_next: Next
) -> None:
    guest = device.guest
    device.start()  # nobody takes the messages yet
    device.wait_for(lambda now: now["messaging"]["rows"] >= 5, 60, "messages that wait")
    written = guest.path("/etc/edgecam/edgecam.toml").read_text()
    done = install(device, make_next(works))
    assert done.returncode == 0, done.stdout + done.stderr
    after = device.watch()
    assert after["version"] == NEXT
    assert after["messaging"]["rows"] >= 5
    assert guest.path("/etc/edgecam/edgecam.toml").read_text() == written
    with Subscriber(broker.port, within=None) as subscriber:
        broker.start()
        device.wait_for(lambda now: now["messaging"]["connected"] and now["messaging"]["rows"] == 0, 60, "delivery")
        numbered = [body for body in subscriber.bodies("/street/events") if "seq" in body]
        wait_for(
            lambda: 1 in {body["seq"] for body in subscriber.bodies("/street/events") + subscriber.bodies("/gap")},
            20,
            "the first",
        )
        assert len({body["gen"] for body in numbered}) == 1
    assert guest.run("stat", "-c", "%a %U:%G", "/etc/edgecam/edgecam.toml").stdout == "640 root:edgecam\n"
    wait_for_the_end_of_the_trial(device, 60)
    assert installed(device) == f"installed {NEXT}"
    assert "does what 0.1.0 did" in guest.journal("edgecam-upgrade.service")


def test_a_version_whose_daemon_ends_at_once_is_taken_back(device: Device, make_next: Next) -> None:
    guest = device.guest
    device.drop_in("RestartSec=0.2")  # not 5 seconds, for the test's sake
    device.start()
    before = device.wait_for(lambda now: now["messaging"]["rows"] >= 3, 60, "messages that wait")
    written = guest.path("/etc/edgecam/edgecam.toml").read_text()
    install(device, make_next(ends_at_once))
    assert installed(device) == f"installed {NEXT}"
    wait_for_the_end_of_the_trial(device, 90)
    assert installed(device) == f"installed {__version__}"
    after = device.watch()
    assert after["version"] == __version__
    assert after["messaging"]["rows"] >= before["messaging"]["rows"]
    assert guest.path("/etc/edgecam/edgecam.toml").read_text() == written
    assert f"Pin: version {NEXT}" in guest.path("/etc/apt/preferences.d/edgecam").read_text()
    wait_for(lambda: "rolled-back" in guest.run("cat", "/var/lib/edgecam/failures.jsonl").stdout, 20, "the record")
    # what dpkg recorded is what the package brought, not the owner's: or the next upgrade replaced the owner's
    recorded = guest.run("dpkg-query", "-W", "-f", "${Conffiles}", "edgecam").stdout.split()
    shipped = guest.run("md5sum", "/usr/share/edgecam/etc/edgecam.toml").stdout.split()
    assert recorded[1] == shipped[0]


def test_both_packages_are_taken_back_where_the_libraries_of_the_next_version_are_broken(
    device: Device, make_both: Next
) -> None:
    guest = device.guest
    device.drop_in("RestartSec=0.2")  # not 5 seconds, for the test's sake
    device.start()
    before = device.wait_for(lambda now: now["messaging"]["rows"] >= 3, 60, "messages that wait")
    library = guest.path(LIBRARY).read_bytes()
    done = install(device, make_both(cannot_be_imported))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (installed(device), installed(device, RUNTIME)) == (f"installed {NEXT}", f"installed {NEXT}")
    assert guest.run("edgecam", "status").returncode == 1
    wait_for_the_end_of_the_trial(device, 90)
    assert (installed(device), installed(device, RUNTIME)) == (f"installed {__version__}", f"installed {__version__}")
    assert guest.path(LIBRARY).read_bytes() == library
    after = device.watch()
    assert after["version"] == __version__
    assert after["messaging"]["rows"] >= before["messaging"]["rows"]
    refused = guest.path("/etc/apt/preferences.d/edgecam").read_text()
    assert f"Package: {RUNTIME} edgecam\nPin: version {NEXT}\n" in refused
    wait_for(lambda: "rolled-back" in guest.run("cat", "/var/lib/edgecam/failures.jsonl").stdout, 20, "the record")


@pytest.mark.long
def test_a_version_whose_installation_fails_is_taken_back(device: Device, make_next: Next) -> None:
    device.start()
    device.watch()
    assert install(device, make_next(fails_in("postinst"))).returncode != 0
    assert installed(device) == f"half-configured {NEXT}"
    wait_for_the_end_of_the_trial(device, 120)
    assert installed(device) == f"installed {__version__}"
    assert device.watch()["version"] == __version__


@pytest.mark.long
def test_a_way_back_that_a_power_cut_interrupts_is_gone_to_its_end(device: Device, make_next: Next) -> None:
    guest = device.guest
    device.start()
    device.watch()
    install(device, make_next(ends_at_once))
    # its main process alone: a child that has ended meanwhile would be an error
    guest.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", "edgecam-upgrade", check=True)
    guest.run("systemctl", "stop", "edgecam-upgrade", "edgecam")
    # dpkg was interrupted as well: what is half replaced is what a boot finds
    guest.run(
        "sh",
        "-c",
        f"rm -rf /usr/lib/edgecam/app/appliance/core; printf %s {NEXT} >/var/cache/edgecam-packages/rolling-back",
        check=True,
    )
    guest.run("systemctl", "start", "multi-user.target", "edgecam-upgrade", check=True)
    wait_for_the_end_of_the_trial(device, 120)
    assert installed(device) == f"installed {__version__}"
    assert f"Pin: version {NEXT}" in guest.path("/etc/apt/preferences.d/edgecam").read_text()
    assert device.watch()["version"] == __version__


def test_an_upgrade_that_dpkg_gives_up_leaves_the_version_before_running(device: Device, make_next: Next) -> None:
    guest = device.guest
    device.start()
    device.watch()
    assert install(device, make_next(fails_in("preinst"))).returncode != 0
    assert installed(device) == f"installed {__version__}"
    assert device.watch()["version"] == __version__
    wait_for_the_end_of_the_trial(device, 30)
    assert "was not replaced" in guest.journal("edgecam-upgrade.service")
    assert not guest.path("/etc/apt/preferences.d/edgecam").exists()


def test_an_upgrade_starts_nothing_that_was_stopped(device: Device, make_next: Next) -> None:
    guest = device.guest
    guest.run("systemctl", "stop", "edgecam", check=True)
    assert install(device, make_next(works)).returncode == 0
    assert guest.show("ActiveState") != "active"
    assert not guest.path(KEPT).exists()


@pytest.mark.long
def test_an_upgrade_starts_a_daemon_that_waited_for_its_next_start(device: Device, make_next: Next) -> None:
    guest = device.guest
    device.drop_in("RestartSec=100")
    device.start()
    guest.run("systemctl", "kill", "--signal=KILL", "edgecam", check=True)
    wait_for(lambda: guest.show("SubState") == "auto-restart", 20, "the wait for the next start")
    assert install(device, make_next(works)).returncode == 0
    assert device.watch()["version"] == NEXT
