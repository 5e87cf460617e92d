"""The link to the broker: the only module that speaks to paho."""

import logging
import os
import queue
import select
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
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
from appliance.core.backoff import Backoff
from appliance.core.errors import ConfigError
from appliance.core.health import HealthBoard, HealthState
from appliance.core.worker import Pulse
from appliance.messaging import reasons, topics
from appliance.messaging.parcels import Answer, LinkClosing, LinkDown, LinkUp, Listener, Parcel
from appliance.messaging.reasons import Reason

CONNECT_TIMEOUT: Final = 5.0  # seconds for each of TCP, TLS and the broker's answer
DIAL_TIMEOUT: Final = 15.0  # seconds for name, TCP and TLS together; the resolver knows no limit of its own
USER_TIMEOUT_MS: Final = 20_000  # TCP gives up on bytes that nobody acknowledges (tcp(7), TCP_USER_TIMEOUT)
SILENCE: Final = 1.5  # keepalives without a byte from the broker after which the link counts as dead
TURN: Final = 0.5  # seconds between two looks at whether to stop
MUTE_BEFORE_OLD: Final = 2  # connections without an answer to MQTT 5 before 3.1.1 is tried: one may be bad luck
OLD_FOR: Final = 86400.0  # seconds for which a broker that took only 3.1.1 is not asked for 5 again
MOST_LOOSE: Final = 256  # messages without a number that wait for a slow connection
MOST_RETAINED: Final = 1024  # topics; a device has a few for each camera
SETTLE: Final = 3.0  # seconds for what is in flight when the link stops
FAREWELL: Final = 1.0  # seconds for the broker to take `offline`

MOST_PACKET_BYTES: Final = 268_435_455  # MQTT 5, section 2.1.4
PUBLISH_OVERHEAD_BYTES: Final = 32  # fixed header, lengths, packet id, properties

BLAMING: Final = frozenset({0x81, 0x82, 0x90, 0x93, 0x95, 0x99})  # DISCONNECT codes that speak of what was sent
_UNSUPPORTED: Final = frozenset({0x01, 0x84})  # MQTT 3.1.1 section 3.2.2.3 and MQTT 5 section 3.2.2.2
_logger = logging.getLogger(__name__)


class _Outcome(Enum):
    SERVED = "the broker took the connection; it is over now"
    REFUSED = "the broker answered, and refused"
    MUTE = "something took the connection and gave no answer to CONNECT"
    UNREACHABLE = "no connection"


@dataclass(frozen=True, slots=True)
class _Address:
    host: str
    port: int
    is_secure: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"mqtt{'s' if self.is_secure else ''}://{host}:{self.port}"


