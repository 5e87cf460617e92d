"""A subscriber as users write them: MQTT 5, QoS 1, a session that outlives the broker's absence."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from paho.mqtt.client import CallbackAPIVersion, Client, MQTTMessage
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties


class Subscriber:
    """Keeps everything that arrives below ``edgecam/``, in order of arrival.

    Args:
        port: The broker's port on loopback; it may be absent for now.
    """

    def __init__(self, port: int) -> None:
        self.messages: list[tuple[str, Any, bool]] = []
        self.connected = threading.Event()
        self._changed = threading.Condition()
        self._client = Client(CallbackAPIVersion.VERSION2, "subscriber", protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe("edgecam/#", qos=1)
        self._client.on_subscribe = lambda *_: self.connected.set()
        self._client.on_message = self._keep
        self._client.reconnect_delay_set(1, 1)
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 3600
        self._client.connect_async("127.0.0.1", port, keepalive=10, clean_start=False, properties=session)
        self._client.loop_start()

    def _keep(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        payload = message.payload.decode()
        content = json.loads(payload) if payload.startswith("{") else payload
        with self._changed:
            self.messages.append((message.topic, content, message.retain))
            self._changed.notify_all()

    def bodies(self, ending: str) -> list[Any]:
        """Give the payloads of all topics that end so, in order of arrival."""
        with self._changed:
            return [content for topic, content, _ in self.messages if topic.endswith(ending)]

    def numbered(self) -> list[dict[str, Any]]:
        """Give the durable messages after dropping those whose id was seen before, in order of arrival."""
        with self._changed:
            seen: dict[str, dict[str, Any]] = {}
            for _, content, _ in self.messages:
                if isinstance(content, dict) and "id" in content:
                    seen.setdefault(content["id"], content)
            return list(seen.values())

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def subscribed(port: int) -> Iterator[Subscriber]:
    """Listen while the block runs."""
    subscriber = Subscriber(port)
    try:
        yield subscriber
    finally:
        subscriber.close()
