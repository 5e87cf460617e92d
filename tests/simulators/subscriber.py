"""A subscriber as users write them: MQTT 5, QoS 1, a session that outlives the broker's absence."""

import json
import threading
import time
from typing import Any, Self

from paho.mqtt.client import CallbackAPIVersion, Client, MQTTMessage
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties


class Subscriber:
    """Keeps everything that arrives while its block runs; comes back when the broker does.

    Args:
        port: The broker's port on loopback.
        name: Its own; the broker keeps a session for each.
        pattern: What it subscribes to.
        within: Seconds in which it must be subscribed when the block begins; None: the broker may come later.
        **account: `username` and `password`, where the broker asks for them.

    Attributes:
        messages: Topic, payload and whether it was retained, in order of arrival.
        arrivals: Seconds since 1970, topic and payload, likewise.
        subscribed: Set once the broker has said so.
    """

    def __init__(
        self,
        port: int,
        name: str = "subscriber",
        *,
        pattern: str = "edgecam/#",
        within: float | None = 10.0,
        **account: str,
    ) -> None:
        self.messages: list[tuple[str, bytes, bool]] = []
        self.arrivals: list[tuple[float, str, bytes]] = []
        self.subscribed = threading.Event()
        self._within = within
        self._client = Client(CallbackAPIVersion.VERSION2, name, protocol=MQTTProtocolVersion.MQTTv5)
        if account:
            self._client.username_pw_set(account["username"], account["password"])
        self._client.on_connect = lambda client, *_: client.subscribe(pattern, qos=1)
        self._client.on_subscribe = lambda *_: self.subscribed.set()
        self._client.on_message = lambda _, __, message: self._take(message)
        self._client.reconnect_delay_set(1, 1)
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 3600
        self._client.connect_async("127.0.0.1", port, keepalive=10, clean_start=False, properties=session)

    def _take(self, message: MQTTMessage) -> None:
        self.arrivals.append((time.time(), message.topic, message.payload))
        self.messages.append((message.topic, message.payload, message.retain))

    def __enter__(self) -> Self:
        self._client.loop_start()
        if self._within is not None and not self.subscribed.wait(self._within):
            self.__exit__()
            raise AssertionError(f"not subscribed within {self._within} s")
        return self

    def __exit__(self, *error: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish something with QoS 1."""
        self._client.publish(topic, payload, 1, retain)

    def bodies(self, ending: str) -> list[Any]:
        """Give the contents of all topics that end so, in order of arrival: an object, or text."""
        return [_content(payload) for topic, payload, _ in list(self.messages) if topic.endswith(ending)]

    def at(self, topic: str) -> list[bytes]:
        """Give the payloads of a topic on the broker, in order of arrival."""
        return [payload for at, payload, _ in list(self.messages) if at == topic]

    def payloads(self, topic: str) -> list[dict[str, Any]]:
        """Give the objects that the device `dev` sent under this topic."""
        return [json.loads(payload) for at, payload, _ in list(self.messages) if at == f"edgecam/dev/{topic}"]

    def last(self, topic: str) -> bytes | None:
        """Give what the device `dev` sent last under this topic."""
        found = [payload for at, payload, _ in list(self.messages) if at == f"edgecam/dev/{topic}"]
        return found[-1] if found else None

    def numbered(self) -> list[dict[str, Any]]:
        """Give everything with a number, once each, in the order of first arrival."""
        by_id: dict[str, dict[str, Any]] = {}
        for content in self.bodies(""):
            if isinstance(content, dict) and "seq" in content:
                by_id.setdefault(content["id"], content)
        return list(by_id.values())

    def numbers(self) -> list[int]:
        """Give the numbers of `numbered`."""
        return [fields["seq"] for fields in self.numbered()]


def _content(payload: bytes) -> Any:
    text = payload.decode(errors="replace")  # a picture is no text
    return json.loads(text) if text.startswith("{") else text
