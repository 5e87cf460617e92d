"""Sees numbered messages on their way to a broker, and the broker's answers on their way back, before either arrives.

MQTT 5, sections 2.1 (fixed header), 3.1 (CONNECT), 3.3 (PUBLISH), 3.4 (PUBACK); 3.1.1 differs in having no properties.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from tests.simulators.tcp_proxy import Watch

Body = dict[str, Any]
_CONNECT, _PUBLISH, _PUBACK = 1, 3, 4
_REFUSED: Final = 0x80


class Packets:
    """Cuts a stream of bytes into packets: type, flags, content."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        self._buffer += data
        while (head := _length(self._buffer, 1)) is not None:
            length, begin = head
            if len(self._buffer) < begin + length:
                return
            first, content = self._buffer[0], self._buffer[begin : begin + length]
            self._buffer = self._buffer[begin + length :]
            yield first >> 4, first & 15, content


class MqttWitness:
    """Tells that a numbered message is about to reach the broker, and its acknowledgement about to come back.

    Args:
        sent: Is given the body of each numbered message, in the thread of its connection.
        acknowledged: Likewise, when the broker has taken it.
    """

    def __init__(self, sent: Callable[[Body], None], acknowledged: Callable[[Body], None]) -> None:
        self._sent, self._acknowledged = sent, acknowledged

    def watch(self) -> tuple[Watch, Watch]:
        """Give who watches the two directions of one connection: for `TcpProxy`."""
        under_way: dict[int, Body] = {}
        up, down = Packets(), Packets()
        version = 4

        def see_up(data: bytes) -> None:
            nonlocal version
            for kind, flags, content in up.feed(data):
                if kind == _CONNECT:
                    version = content[6]
                elif kind == _PUBLISH and flags & 6:
                    number, payload = _publish(content, has_properties=version >= 5)
                    body = json.loads(payload) if payload.startswith(b"{") else {}
                    if "seq" in body:
                        under_way[number] = body
                        self._sent(body)

        def see_down(data: bytes) -> None:
            for kind, _, content in down.feed(data):
                if kind == _PUBACK:
                    body = under_way.pop(int.from_bytes(content[:2]), None)
                    if body is not None and (len(content) < 3 or content[2] < _REFUSED):
                        self._acknowledged(body)

        return see_up, see_down


def _length(data: bytes, at: int) -> tuple[int, int] | None:
    """Give a variable byte integer and where it ends; None when it is not whole."""
    value = 0
    for shift in range(4):
        if at + shift >= len(data):
            return None
        value |= (data[at + shift] & 127) << 7 * shift
        if data[at + shift] < 128:
            return value, at + shift + 1
    raise ValueError("no MQTT")


def _publish(content: bytes, *, has_properties: bool) -> tuple[int, bytes]:
    at = 2 + int.from_bytes(content[:2])
    number, at = int.from_bytes(content[at : at + 2]), at + 2
    if has_properties:
        properties = _length(content, at)
        assert properties is not None
        at = sum(properties)
    return number, content[at:]
