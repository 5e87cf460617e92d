"""One connection to a broker: the only module that speaks to paho."""

import os
import queue
import select
import socket
import ssl
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Any, Final, Self
from urllib.parse import urlsplit

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.exception import MQTTException
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from appliance.config import MessagingSettings
from appliance.core.errors import ConfigError
from appliance.messaging import reasons, topics
from appliance.messaging.parcels import Parcel
from appliance.messaging.reasons import Reason

CONNECT_TIMEOUT: Final = 5.0  # seconds for each of TCP, TLS and the broker's answer
NEAR_TIMEOUT: Final = 1.5  # seconds for the answer of a broker on this machine: it has no way to go
DIAL_TIMEOUT: Final = 15.0  # seconds for name, TCP and TLS together; the resolver knows no limit of its own
USER_TIMEOUT_MS: Final = 20_000  # TCP gives up on bytes that nobody acknowledges (tcp(7), TCP_USER_TIMEOUT)
SILENCE: Final = 1.5  # keepalives without a byte from the broker after which the link counts as dead
MOST_PACKET_BYTES: Final = 268_435_455  # MQTT 5, section 2.1.4
PUBLISH_OVERHEAD_BYTES: Final = 32  # fixed header, lengths, packet id, properties

_REFUSED: Final = 0x80  # MQTT 5, section 2.4: from here on reason codes are failures
_NO_RETAIN: Final = 0x9A
_BLAMING: Final = frozenset({0x81, 0x82, 0x90, 0x93, 0x95, 0x99})  # DISCONNECT codes that speak of what was sent


class Protocol(Enum):
    """The versions of MQTT that are spoken."""

    MQTT_5 = "5"
    MQTT_3_1_1 = "3.1.1"


