"""What the link promises with the settings as they come, which takes minutes: `make link`."""

import re
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from appliance.config import MessagingSettings
from appliance.core.health import HealthBoard
from appliance.messaging.inlet import Inlet
from appliance.messaging.link import MqttLink
from appliance.messaging.manners import Manners
from tests.simulators.broker import Mosquitto, find_mosquitto
from tests.simulators.messaging_device import Device, wait_until
from tests.simulators.subscriber import Subscriber
from tests.simulators.tcp_proxy import TcpProxy

FOUND = 45.0  # seconds, the promise
DEVICES = 500


@pytest.fixture
def mosquitto(tmp_path: Path) -> Mosquitto:
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    directory = tmp_path / "broker"
    directory.mkdir()
    return Mosquitto(directory)


@pytest.mark.parametrize("is_idle", [True, False], ids=["idle", "publishing"])
def test_a_half_open_link_is_found_within_45_seconds(mosquitto: Mosquitto, tmp_path: Path, *, is_idle: bool) -> None:
    mosquitto.start()
    try:
        with (
            TcpProxy(mosquitto.port) as proxy,
            Subscriber(mosquitto.port) as subscriber,
            Device(tmp_path / "state", proxy.url) as device,
        ):
            device.send(3)
            device.wait_drained()
            proxy.set("stall")
            begin = time.monotonic()
            if not is_idle:
                device.send(3)
            wait_until(lambda: not device.figure("connected"), "found", 60.0)
            took = time.monotonic() - begin
            print(f"found after {took:.1f} s")
            assert took < FOUND
            proxy.cut()
            proxy.set("pass")
            device.send(3)
            device.wait_drained(90.0)
            expected = 6 if is_idle else 9
            wait_until(lambda: len(subscriber.numbers()) == expected, "all at the subscriber")
    finally:
        mosquitto.stop()


@pytest.mark.timeout(400)
def test_hundreds_of_real_links_come_back_to_a_restarted_broker_at_most_five_percent_a_second(
    mosquitto: Mosquitto,
) -> None:
    mosquitto.configure("log_timestamp_format %s", "max_connections -1")
    mosquitto.start()
    stop = threading.Event()
    settings = MessagingSettings.model_validate({"broker": mosquitto.url})
    links = [
        MqttLink(
            device_id=f"camera-{number:04}",
            settings=settings,
            board=HealthBoard(),
            listener=Inlet(),
            # the broker is on this machine, for which links take no account of a fleet
            manners=Manners(f"camera-{number:04}", reconnect_spread=settings.reconnect_spread, start_spread=0.0),
        )
        for number in range(DEVICES)
    ]
    threads = [threading.Thread(target=link.run, args=(stop,)) for link in links]
    try:
        for thread in threads:
            thread.start()
        wait_until(lambda: all(link.figures()["connected"] for link in links), "all connected", 120.0)
        mosquitto.stop()
        before = mosquitto.log.read_text().count("New client connected")
        wait_until(lambda: not any(link.figures()["connected"] for link in links), "all gone", 30.0)
        mosquitto.start()
        wait_until(lambda: all(link.figures()["connected"] for link in links), "all back", 240.0)
    finally:
        stop.set()
        for thread in threads:
            thread.join(30.0)
        mosquitto.stop()
    times = re.findall(r"^(\d+): New client connected", mosquitto.log.read_text(), re.MULTILINE)[before:]
    assert len(times) == DEVICES
    peak = max(Counter(times).values())
    print(f"{DEVICES} links back within {int(times[-1]) - int(times[0])} s, at most {peak} in a second")
    assert peak <= DEVICES * 0.05
