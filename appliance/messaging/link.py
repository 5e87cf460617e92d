"""The link to the broker: connects, comes back, and keeps what is retained."""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from appliance.config import MessagingSettings
from appliance.core.health import HealthBoard, HealthState
from appliance.core.worker import Pulse
from appliance.messaging import reasons, topics
from appliance.messaging.approach import TURN, Approach
from appliance.messaging.credentials import Credentials
from appliance.messaging.inbox import Inbox
from appliance.messaging.manners import STABLE, TAKEOVERS, TAKEOVERS_WITHIN, Manners
from appliance.messaging.mqtt import Conversation, Dialler
from appliance.messaging.parcels import TEXT, Answer, LinkClosing, LinkDown, LinkUp, Listener, Parcel
from appliance.messaging.reasons import Pace, Reason
from appliance.messaging.retained import Retained

MOST_LOOSE: Final = 256  # messages without a number that wait for a slow connection
SETTLE: Final = 3.0  # seconds for what is in flight when the link stops
FAREWELL: Final = 1.0  # seconds for the broker to take `offline`
WATCH: Final = 2.0  # seconds between two looks at whether a password or a certificate was replaced

_logger = logging.getLogger(__name__)


class MqttLink:
    """Keeps a connection to the broker, and says on the health board why when there is none.

    Numbered parcels go out in the order in which they were given, those of the backlog after the others, no more in
    flight than the settings and the broker allow. Retained ones are kept, newest per topic, and go out again on every
    new connection. Everything else needs a connection, or it is dropped and counted.

    Args:
        device_id: The device's name: client id and topics.
        settings: The broker, credentials, limits.
        board: Where the link reports, as ``broker``, ``credentials``, ``identity``, ``state``, ``subscriptions`` and
            ``tls``.
        listener: Who is told what happens.
        manners: When to try again; None: by the settings.
        uptime: Gives the seconds since the machine was booted.
    """

    name = "mqtt"

    def __init__(
        self,
        *,
        device_id: str,
        settings: MessagingSettings,
        board: HealthBoard,
        listener: Listener,
        manners: Manners | None = None,
        uptime: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    ) -> None:
        self.pulse = Pulse(limit=30.0)
        self._device_id, self._settings = device_id, settings
        self._board, self._listener, self._uptime = board, listener, uptime
        self._lock = threading.Lock()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._broker = Dialler(device_id, settings, self._wake)
        self._credentials = Credentials(settings, is_secure=self._broker.is_secure)
        self._manners = manners or Manners(
            device_id,
            # a fleet does not connect to a broker on this machine
            reconnect_spread=0.0 if self._broker.is_near else settings.reconnect_spread,
            start_spread=settings.start_spread,
        )
        self._live: deque[Parcel] = deque()
        self._backlog: deque[Parcel] = deque()
        self._loose: deque[Parcel] = deque()
        self._retained = Retained()
        self._inboxes: dict[str, Inbox] = {}
        self._session = 0
        self._is_connected = False
        self._may_alias = True
        self._watch_at = 0.0
        self._figures: dict[str, Any] = {
            "connected": False,
            "broker": str(self._broker),
            "protocol": None,
            "connects": 0,
            "last_connect": None,
            "takeovers": 0,
            "dropped_offline": 0,
            "dropped_busy": 0,
            "refused_state": 0,
            "received": 0,
        }

    def run(self, stop: threading.Event) -> None:
        """Keep a connection until `stop` is set; then settle what is in flight, say `offline` and leave."""
        approach = Approach(self._broker, self._credentials, lambda: self._is_off(stop))
        if self._broker.is_secure and not self._settings.tls.verify:
            what = "the broker's certificate is not checked: anybody can pose as the broker"
            self._board.report("tls", HealthState.DEGRADED, what, "remove verify = false, and set ca_file")
            _logger.warning("%s", what)
        self._pause(self._manners.first_wait(self._uptime()), stop)
        while not stop.is_set():
            reason = self._connect_and_serve(approach, stop)
            if reason is not None:
                self._pause(self._manners.wait(reason.pace), stop)

    def send(self, session: int, parcels: Sequence[Parcel]) -> None:
        """Send numbered parcels on this connection, each lane in its order; each is answered, or the link goes down."""
        with self._lock:
            if session == self._session and self._is_connected:
                for parcel in parcels:
                    (self._backlog if parcel.is_backlog else self._live).append(parcel)
        self._rouse()

    def post(self, parcel: Parcel) -> None:
        """Send one that is not numbered: the last retained one of each topic is kept, others need a connection."""
        with self._lock:
            if parcel.retain and self._retained.put(parcel):
                pass
            elif not self._is_connected:
                self._figures["dropped_offline"] += 1
            elif len(self._loose) >= MOST_LOOSE:
                self._figures["dropped_busy"] += 1
            else:
                self._loose.append(parcel)
        self._rouse()

    def subscribe(self, pattern: str, inbox: Inbox) -> None:
        """Have what is published under a pattern put into an inbox; call it before `run`."""
        self._inboxes[pattern] = inbox

    def figures(self) -> dict[str, object]:
        """Give figures for status and health."""
        with self._lock:
            return dict(self._figures)

    def _rouse(self) -> None:
        os.eventfd_write(self._wake, 1)

    def _pause(self, wait: float, stop: threading.Event) -> None:
        """Wait; less when a password or a certificate was replaced, which may have been what was wrong."""
        end = time.monotonic() + wait
        while (left := end - time.monotonic()) > 0 and not stop.wait(min(left, WATCH)):
            self.pulse.beat()  # a broker that is away is not being stuck
            if self._credentials.have_changed():
                return

    def _connect_and_serve(self, approach: Approach, stop: threading.Event) -> Reason | None:
        """Make one connection and keep it as long as it lasts; give why it ended, None to make the next at once."""
        found = approach.connect()
        self.pulse.beat()
        if stop.is_set():
            return None
        self._report_credentials()
        if isinstance(found, Reason):
            state = HealthState.FAILED if found.is_lasting else HealthState.DEGRADED
            self._report(state, f"{self._broker}: {found.what}", found.fix)
            return found
        with found as conversation:
            return self._serve(conversation, stop)

    def _is_off(self, stop: threading.Event) -> bool:
        self.pulse.beat()
        return stop.is_set()

    def _serve(self, conversation: Conversation, stop: threading.Event) -> Reason | None:
        since = time.monotonic()
        self._begin(conversation)
        is_renewing = False
        try:
            while conversation.is_alive and not stop.is_set() and not is_renewing:
                self._step(conversation, TURN)
                is_renewing = self._is_to_be_renewed(since)
            if conversation.is_alive:
                self._leave(conversation, is_for_good=not is_renewing)
        finally:
            self._end(conversation)
        if stop.is_set() or is_renewing:
            return None
        return self._explained(conversation, time.monotonic() - since)

    def _begin(self, conversation: Conversation) -> None:
        with self._lock:
            self._session += 1
            self._is_connected = True
            self._retained.put(self._availability(b"online"))
            self._retained.bring_out()
            self._figures |= {
                "connected": True,
                "protocol": conversation.protocol.value,
                "connects": self._figures["connects"] + 1,
                "last_connect": round(time.time(), 3),
            }
        self._manners.connected()
        self._report(HealthState.OK, "", "")
        if self._figures["refused_state"]:
            self._board.report("state", HealthState.OK)
        if not self._may_alias:
            conversation.forget_aliases()
        if self._inboxes:
            conversation.subscribe(list(self._inboxes))
        self._listener.tell([LinkUp(self._session)])

    def _end(self, conversation: Conversation) -> None:
        with self._lock:
            self._is_connected = False
            self._figures["connected"] = False
            self._live.clear()
            self._backlog.clear()
            self._figures["dropped_offline"] += len(self._loose)
            self._loose.clear()
            state = [parcel for parcel in conversation.in_flight.values() if not parcel.ticket]
            if conversation.is_blamed or conversation.is_dropped:
                self._retained.lost(state)
            left_out = self._retained.left_out
        self._tell_answers(conversation)
        if left_out:
            what = f"the broker drops the connection on {topics.full(self._device_id, left_out[0])}"
            self._report_state(what, "look at the broker's log, and at its limits for a message's size")
        # with a message of the device's state in flight as well, nobody can tell which one offended
        self._listener.tell(
            [
                LinkDown(
                    self._session,
                    is_blamed=conversation.is_blamed and not state,
                    is_dropped=conversation.is_dropped and not state,
                )
            ]
        )

    def _explained(self, conversation: Conversation, lasted: float) -> Reason:
        """Report why a connection ended, and draw what follows from it."""
        end = conversation.end
        if conversation.end_code == reasons.ALIAS_INVALID:
            self._may_alias = False
        if end.pace is Pace.TAKEN:
            self._figures["takeovers"] += 1
        # MQTT 3.1.1 has no DISCONNECT from the broker: one who is thrown out is only told by being so, again and again
        is_like_one = conversation.is_dropped and not conversation.can_be_told and lasted < STABLE
        if (end.pace is Pace.TAKEN or is_like_one) and self._manners.taken_over():
            perhaps = "perhaps " if is_like_one else ""
            what = (
                f"{perhaps}another client uses this device's name: the connection was taken {TAKEOVERS} times within "
                f"{TAKEOVERS_WITHIN / 60:.0f} minutes"
            )
            fix = "give each device its own [device] id; was the SD card copied?"
            if self._board.report("identity", HealthState.FAILED, what, fix):
                _logger.error("%s", what)
            end = Reason(end.what, end.fix, Pace.TAKEN)
        state = HealthState.FAILED if end.is_lasting else HealthState.DEGRADED
        self._report(state, f"{self._broker}: {end.what}", end.fix)
        return end

    def _is_to_be_renewed(self, since: float) -> bool:
        """Now and then: whether new papers are there; and once a connection has held, forget what was suspected."""
        now = time.monotonic()
        if now < self._watch_at:
            return False
        self._watch_at = now + WATCH
        if now - since > STABLE:
            with self._lock:
                self._retained.held()
        if now - since > TAKEOVERS_WITHIN:
            self._board.clear("identity")
        is_to_be = self._credentials.have_changed() and self._credentials.check()
        self._report_credentials()
        return is_to_be

    def _step(self, conversation: Conversation, timeout: float) -> None:
        """Send what may be sent, wait a little for the broker or for something to send, and pass on its answers."""
        with conversation.corked():
            while conversation.has_room and (parcel := self._next()) is not None:
                whole = parcel.topic if parcel.is_whole_topic else topics.full(self._device_id, parcel.topic)
                conversation.publish(whole, parcel)
        conversation.turn(timeout)
        self._tell_answers(conversation)
        self._hand_over(conversation)
        self.pulse.beat()

    def _next(self) -> Parcel | None:
        """Take the next parcel: state first, for it is small and tells the present; the backlog last."""
        with self._lock:
            if (parcel := self._retained.take()) is not None:
                return parcel
            lane = self._live or self._loose or self._backlog
            return lane.popleft() if lane else None

    def _tell_answers(self, conversation: Conversation) -> None:
        if conversation.answers:
            news = [Answer(self._session, ticket, code) for ticket, code in conversation.answers]
            conversation.answers.clear()
            self._listener.tell(news)
        for _, code in conversation.state_refusals:
            self._figures["refused_state"] += 1
            reason = reasons.of_publish(code, topics.root(self._device_id))
            self._report_state(f"the broker does not take this device's state: {reason.what}", reason.fix)
        conversation.state_refusals.clear()

    def _report_state(self, what: str, fix: str) -> None:
        if self._board.report("state", HealthState.DEGRADED, what, fix):
            _logger.warning("%s; subscribers see no status, health or counts", what)

    def _hand_over(self, conversation: Conversation) -> None:
        """Give what came in to who asked for it, and say what could not be asked for."""
        for received in conversation.received:
            self._figures["received"] += 1
            for pattern, inbox in self._inboxes.items():
                if topics.matches(pattern, received.topic):
                    inbox.put(received)
        conversation.received.clear()
        if conversation.subscriptions is None:
            return
        codes, conversation.subscriptions = conversation.subscriptions, None
        refused = [
            (pattern, code) for pattern, code in zip(self._inboxes, codes, strict=False) if code >= reasons.REFUSED
        ]
        if not refused:
            self._board.clear("subscriptions")
            return
        pattern, code = refused[0]
        reason = reasons.of_subscribe(code, pattern)
        what = f"this device cannot receive {pattern}: {reason.what}"
        if self._board.report("subscriptions", HealthState.DEGRADED, what, reason.fix):
            _logger.warning("%s", what)

    def _leave(self, conversation: Conversation, *, is_for_good: bool) -> None:
        """Settle what is in flight, say `offline` where it is, disconnect: bounded, whatever the broker does."""
        if is_for_good:
            self._listener.tell([LinkClosing()])
            self._turn_until(conversation, SETTLE, lambda: self._listener.is_settled and self._is_idle(conversation))
        with self._lock:
            self._live.clear()
            self._backlog.clear()
            if is_for_good:
                self._retained.send_only(self._availability(b"offline"))
        self._turn_until(conversation, FAREWELL, lambda: self._is_idle(conversation))
        conversation.say_goodbye()

    def _availability(self, word: bytes) -> Parcel:
        return Parcel(topics.AVAILABILITY, word, 1, retain=True, content_type=TEXT)

    def _turn_until(self, conversation: Conversation, seconds: float, is_done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + seconds
        while conversation.is_alive and not is_done() and time.monotonic() < deadline:
            self._step(conversation, 0.05)

    def _is_idle(self, conversation: Conversation) -> bool:
        with self._lock:
            return not (self._live or self._backlog or self._retained.has_unsent or conversation.in_flight)

    def _report_credentials(self) -> None:
        complaint = self._credentials.complaint
        if not complaint:
            self._board.clear("credentials")
            return
        what, _, fix = complaint.partition("; ")
        what = f"the new user name, password or certificate does not work, the one before is in use: {what}"
        if self._board.report("credentials", HealthState.DEGRADED, what, fix or "correct the file; it is read again"):
            _logger.warning("%s", what)

    def _report(self, state: HealthState, what: str, fix: str) -> None:
        if self._board.report("broker", state, what, fix):
            level = logging.INFO if state is HealthState.OK else logging.WARNING
            _logger.log(level, "broker: %s", what or f"connected to {self._broker}")