class Dialler:
    """Opens connections to the broker of the settings; reads secrets and certificates anew each time.

    Args:
        device_id: The device's name: client id and the topic of the last will.
        settings: The broker, credentials, limits.
        wake: An eventfd that ends the wait of a conversation.
    """

    def __init__(self, device_id: str, settings: MessagingSettings, wake: int) -> None:
        parts = urlsplit(settings.broker)
        self._is_secure = parts.scheme == "mqtts"
        self._host, self._port = parts.hostname or "", parts.port or (8883 if self._is_secure else 1883)
        self._device_id, self._settings, self._wake = device_id, settings, wake

    def __str__(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"mqtt{'s' if self._is_secure else ''}://{host}:{self._port}"

    def dial(self, protocol: Protocol, is_off: Callable[[], bool]) -> "Conversation | Reason":
        """Resolve, connect, shake hands and send CONNECT; or give the reason why that failed.

        Done in a thread of its own, because the resolver cannot be interrupted.

        Args:
            protocol: The version to speak.
            is_off: Asked several times a second; when it says so, nobody waits any longer.

        Raises:
            ConfigError: The password or the certificates cannot be read.
        """
        client = self._client(protocol)
        done: queue.SimpleQueue[Reason | None] = queue.SimpleQueue()
        is_abandoned = threading.Event()

        def connect() -> None:
            try:
                client.connect(self._host, self._port, self._settings.keepalive)
                done.put(None)
            except (OSError, ValueError) as error:  # ValueError: a host name that IDNA cannot encode
                done.put(reasons.of_failure(error))
            if is_abandoned.is_set():
                _close(client)

        threading.Thread(target=connect, name="mqtt:connect", daemon=True).start()
        deadline = time.monotonic() + DIAL_TIMEOUT
        while not is_off() and time.monotonic() < deadline:
            with suppress(queue.Empty):
                return done.get(timeout=0.2) or Conversation(client, protocol, self._wake, self._settings.inflight)
        is_abandoned.set()
        with suppress(queue.Empty):
            done.get_nowait()
            _close(client)
        return Reason("no answer", "check the network and its name server")

    def _client(self, protocol: Protocol) -> Client:
        settings = self._settings
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"edgecam-{self._device_id}",
            protocol=MQTTProtocolVersion.MQTTv5 if protocol is Protocol.MQTT_5 else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_TIMEOUT
        client.max_inflight_messages_set(0)  # the window is ours: paho would hide what it has not yet sent
        client.will_set(topics.full(self._device_id, topics.AVAILABILITY), b"offline", qos=1, retain=True)
        if settings.username is not None:
            password = None if settings.password is None else settings.password.read("messaging.password")
            client.username_pw_set(settings.username, password)
        if self._is_secure:
            client.tls_set_context(self._tls_context())
        return client

    def _tls_context(self) -> "ssl.SSLContext":
        tls = self._settings.tls
        try:
            context = ssl.create_default_context(cafile=tls.ca_file)
            if tls.cert_file is not None and tls.key_file is not None:
                if stat.S_IMODE(tls.key_file.stat().st_mode) & 0o077:
                    raise ConfigError(
                        f"[messaging.tls] key_file: others can read {tls.key_file}; do: chmod 600 {tls.key_file}"
                    )
                context.load_cert_chain(tls.cert_file, tls.key_file)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise ConfigError(f"[messaging.tls] certificates cannot be used: {error}") from error
        return context


class Conversation:
    """One connection with one client of paho, used by one thread. Callbacks note, nothing more."""

    def __init__(self, client: Client, protocol: Protocol, wake: int, most: int) -> None:
        self.connack: int | None = None
        self.ended = "the connection was lost"
        self.fix = "check the network and the broker"
        self.is_blamed = False
        self.in_flight: dict[int, int] = {}
        self.answers: list[tuple[int, int]] = []
        self.state_refusal: int | None = None
        self._client, self._protocol, self._wake = client, protocol, wake
        self._most_in_flight = most
        self._most_bytes = MOST_PACKET_BYTES
        self._can_retain = True
        self._heard = time.monotonic()
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        self._tune()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        _close(self._client)

    @property
    def is_alive(self) -> bool:
        """Whether there is a connection."""
        return self._client.socket() is not None

    @property
    def patience(self) -> float:
        """Seconds within which a broker answers CONNECT."""
        wire = self._client.socket()
        if isinstance(wire, socket.socket):
            with suppress(OSError):  # the connection may be gone already
                peer = str(wire.getpeername()[0])
                return NEAR_TIMEOUT if peer.startswith("127.") or peer == "::1" else CONNECT_TIMEOUT
        return CONNECT_TIMEOUT

    @property
    def window(self) -> int:
        """Most messages that may be in flight."""
        return self._most_in_flight

    @property
    def has_room(self) -> bool:
        """Whether one more may be sent: the window is open, and the system took all that was sent before."""
        return len(self.in_flight) < self._most_in_flight and self.is_alive and not self._client.want_write()

    @property
    def has_state_in_flight(self) -> bool:
        """Whether a message without a number waits for its answer."""
        return 0 in self.in_flight.values()

    @contextmanager
    def corked(self) -> Iterator[None]:
        """Let what is sent inside travel together: paho writes every packet by itself, which doubles its cost."""
        self._set_cork(1)
        try:
            yield
        finally:
            self._set_cork(0)

    def publish(self, topic: str, parcel: Parcel) -> None:
        """Send one; its answer comes by and by."""
        if len(parcel.payload) + len(topic) + PUBLISH_OVERHEAD_BYTES > self._most_bytes:
            self._answer(parcel.ticket, 0x95)  # the broker would end the connection over it
            return
        properties = None
        if parcel.expiry_s is not None and self._protocol is Protocol.MQTT_5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho gives it no types
            properties.MessageExpiryInterval = parcel.expiry_s
        retain = parcel.retain and self._can_retain
        sent = self._client.publish(topic, parcel.payload, parcel.qos, retain=retain, properties=properties)
        if parcel.qos and sent.rc is MQTTErrorCode.MQTT_ERR_SUCCESS:
            self.in_flight[sent.mid] = parcel.ticket

    def turn(self, timeout: float) -> None:
        """Wait for the broker or the wake-up call, at most `timeout` seconds, and work off what is there."""
        wire = self._client.socket()
        if wire is None:
            return
        pending = getattr(wire, "pending", None)  # of TLS; to ask for its class would load OpenSSL for a plain link too
        has_bytes = pending is not None and pending() > 0
        poll, number = select.poll(), wire.fileno()
        poll.register(number, select.POLLIN | (select.POLLOUT if self._client.want_write() else 0))
        poll.register(self._wake, select.POLLIN)
        ready = dict(poll.poll(0 if has_bytes else timeout * 1000.0))
        if self._wake in ready:
            os.eventfd_read(self._wake)
        if has_bytes or ready.get(number, 0) & ~select.POLLOUT:
            self._read()
        if ready.get(number, 0) & select.POLLOUT:
            self._client.loop_write()
        self._client.loop_misc()
        if time.monotonic() - self._heard > SILENCE * self._client.keepalive and self.is_alive:
            self.ended = "the broker fell silent"
            # no DISCONNECT: should it hear us after all, it is to publish the last will
            _close(self._client)

    def say_goodbye(self) -> None:
        """Disconnect in good order, so that the broker does not publish the last will."""
        if self.is_alive:
            self._client.disconnect()

    def _read(self) -> None:
        self._heard = time.monotonic()
        try:
            code = self._client.loop_read()
        except (ValueError, LookupError, struct.error, MQTTException):
            # what paho makes of a packet that no broker should send
            code = MQTTErrorCode.MQTT_ERR_PROTOCOL
            _close(self._client)
        if code is MQTTErrorCode.MQTT_ERR_PROTOCOL and self.connack == 0:
            self.is_blamed = True
            self.ended = "the broker sent something that is not MQTT"

    def _tune(self) -> None:
        wire = self._client.socket()
        if isinstance(wire, socket.socket):
            with suppress(OSError):  # the connection may be gone already
                wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)

    def _set_cork(self, value: int) -> None:
        wire = self._client.socket()
        if isinstance(wire, socket.socket):
            with suppress(OSError):  # the connection may be gone already
                wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, value)

    def _answer(self, ticket: int, code: int) -> None:
        if ticket:
            self.answers.append((ticket, code))
        elif code >= _REFUSED:
            self.state_refusal = code

    def _on_connect(
        self, _: Client, __: Any, ___: ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        self.connack = code.value
        if self._protocol is Protocol.MQTT_5 and properties is not None:
            if getattr(properties, "MaximumQoS", 1) < 1:
                self.connack = 0x9B
            self._can_retain = bool(getattr(properties, "RetainAvailable", 1))
            if not self._can_retain:
                self.state_refusal = _NO_RETAIN
            self._most_in_flight = min(self._most_in_flight, getattr(properties, "ReceiveMaximum", 65535))
            self._most_bytes = min(self._most_bytes, getattr(properties, "MaximumPacketSize", MOST_PACKET_BYTES))

    def _on_disconnect(
        self, _: Client, __: Any, flags: DisconnectFlags, code: ReasonCode, ___: Properties | None
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            reason = reasons.of_connection(code.value)
            self.ended, self.fix = reason.what, reason.fix
            self.is_blamed = code.value in _BLAMING

    def _on_publish(self, _: Client, __: Any, mid: int, code: ReasonCode, ___: Properties | None) -> None:
        self._answer(self.in_flight.pop(mid, 0), code.value)


def _close(client: Client) -> None:
    """Drop the connection without a word."""
    wire = client.socket()
    if wire is not None:
        wire.close()
        client.loop_read()  # paho notices, and forgets the socket
