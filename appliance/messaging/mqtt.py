"""One connection to a broker; with `client` the only module that speaks to paho."""

import logging
import queue
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Any, Final, Self
from urllib.parse import urlsplit

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import LogLevel, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.exception import MQTTException
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from appliance.config import MessagingSettings
from appliance.messaging import reasons, topics, wire
from appliance.messaging.client import Packed, QuickClient, limits
from appliance.messaging.credentials import Papers
from appliance.messaging.inbox import MOST_BYTES, Received
from appliance.messaging.parcels import TEXT, Parcel
from appliance.messaging.properties import Aliases, packed
from appliance.messaging.wire import Ear

CONNECT_TIMEOUT: Final = 5.0  # seconds for each of TCP, TLS and the broker's answer
NEAR_TIMEOUT: Final = 1.5  # seconds for the answer of a broker on this machine: it has no way to go
DIAL_TIMEOUT: Final = 15.0  # seconds for name, TCP and TLS together; the resolver knows no limit of its own
GUEST: Final = "-doctor"  # what a guest's client id ends with
MOST_PACKET_BYTES: Final = 268_435_455  # MQTT 5, section 2.1.4
MOST_RECEIVING: Final = 16  # messages of other clients that the broker may send us before the first is acknowledged

_NO_RETAIN: Final = 0x9A
_logger = logging.getLogger(__name__)
_FRAME_BYTES: Final = 9  # of PUBLISH at the most: fixed header, topic's length, packet identifier
_BLAMING: Final = frozenset({0x81, 0x82, 0x90, 0x93, 0x95, 0x99})  # DISCONNECT codes that speak of what was sent


class Protocol(Enum):
    """The versions of MQTT that are spoken."""

    MQTT_5 = "5"
    MQTT_3_1_1 = "3.1.1"


class Dialler:
    """Opens connections to the broker of the settings.

    Args:
        device_id: The device's name: client id and the topic of the last will.
        settings: The broker, credentials, limits.
        wake: An eventfd that ends the wait of a conversation.
        is_guest: Somebody looks beside the daemon: under a client id of their own, and without a last will.

    Attributes:
        is_secure: TLS is spoken.
        host: The broker's name or address.
        port: Its TCP port.
    """

    def __init__(self, device_id: str, settings: MessagingSettings, wake: int, *, is_guest: bool = False) -> None:
        parts = urlsplit(settings.broker)
        self.is_secure = parts.scheme == "mqtts"
        self.host, self.port = parts.hostname or "", parts.port or (8883 if self.is_secure else 1883)
        self._device_id, self._settings, self._wake = device_id, settings, wake
        self._is_guest = is_guest

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"mqtt{'s' if self.is_secure else ''}://{host}:{self.port}"

    @property
    def is_near(self) -> bool:
        """Whether the broker is on this machine, as far as its address says."""
        return self.host in {"localhost", "::1"} or self.host.startswith("127.")

    def dial(self, protocol: Protocol, papers: Papers, is_off: Callable[[], bool]) -> "Conversation | reasons.Reason":
        """Resolve, connect, shake hands and send CONNECT; or give the reason why that failed.

        Done in a thread of its own, because the resolver cannot be interrupted.

        Args:
            protocol: The version to speak.
            papers: User name, password, certificates.
            is_off: Asked several times a second; when it says so, nobody waits any longer.
        """
        client = self._client(protocol, papers)
        done: queue.SimpleQueue[reasons.Reason | None] = queue.SimpleQueue()
        is_abandoned = threading.Event()

        def connect() -> None:
            try:
                told = limits(MOST_RECEIVING, 2 * MOST_BYTES) if protocol is Protocol.MQTT_5 else None
                client.connect(self.host, self.port, self._settings.keepalive, properties=told)
                done.put(None)
            except (OSError, ValueError) as error:  # ValueError: a host name that IDNA cannot encode
                done.put(reasons.of_failure(error))
            if is_abandoned.is_set():
                _close(client)

        threading.Thread(target=connect, name="mqtt:connect", daemon=True).start()
        deadline = time.monotonic() + DIAL_TIMEOUT
        while not is_off() and time.monotonic() < deadline:
            with suppress(queue.Empty):
                return done.get(timeout=0.2) or Conversation(client, protocol, self._wake, self._settings)
        is_abandoned.set()
        with suppress(queue.Empty):
            done.get_nowait()
            _close(client)
        return reasons.NO_ANSWER

    def _client(self, protocol: Protocol, papers: Papers) -> QuickClient:
        version = MQTTProtocolVersion.MQTTv5 if protocol is Protocol.MQTT_5 else MQTTProtocolVersion.MQTTv311
        client = QuickClient(f"edgecam-{self._device_id}{GUEST if self._is_guest else ''}", version)
        client.connect_timeout = CONNECT_TIMEOUT
        if not self._is_guest:
            self._set_will(client, protocol)
        if papers.username is not None:
            client.username_pw_set(papers.username, papers.password)
        if papers.context is not None:
            client.tls_set_context(papers.context)
        return client

    def _set_will(self, client: QuickClient, protocol: Protocol) -> None:
        will = None
        if protocol is Protocol.MQTT_5:
            will = Packed(packed(Parcel(topics.AVAILABILITY, b"", 1, content_type=TEXT)))
        where = topics.full(self._device_id, topics.AVAILABILITY)
        client.will_set(where, b"offline", qos=1, retain=True, properties=will)


