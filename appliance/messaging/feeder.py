"""Gives the link what it may have in flight, what is new before what waited, and notes what the broker said to it."""

import logging
import math
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from appliance.core.clock import Clock, Stamp
from appliance.core.errors import StorageError
from appliance.core.health import HealthBoard, HealthState
from appliance.messaging import payloads, reasons, topics
from appliance.messaging.holds import Holds
from appliance.messaging.lately import Lately
from appliance.messaging.outbox import Outbox
from appliance.messaging.pacing import Pacer
from appliance.messaging.parcels import Answer, Link, LinkClosing, LinkDown, LinkUp, News, Parcel
from appliance.messaging.rows import Row
from appliance.messaging.suspects import Suspects

LATE_AFTER: Final = 5.0  # seconds: well above a commit and a round trip, well below what a person calls late
PATIENCE: Final = 30.0  # seconds after connecting in which "nobody subscribes" is taken for "nobody yet"
NOBODY_WAIT: Final = 1.0  # seconds between two tries meanwhile
MOST_ACKNOWLEDGED: Final = 10_000  # rows the broker has and a full disk does not let us delete
MOST_TRIED: Final = 10_000  # numbers that were sent once and not taken

_EPOCH_BITS: Final = 48  # below them a ticket carries the sequence number
_SEQ: Final = (1 << _EPOCH_BITS) - 1
_TOO_LARGE: Final = 0x95
_NO_SUBSCRIBERS: Final = 0x10  # MQTT 5, section 3.4.2.1: accepted, and given to nobody
_logger = logging.getLogger(__name__)


