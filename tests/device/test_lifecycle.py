"""What dpkg does with the real packages: install, upgrade, remove, purge, on a machine that runs."""

import subprocess
from pathlib import Path

import pytest

from appliance import __version__
from tests.simulators.broker import Mosquitto
from tests.simulators.guest import Device, wait_for
from tests.simulators.subscriber import Subscriber

NEXT = f"{__version__}+next"
NEXT_PACKAGE = "/packages/next/edgecam.deb"  # in the guest


@pytest.fixture(scope="module")
def upgrade(packages: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The application's package as its next version, with another default configuration; the libraries are the same."""
    folder = tmp_path_factory.mktemp("next")
    application = next(path for path in packages if path.stem.endswith("_all"))
    subprocess.run(["dpkg-deb", "--raw-extract", application, folder / "raw"], check=True, timeout=60)
    control = folder / "raw/DEBIAN/control"
    control.write_text(control.read_text().replace(f"Version: {__version__}\n", f"Version: {NEXT}\n"))
    with (folder / "raw/etc/edgecam/edgecam.toml").open("a") as file:
        file.write("# a remark of the next version\n")
    version = folder / "raw/usr/lib/edgecam/app/appliance/__init__.py"
    version.write_text(version.read_text().replace(__version__, NEXT))
    command = ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", folder / "raw", folder / "edgecam.deb"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return folder / "edgecam.deb"


def test_an_upgrade_keeps_the_configuration_and_the_messages_that_wait(
    device: Device, broker: Mosquitto, upgrade: Path
) -> None:
    guest = device.guest
    device.start()  # nobody takes the messages yet
    device.wait_for(lambda now: now["messaging"]["rows"] >= 5, 60, "messages that wait")
    written = guest.path("/etc/edgecam/edgecam.toml").read_text()
    guest.path(NEXT_PACKAGE).parent.mkdir()
    guest.path(NEXT_PACKAGE).write_bytes(upgrade.read_bytes())
    done = guest.run("dpkg", "--force-confdef", "--force-confold", "-i", NEXT_PACKAGE, within=120)
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


def test_an_upgrade_starts_nothing_that_was_stopped(device: Device, upgrade: Path) -> None:
    guest = device.guest
    guest.path(NEXT_PACKAGE).parent.mkdir()
    guest.path(NEXT_PACKAGE).write_bytes(upgrade.read_bytes())
    guest.run("systemctl", "stop", "edgecam", check=True)
    guest.run("dpkg", "--force-confdef", "--force-confold", "-i", NEXT_PACKAGE, check=True, within=120)
    assert guest.show("ActiveState") != "active"


def test_removing_keeps_what_is_the_owner_s_and_purging_nothing(device: Device) -> None:
    guest = device.guest
    device.start()
    device.watch()
    guest.run("dpkg", "-r", "edgecam", check=True, within=120)
    assert guest.run("pgrep", "-f", "appliance.daemon").stdout == ""
    assert not guest.path("/usr/lib/edgecam/app").exists()
    assert not guest.path("/var/cache/edgecam").exists()
    assert guest.path("/etc/edgecam/edgecam.toml").is_file()
    assert any(guest.path("/var/lib/edgecam").glob("outbox*"))
    guest.run("dpkg", "-P", "edgecam", check=True, within=120)
    guest.run("dpkg", "-P", "edgecam-runtime", check=True, within=120)
    left = [path for path in ("/etc/edgecam", "/var/lib/edgecam", "/usr/lib/edgecam") if guest.path(path).exists()]
    assert left == []
    units = guest.run("systemctl", "list-units", "--all", "--no-legend", "--plain", "edgecam*").stdout
    assert units == ""


def test_installing_again_on_a_running_machine_ends_with_frames(device: Device) -> None:
    guest = device.guest
    guest.run("dpkg", "-P", "edgecam", "edgecam-runtime", check=True, within=120)
    # an image may bring the configuration before the package: then nobody has to start anything
    device.configure("street")
    done = guest.run("sh", "-c", "dpkg --force-confold -i /packages/*.deb", within=180)
    assert done.returncode == 0, done.stdout + done.stderr
    device.watch()
    assert guest.run("systemctl", "is-enabled", "edgecam").stdout.strip() == "enabled"
