"""A device as far as messaging goes: the real workers in threads, and a subscriber that sees what a backend sees."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from appliance.config import MessagingSettings
from appliance.core.clock import SystemClock, read_boot_id
from appliance.core.health import Finding, HealthBoard
from appliance.core.message import Message
from appliance.messaging.worker import Messaging


def wait_until(is_so: Callable[[], Any], what: str, seconds: float = 20.0) -> None:
    """Wait for a condition; say what did not come true when it did not."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not is_so():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        pause.wait(0.02)


class Device:
    """Runs messaging until the block ends."""

    def __init__(self, state_dir: Path, broker: str, **settings: Any) -> None:
        self.board = HealthBoard()
        self.messaging = Messaging(
            device_id="dev",
            settings=MessagingSettings.model_validate({"broker": broker, **settings}),
            state_dir=state_dir,
            clock=SystemClock(),
            boot_id=read_boot_id(),
            board=self.board,
        )
        self.stop = threading.Event()
        self.failures: list[BaseException] = []
        self.threads = [
            threading.Thread(target=self._run, args=(worker.run,), name=worker.name)
            for worker in self.messaging.workers
        ]

    def _run(self, run: Callable[[threading.Event], None]) -> None:
        try:
            run(self.stop)
        except BaseException as error:
            self.failures.append(error)
            raise

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> float:
        """Stop; give the seconds it took."""
        begin = time.monotonic()
        self.stop.set()
        for thread in self.threads:
            thread.join(15.0)
            assert not thread.is_alive(), f"{thread.name} did not stop"
        assert not self.failures
        return time.monotonic() - begin

    def send(self, count: int, topic: str = "door/events", **body: Any) -> None:
        for number in range(count):
            self.messaging.publish(Message(topic, {"n": number, **body}, durable=True, qos=1, camera="door"))

    def figure(self, name: str) -> Any:
        return self.messaging.figures()[name]

    def finding(self, component: str) -> Finding | None:
        return next((finding for finding in self.board.findings() if finding.component == component), None)

    def wait_drained(self, seconds: float = 20.0) -> None:
        wait_until(lambda: self.figure("connected") and self.messaging.is_drained(), "drained", seconds)


class Subscriber:
    """Subscribes to everything with a session that the broker keeps; comes back by itself when the broker does."""

    def __init__(self, port: int, name: str = "subscriber", **account: str) -> None:
        self.messages: list[tuple[str, bytes, bool]] = []
        self.subscribed = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv5)
        if account:
            self._client.username_pw_set(account["username"], account["password"])
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe("edgecam/#", qos=1)
        self._client.on_subscribe = lambda *_: self.subscribed.set()
        self._client.on_message = lambda _, __, m: self.messages.append((m.topic, m.payload, m.retain))
        keep = Properties(PacketTypes.CONNECT)
        keep.SessionExpiryInterval = 3600
        self._client.connect_async("127.0.0.1", port, 60, clean_start=False, properties=keep)

    def __enter__(self) -> Self:
        self._client.loop_start()
        assert self.subscribed.wait(10.0)
        return self

    def __exit__(self, *error: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def payloads(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(payload) for at, payload, _ in list(self.messages) if at == f"edgecam/dev/{topic}"]

    def numbered(self) -> list[dict[str, Any]]:
        """Everything with a number, once each, in the order of first arrival."""
        by_id: dict[str, dict[str, Any]] = {}
        for topic, payload, _ in list(self.messages):
            if topic.endswith("/availability"):
                continue
            fields = json.loads(payload)
            if "seq" in fields:
                by_id.setdefault(fields["id"], fields)
        return list(by_id.values())

    def numbers(self) -> list[int]:
        return [fields["seq"] for fields in self.numbered()]

    def last(self, topic: str) -> bytes | None:
        found = [payload for at, payload, _ in list(self.messages) if at == f"edgecam/dev/{topic}"]
        return found[-1] if found else None
