"""A broker on loopback that says what a test wants: odd CONNACKs, refusals, limits, silence, dropped connections."""

import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.simulators.listening import Listening

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = 1, 2, 3, 4, 8, 9, 12, 13, 14
DROP, SILENT = -1, -2
"""In place of a reason code: end the connection; answer nothing."""


@dataclass(frozen=True)
class Published:
    """A PUBLISH packet as it came.

    Attributes:
        told: The topic in the packet: empty where its alias stands for it.
        topic: The topic that is meant.
        payload: Its payload.
        qos: Its QoS.
        packet_bytes: Of the whole packet.
        properties: MQTT's names and values.
        at: Monotonic seconds.
    """

    told: str
    topic: str
    payload: bytes
    qos: int
    packet_bytes: int
    properties: dict[str, Any] = field(default_factory=dict)
    at: float = 0.0


class ScriptedBroker(Listening):
    """Speaks as much of MQTT 5 as a device needs. Change its attributes at any time.

    Args:
        code: Of every CONNACK.
        limits: Properties of CONNACK, by MQTT's names without blanks.
        answer: Gives the reason code for a PUBLISH packet, or DROP, or SILENT.
        farewell: Code of a DISCONNECT sent right after CONNACK; None: none.

    Attributes:
        connects: Monotonic second of each CONNECT.
        published: All that came.
        granted: Reason code of every SUBACK.
        unanswered: Most QoS 1 messages that came before the first was answered.
    """

    def __init__(
        self,
        *,
        code: int = 0,
        limits: dict[str, Any] | None = None,
        answer: Callable[[Published], int] = lambda _: 0,
        farewell: int | None = None,
    ) -> None:
        super().__init__()
        self.code, self.limits, self.answer, self.farewell = code, limits or {}, answer, farewell
        self.connects: list[float] = []
        self.published: list[Published] = []
        self.subscribed: list[str] = []
        self.granted = 1
        self.to_send: list[bytes] = []

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def payloads(self, ending: str) -> list[bytes]:
        """Give what came under topics that end so."""
        return [packet.payload for packet in list(self.published) if packet.topic.endswith(ending)]

    def send(self, code: int, data: bytes = b"") -> None:
        """Send a packet on the newest connection."""
        with suppress(OSError):
            self._ends[-1].sendall(_packet(code, data))

    def _serve(self, end: socket.socket) -> None:
        aliases: dict[int, str] = {}
        with end, suppress(OSError, EOFError), end.makefile("rb") as stream:
            while True:
                first = _exactly(stream, 1)[0]
                length, multiplier = 0, 1
                while True:
                    byte = _exactly(stream, 1)[0]
                    length += (byte & 0x7F) * multiplier
                    multiplier *= 128
                    if not byte & 0x80:
                        break
                data = _exactly(stream, length)
                if not self._take(end, first, data, aliases):
                    return

    def _take(self, end: socket.socket, first: int, data: bytes, aliases: dict[int, str]) -> bool:
        kind = first >> 4
        if kind == CONNECT:
            self.connects.append(time.monotonic())
            end.sendall(_packet(CONNACK << 4, bytes([0, self.code]) + _properties(PacketTypes.CONNACK, self.limits)))
            if self.farewell is not None:
                end.sendall(_packet(DISCONNECT << 4, bytes([self.farewell, 0])))
            return not self.code and self.farewell is None
        if kind == SUBSCRIBE:
            (length,) = struct.unpack("!H", data[3:5])
            self.subscribed.append(data[5 : 5 + length].decode())
            end.sendall(_packet(SUBACK << 4, data[:2] + bytes((0, self.granted))))
        elif kind == PUBLISH:
            return self._take_publish(end, first, data, aliases)
        elif kind == PINGREQ:
            end.sendall(_packet(PINGRESP << 4, b""))
        return kind != DISCONNECT

    def _take_publish(self, end: socket.socket, first: int, data: bytes, aliases: dict[int, str]) -> bool:
        qos = first >> 1 & 3
        (length,) = struct.unpack("!H", data[:2])
        told, rest = data[2 : 2 + length].decode(), data[2 + length :]
        mid, rest = (rest[:2], rest[2:]) if qos else (b"", rest)
        properties = Properties(PacketTypes.PUBLISH)
        _, size = properties.unpack(rest)
        given = properties.json() | {"UserProperty": dict(getattr(properties, "UserProperty", []))}
        alias = given.get("TopicAlias")
        topic = told or aliases[alias]
        packet = Published(told, topic, rest[size:], qos, 2 + len(data), given, time.monotonic())
        self.published.append(packet)
        code = self.answer(packet)
        if alias is not None and code >= 0 and code < 0x80:
            aliases[alias] = topic
        if code == DROP:
            return False
        if qos and code != SILENT:
            end.sendall(_packet(PUBACK << 4, mid + (bytes([code, 0]) if code else b"")))
        return True


def _packet(first: int, data: bytes) -> bytes:
    length, left = bytearray(), len(data)
    while True:
        length.append(left & 0x7F | (0x80 if left > 0x7F else 0))
        left >>= 7
        if not left:
            return bytes([first]) + bytes(length) + data


def _properties(kind: int, values: dict[str, Any]) -> bytes:
    properties = Properties(kind)
    for name, value in values.items():
        setattr(properties, name, value)
    packed: bytes = properties.pack()
    return packed


def _exactly(stream: Any, count: int) -> bytes:
    data: bytes = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data
