"""What a device meets: cameras and parts that hang, no network, a clock that is years off. Never silence."""

import re
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.simulators.broker import Mosquitto
from tests.simulators.faked_clock import FakedClock
from tests.simulators.frozen import busiest_thread, frozen
from tests.simulators.guest import Device, Network, wait_for
from tests.simulators.subscriber import Subscriber

SHIM = "/usr/local/lib"  # in the guest
STREET = ("[cameras.street]", 'kind = "synthetic"')


@pytest.fixture
def silent(network: Network) -> Iterator[str]:
    """The address of a camera that takes a connection and says nothing."""
    with socket.create_server((network.here, 0)) as server:
        yield f"rtsp://{network.here}:{server.getsockname()[1]}/stream"


def test_a_camera_that_hangs_is_named_and_the_others_go_on(device: Device, broker: Mosquitto, silent: str) -> None:
    broker.start()
    device.write(*STREET, "[cameras.gate]", 'kind = "rtsp"', f'url = "{silent}"', "open_timeout = 2.0")
    with Subscriber(broker.port) as subscriber:
        device.start()
        seen = device.wait_for(
            lambda now: any(one["component"] == "camera:gate" and one["state"] != "ok" for one in now["findings"]),
            40,
            "the camera's finding",
        )
        before = device.watch()["cameras"]["street"]["frames_processed"]
        assert seen["cameras"]["gate"]["state"] in {"offline", "stalled", "connecting"}
        device.wait_for(lambda now: now["cameras"]["street"]["frames_processed"] > before + 10, 40, "further frames")
        wait_for(
            lambda: any(body.get("state") in {"offline", "stalled"} for body in subscriber.bodies("/gate/status")),
            40,
            "the camera's state at the broker",
        )
    assert device.guest.show("NRestarts") == "0"


def test_a_part_that_hangs_ends_in_frames_again(device: Device, broker: Mosquitto) -> None:
    broker.start()
    guest = device.guest
    device.drop_in("WatchdogSec=4\nRestartSec=0.2")  # not 30 and 5 seconds, for the test's sake
    device.start()
    device.watch()
    before = guest.show("MainPID")
    here = guest.number_here(int(before))
    with frozen(busiest_thread(here)):  # of the threads the one that runs the model, or the one that draws its frames
        try:
            wait_for(lambda: guest.show("MainPID") not in {before, "0"}, 60, "another process")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{guest.status()}\n{guest.journal()}") from error
        device.watch()
    assert re.search(r"(?i)watchdog|wedged", guest.journal())


def test_messages_of_a_time_without_network_arrive_afterwards(
    device: Device, broker: Mosquitto, network: Network
) -> None:
    _cut(device, broker, network, 12.0)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_messages_of_minutes_without_network_arrive_afterwards(
    device: Device, broker: Mosquitto, network: Network
) -> None:
    _cut(device, broker, network, 180.0)


def _cut(device: Device, broker: Mosquitto, network: Network, seconds: float) -> None:
    broker.start()
    device.write(*STREET, messaging="keepalive = 5")
    with Subscriber(broker.port, within=None) as subscriber:
        device.start()
        device.wait_for(lambda now: now["messaging"]["connected"], 30, "the broker")
        wait_for(lambda: subscriber.bodies("/street/events"), 40, "an event")
        network.plug(is_in=False)
        try:
            cut = time.monotonic()
            device.wait_for(lambda now: not now["messaging"]["connected"], 40, "the loss of the broker")
            rows = device.guest.status()["messaging"]["rows"]
            device.wait_for(
                lambda now: now["messaging"]["rows"] > rows + 2 and time.monotonic() - cut >= seconds,
                seconds + 60,
                "messages that wait",
            )
        finally:
            network.plug(is_in=True)
        device.wait_for(lambda now: now["messaging"]["connected"] and now["messaging"]["rows"] == 0, 120, "delivery")
        numbers = set(subscriber.numbers())
        assert numbers >= set(range(1, max(numbers)))
    assert device.guest.show("NRestarts") == "0"


def test_a_clock_that_is_years_off_is_told_and_what_was_seen_by_it_is_put_right(
    device: Device, broker: Mosquitto
) -> None:
    guest = device.guest
    guest.path(SHIM).mkdir(parents=True, exist_ok=True)
    clock = FakedClock(guest.path(SHIM), wrong_s=-3 * 365 * 86400.0, synced=False)
    preloaded = f"Environment=LD_PRELOAD={SHIM}/clock_shim.so CLOCK_SHIM={SHIM}/clock"
    device.drop_in(preloaded, "edgecam-clock.service")
    device.drop_in(f"{preloaded} CLOCK_SHIM_SHUT=1")  # the sandbox forbids to ask the kernel, as the probes show
    guest.run("systemctl", "start", "edgecam-clock.service", check=True)  # its timer asked before, at the boot
    device.start()
    device.wait_for(lambda now: now["clock"]["quality"] == "unsynced" and now["messaging"]["rows"] >= 3, 60, "messages")
    clock.set(wrong_s=0.0, synced=True)
    guest.run("systemctl", "start", "edgecam-clock.service", check=True)  # or within the minute
    device.wait_for(lambda now: now["clock"]["quality"] == "synced", 30, "the clock's quality")
    with Subscriber(broker.port, within=None) as subscriber:
        broker.start()
        device.wait_for(lambda now: now["messaging"]["connected"] and now["messaging"]["rows"] == 0, 60, "delivery")
        times = wait_for(lambda: [body["time"] for body in subscriber.bodies("/street/events")], 30, "events")
    now = datetime.now(UTC)
    assert all(abs((now - datetime.fromisoformat(told)).total_seconds()) < 600 for told in times)