class Feeder:
    """Knows what is on its way and what was answered. Owned by the thread that owns the outbox.

    On every new connection all that is not acknowledged is sent again from the oldest: the backlog, paced by `Pacer`.
    What is numbered from then on is live and goes first, at once. Each of the two lanes keeps the order of the numbers.
    What the broker refuses is held back (see `holds`) and stays in the outbox.

    A broker that was away comes back without its subscribers, unless it keeps sessions: it would take everything that
    waits and give it to nobody. So each connection begins with one message alone, and while the broker says that nobody
    subscribes to it, that one is tried again and the others wait, for `PATIENCE` at the most since the broker
    came back.

    Args:
        root: What the device's topics begin with.
        outbox: Where messages come from.
        link: Where they go.
        inflight: Most of them on their way at a time.
        pacer: How fast the backlog goes.
        clock: The clock.
        board: Where refusals are reported, as ``delivery``.
        resend_window: What the broker acknowledged so many seconds before a connection was lost may be needed again.
        monotonic: The clock for waits, in seconds.

    Attributes:
        acknowledged: Numbers that the broker has and the outbox still holds; emptied by who deletes them there.
        acknowledged_at: Monotonic second of the first of them.
        is_closing: The link is about to stop.
        counts: Messages acknowledged, refused, sent again, and given up because the broker never took them.
        lately: What the broker acknowledged last.
    """

    def __init__(
        self,
        *,
        root: str,
        outbox: Outbox,
        link: Link,
        inflight: int,
        pacer: Pacer,
        clock: Clock,
        board: HealthBoard,
        resend_window: float = 0.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.acknowledged: set[int] = set()
        self.acknowledged_at = 0.0
        self.is_closing = False
        self.counts = dict.fromkeys(("acknowledged", "refused", "resent", "given_up"), 0)
        self._root, self._outbox, self._link = root, outbox, link
        self._inflight, self._pacer, self._clock, self._board = inflight, pacer, clock, board
        self.lately = Lately(resend_window, monotonic)
        self._monotonic = monotonic
        self._holds = Holds(monotonic)
        self._epoch = 0
        self._session = 0
        self._is_new_link = False
        self._suspects = Suspects()
        self._hopeless: set[int] = set()
        self._alone_since: float | None = None
        self._quiet_until = 0.0
        self._is_heard = False
        self._outstanding: dict[int, str] = {}
        self._boundary = 0  # the last number of the backlog
        self._backlog = 0  # how far each lane has come
        self._live = 0
        self._tried: set[int] = set()
        self._down_since: float | None = None
        self._unsealed: int | None = None

    @property
    def has_link(self) -> bool:
        """Whether there is a connection."""
        return self._session > 0

    @property
    def is_at_end(self) -> bool:
        """There is nothing more to send now."""
        return self._backlog >= self._boundary and self._live >= self._newest()

    @property
    def is_settled(self) -> bool:
        """Everything that can be sent has been sent and answered.

        When the link is about to stop, neither the backlog nor somebody who listens is waited for.
        """
        is_at_end = self.is_at_end
        if self.is_closing:
            is_at_end = self._live >= self._newest() or self._monotonic() < self._quiet_until
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
        if self._backlog < self._boundary and not self.is_closing:
            moments.append(self._pacer.next_at())
        return min((moment for moment in moments if moment > self._monotonic()), default=None)

    def begin(self) -> None:
        """Note that the outbox is another file: answers to what was sent from the old one count no more."""
        self._epoch += 1
        self.acknowledged.clear()
        self.lately.forget()
        self._tried.clear()
        self._hopeless.clear()
        self._suspects.clear()
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
        if self._is_new_link:
            self._pacer.begin(self._outage())
            self._is_new_link = False
        if (due := self._holds.due()) is not None:
            self._go_back(due)
        was_at_end = self.is_at_end
        self._give_losses()
        self._feed_live()
        if not self.is_closing:
            self._feed_backlog()
        if self.is_at_end and not was_at_end:
            self._holds.sweep()
            self._report_if_free()
        self._give_up()

    def look_from(self, seq: int) -> None:
        """Send all that the outbox holds from this number on, at the pace of a backlog."""
        self._boundary = self._live = self._newest()
        self._go_back(seq)

    def send_again(self, seqs: Collection[int]) -> None:
        """Send these once more, which the broker had and which wait again, at the pace of a backlog."""
        self.acknowledged.difference_update(seqs)
        self._note_tried(seqs)
        self.look_from(min(seqs))

    def storage_works(self) -> None:
        """Note that the outbox can be written again: gap records that could not be sealed may go now."""
        if self._unsealed is not None:
            self._go_back(self._unsealed)
            self._unsealed = None

    def waited(self, row: Row, now: Stamp) -> float | None:
        """Give the seconds since a message was queued; None when no clock can tell."""
        return None if row.mono_ns is None else (now.mono_ns - row.mono_ns) / 1e9

    def take(self, news: Sequence[News]) -> None:
        """Take in what happened on the link."""
        for item in news:
            match item:
                case Answer() if item.session == self._session:
                    self._take_answer(item.ticket, item.code)
                case LinkUp():
                    self._take_link(item)
                case LinkDown() if item.session == self._session:
                    self._take_loss(item)
                case LinkClosing():
                    self.is_closing = True
                case _:
                    pass  # an answer or an end that a newer connection has overtaken

    def _give_losses(self) -> None:
        """Send gap records before all else, unless the disk does not let them be sealed."""
        if (room := self._room()) > 0 and self._unsealed is None:
            rows = self._outbox.urgent(room, self._holds.topics())
            if rows := [row for row in rows if not self._is_with_the_broker(row.seq)]:
                self._give(rows)

    def _is_with_the_broker(self, seq: int) -> bool:
        return self._epoch << _EPOCH_BITS | seq in self._outstanding or seq in self.acknowledged

    def _feed_live(self) -> None:
        while self._live < (last := self._newest()) and (room := self._room()) > 0:
            rows = self._outbox.pending(self._live, room, self._holds.topics(self._live))
            self._live = last if len(rows) < room else rows[-1].seq
            self._give(rows)

    def _feed_backlog(self) -> None:
        while self._backlog < self._boundary and (room := min(self._room(), self._pacer.room(self._window()))) > 0:
            rows = self._outbox.pending(self._backlog, room, self._holds.topics(self._backlog))
            is_last = len(rows) < room or rows[-1].seq >= self._boundary
            self._backlog = self._boundary if is_last else rows[-1].seq
            self._give([row for row in rows if row.seq <= self._boundary], is_backlog=True)

    def _newest(self) -> int:
        return self._outbox.last_key

    def _window(self) -> int:
        return self._inflight if self._is_heard and not self._suspects.is_careful else 1

    def _room(self) -> int:
        return self._window() - len(self._outstanding)

    def _give(self, rows: list[Row], *, is_backlog: bool = False) -> None:
        gaps = [row.seq for row in rows if row.topic == topics.GAP]
        try:
            if gaps:
                self._outbox.seal(gaps)
        except StorageError:
            # a full disk: what is no gap record need not be written to be sent
            self._unsealed = min(*gaps, self._unsealed or gaps[0])
            self._send([row for row in rows if row.topic != topics.GAP], is_backlog=is_backlog)
            raise
        self._send(rows, is_backlog=is_backlog)

    def _send(self, rows: list[Row], *, is_backlog: bool) -> None:
        now, parcels = self._clock.now(), []
        for row in rows:
            if self._is_with_the_broker(row.seq) or row.seq in self._hopeless:
                continue
            if not self._is_heard and self._holds.pass_over(row.seq):
                continue  # it may end this connection too: others first
            if self._holds.may_send(row.seq, row.topic):
                ticket = self._epoch << _EPOCH_BITS | row.seq
                self._outstanding[ticket] = row.topic
                if is_backlog:
                    self._pacer.sent(ticket)
                self._count_resent(row.seq)
                parcels.append(self._parcel(row, ticket, now, is_backlog=is_backlog))
        self._link.send(self._session, parcels)

    def _count_resent(self, seq: int) -> None:
        if seq in self._tried:
            self._tried.discard(seq)
            self.counts["resent"] += 1

    def _note_tried(self, seqs: Iterable[int]) -> None:
        """Note what was sent and not taken; of a figure alone, so that beyond the bound it may forget."""
        if len(self._tried) > MOST_TRIED:
            self._tried.clear()
        self._tried.update(seqs)

    def _parcel(self, row: Row, ticket: int, now: Stamp, *, is_backlog: bool) -> Parcel:
        waited = self.waited(row, now)
        is_late = waited is None or waited > LATE_AFTER
        payload = payloads.encode_late(row.payload, waited) if is_late else row.payload
        expiry_s = None if row.expiry_s is None else max(1, row.expiry_s - int(waited or 0.0))
        name = payloads.id_of(row.payload)
        return Parcel(row.topic, payload, 1, row.retain, expiry_s, ticket, name, is_backlog=is_backlog)

    def _take_link(self, link: LinkUp) -> None:
        self._session = link.session
        if self._alone_since is None:
            self._alone_since = self._monotonic()
        self._start_over()
        self._is_new_link = True

    def _outage(self) -> float:
        """Give the seconds for which there was no connection; at the start, the age of what waits."""
        if self._down_since is not None:
            return self._monotonic() - self._down_since
        oldest = self._outbox.oldest()
        waited = 0.0 if oldest is None else self.waited(oldest, self._clock.now())
        return math.inf if waited is None else waited

    def _start_over(self) -> None:
        self._outstanding.clear()
        self._quiet_until, self._is_heard = 0.0, False
        self._backlog = 0
        self._boundary = self._live = self._newest()
        self.is_closing = False
        self._holds.start_over()
        self._unsealed = None

    def _go_back(self, seq: int) -> None:
        self._backlog = min(self._backlog, max(0, seq - 1))
        self._live = max(self._boundary, min(self._live, seq - 1))

    def _take_loss(self, down: LinkDown) -> None:
        topics_of = {ticket & _SEQ: topic for ticket, topic in self._outstanding.items()}
        if down.is_blamed or down.is_dropped:
            dangerous = [seq for seq in topics_of if self._holds.is_dangerous(seq)]
            culprit = dangerous[0] if dangerous else self._suspects.lost(topics_of, is_blamed=down.is_blamed)
            if culprit is not None:
                self._suspects.clear()
                code = _TOO_LARGE if down.is_blamed else reasons.DROPPED_OVER
                self._refused(culprit, topics_of[culprit], code, is_costly=True)
        self._session = 0
        self._down_since = self._monotonic()
        self._note_tried(topics_of)
        self._start_over()

    def _take_answer(self, ticket: int, code: int) -> None:
        topic = self._outstanding.pop(ticket, None)
        if topic is None:
            return
        self._pacer.answered(ticket, self._inflight)
        seq = ticket & _SEQ
        self._suspects.answered(seq)
        if code >= reasons.REFUSED:
            self._note_tried([seq])
            self._refused(seq, topic, code)
            return
        if code == _NO_SUBSCRIBERS and not self._is_heard and self._is_patient():
            self._quiet_until = self._monotonic() + NOBODY_WAIT
            self._note_tried([seq])
            self._holds.put_off(seq)
            self._go_back(seq)
            return
        self._is_heard, self._alone_since = True, None
        if (passed_over := self._holds.passed_over()) is not None:
            self._go_back(passed_over)
        if not self.acknowledged:
            self.acknowledged_at = self._monotonic()
        self.acknowledged.add(seq)
        self.lately.acknowledged(seq)
        self.counts["acknowledged"] += 1
        again = self._holds.accepted(seq, topic)
        if again is not None:
            self.look_from(again)
            self._report_if_free()

    def _is_patient(self) -> bool:
        # counted over connections: on a link that comes and goes, patience too comes to an end
        return self._alone_since is not None and self._monotonic() - self._alone_since < PATIENCE

    def _report_if_free(self) -> None:
        if self.counts["refused"] and not self._holds:
            self._board.report("delivery", HealthState.OK)

    def _refused(self, seq: int, topic: str, code: int, *, is_costly: bool = False) -> None:
        self.counts["refused"] += 1
        reason = reasons.of_publish(code, self._root)
        if self._holds.refused(seq, topic, code, is_costly=is_costly):
            self._hopeless.add(seq)
            _logger.error("message %d for %s/%s is given up: %s", seq, self._root, topic, reason.what)
        what = f"the broker does not take messages for {self._root}/{topic}: {reason.what}"
        if self._board.report("delivery", HealthState.DEGRADED, what, reason.fix):
            _logger.warning("%s; they are kept and tried again", what)

    def _give_up(self) -> None:
        """Delete what the broker will never take; a gap record names it."""
        if self._hopeless:
            self.counts["given_up"] += self._outbox.give_up(sorted(self._hopeless), "refused")
            self._hopeless.clear()
            self._report_if_free()
