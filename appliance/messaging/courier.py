"""The worker that owns the outbox: numbers and commits what comes in, feeds the link, forgets what the broker has."""

import logging
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any, Final

from appliance.config import OutboxSettings
from appliance.core.backoff import Backoff
from appliance.core.clock import Clock, ClockQuality, Stamp
from appliance.core.errors import StorageError
from appliance.core.health import HealthBoard, HealthState
from appliance.core.message import Message
from appliance.core.worker import Pulse
from appliance.messaging import payloads, reasons, topics
from appliance.messaging.holds import Holds
from appliance.messaging.inlet import Arrival, Inlet
from appliance.messaging.outbox import Draft, Gap, Outbox, Row
from appliance.messaging.parcels import Answer, Link, LinkClosing, LinkDown, LinkUp, Parcel

LATE_AFTER: Final = 5.0  # seconds: well above a commit and a round trip, well below what a person calls late
ACKNOWLEDGE_AT: Final = (
    256  # rows: a kill repeats no more than these and what is in flight; subscribers drop them by id
)
MOST_ACKNOWLEDGED: Final = 10_000  # rows the broker has and a full disk does not let us delete
LOOK_INTERVAL: Final = 1.0  # seconds between two looks at the age of what waits
TICK: Final = 0.5  # seconds between two looks at whether to stop
SETTLE: Final = 3.0  # seconds for what is in flight when the worker stops

_EPOCH_BITS: Final = 48  # below them a ticket carries the sequence number
_logger = logging.getLogger(__name__)


