"""Gives the link what it may have in flight, in the order of the numbers, and notes what the broker said to it."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from appliance.core.clock import Clock, ClockQuality, Stamp
from appliance.core.errors import StorageError
from appliance.core.health import HealthBoard, HealthState
from appliance.messaging import payloads, reasons, topics
from appliance.messaging.holds import Holds
from appliance.messaging.outbox import Outbox
from appliance.messaging.parcels import Answer, Link, LinkClosing, LinkDown, LinkUp, News, Parcel
from appliance.messaging.payloads import nanoseconds
from appliance.messaging.rows import Row

LATE_AFTER: Final = 5.0  # seconds: well above a commit and a round trip, well below what a person calls late
PATIENCE: Final = 30.0  # seconds after connecting in which "nobody subscribes" is taken for "nobody yet"
NOBODY_WAIT: Final = 1.0  # seconds between two tries meanwhile
MOST_ACKNOWLEDGED: Final = 10_000  # rows the broker has and a full disk does not let us delete

_EPOCH_BITS: Final = 48  # below them a ticket carries the sequence number
_SEQ: Final = (1 << _EPOCH_BITS) - 1
_REFUSED: Final = 0x80  # MQTT 5, section 2.4: from here on reason codes are failures
_TOO_LARGE: Final = 0x95
_NO_SUBSCRIBERS: Final = 0x10  # MQTT 5, section 3.4.2.1: accepted, and given to nobody
_logger = logging.getLogger(__name__)


class Feeder:
    """Knows what is on its way and what was answered. Owned by the thread that owns the outbox.

    On every new connection all that is not acknowledged is sent again from the oldest. What the broker refuses is held
    back (see `holds`) and stays in the outbox.

    A broker that was away comes back without its subscribers, unless it keeps sessions: it would take everything that
    waits and give it to nobody. So each connection begins with one message alone, and while the broker says that nobody
    subscribes to it, that one is tried again and the others wait, for `PATIENCE` at the most since the broker
    came back.

    Args:
        root: What the device's topics begin with.
        outbox: Where messages come from.
        link: Where they go.
        inflight: Most of them on their way at a time.
        clock: The clock.
        board: Where refusals are reported, as ``delivery``.
        monotonic: The clock for waits, in seconds.

    Attributes:
        acknowledged: Numbers that the broker has and the outbox still holds; emptied by who deletes them there.
        acknowledged_at: Monotonic second of the first of them.
        is_at_end: There is nothing more to send now.
        is_closing: The link is about to stop.
        counts: Messages acknowledged, refused and sent again.
    """

    def __init__(
        self,
        *,
        root: str,
        outbox: Outbox,
        link: Link,
        inflight: int,
        clock: Clock,
        board: HealthBoard,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.acknowledged: set[int] = set()
        self.acknowledged_at = 0.0
        self.is_at_end = False
        self.is_closing = False
        self.counts = dict.fromkeys(("acknowledged", "refused", "resent"), 0)
        self._root, self._outbox, self._link = root, outbox, link
        self._inflight, self._clock, self._board = inflight, clock, board
        self._monotonic = monotonic
        self._holds = Holds(monotonic)
        self._epoch = 0
        self._session = 0
        self._is_careful = False
        self._alone_since: float | None = None
        self._quiet_until = 0.0
        self._is_heard = False
        self._outstanding: dict[int, str] = {}
        self._cursor = 0
        self._sent_up_to = 0
        self._unsealed: int | None = None

    @property
    def has_link(self) -> bool:
        """Whether there is a connection."""
        return self._session > 0

    @property
    def is_settled(self) -> bool:
        """Everything that can be sent has been sent and answered; at the end, nobody who listens is waited for."""
        is_at_end = self.is_at_end or (self.is_closing and self._monotonic() < self._quiet_until)
        return is_at_end and not self._outstanding

    @property
    def held_back(self) -> int:
        """How many messages and topics wait because the broker refused them."""
        return len(self._holds)

    def on_their_way(self) -> set[int]:
        """Give the numbers that are sent and not yet answered."""
        return {ticket & _SEQ for ticket in self._outstanding}

    def next_trial(self) -> float | None:
        """Give the monotonic second at which something is to be tried again; None: never."""
        if not self._session:
            return None
        # what is due already could not be fed: it waits for an answer, for room or for the disk, not for the time
        moments = [self._holds.next_trial() or 0.0, self._quiet_until]
        return min((moment for moment in moments if moment > self._monotonic()), default=None)

    def begin(self) -> None:
        """Note that the outbox is another file: answers to what was sent from the old one count no more."""
        self._epoch += 1
        self.acknowledged.clear()
        self._sent_up_to = 0
        self._holds.clear()
        self._report_if_free()
        self._start_over()

    def feed(self) -> None:
        """Give the link what it may have in flight.

        Raises:
            StorageError: The outbox cannot be read or written.
        """
        if not self._session or not self._outbox.is_open or len(self.acknowledged) >= MOST_ACKNOWLEDGED:
            return
        if self._monotonic() < self._quiet_until:
            return
        if (due := self._holds.due()) is not None:
            self._go_back(due)
        window = self._inflight if self._is_heard and not self._is_careful else 1
        self._give_losses(window - len(self._outstanding))
        while not self.is_at_end and (room := window - len(self._outstanding)) > 0:
            rows = self._outbox.pending(self._cursor, room, self._holds.topics())
            if rows:
                self._cursor = rows[-1].seq
            if len(rows) < room:
                self.is_at_end = True
            self._give(rows)
            if self.is_at_end:
                self._holds.sweep()
                self._report_if_free()

    def look_from(self, seq: int) -> None:
        """Note that messages wait again, or now, from this key on."""
        self._go_back(seq)

    def storage_works(self) -> None:
        """Note that the outbox can be written again: gap records that could not be sealed may go now."""
        if self._unsealed is not None:
            self._go_back(self._unsealed)
            self._unsealed = None

    def waited(self, row: Row, now: Stamp) -> float | None:
        """Give the seconds since a message was queued; None when no clock can tell."""
        if row.is_of_this_boot:
            return (now.mono_ns - row.mono_ns) / 1e9
        if self._clock.quality() is ClockQuality.UNSYNCED:
            return None
        return max(0.0, (nanoseconds(now.time) - row.time_ns) / 1e9)

    def take(self, news: Sequence[News]) -> None:
        """Take in what happened on the link."""
        for item in news:
            match item:
                case Answer() if item.session == self._session:
                    self._take_answer(item.ticket, item.code)
                case LinkUp():
                    self._session = item.session
                    if self._alone_since is None:
                        self._alone_since = self._monotonic()
                    self._start_over()
                case LinkDown() if item.session == self._session:
                    self._take_loss(is_blamed=item.is_blamed)
                case LinkClosing():
                    self.is_closing = True
                case _:
                    pass  # an answer or an end that a newer connection has overtaken

    def _give_losses(self, room: int) -> None:
        """Send gap records before all else, unless the disk does not let them be sealed."""
        if room > 0 and self._unsealed is None:
            rows = self._outbox.urgent(room, self._holds.topics())
            if rows := [row for row in rows if not self._is_with_the_broker(row.seq)]:
                self._give(rows)

    def _is_with_the_broker(self, seq: int) -> bool:
        return self._epoch << _EPOCH_BITS | seq in self._outstanding or seq in self.acknowledged

    def _give(self, rows: list[Row]) -> None:
        gaps = [row.seq for row in rows if row.topic == topics.GAP]
        try:
            if gaps:
                self._outbox.seal(gaps)
        except StorageError:
            # a full disk: what is no gap record need not be written to be sent
            self._unsealed = min(*gaps, self._unsealed or gaps[0])
            self._link.send(self._session, self._packed([row for row in rows if row.topic != topics.GAP]))
            raise
        self._link.send(self._session, self._packed(rows))

    def _packed(self, rows: list[Row]) -> list[Parcel]:
        now, parcels = self._clock.now(), []
        for row in rows:
            if self._is_with_the_broker(row.seq):
                continue
            if self._holds.may_send(row.seq, row.topic):
                ticket = self._epoch << _EPOCH_BITS | row.seq
                self._outstanding[ticket] = row.topic
                if row.topic != topics.GAP:  # those go before their turn
                    self.counts["resent"] += row.seq <= self._sent_up_to
                    self._sent_up_to = max(self._sent_up_to, row.seq)
                parcels.append(self._parcel(row, ticket, now))
        return parcels

    def _parcel(self, row: Row, ticket: int, now: Stamp) -> Parcel:
        waited = self.waited(row, now)
        is_late = waited is None or waited > LATE_AFTER
        payload = payloads.encode_late(row.payload, waited) if is_late else row.payload
        expiry_s = None if row.expiry_s is None else max(1, row.expiry_s - int(waited or 0.0))
        return Parcel(row.topic, payload, 1, row.retain, expiry_s, ticket)

    def _start_over(self) -> None:
        self._outstanding.clear()
        self._quiet_until, self._is_heard = 0.0, False
        self._cursor = 0
        self.is_at_end = False
        self.is_closing = False
        self._holds.start_over()
        self._unsealed = None

    def _go_back(self, seq: int) -> None:
        self._cursor = min(self._cursor, max(0, seq - 1))
        self.is_at_end = False

    def _take_loss(self, *, is_blamed: bool) -> None:
        if is_blamed and len(self._outstanding) == 1:
            ((ticket, topic),) = self._outstanding.items()
            self._refused(ticket & _SEQ, topic, _TOO_LARGE)
            self._is_careful = False
        elif is_blamed:
            # one of those in flight offends the broker: send them one by one until it shows which
            self._is_careful = True
        self._session = 0
        self._start_over()

    def _take_answer(self, ticket: int, code: int) -> None:
        topic = self._outstanding.pop(ticket, None)
        if topic is None:
            return
        seq = ticket & _SEQ
        if code >= _REFUSED:
            self._refused(seq, topic, code)
            return
        if code == _NO_SUBSCRIBERS and not self._is_heard and self._is_patient():
            self._quiet_until = self._monotonic() + NOBODY_WAIT
            self._holds.put_off(seq)
            self._go_back(seq)
            return
        self._is_heard, self._alone_since = True, None
        if not self.acknowledged:
            self.acknowledged_at = self._monotonic()
        self.acknowledged.add(seq)
        self.counts["acknowledged"] += 1
        again = self._holds.accepted(seq, topic)
        if again is not None:
            self._go_back(again)
            self._report_if_free()

    def _is_patient(self) -> bool:
        # counted over connections: on a link that comes and goes, patience too comes to an end
        return self._alone_since is not None and self._monotonic() - self._alone_since < PATIENCE

    def _report_if_free(self) -> None:
        if self.counts["refused"] and not self._holds:
            self._board.report("delivery", HealthState.OK)

    def _refused(self, seq: int, topic: str, code: int) -> None:
        self.counts["refused"] += 1
        self._holds.refused(seq, topic, code)
        reason = reasons.of_publish(code, self._root)
        what = f"the broker does not take messages for {self._root}/{topic}: {reason.what}"
        if self._board.report("delivery", HealthState.DEGRADED, what, reason.fix):
            _logger.warning("%s; they are kept and tried again", what)