class Conversation:
    """One connection with one client of paho, used by one thread. Callbacks note, nothing more.

    Attributes:
        connack: reasons.Reason code of the broker's answer to CONNECT; None: it has not answered.
        refusal: Why it refused the connection; None: it has not.
        end: Why the connection ended; meaningless while it is there.
        end_code: reasons.Reason code of the broker's DISCONNECT; 0: it sent none.
        is_blamed: The broker, or the rules of the protocol, ended it because of something that was sent.
        is_dropped: The broker ended it without saying why.
        in_flight: What was sent and is not yet acknowledged, by packet identifier.
        answers: Tickets and reason codes of what was answered.
        state_refusals: Topics and reason codes of messages without a ticket that were refused.
        received: What other clients sent.
        subscriptions: reasons.Reason codes of what was subscribed to, in that order, once the broker has told them.
    """

    def __init__(self, client: QuickClient, protocol: Protocol, wake: int, settings: MessagingSettings) -> None:
        self.connack: int | None = None
        self.refusal: reasons.Reason | None = None
        self.end = reasons.LOST
        self.end_code = 0
        self.is_blamed = False
        self.is_dropped = False
        self.in_flight: dict[int, Parcel] = {}
        self.answers: list[tuple[int, int]] = []
        self.state_refusals: list[tuple[str, int]] = []
        self.received: list[Received] = []
        self.subscriptions: list[int] | None = None
        self._client, self._protocol, self._wake = client, protocol, wake
        self._most_in_flight, self._ear = settings.inflight, Ear(settings.ack_timeout)
        self._most_bytes = MOST_PACKET_BYTES
        self._can_retain = True
        self._aliases = Aliases(0)
        self._teaching: dict[int, str] = {}
        self._trouble = ""
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_subscribe = self._on_subscribe
        client.on_log = self._on_log
        wire.tune(client.socket())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def protocol(self) -> Protocol:
        """The version that is spoken."""
        return self._protocol

    @property
    def can_be_told(self) -> bool:
        """Whether a broker of this version says why it ends a connection."""
        return self._protocol is Protocol.MQTT_5

    @property
    def is_alive(self) -> bool:
        """Whether there is a connection."""
        return self._client.socket() is not None

    @property
    def patience(self) -> float:
        """Seconds within which a broker answers CONNECT."""
        return NEAR_TIMEOUT if wire.is_near(self._client.socket()) else CONNECT_TIMEOUT

    @property
    def has_room(self) -> bool:
        """Whether one more may be sent: the window is open, and the system took all that was sent before."""
        return len(self.in_flight) < self._most_in_flight and self.is_alive and not self._client.want_write()

    @contextmanager
    def corked(self) -> Iterator[None]:
        """Let what is published inside travel together."""
        try:
            yield
        finally:
            self._client.flush()

    def publish(self, topic: str, parcel: Parcel) -> None:
        """Send one, with all others of a `corked` block; its answer comes by and by."""
        told, properties, is_teaching = topic, b"", False
        if self._protocol is Protocol.MQTT_5:
            # of QoS 0 nobody hears whether the broker has learned it; the topic of an answer is seldom used twice
            is_lasting = parcel.qos > 0 and (parcel.ticket > 0 or parcel.retain)
            alias, is_known = self._aliases.of(topic) if is_lasting else (None, False)
            properties = packed(parcel, alias)
            told, is_teaching = "" if is_known else topic, alias is not None and not is_known
        if len(parcel.payload) + len(told) + len(properties) + _FRAME_BYTES > self._most_bytes:
            self._answer(parcel, 0x95)  # the broker would end the connection over it
            return
        if not self.in_flight:
            self._ear.got_on()
        retain = parcel.retain and self._can_retain
        mid = self._client.add(told, parcel.payload, parcel.qos, retain=retain, properties=properties)
        if parcel.qos:
            self.in_flight[mid] = parcel
            if is_teaching:
                self._teaching[mid] = topic

    def subscribe(self, patterns: Sequence[str]) -> None:
        """Ask for what other clients publish; the answer stands in `subscriptions` by and by."""
        if self._protocol is Protocol.MQTT_5:
            # as published: else nobody could tell that a command was sent with the retain flag
            options = SubscribeOptions(qos=1, retainAsPublished=True)
            self._client.subscribe([(pattern, options) for pattern in patterns])
        else:
            self._client.subscribe([(pattern, 1) for pattern in patterns])

    def forget_aliases(self) -> None:
        """Tell every topic in full on this connection."""
        self._aliases = Aliases(0)

    def turn(self, timeout: float) -> None:
        """Wait for the broker or the wake-up call, at most `timeout` seconds, and work off what is there."""
        ends = self._client.socket()
        if ends is None:
            return
        patience = 0.0 if self._client.has_arrived else timeout
        ready = wire.wait(ends, self._wake, patience, wants_to_write=self._client.want_write())
        if ready.to_read or self._client.has_arrived:
            self._read(ready.trouble)
        if ready.to_write:
            self._client.loop_write()
        self._client.loop_misc()
        lost = self._ear.lost(ends, self._client.keepalive, is_owed=bool(self.in_flight)) if self.is_alive else None
        if lost is not None:
            self.end = lost
            self.close()  # no DISCONNECT: should it hear us after all, it is to publish the last will

    def say_goodbye(self) -> None:
        """Disconnect in good order, so that the broker does not publish the last will."""
        self._client.on_disconnect = None
        if self.is_alive:
            self._client.disconnect()

    def close(self) -> None:
        """Drop the connection without a word; safe to call twice."""
        self._client.on_disconnect = None
        _close(self._client)

    def _read(self, trouble: int) -> None:
        self._ear.heard()
        try:
            code = self._client.loop_read()
        except (ValueError, LookupError, struct.error, MQTTException):
            # what paho makes of a packet that no broker should send
            code = MQTTErrorCode.MQTT_ERR_PROTOCOL
            _close(self._client)
        self._take_acknowledged()
        if code is MQTTErrorCode.MQTT_ERR_PROTOCOL and self.connack == 0:
            self.is_blamed, self.is_dropped = True, False
            self.end = reasons.NO_MQTT
        elif self.is_dropped:
            self.end = reasons.of_end(trouble)
            self.is_dropped = self.end is reasons.DROPPED

    def _take_acknowledged(self) -> None:
        if self._client.acknowledged:
            self._ear.got_on()
        for mid, code in self._client.acknowledged:
            parcel = self.in_flight.pop(mid, None)
            topic = self._teaching.pop(mid, None) if self._teaching else None
            if topic is not None and code < reasons.REFUSED:
                self._aliases.learned(topic)
            if parcel is not None:
                self._answer(parcel, code)
        self._client.acknowledged.clear()

    def _answer(self, parcel: Parcel, code: int) -> None:
        if parcel.ticket:
            self.answers.append((parcel.ticket, code))
        elif code >= reasons.REFUSED and parcel.is_answer:
            _logger.warning("the broker refuses the answer to a command at %s", parcel.topic)
        elif code >= reasons.REFUSED:
            self.state_refusals.append((parcel.topic, code))

    def _on_connect(
        self, client: Client, __: Any, ___: ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        client.on_log = None  # from here on it would cost more than the messages
        self.connack = code.value
        told = properties if self._protocol is Protocol.MQTT_5 else None
        if getattr(told, "MaximumQoS", 1) < 1:
            self.connack = 0x9B
        if self.connack:
            self.refusal = reasons.of_connection(self.connack, getattr(told, "ServerReference", ""))
        self._can_retain = bool(getattr(told, "RetainAvailable", 1))
        if not self._can_retain:
            self.state_refusals.append(("", _NO_RETAIN))
        self._most_in_flight = min(self._most_in_flight, getattr(told, "ReceiveMaximum", 65535))
        self._most_bytes = min(self._most_bytes, getattr(told, "MaximumPacketSize", MOST_PACKET_BYTES))
        self._aliases = Aliases(getattr(told, "TopicAliasMaximum", 0))

    def _on_disconnect(
        self, _: Client, __: Any, flags: DisconnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self.end = reasons.of_connection(code.value, getattr(properties, "ServerReference", ""))
            self.end_code = code.value
            self.is_blamed = code.value in _BLAMING
        elif self.connack is None:
            self.refusal = reasons.of_alert(self._trouble)
        else:
            self.is_dropped, self.end = True, reasons.DROPPED

    def _on_message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        told = message.properties
        wanted = getattr(told, "ResponseTopic", "")
        self.received.append(
            Received(
                message.topic,
                bytes(message.payload),
                is_retained=message.retain,
                response_topic="" if {"+", "#"} & set(wanted) else wanted,
                correlation=getattr(told, "CorrelationData", None),
            )
        )

    def _on_subscribe(self, _: Client, __: Any, ___: int, codes: list[ReasonCode], ____: Properties | None) -> None:
        self.subscriptions = [code.value for code in codes]

    def _on_log(self, _: Client, __: Any, level: int, text: str) -> None:
        if level == LogLevel.MQTT_LOG_ERR:
            self._trouble = text


def _close(client: Client) -> None:
    """Drop the connection without a word."""
    ends = client.socket()
    if ends is not None:
        ends.close()
        client.loop_read()  # paho notices, and forgets the socket