class Courier:
    """Owns the outbox. Its thread is the only one that touches the file.

    Args:
        device_id: The device's name.
        settings: Bounds and commits.
        state_dir: Where the outbox is kept.
        clock: The clock.
        boot_id: The kernel's id of this boot.
        board: Where it reports, as ``outbox`` and ``delivery``.
        inlet: Where messages and news come in.
        link: The way to the broker.
        inflight: Most messages given to the link and not yet answered.
    """

    name = "messaging"

    def __init__(
        self,
        *,
        device_id: str,
        settings: OutboxSettings,
        state_dir: Path,
        clock: Clock,
        boot_id: str,
        board: HealthBoard,
        inlet: Inlet,
        link: Link,
        inflight: int,
    ) -> None:
        self.pulse = Pulse(limit=60.0)
        self._device_id, self._settings, self._boot_id = device_id, settings, boot_id
        self._clock, self._board = clock, board
        self._inlet, self._link, self._inflight = inlet, link, inflight
        self._outbox = Outbox(
            state_dir / "outbox.db",
            settings,
            device_id=device_id,
            boot_id=boot_id,
            encode_gap=self._encode_gap,
            now=clock.now,
        )
        self._epoch = 0
        self._gen = ""
        self._staged: list[Draft] = []
        self._staged_at = 0.0
        self._acknowledged: set[int] = set()
        self._acknowledged_at = 0.0
        self._storage_backoff = Backoff(least=1.0, most=30.0, stable=10.0)
        self._retry_at = 0.0
        self._session = 0
        self._is_closing = False
        self._is_careful = False
        self._outstanding: dict[int, str] = {}
        self._holds = Holds(time.monotonic)
        self._cursor = 0
        self._sent_up_to = 0
        self._is_at_end = False
        self._look_at = 0.0
        self._counts = dict.fromkeys(("appended", "acknowledged", "refused", "resent"), 0)
        self._store: dict[str, Any] = {"rows": 0, "bytes": 0, "oldest_age_s": 0.0}

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; then commit what came in, and give the link a moment to deliver it."""
        self._inlet.is_staffed = True
        try:
            self._commit(is_forced=True)
            while not stop.is_set():
                self._step(self._next_wait())
            self._finish()
        finally:
            self._inlet.is_staffed = False
            self._outbox.close()

    @property
    def is_drained(self) -> bool:
        """Nothing waits in memory and, while there is a connection, nothing that the broker might take on disk."""
        is_empty = self._inlet.depth == 0 and self._inlet.lost == 0
        return is_empty and (not self._session or (self._is_at_end and not self._outstanding))

    def figures(self) -> dict[str, object]:
        """Give figures for status and health."""
        return {
            **self._store,
            **self._counts,
            "gen": self._gen,
            "last_seq": self._outbox.last_seq,
            "evicted": self._outbox.evicted,
            "declared_lost": self._outbox.declared_lost,
            "commits": self._outbox.commits,
            "held_back": len(self._holds),
        }

    # What comes in

    def _step(self, timeout: float) -> None:
        arrivals = max(1, self._settings.commit_rows - len(self._staged)) if self._staged else 1
        self._inlet.wait(timeout, arrivals)
        self._take_news()
        self._take_arrivals()
        if self._is_commit_due():
            self._commit(is_forced=self._is_closing)
        self._feed()
        self._look()
        self._inlet.is_settled = not self._staged and not self._outstanding and self._is_at_end
        self.pulse.beat()

    def _next_wait(self) -> float:
        now = time.monotonic()
        moments = [now + TICK]
        if self._staged:
            moments.append(max(self._staged_at + self._settings.commit_interval, self._retry_at))
        if self._acknowledged:
            moments.append(max(self._acknowledged_at + self._settings.commit_interval, self._retry_at))
        if self._session and (trial := self._holds.next_trial()) is not None:
            moments.append(trial)
        return max(0.0, min(moments) - now)

    def _take_arrivals(self) -> None:
        for arrival in self._inlet.take():
            message = arrival.message
            if not message.durable:
                self._post(arrival)
                self._inlet.held -= 1
                continue
            if not self._staged:
                self._staged_at = time.monotonic()
            encode = partial(self._encode, arrival)
            self._staged.append(
                Draft(message.topic, encode, arrival.stamp, message.priority, message.retain, message.expiry_s)
            )

    def _post(self, arrival: Arrival) -> None:
        message = arrival.message
        try:
            payload = payloads.render(self._device_id, message, self._origin(arrival))
        except ValueError:
            _logger.exception("a message for %s cannot be encoded and is dropped", message.topic)
            return
        self._link.post(Parcel(message.topic, payload, message.qos, message.retain, message.expiry_s))

    def _encode(self, arrival: Arrival, gen: str, seq: int) -> bytes:
        return payloads.render(self._device_id, arrival.message, self._origin(arrival), payloads.Identity(gen, seq))

    def _encode_gap(self, gen: str, seq: int, gap: Gap) -> bytes:
        body = payloads.gap_body(gap.count, gap.first, gap.last, gap.runs, gap.reason)
        arrival = Arrival(Message(topics.GAP, body), self._clock.now(), self._clock.quality())
        return self._encode(arrival, gen, seq)

    def _origin(self, arrival: Arrival) -> payloads.Origin:
        message, stamp = arrival.message, arrival.stamp
        time_ns = message.time_ns or payloads.nanoseconds(stamp.time)
        return payloads.Origin(time_ns, message.mono_ns or stamp.mono_ns, arrival.clock, self._boot_id)

    # What goes to disk

    def _is_commit_due(self) -> bool:
        now, interval = time.monotonic(), self._settings.commit_interval
        if now < self._retry_at and not self._is_closing:
            return False
        return (
            len(self._staged) >= self._settings.commit_rows
            or bool(self._staged and (self._is_closing or now - self._staged_at >= interval))
            or len(self._acknowledged) >= ACKNOWLEDGE_AT
            or bool(self._acknowledged and (self._is_closing or now - self._acknowledged_at >= interval))
            or self._inlet.lost > 0
            or not self._outbox.is_open
        )

    def _commit(self, *, is_forced: bool = False) -> None:
        """Make what is staged durable, in commits of at most `commit_rows`, and forget what the broker has."""
        try:
            if not self._outbox.is_open:
                self._open()
            while True:
                self._commit_once()
                self.pulse.beat()
                if not self._staged or (len(self._staged) < self._settings.commit_rows and not is_forced):
                    break
        except StorageError as error:
            self._storage_failed(error)
        else:
            self._storage_works()

    def _commit_once(self) -> None:
        batch = self._staged[: self._settings.commit_rows]
        lost = self._inlet.lost
        if not (batch or lost or self._acknowledged):
            return
        with self._outbox.transaction():
            self._outbox.acknowledge(self._acknowledged)
            done = self._outbox.append(batch)
            if lost:
                self._outbox.declare_lost(lost, "inlet")
        self._is_at_end = False
        self._acknowledged.clear()
        del self._staged[:done]
        self._staged_at = time.monotonic()
        self._counts["appended"] += done
        self._inlet.declared(lost)
        self._inlet.held -= done

    def _open(self) -> None:
        self._outbox.open()
        if self._outbox.gen != self._gen:
            # numbers begin anew: answers to what was sent from another file must not count for this one
            self._epoch += 1
            self._gen = self._outbox.gen
            self._acknowledged.clear()
            self._outstanding.clear()
        self._cursor = self._sent_up_to = 0

    def _storage_failed(self, error: StorageError) -> None:
        self._retry_at = time.monotonic() + self._storage_backoff.next_wait()
        what, _, fix = str(error).partition("; ")
        if self._board.report("outbox", HealthState.FAILED, what, fix):
            _logger.error("outbox: %s; messages are kept in memory, %d at the most", error, self._inlet.most)

    def _storage_works(self) -> None:
        self._retry_at = 0.0
        self._storage_backoff.succeeded()
        if (aside := self._outbox.quarantined) is not None:
            what = f"the outbox was corrupt; what it still held was not delivered and is kept in {aside}"
            self._board.report(
                "outbox", HealthState.DEGRADED, what, "keep the file for analysis, or delete it; check the disk"
            )
        elif self._board.report("outbox", HealthState.OK):
            _logger.info("outbox: generation %s, %d messages wait", self._gen, self._outbox.rows)

    def _look(self) -> None:
        """Once a second, and after every commit: keep the store within its bounds and note its figures."""
        now = time.monotonic()
        if now < self._look_at or not self._outbox.is_open or now < self._retry_at:
            return
        self._look_at = now + LOOK_INTERVAL
        is_clock_set = self._clock.quality() is not ClockQuality.UNSYNCED
        try:
            spare = self._spare()
            while self._outbox.evict(spare=spare, is_clock_set=is_clock_set):
                self._is_at_end = False
                self.pulse.beat()
            oldest = self._outbox.oldest()
            waited = None if oldest is None else self._waited(oldest, self._clock.now())
            self._store = {
                "rows": self._outbox.rows - len(self._acknowledged),
                "bytes": self._outbox.used_bytes(),
                "oldest_age_s": round(waited or 0.0, 1),
            }
        except StorageError as error:
            self._storage_failed(error)

    def _spare(self) -> set[int]:
        return {ticket & ((1 << _EPOCH_BITS) - 1) for ticket in self._outstanding}

    # What goes to the link

    def _feed(self) -> None:
        """Give the link what it may have in flight, in the order of the numbers."""
        if not self._session or not self._outbox.is_open or len(self._acknowledged) >= MOST_ACKNOWLEDGED:
            return
        if (due := self._holds.due()) is not None:
            self._cursor = min(self._cursor, max(0, due - 1))
            self._is_at_end = False
        window = 1 if self._is_careful else self._inflight
        try:
            while not self._is_at_end and (room := window - len(self._outstanding)) > 0:
                rows = self._outbox.pending(self._cursor, room, self._holds.topics())
                parcels = self._packed(rows)
                if rows:
                    self._cursor = rows[-1].seq
                else:
                    self._is_at_end = True
                    self._holds.sweep()
                self._link.send(self._session, parcels)
        except StorageError as error:
            self._storage_failed(error)

    def _packed(self, rows: list[Row]) -> list[Parcel]:
        parcels, now = [], self._clock.now()
        base = self._epoch << _EPOCH_BITS
        gaps = [row.seq for row in rows if row.topic == topics.GAP]
        if gaps:
            self._outbox.seal(gaps)
        for row in rows:
            ticket = base | row.seq
            if (
                ticket in self._outstanding
                or row.seq in self._acknowledged
                or not self._holds.may_send(row.seq, row.topic)
            ):
                continue
            self._outstanding[ticket] = row.topic
            self._counts["resent"] += row.seq <= self._sent_up_to
            self._sent_up_to = max(self._sent_up_to, row.seq)
            waited = self._waited(row, now)
            is_late = waited is None or waited > LATE_AFTER
            payload = payloads.encode_late(row.payload, waited) if is_late else row.payload
            expiry_s = None if row.expiry_s is None else max(1, row.expiry_s - int(waited or 0.0))
            parcels.append(Parcel(row.topic, payload, 1, row.retain, expiry_s, ticket))
        return parcels

    def _waited(self, row: Row, now: Stamp) -> float | None:
        """Give the seconds since a message was queued; None when no clock can tell."""
        if row.is_of_this_boot:
            return (now.mono_ns - row.mono_ns) / 1e9
        if self._clock.quality() is ClockQuality.UNSYNCED:
            return None
        return max(0.0, (payloads.nanoseconds(now.time) - row.time_ns) / 1e9)

    # What comes back from the link

    def _take_news(self) -> None:
        for news in self._inlet.take_news():
            match news:
                case Answer() if news.session == self._session:
                    self._take_answer(news.ticket, news.code)
                case LinkUp():
                    self._session = news.session
                    self._is_closing = False
                    self._start_over()
                case LinkDown() if news.session == self._session:
                    self._take_loss(is_blamed=news.is_blamed)
                case LinkClosing():
                    self._is_closing = True
                case _:
                    pass  # an answer or an end that a newer connection has overtaken

    def _start_over(self) -> None:
        self._outstanding.clear()
        self._cursor = 0
        self._is_at_end = False
        self._holds.start_over()

    def _take_loss(self, *, is_blamed: bool) -> None:
        if is_blamed and len(self._outstanding) == 1:
            ((ticket, topic),) = self._outstanding.items()
            self._refused(ticket & ((1 << _EPOCH_BITS) - 1), topic, 0x95)
            self._is_careful = False
        elif is_blamed:
            # one of many that were in flight offends the broker: send them one by one until it shows which
            self._is_careful = True
        self._session = 0
        self._is_closing = False
        self._start_over()

    def _take_answer(self, ticket: int, code: int) -> None:
        topic = self._outstanding.pop(ticket, None)
        if topic is None:
            return
        seq = ticket & ((1 << _EPOCH_BITS) - 1)
        if code >= 0x80:  # noqa: PLR2004 - MQTT 5, section 2.4: from here on reason codes are failures
            self._refused(seq, topic, code)
            return
        if not self._acknowledged:
            self._acknowledged_at = time.monotonic()
        self._acknowledged.add(seq)
        self._counts["acknowledged"] += 1
        again = self._holds.accepted(seq, topic)
        if again is not None:
            self._cursor = min(self._cursor, max(0, again - 1))
            self._is_at_end = False
            if not self._holds:
                self._board.report("delivery", HealthState.OK)

    def _refused(self, seq: int, topic: str, code: int) -> None:
        self._counts["refused"] += 1
        self._holds.refused(seq, topic, code)
        reason = reasons.of_publish(code, topics.root(self._device_id))
        what = f"the broker does not take messages for {topics.full(self._device_id, topic)}: {reason.what}"
        if self._board.report("delivery", HealthState.DEGRADED, what, reason.fix):
            _logger.warning("%s; they are kept and tried again", what)

    def _finish(self) -> None:
        """Commit what came in, then give the link a moment: bounded, whatever the broker does."""
        self._is_closing = True
        deadline = time.monotonic() + SETTLE
        while True:
            self._step(0.05 if self._session else 0.0)
            is_settled = not self._session or self._inlet.is_settled
            if (is_settled and not self._inlet.depth) or time.monotonic() > deadline:
                break
        self._commit(is_forced=True)
        if left := self._inlet.depth + self._inlet.lost:
            _logger.error("%d messages could not be written to the outbox and are lost", left)
