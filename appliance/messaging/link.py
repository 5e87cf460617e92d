"""The link to the broker: connects, comes back, and keeps what is retained."""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Final

from appliance.config import MessagingSettings
from appliance.core.backoff import Backoff
from appliance.core.errors import ConfigError
from appliance.core.health import HealthBoard, HealthState
from appliance.core.worker import Pulse
from appliance.messaging import reasons, topics
from appliance.messaging.mqtt import Conversation, Dialler, Protocol
from appliance.messaging.parcels import Answer, LinkClosing, LinkDown, LinkUp, Listener, Parcel
from appliance.messaging.reasons import Reason

TURN: Final = 0.5  # seconds between two looks at whether to stop
MUTE_BEFORE_OLD: Final = 2  # connections without an answer to MQTT 5 before 3.1.1 is tried: one may be bad luck
OLD_FOR: Final = 86400.0  # seconds for which a broker that said that it has no MQTT 5 is not asked again
OLD_FOR_MUTE: Final = 3600.0  # seconds for one that just gave no answer: it may have been something else
MOST_LOOSE: Final = 256  # messages without a number that wait for a slow connection
MOST_RETAINED: Final = 1024  # topics; a device has a few for each camera
SETTLE: Final = 3.0  # seconds for what is in flight when the link stops
FAREWELL: Final = 1.0  # seconds for the broker to take `offline`

_UNSUPPORTED: Final = frozenset({0x01, 0x84})  # MQTT 3.1.1 section 3.2.2.3 and MQTT 5 section 3.2.2.2
_logger = logging.getLogger(__name__)


