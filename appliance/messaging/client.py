"""A client of paho whose way for messages is short: paho's own costs more CPU than all the rest of a message's life.

paho keeps an object with a lock for every message, sends every packet by itself, reads every byte of a header by
itself, and makes two objects with tables of some thirty entries of every PUBACK. We number and remember messages
ourselves, so packets can be put together and sent many at a time, and of a PUBACK its number and its code are enough.
Everything else of the protocol stays with paho. What is overridden here is not in its documentation:
tests/unit/messaging/test_client.py says so at once should a release change it.
"""

import struct
from typing import Final, Literal

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.exception import MalformedPacket
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from appliance.messaging.properties import variable_length

MOST_AT_ONCE: Final = 256  # packets, and then others have their turn

MOST_ARRIVING_BYTES: Final = 128 << 10  # of a packet that are kept: with MQTT 3.1.1 it may have 256 MB

_READ_BYTES: Final = 4096
_MOST_READ_BYTES: Final = 256 << 10  # at once: what has come waits in memory until it is handed over
_BATCH_BYTES: Final = 64 << 10
_PUBLISH: Final = 0x30
_RETAIN: Final = 0x01


class Packed(Properties):
    """Properties that are bytes already."""

    def __init__(self, data: bytes) -> None:
        object.__setattr__(self, "data", data)  # paho's own takes no names but MQTT's

    def pack(self) -> bytes:
        """Give the bytes."""
        data: bytes = object.__getattribute__(self, "data")
        return data


class QuickClient(Client):
    """Publishes in batches. Used by one thread.

    Args:
        client_id: The name by which the broker knows it.
        protocol: MQTT 5 or 3.1.1.

    Attributes:
        acknowledged: Packet identifiers and reason codes of PUBACK packets; emptied by who reads them.
    """

    def __init__(self, client_id: str, protocol: MQTTProtocolVersion) -> None:
        self.acknowledged: list[tuple[int, int]] = []
        self._arrived = memoryview(b"")
        self._read_bytes = 0
        self._batch = bytearray()
        super().__init__(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol, reconnect_on_failure=False
        )

    @property
    def has_arrived(self) -> bool:
        """Whether bytes were received and not yet read, of which the socket knows nothing any more."""
        return len(self._arrived) > 0

    def add(self, topic: str, payload: bytes, qos: int, *, retain: bool, properties: bytes) -> int:
        """Put a message into the batch; give its packet identifier.

        Args:
            topic: Without wildcards.
            payload: Its payload.
            qos: 0 or 1.
            retain: The broker is to keep it.
            properties: Encoded, their length in front; empty for MQTT 3.1.1.
        """
        name = topic.encode()
        mid = self._mid_generate() if qos else 0
        number = struct.pack("!H", mid) if qos else b""
        length = variable_length(2 + len(name) + len(number) + len(properties) + len(payload))
        first = _PUBLISH | qos << 1 | (_RETAIN if retain else 0)
        head = struct.pack(f"!B{len(length)}sH", first, length, len(name))
        self._batch += b"".join((head, name, number, properties, payload))
        if len(self._batch) > _BATCH_BYTES:
            self.flush()
        return mid

    def flush(self) -> None:
        """Send the batch, as far as the system takes it; paho sends the rest, in its turn."""
        if self._batch:
            batch, self._batch = self._batch, bytearray()
            # as of QoS 1: of QoS 0 paho would look for the message's object
            self._packet_queue(_PUBLISH, batch, 0, 1)

    def loop_read(self, max_packets: int = MOST_AT_ONCE) -> MQTTErrorCode:
        """Read what has come: more than paho does, which knows of no messages that are on their way."""
        self._read_bytes = 0
        for _ in range(max_packets):
            if self._read_bytes >= _MOST_READ_BYTES:
                break
            if self._sock is None:
                return MQTTErrorCode.MQTT_ERR_NO_CONN
            code = self._packet_read()
            if code > 0:
                return self._loop_rc_handle(code)
            if code == MQTTErrorCode.MQTT_ERR_AGAIN:
                break
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _sock_recv(self, bufsize: int) -> bytes:
        # the beginning of a packet that is too large tells what it was, and whoever it is for refuses it
        del self._in_packet["packet"][MOST_ARRIVING_BYTES:]
        if not self._arrived:
            self._arrived = memoryview(super()._sock_recv(_READ_BYTES))
            self._read_bytes += len(self._arrived)
        given, self._arrived = self._arrived[:bufsize], self._arrived[bufsize:]
        return bytes(given)

    def _handle_pubackcomp(self, cmd: Literal["PUBACK", "PUBCOMP"]) -> MQTTErrorCode:
        packet = self._in_packet["packet"]
        is_awaited = cmd == "PUBACK" and self.is_connected()
        if not is_awaited or len(packet) < 2:  # noqa: PLR2004 - bytes of a packet identifier
            raise MalformedPacket(f"a {cmd} of {len(packet)} bytes, which nothing was sent for")
        self.acknowledged.append((packet[0] << 8 | packet[1], packet[2] if len(packet) > 2 else 0))  # noqa: PLR2004
        return MQTTErrorCode.MQTT_ERR_SUCCESS


def limits(receive_maximum: int, packet_bytes: int) -> Properties:
    """Give what CONNECT tells of what this device takes."""
    told = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho gives it no types
    told.ReceiveMaximum = receive_maximum
    told.MaximumPacketSize = packet_bytes
    return told
