"""What a scenario has at hand: the recorded disk, a real broker that is not on it, and marks for what was promised."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from appliance.core.message import Message
from tests.simulators.broker import Mosquitto
from tests.simulators.messaging_device import Device, wait_until
from tests.simulators.mqtt_witness import Body, MqttWitness
from tests.simulators.subscriber import Subscriber
from tests.simulators.tcp_proxy import TcpProxy


class Stage:
    """Runs real messaging on the recorded disk, against a real mosquitto behind a witness.

    Args:
        disk: The mounted file system.
        marks: Takes what is promised, in the disk's own log.
        aside: For files that are no part of it.

    Attributes:
        disk: The mounted file system.
        aside: For files that are no part of it.
        counted: How many messages were published, over all lives.
    """

    def __init__(self, disk: Path, marks: Path, aside: Path) -> None:
        self.disk, self.aside = disk, aside
        self.counted = 0
        self._marks = os.open(marks, os.O_WRONLY | os.O_CLOEXEC)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.broker = Mosquitto(self.aside)
        self._stack.callback(self.broker.stop)
        witness = MqttWitness(
            lambda body: self.mark(sent=body["seq"], gen=body["gen"]),
            lambda body: self.mark(acknowledged=body["seq"], **_told(body)),
        )
        self.proxy = self._stack.enter_context(TcpProxy(self.broker.port, witness.watch))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()
        os.close(self._marks)

    def mark(self, **fields: Any) -> None:
        """Note a promise that was made, or that is about to leave."""
        os.write(self._marks, json.dumps(fields).encode() + b"\n")

    @contextmanager
    def listening(self) -> Iterator[Subscriber]:
        """Start the broker, with somebody who subscribes."""
        self.broker.start()
        with Subscriber(self.broker.port, f"s{self.broker.port}") as subscriber:
            yield subscriber

    @contextmanager
    def life(self, **settings: Any) -> Iterator[Device]:
        """Run a device on the disk; what it says is on disk is marked within a millisecond."""
        before = self.counted
        over = threading.Event()

        def watch(device: Device) -> None:
            seen = 0
            while not over.wait(0.001):
                appended = device.figure("appended")
                if appended != seen:
                    seen = appended
                    self.mark(promised=(before + 1, before + seen), gen=device.figure("gen"))

        with Device(
            self.disk / "state", self.proxy.url, **{"replay_rate": 0, "replay_spread": 0, **settings}
        ) as device:
            watcher = threading.Thread(target=watch, args=(device,))
            watcher.start()
            try:
                yield device
                assert device.figure("dropped_inlet") == 0, "marks count on every message being taken"
            finally:
                over.set()
                watcher.join()

    def publish(self, device: Device, count: int, size: int = 60) -> None:
        """Publish messages with a body of about so many bytes, and wait until they are on disk."""
        goal = device.figure("appended") + count
        for _ in range(count):
            self.counted += 1
            body = {"n": self.counted, "pad": "x" * max(0, size - 20)}
            device.messaging.publish(Message("door/events", body, durable=True, qos=1, camera="door"))
        wait_until(lambda: device.figure("appended") >= goal, "on disk", 60.0)


def _told(body: Body) -> Body:
    return {key: body[key] for key in ("n", "ranges") if key in body}