class _Outcome(Enum):
    SERVED = "the broker took the connection; it is over now"
    REFUSED = "the broker answered, and refused"
    MUTE = "something took the connection and gave no answer to CONNECT"
    UNREACHABLE = "no connection"


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
        self._device_id = device_id
        self._board, self._listener = board, listener
        self._lock = threading.Lock()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._broker = Dialler(device_id, settings, self._wake)
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
            "broker": str(self._broker),
            "protocol": None,
            "connects": 0,
            "last_connect": None,
            "dropped_offline": 0,
            "dropped_busy": 0,
            "refused_state": 0,
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
        outcome, code = self._attempt(Protocol.MQTT_3_1_1 if is_old else Protocol.MQTT_5, stop)
        if not is_old:
            self._mute = self._mute + 1 if outcome is _Outcome.MUTE else 0
            is_unsupported = outcome is _Outcome.REFUSED and code in _UNSUPPORTED
            if (is_unsupported or self._mute >= MUTE_BEFORE_OLD) and not stop.is_set():
                outcome, code = self._attempt(Protocol.MQTT_3_1_1, stop)
                if outcome is _Outcome.SERVED:
                    self._old_until = time.monotonic() + (OLD_FOR if is_unsupported else OLD_FOR_MUTE)
        elif outcome in {_Outcome.MUTE, _Outcome.REFUSED}:
            self._old_until = 0.0  # perhaps another broker answers there now
        is_lasting = outcome is _Outcome.REFUSED and reasons.of_connection(code).is_lasting
        return (self._lasting if is_lasting else self._backoff).next_wait()

    def _attempt(self, protocol: Protocol, stop: threading.Event) -> tuple[_Outcome, int]:
        """Connect with one version of the protocol, and serve if the broker agrees; give the outcome and its code."""
        try:
            conversation = self._broker.dial(protocol, lambda: self._is_off(stop))
        except ConfigError as error:
            what, _, fix = str(error).partition("; ")
            self._report(HealthState.FAILED, what, fix or "correct it; no restart is needed")
            return _Outcome.UNREACHABLE, 0
        if isinstance(conversation, Reason):
            self._report(HealthState.DEGRADED, f"{self._broker}: {conversation.what}", conversation.fix)
            return _Outcome.UNREACHABLE, 0
        with conversation:
            deadline = time.monotonic() + conversation.patience
            while conversation.is_alive and conversation.connack is None and not stop.is_set():
                if time.monotonic() > deadline:
                    break
                conversation.turn(TURN)
            self.pulse.beat()
            code = conversation.connack
            if stop.is_set():
                return _Outcome.UNREACHABLE, 0
            if code is None:
                self._report(
                    HealthState.DEGRADED,
                    f"{self._broker} takes the connection but gives no answer",
                    "check that it is an MQTT broker, and that mqtt:// or mqtts:// is right",
                )
                return _Outcome.MUTE, 0
            if code:
                reason = reasons.of_connection(code)
                state = HealthState.FAILED if reason.is_lasting else HealthState.DEGRADED
                self._report(state, f"{self._broker}: {reason.what}", reason.fix)
                return _Outcome.REFUSED, code
            self._serve(conversation, protocol, stop)
            return _Outcome.SERVED, 0

    def _is_off(self, stop: threading.Event) -> bool:
        self.pulse.beat()
        return stop.is_set()

    def _serve(self, conversation: Conversation, protocol: Protocol, stop: threading.Event) -> None:
        with self._lock:
            self._session += 1
            self._is_connected = True
            self._unsent = {
                topics.AVAILABILITY: Parcel(topics.AVAILABILITY, b"online", 1, retain=True),
                **self._retained,
            }
            self._figures |= {
                "connected": True,
                "protocol": protocol.value,
                "connects": self._figures["connects"] + 1,
                "last_connect": round(time.time(), 3),
            }
        self._backoff.succeeded()
        self._lasting.succeeded()
        self._report(HealthState.OK, "", "")
        if self._figures["refused_state"]:
            self._board.report("state", HealthState.OK)
        self._listener.tell([LinkUp(self._session, conversation.window)])
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
            # with a message of the device's state in flight as well, nobody can tell which one offended
            is_blamed = conversation.is_blamed and not conversation.has_state_in_flight
            self._listener.tell([LinkDown(self._session, is_blamed)])
        if not stop.is_set():
            self._report(HealthState.DEGRADED, f"{self._broker}: {conversation.ended}", conversation.fix)

    def _step(self, conversation: Conversation, timeout: float) -> None:
        """Send what may be sent, wait a little for the broker or for something to send, and pass on its answers."""
        with conversation.corked():
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

    def _tell_answers(self, conversation: Conversation) -> None:
        if conversation.answers:
            news = [Answer(self._session, ticket, code) for ticket, code in conversation.answers]
            conversation.answers.clear()
            self._listener.tell(news)
        if conversation.state_refusal is not None:
            self._report_state_refusal(conversation.state_refusal)
            conversation.state_refusal = None

    def _report_state_refusal(self, code: int) -> None:
        self._figures["refused_state"] += 1
        reason = reasons.of_publish(code, topics.root(self._device_id))
        what = f"the broker does not take this device's state: {reason.what}"
        if self._board.report("state", HealthState.DEGRADED, what, reason.fix):
            _logger.warning("%s; subscribers see no status, health or counts", what)

    def _leave(self, conversation: Conversation) -> None:
        """Settle what is in flight, say `offline`, disconnect: bounded, whatever the broker does."""
        self._listener.tell([LinkClosing()])
        self._turn_until(conversation, SETTLE, lambda: self._listener.is_settled and self._is_idle(conversation))
        with self._lock:
            self._numbered.clear()
            self._unsent = {topics.AVAILABILITY: Parcel(topics.AVAILABILITY, b"offline", 1, retain=True)}
        self._turn_until(conversation, FAREWELL, lambda: self._is_idle(conversation))
        conversation.say_goodbye()

    def _turn_until(self, conversation: Conversation, seconds: float, is_done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + seconds
        while conversation.is_alive and not is_done() and time.monotonic() < deadline:
            self._step(conversation, 0.05)

    def _is_idle(self, conversation: Conversation) -> bool:
        with self._lock:
            return not (self._numbered or self._unsent or conversation.in_flight)

    def _report(self, state: HealthState, what: str, fix: str) -> None:
        if self._board.report("broker", state, what, fix):
            level = logging.INFO if state is HealthState.OK else logging.WARNING
            _logger.log(level, "broker: %s", what or f"connected to {self._broker}")
