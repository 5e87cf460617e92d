"""What waited drains at its rate while what happens now arrives at once, against a real mosquitto."""

import json
import threading
import time
from pathlib import Path

import pytest

from appliance.config import MessagingSettings, OutboxSettings
from appliance.core.clock import SystemClock, read_boot_id
from appliance.messaging.outbox import Outbox
from appliance.messaging.rows import Draft
from tests.simulators.broker import Mosquitto
from tests.simulators.messaging_device import Device, wait_until
from tests.simulators.subscriber import Subscriber

BACKLOG = 2000
SECONDS = 6.0


def fill(directory: Path, count: int) -> None:
    """Leave an outbox behind as a device does that had no broker."""
    clock = SystemClock()
    outbox = Outbox(
        directory / "outbox.db",
        OutboxSettings(),
        device_id="dev",
        boot_id=read_boot_id(),
        encode_gap=lambda *_: b"{}",
        now=clock.now,
    )
    outbox.open()
    now = clock.now()

    def encode(gen: str, seq: int) -> bytes:
        return json.dumps({"id": f"dev/{gen}/{seq}", "gen": gen, "seq": seq, "pad": "x" * 200}).encode()

    draft = Draft("door/events", encode, int(now.time.timestamp() * 1e9), now.mono_ns)
    done = 0
    while done < count:
        done += outbox.append([draft] * min(500, count - done))
    outbox.close()


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


@pytest.mark.parametrize("rate", [50.0, 0.0], ids=["paced", "unlimited"])
def test_live_messages_arrive_within_two_seconds_while_a_backlog_drains(
    mosquitto: Mosquitto, tmp_path: Path, rate: float
) -> None:
    count = BACKLOG if rate else BACKLOG * 5
    fill(tmp_path, count)
    assert MessagingSettings().replay_rate == 50.0
    mosquitto.configure("max_queued_messages 0")  # it drops what a slow subscriber has not yet taken
    mosquitto.start()
    pause = threading.Event()
    with (
        Subscriber(mosquitto.port) as subscriber,
        # of its own: the broker's queue for a slow subscriber is none of the device's
        Subscriber(mosquitto.port, "live", pattern="edgecam/dev/yard/#") as watcher,
        Device(tmp_path, mosquitto.url, replay_rate=rate) as device,
    ):
        wait_until(subscriber.numbered, "the backlog begins")
        begin, waiting = time.monotonic(), device.figure("rows")
        number = 0
        while time.monotonic() - begin < SECONDS and device.figure("rows") > 100:
            device.send(1, "yard/events", sent=time.time())
            number += 1
            pause.wait(0.1)
        seconds, drained = time.monotonic() - begin, waiting - device.figure("rows")
        wait_until(lambda: len(watcher.payloads("yard/events")) >= number, "all live ones at the subscriber")
        arrived = list(watcher.arrivals)
    live = [(at, json.loads(payload)) for at, topic, payload in arrived if topic.endswith("yard/events")]
    waits = [at - body["sent"] for at, body in live]
    assert [body["seq"] for _, body in live] == sorted(body["seq"] for _, body in live)
    assert percentile(waits, 0.95) < 2.0
    if rate:
        assert 0.6 * rate * seconds < drained < rate * (seconds + 1.5), "the backlog keeps to its rate"
