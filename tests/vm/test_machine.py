"""The real packages on an emulated machine: what containers do not enforce, a camera's driver, a hardware watchdog.

The order counts: all share one boot, and the last test hangs the machine.
"""

import json
from typing import Any

import pytest

from tests.simulators.broker import Mosquitto
from tests.simulators.guest import Appliance, wait_for
from tests.simulators.subscriber import Subscriber
from tests.simulators.virtual_machine import HOST, VirtualMachine

WITHIN = 900.0  # seconds: the processor is emulated, and may be busy
OPEN = """
import json, os
found = {}
for name in ("/dev/vcio", "/dev/null", "/dev/video0"):
    try:
        os.close(os.open(name, os.O_RDWR if name != "/dev/vcio" else os.O_RDONLY))
        found[name] = ""
    except OSError as error:
        found[name] = os.strerror(error.errno)
open("/var/lib/edgecam/opened.json", "w").write(json.dumps(found))
"""
HOLD = "exec 3</dev/video0; exec sleep infinity"


@pytest.fixture
def appliance(machine: VirtualMachine, broker: Mosquitto) -> Appliance:
    """The appliance with a synthetic camera; nothing runs."""
    machine.run("systemctl", "stop", "edgecam", check=True)
    machine.run("rm", "-f", "/etc/systemd/system/edgecam.service.d/test.conf", check=True)
    machine.run("systemctl", "daemon-reload", check=True)
    machine.run("systemctl", "reset-failed", "edgecam")
    appliance = Appliance(machine, f"mqtt://{HOST}:{broker.port}")
    _configure(appliance, 'kind = "synthetic"', "width = 320", "height = 240", "fps = 2")
    return appliance


@pytest.fixture
def video(machine: VirtualMachine) -> None:
    """A camera by the kernel's driver vivid at /dev/video0."""
    machine.run("modprobe", "vivid", "n_devs=1", "node_types=0x1", check=True)
    wait_for(lambda: machine.run("test", "-e", "/dev/video0").returncode == 0, 120, "/dev/video0")


def _configure(appliance: Appliance, *camera: str) -> None:
    """Write a configuration with one camera."""
    lines = ("[messaging]", f'broker = "{appliance.broker}"', "[cameras.door]", *camera, "")
    appliance.guest.write("/etc/edgecam/edgecam.toml", "\n".join(lines))


def _watch(appliance: Appliance, more_than: int = 3) -> int:
    """Wait until the camera has given so many frames; the detector may be minutes behind."""
    found = appliance.wait_for(
        lambda now: (
            now["cameras"].get("door", {}).get("state") == "online" and now["cameras"]["door"]["frames"] > more_than
        ),
        WITHIN,
        "frames of the camera",
    )
    return int(found["cameras"]["door"]["frames"])


def _away(now: dict[str, Any]) -> float:
    """Give for how many seconds the camera has been away."""
    found = next(one for one in now["findings"] if one["component"] == "camera:door")
    return 0.0 if found["state"] == "ok" else float(found["for_s"])


def _opened(appliance: Appliance, more: str = "") -> dict[str, str]:
    """Tell what the unit may open: "" or why not."""
    appliance.guest.write("/usr/local/lib/opened.py", OPEN)
    start = "Type=oneshot\nRestart=no\nExecReload=\nExecStart=\nExecStart=/usr/bin/python3 -S /usr/local/lib/opened.py"
    appliance.drop_in(f"{start}\n{more}")
    appliance.start()
    found = json.loads(appliance.guest.run("cat", "/var/lib/edgecam/opened.json", check=True).stdout)
    return dict(found)


@pytest.mark.usefixtures("video")
def test_the_mailbox_of_the_firmware_stays_shut_and_cameras_open(appliance: Appliance) -> None:
    guest = appliance.guest
    # the number of a device that is there, with the rights that the Pi's mailbox has
    number = guest.run("cat", "/sys/class/misc/hw_random/dev", check=True).stdout.strip().split(":")
    guest.run("mknod", "-m", "660", "/dev/vcio", "c", *number, check=True)
    guest.run("chgrp", "video", "/dev/vcio", check=True)
    assert _opened(appliance) == {"/dev/vcio": "Operation not permitted", "/dev/null": "", "/dev/video0": ""}
    # it is the unit's policy that shut it, not the rights
    assert _opened(appliance, "DevicePolicy=auto\nDeviceAllow=\n")["/dev/vcio"] == ""


@pytest.mark.usefixtures("video")
def test_a_camera_that_stops_giving_frames_is_noticed_and_taken_up_again(
    appliance: Appliance, broker: Mosquitto
) -> None:
    guest = appliance.guest
    _configure(appliance, 'kind = "v4l2"', 'device = "/dev/video0"', "width = 320", "height = 180", "fps = 5")
    with Subscriber(broker.port, "vivid") as subscriber:
        appliance.start()
        _watch(appliance)
        # vivid comes back when its last user has let go: this one keeps it away
        guest.run("systemd-run", "--unit=holder", "/bin/sh", "-c", HOLD, check=True)
        wait_for(lambda: guest.show("ActiveState", "holder.service") == "active", 60, "the holder")
        guest.run("v4l2-ctl", "--device=/dev/video0", "--set-ctrl=disconnect=1", check=True)
        # longer than a busy processor alone keeps a picture waiting
        gone = appliance.wait_for(lambda now: _away(now) > 30, WITHIN, "the loss")
        assert gone["cameras"]["door"]["why"]
        assert guest.run("test", "-e", "/dev/video0").returncode == 0  # as if nothing had happened
        guest.run("systemctl", "stop", "holder", check=True)
        _watch(appliance, gone["cameras"]["door"]["frames"] + 3)
        wait_for(lambda: subscriber.bodies("/door/status")[-1]["state"] == "online", 60, "the return, told")
        states = [body["state"] for body in subscriber.bodies("/door/status")]
    assert guest.show("NRestarts") == "0"
    assert states[-2:] == ["offline", "online"], states


def test_a_machine_whose_kernel_hangs_is_started_again_by_its_hardware_watchdog(machine: VirtualMachine) -> None:
    identity = machine.run("cat", "/sys/class/watchdog/watchdog0/identity", check=True).stdout
    assert "6300ESB" in identity
    assert machine.run("systemctl", "show", "--property=RuntimeWatchdogUSec", "--value").stdout.strip() == "1min"
    # systemd feeds it: the kernel says so
    assert machine.run("cat", "/sys/class/watchdog/watchdog0/state").stdout.strip() == "active"
    boots = machine.shown().count("initrd: the kernel runs")
    machine.tell_kernel("c")  # a crash: nothing is scheduled from here on
    assert machine.event("WATCHDOG", 600)["data"]["action"] == "reset"
    wait_for(lambda: machine.shown().count("initrd: the kernel runs") > boots, WITHIN, "the next boot")
