"""`edgecam setup` on a machine that runs: over SSH, and at its boots."""

import json
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from tests.device.conftest import PORT
from tests.simulators.broker import Mosquitto
from tests.simulators.guest import Device, Guest, Network
from tests.simulators.subscriber import Subscriber

SAID = """\
hostname = "yard"

[broker]
url = "mqtt://{broker}"

[cameras.street]
kind = "synthetic"
"""


def test_over_ssh_a_new_device_publishes_after_one_command(
    boot: Callable[[], AbstractContextManager[Guest]], network: Network, broker: Mosquitto
) -> None:
    broker.start()
    with boot() as guest, Subscriber(broker.port) as subscriber:
        guest.write("/root/my.toml", SAID.format(broker=f"{network.here}:{PORT}"))
        done = guest.run("edgecam", "setup", "--file", "/root/my.toml", "--yes", "--json", within=120)
        assert done.returncode == 0, done.stdout + done.stderr + guest.journal()[-2000:]
        told = json.loads(done.stdout)
        assert told["verdict"] == "done", told
        assert re.fullmatch("yard-[a-z2-7]{8}", told["device"])
        device = Device(guest, "")
        device.watch()
        assert guest.status()["device"] == told["device"]
        assert guest.run("stat", "-c", "%a %U:%G", "/etc/edgecam/edgecam.toml").stdout == "640 root:edgecam\n"
        device.wait_for(lambda _: subscriber.bodies("/street/events"), 30, "an event")
        # at a boot there is nothing new
        began = time.monotonic()
        assert "nothing to set up" in guest.run("edgecam", "setup", "--boot", check=True).stdout
        print(f"a boot with nothing new takes {time.monotonic() - began:.2f} s")


def test_without_a_setup_file_a_boot_does_not_even_look(boot: Callable[[], AbstractContextManager[Guest]]) -> None:
    with boot() as guest:
        assert guest.show("ConditionResult", "edgecam-setup.service") == "no"
        assert guest.run("systemctl", "is-enabled", "edgecam-setup").stdout == "enabled\n"
