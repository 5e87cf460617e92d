"""What dpkg does with the real packages on a machine that runs: remove, purge, install again."""

from tests.simulators.guest import Device


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
    for known in (["list-units", "--plain"], ["list-unit-files"]):
        assert guest.run("systemctl", *known, "--no-legend", "edgecam*").stdout == ""


def test_installing_again_on_a_running_machine_ends_with_frames(device: Device) -> None:
    guest = device.guest
    guest.run("dpkg", "-P", "edgecam", "edgecam-runtime", check=True, within=120)
    # an image may bring the configuration before the package: then nobody has to start anything
    device.configure("street")
    done = guest.run("sh", "-c", "dpkg --force-confold -i /packages/*.deb", within=180)
    assert done.returncode == 0, done.stdout + done.stderr
    device.watch()
    assert guest.run("systemctl", "is-enabled", "edgecam").stdout.strip() == "enabled"
