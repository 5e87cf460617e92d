"""What the broker had is sent again when somebody asks for it, against a real mosquitto."""

import threading
from pathlib import Path

import pytest

from appliance.core.errors import UnavailableError
from appliance.messaging import courier
from tests.simulators.broker import Mosquitto
from tests.simulators.messaging_device import Device, wait_until
from tests.simulators.subscriber import Subscriber


def test_a_broker_that_forgot_what_it_acknowledged_gets_it_again(mosquitto: Mosquitto, tmp_path: Path) -> None:
    mosquitto.start()
    with Subscriber(mosquitto.port) as subscriber, Device(tmp_path, mosquitto.url) as device:
        device.send(40)
        device.wait_drained()
        wait_until(lambda: len(subscriber.numbers()) == 40, "all of them once")
        came = [payload for topic, payload, _ in subscriber.messages if topic.endswith("/events")]
        assert device.messaging.replay("", 11, 30) == 20
        wait_until(lambda: len(subscriber.messages) >= 61, "twenty of them twice, and the availability")
        again = [payload for topic, payload, _ in subscriber.messages if topic.endswith("/events")][40:]
        assert again == came[10:30]
        device.wait_drained()
        assert device.messaging.replay(device.figure("gen"), 100, 200) == 0
        assert device.messaging.replay("0123456789abcdef", 1, 40) == 0


def test_asking_may_be_done_from_many_threads_at_once(mosquitto: Mosquitto, tmp_path: Path) -> None:
    mosquitto.start()
    counts: list[int] = []
    with Subscriber(mosquitto.port) as subscriber, Device(tmp_path, mosquitto.url) as device:
        device.send(80)
        device.wait_drained()
        threads = [
            threading.Thread(target=lambda at=at: counts.append(device.messaging.replay("", at, at + 9)))
            for at in range(1, 81, 10)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20.0)
        assert counts == [10] * 8
        wait_until(lambda: len(subscriber.messages) >= 161, "each of them twice")


def test_without_an_outbox_whoever_asks_is_told_so(
    mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "ANSWER", 0.2)
    (tmp_path / "file").write_text("")
    with (
        Device(tmp_path / "file" / "state", mosquitto.url) as device,
        pytest.raises(UnavailableError, match="ask again"),
    ):
        device.messaging.replay("", 1, 10)