class MqttLink:
    """Keeps a connection to the broker, and says on the health board why when there is none.

    Numbered parcels go out in the order in which they were given, no more in flight than the settings and the broker
    allow. Retained ones are kept, newest per topic, and go out again on every new connection. Everything else needs a
    connection, or it is dropped and counted.

    Args:
        device_id: The device's name: client id and topics.
        settings: The broker, credentials, limits.
        board: Where the link reports, as ``broker``.
        listener: Who is told what happens.
    """

    name = "mqtt"

    def __init__(self, *, device_id: str, settings: MessagingSettings, board: HealthBoard, listener: Listener) -> None:
        self.pulse = Pulse(limit=30.0)
        parts = urlsplit(settings.broker)
        is_secure = parts.scheme == "mqtts"
        self._address = _Address(parts.hostname or "", parts.port or (8883 if is_secure else 1883), is_secure)
        self._device_id, self._settings = device_id, settings
        self._board, self._listener = board, listener
        self._lock = threading.Lock()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._numbered: deque[Parcel] = deque()
        self._loose: deque[Parcel] = deque()
        self._retained: dict[str, Parcel] = {}
        self._unsent: dict[str, Parcel] = {}
        self._session = 0
        self._is_connected = False
        self._old_until = 0.0
        self._mute = 0
        self._backoff = Backoff(least=0.5, most=60.0, stable=60.0)
        self._lasting = Backoff(least=10.0, most=900.0, stable=60.0)
        self._figures: dict[str, Any] = {
            "connected": False,
            "broker": str(self._address),
            "protocol": None,
            "connects": 0,
            "last_connect": None,
            "dropped_offline": 0,
            "dropped_busy": 0,
        }

    def run(self, stop: threading.Event) -> None:
        """Keep a connection until `stop` is set; then settle what is in flight, say `offline` and leave."""
        while not stop.is_set():
            self._pause(self._connect_and_serve(stop), stop)

    def send(self, session: int, parcels: Sequence[Parcel]) -> None:
        """Send numbered parcels on this connection, in their order; each is answered, or the link goes down."""
        with self._lock:
            if session == self._session and self._is_connected:
                self._numbered.extend(parcels)
        self._rouse()

    def post(self, parcel: Parcel) -> None:
        """Send one that is not numbered: the last retained one of each topic is kept, others need a connection."""
        with self._lock:
            if parcel.retain and (parcel.topic in self._retained or len(self._retained) < MOST_RETAINED):
                self._retained[parcel.topic] = parcel
                self._unsent[parcel.topic] = parcel
            elif not self._is_connected:
                self._figures["dropped_offline"] += 1
            elif len(self._loose) >= MOST_LOOSE:
                self._figures["dropped_busy"] += 1
            else:
                self._loose.append(parcel)
        self._rouse()

    def figures(self) -> dict[str, object]:
        """Give figures for status and health."""
        with self._lock:
            return dict(self._figures)

    def _rouse(self) -> None:
        os.eventfd_write(self._wake, 1)

    def _pause(self, wait: float, stop: threading.Event) -> None:
        end = time.monotonic() + wait
        while (left := end - time.monotonic()) > 0 and not stop.wait(min(left, 5.0)):
            self.pulse.beat()  # a broker that is away is not being stuck

    def _connect_and_serve(self, stop: threading.Event) -> float:
        """Make one connection and keep it as long as it lasts; give the seconds to wait before the next."""
        is_old = time.monotonic() < self._old_until
        outcome, code = self._attempt(MQTTProtocolVersion.MQTTv311 if is_old else MQTTProtocolVersion.MQTTv5, stop)
        if not is_old:
            self._mute = self._mute + 1 if outcome is _Outcome.MUTE else 0
            is_unsupported = outcome is _Outcome.REFUSED and code in _UNSUPPORTED
            if (is_unsupported or self._mute >= MUTE_BEFORE_OLD) and not stop.is_set():
                outcome, code = self._attempt(MQTTProtocolVersion.MQTTv311, stop)
                if outcome is _Outcome.SERVED:
                    self._old_until = time.monotonic() + OLD_FOR
        elif outcome is not _Outcome.SERVED:
            self._old_until = 0.0  # perhaps another broker answers there now
        is_lasting = outcome is _Outcome.REFUSED and reasons.of_connection(code).is_lasting
        return (self._lasting if is_lasting else self._backoff).next_wait()

    def _attempt(self, protocol: MQTTProtocolVersion, stop: threading.Event) -> tuple[_Outcome, int]:
        """Connect with one version of the protocol, and serve if the broker agrees; give the outcome and its code."""
        try:
            conversation = self._dial(self._client(protocol), protocol, stop)
        except ConfigError as error:
            self._report(HealthState.FAILED, str(error), "correct it; no restart is needed")
            return _Outcome.UNREACHABLE, 0
        if isinstance(conversation, Reason):
            self._report(HealthState.DEGRADED, f"{self._address}: {conversation.what}", conversation.fix)
            return _Outcome.UNREACHABLE, 0
        with conversation:
            deadline = time.monotonic() + CONNECT_TIMEOUT
            while conversation.is_alive and conversation.connack is None and not stop.is_set():
                if time.monotonic() > deadline:
                    break
                conversation.turn(TURN)
            self.pulse.beat()
            code = conversation.connack
            if code is None:
                self._report(
                    HealthState.DEGRADED,
                    f"{self._address} takes the connection but gives no answer",
                    "check that it is an MQTT broker, and that mqtt:// or mqtts:// is right",
                )
                return _Outcome.MUTE, 0
            if code:
                reason = reasons.of_connection(code)
                state = HealthState.FAILED if reason.is_lasting else HealthState.DEGRADED
                self._report(state, f"{self._address}: {reason.what}", reason.fix)
                return _Outcome.REFUSED, code
            self._serve(conversation, protocol, stop)
            return _Outcome.SERVED, 0

    def _dial(self, client: Client, protocol: MQTTProtocolVersion, stop: threading.Event) -> "_Conversation | Reason":
        """Resolve, connect and shake hands in a thread of its own: the resolver cannot be interrupted."""
        done: queue.SimpleQueue[Reason | None] = queue.SimpleQueue()
        is_abandoned = threading.Event()

        def connect() -> None:
            try:
                client.connect(self._address.host, self._address.port, self._settings.keepalive)
                done.put(None)
            except (OSError, ValueError) as error:  # ValueError: a host name that IDNA cannot encode
                done.put(reasons.of_failure(error))
            if is_abandoned.is_set():
                _close(client)

        threading.Thread(target=connect, name="mqtt:connect", daemon=True).start()
        deadline = time.monotonic() + DIAL_TIMEOUT
        while not stop.is_set() and time.monotonic() < deadline:
            self.pulse.beat()
            with suppress(queue.Empty):
                return done.get(timeout=TURN) or _Conversation(client, protocol, self._wake, self._settings.inflight)
        is_abandoned.set()
        with suppress(queue.Empty):
            done.get_nowait()
            _close(client)
        return Reason("no answer", "check the network and its name server")

    def _client(self, protocol: MQTTProtocolVersion) -> Client:
        settings = self._settings
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"edgecam-{self._device_id}",
            protocol=protocol,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_TIMEOUT
        client.max_inflight_messages_set(0)  # the window is ours: paho would hide what it has not yet sent
        client.will_set(topics.full(self._device_id, topics.AVAILABILITY), b"offline", qos=1, retain=True)
        if settings.username is not None:
            password = None if settings.password is None else settings.password.read("messaging.password")
            client.username_pw_set(settings.username, password)
        if self._address.is_secure:
            client.tls_set_context(self._tls_context())
        return client

    def _tls_context(self) -> ssl.SSLContext:
        tls = self._settings.tls
        try:
            context = ssl.create_default_context(cafile=tls.ca_file)
            if tls.cert_file is not None:
                context.load_cert_chain(tls.cert_file, tls.key_file)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise ConfigError(f"[messaging.tls] certificates cannot be used: {error}") from error
        return context

    def _serve(self, conversation: "_Conversation", protocol: MQTTProtocolVersion, stop: threading.Event) -> None:
        with self._lock:
            self._session += 1
            self._is_connected = True
            self._unsent = {
                topics.AVAILABILITY: Parcel(topics.AVAILABILITY, b"online", 1, retain=True),
                **self._retained,
            }
            self._figures |= {
                "connected": True,
                "protocol": "5" if protocol is MQTTProtocolVersion.MQTTv5 else "3.1.1",
                "connects": self._figures["connects"] + 1,
                "last_connect": round(time.time(), 3),
            }
        self._backoff.succeeded()
        self._lasting.succeeded()
        self._report(HealthState.OK, "", "")
        self._listener.tell([LinkUp(self._session)])
        try:
            while conversation.is_alive and not stop.is_set():
                self._step(conversation, TURN)
            if conversation.is_alive:
                self._leave(conversation)
        finally:
            with self._lock:
                self._is_connected = False
                self._figures["connected"] = False
                self._numbered.clear()
                self._figures["dropped_offline"] += len(self._loose)
                self._loose.clear()
            self._tell_answers(conversation)
            self._listener.tell([LinkDown(self._session, conversation.is_blamed)])
        if not stop.is_set():
            self._report(HealthState.DEGRADED, f"{self._address}: {conversation.ended}", conversation.fix)

    def _step(self, conversation: "_Conversation", timeout: float) -> None:
        """Send what may be sent, wait a little for the broker or for something to send, and pass on its answers."""
        while conversation.has_room and (parcel := self._next()) is not None:
            conversation.publish(topics.full(self._device_id, parcel.topic), parcel)
        conversation.turn(timeout)
        self._tell_answers(conversation)
        self.pulse.beat()

    def _next(self) -> Parcel | None:
        """Take the next parcel: state first, for it is small and tells the present; then numbered ones."""
        with self._lock:
            if self._unsent:
                return self._unsent.pop(next(iter(self._unsent)))
            if self._numbered:
                return self._numbered.popleft()
            return self._loose.popleft() if self._loose else None

    def _tell_answers(self, conversation: "_Conversation") -> None:
        if conversation.answers:
            news = [Answer(self._session, ticket, code) for ticket, code in conversation.answers]
            conversation.answers.clear()
            self._listener.tell(news)

    def _leave(self, conversation: "_Conversation") -> None:
        """Settle what is in flight, say `offline`, disconnect: bounded, whatever the broker does."""
        self._listener.tell([LinkClosing()])
        self._turn_until(conversation, SETTLE, lambda: self._listener.is_settled and self._is_idle(conversation))
        with self._lock:
            self._numbered.clear()
            self._unsent = {topics.AVAILABILITY: Parcel(topics.AVAILABILITY, b"offline", 1, retain=True)}
        self._turn_until(conversation, FAREWELL, lambda: self._is_idle(conversation))
        conversation.say_goodbye()

    def _turn_until(self, conversation: "_Conversation", seconds: float, is_done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + seconds
        while conversation.is_alive and not is_done() and time.monotonic() < deadline:
            self._step(conversation, 0.05)

    def _is_idle(self, conversation: "_Conversation") -> bool:
        with self._lock:
            return not (self._numbered or self._unsent or conversation.in_flight)

    def _report(self, state: HealthState, what: str, fix: str) -> None:
        if self._board.report("broker", state, what, fix):
            level = logging.INFO if state is HealthState.OK else logging.WARNING
            _logger.log(level, "broker: %s", what or f"connected to {self._address}")


class _Conversation:
    """One connection with one client of paho, used by one thread. Callbacks note, nothing more."""

    def __init__(self, client: Client, protocol: MQTTProtocolVersion, wake: int, most: int) -> None:
        self.connack: int | None = None
        self.ended = "the connection was lost"
        self.fix = "check the network and the broker"
        self.is_blamed = False
        self.in_flight: dict[int, int] = {}
        self.answers: list[tuple[int, int]] = []
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
    def has_room(self) -> bool:
        """Whether one more may be sent: the window is open, and the system took all that was sent before."""
        return len(self.in_flight) < self._most_in_flight and self.is_alive and not self._client.want_write()

    def publish(self, topic: str, parcel: Parcel) -> None:
        """Send one; its answer comes by and by."""
        if len(parcel.payload) + len(topic) + PUBLISH_OVERHEAD_BYTES > self._most_bytes:
            self._answer(parcel.ticket, 0x95)  # the broker would end the connection over it
            return
        properties = None
        if parcel.expiry_s is not None and self._protocol is MQTTProtocolVersion.MQTTv5:
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
        has_bytes = isinstance(wire, ssl.SSLSocket) and wire.pending() > 0
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

    def _answer(self, ticket: int, code: int) -> None:
        if ticket:
            self.answers.append((ticket, code))

    def _on_connect(
        self, _: Client, __: Any, ___: ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        self.connack = code.value
        if self._protocol is MQTTProtocolVersion.MQTTv5 and properties is not None:
            if getattr(properties, "MaximumQoS", 1) < 1:
                self.connack = 0x9B
            self._can_retain = bool(getattr(properties, "RetainAvailable", 1))
            self._most_in_flight = min(self._most_in_flight, getattr(properties, "ReceiveMaximum", 65535))
            self._most_bytes = min(self._most_bytes, getattr(properties, "MaximumPacketSize", MOST_PACKET_BYTES))

    def _on_disconnect(
        self, _: Client, __: Any, flags: DisconnectFlags, code: ReasonCode, ___: Properties | None
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            reason = reasons.of_connection(code.value)
            self.ended, self.fix = reason.what, reason.fix
            self.is_blamed = code.value in BLAMING

    def _on_publish(self, _: Client, __: Any, mid: int, code: ReasonCode, ___: Properties | None) -> None:
        self._answer(self.in_flight.pop(mid, 0), code.value)


def _close(client: Client) -> None:
    """Drop the connection without a word."""
    wire = client.socket()
    if wire is not None:
        wire.close()
        client.loop_read()  # paho notices, and forgets the socket
