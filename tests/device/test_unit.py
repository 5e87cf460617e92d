"""What else the unit promises under a real systemd: its drop-ins leave a daemon that sees, restarts come slower."""

from pathlib import Path

import pytest

from tests.simulators.broker import Mosquitto
from tests.simulators.guest import Device, wait_for

DROPINS = Path(__file__).resolve().parents[2] / "systemd/dropins"
STEPS_SINCE = 254  # RestartSteps=: systemd.service(5)


@pytest.mark.parametrize("name", sorted(path.name for path in DROPINS.iterdir()))
def test_a_drop_in_leaves_a_daemon_that_sees(device: Device, broker: Mosquitto, name: str) -> None:
    broker.start()
    guest, there = device.guest, f"/etc/systemd/system/edgecam.service.d/{name}"
    guest.run("install", "-D", "-m", "644", f"/usr/lib/edgecam/dropins/{name}", there, check=True)
    guest.run("systemctl", "daemon-reload", check=True)
    device.start()
    device.watch()
    said = guest.run("journalctl", "--no-pager", "--output=cat", "--boot", "_PID=1").stdout
    assert f"{there}:" not in said  # systemd names file and line of what it does not take


def test_restarts_come_slower_where_systemd_knows_how_and_never_end_elsewhere(device: Device) -> None:
    guest = device.guest
    # not from 5 to 120 seconds in ten steps, for the test's sake
    device.drop_in("ExecStart=\nExecStart=/bin/false\nRestartSec=0.1\nRestartSteps=3\nRestartMaxDelaySec=1")
    guest.run("systemctl", "start", "--no-block", "edgecam", check=True)
    wait_for(lambda: int(guest.show("NRestarts")) >= 5, 40, "five restarts")
    version = int(guest.run("systemctl", "--version").stdout.split()[1])
    assert guest.show("RestartUSecNext") == ("1s" if version >= STEPS_SINCE else "")
