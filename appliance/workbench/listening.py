"""A subscriber whose session the broker keeps: what it has not taken in, it gets again."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Self
from urllib.parse import urlsplit

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from appliance.config import MessagingSettings
from appliance.core.backoff import Backoff
from appliance.core.errors import ConfigError, UnavailableError
from appliance.messaging.credentials import Credentials

SESSION_EXPIRY: Final = 86_400  # seconds for which the broker is asked to keep what comes meanwhile
KEEPALIVE: Final = 30  # seconds
ANSWER_WITHIN: Final = 10.0  # seconds for the broker's answers to CONNECT and SUBSCRIBE
TURN: Final = 0.2  # seconds between two looks at whether to stop

_REFUSED: Final = 0x80  # MQTT 5, section 2.4: from here on reason codes are failures


class Listening:
    """Gives every message of some topics to `take`, and acknowledges it when that has returned.

    Used by one thread. A connection that ends is made again; until then the broker keeps what comes.

    Args:
        settings: The broker and the account.
        name: The client id; what the broker keeps belongs to it.
        topics: The filters to subscribe to.
        take: Is given topic and payload.

    Attributes:
        reconnects: Connections made again.
        forgotten: How many of them the broker answered without the session: what came meanwhile is lost to us.
        trouble: Why there is no connection now; empty while there is one.
    """

    def __init__(
        self, settings: MessagingSettings, *, name: str, topics: str | Sequence[str], take: Callable[[str, bytes], None]
    ) -> None:
        parts = urlsplit(settings.broker)
        if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname:
            raise ConfigError(
                f"cannot listen to {settings.broker!r}; accepted: mqtt://HOST[:PORT], mqtts://HOST[:PORT]"
            )
        self.reconnects = 0
        self.forgotten = 0
        self.trouble = ""
        self._topics, self._take = (topics,) if isinstance(topics, str) else tuple(topics), take
        self._host, self._port = parts.hostname, parts.port or (8883 if parts.scheme == "mqtts" else 1883)
        self._answer: int | None = None
        self._is_subscribed = False
        self._has_session = False
        self._client = self._new_client(settings, name, is_secure=parts.scheme == "mqtts")

    def __enter__(self) -> Self:
        """Connect and subscribe.

        Raises:
            UnavailableError: There is no broker, or it refuses.
        """
        self._session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho gives it no types
        self._session.SessionExpiryInterval = SESSION_EXPIRY
        self._connect()
        return self

    def __exit__(self, *error: object) -> None:
        self._client.disconnect()

    def forget(self) -> None:
        """Leave and have the broker forget the session: nobody will come back for it."""
        properties = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]  # paho gives it no types
        properties.SessionExpiryInterval = 0
        self._client.disconnect(properties=properties)

    def say(self, topic: str, payload: bytes) -> None:
        """Publish something; without a connection it is left unsaid."""
        self._client.publish(topic, payload, qos=1)

    def listen(self, is_over: Callable[[], bool]) -> None:
        """Take what comes until `is_over`, which is asked several times a second."""
        backoff = Backoff(least=0.2, most=2.0, stable=5.0)  # one listener hammers nobody, and a device waits for it
        while not is_over():
            if self._client.loop(TURN) is MQTTErrorCode.MQTT_ERR_SUCCESS and self._client.is_connected():
                self.trouble = ""
                continue
            self.trouble = self.trouble or "the connection was lost"
            again = time.monotonic() + backoff.next_wait()
            while time.monotonic() < again and not is_over():
                time.sleep(min(TURN, max(0.0, again - time.monotonic())))
            try:
                self._connect()
            except UnavailableError as error:
                self.trouble = str(error)
            else:
                self.reconnects += 1
                self.forgotten += not self._has_session
                backoff.succeeded()

    def _connect(self) -> None:
        where = f"{self._host}:{self._port}"
        self._answer, self._is_subscribed = None, False
        try:
            self._client.connect(self._host, self._port, KEEPALIVE, clean_start=False, properties=self._session)
        except OSError as error:
            raise UnavailableError(f"no broker at {where}: {error}; give its address with --broker") from error
        deadline = time.monotonic() + ANSWER_WITHIN
        while not self._is_subscribed and time.monotonic() < deadline:
            if self._client.loop(TURN) is not MQTTErrorCode.MQTT_ERR_SUCCESS:
                break
        if self._answer:
            raise UnavailableError(
                f"the broker at {where} refuses (code {self._answer:#04x}); check account and rights"
            )
        if not self._is_subscribed:
            raise UnavailableError(f"{where} does not answer as a broker with MQTT 5 does; check address and scheme")

    def _new_client(self, settings: MessagingSettings, name: str, *, is_secure: bool) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
            name,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        papers = Credentials(settings, is_secure=is_secure).choose()
        if papers.username is not None:
            client.username_pw_set(papers.username, papers.password)
        if papers.context is not None:
            client.tls_set_context(papers.context)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    def _on_connect(self, _: Client, __: Any, flags: ConnectFlags, code: ReasonCode, ___: Properties | None) -> None:
        self._answer, self._has_session = code.value, flags.session_present
        if code.value < _REFUSED:
            self._answer = 0
            self._client.subscribe([(one, SubscribeOptions(qos=1)) for one in self._topics])

    def _on_subscribe(self, _: Client, __: Any, ___: int, codes: list[ReasonCode], ____: Properties | None) -> None:
        refused = [code.value for code in codes if code.value >= _REFUSED]
        self._answer, self._is_subscribed = (refused[0], False) if refused else (0, True)

    def _on_message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        self._take(message.topic, bytes(message.payload))
        self._client.ack(message.mid, message.qos)
