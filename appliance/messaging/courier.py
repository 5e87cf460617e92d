"""The worker that owns the outbox: numbers and commits what comes in, feeds the link, notes what the broker has."""

import logging
import queue
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from appliance.config import OutboxSettings
from appliance.core.clock import Clock
from appliance.core.errors import StorageError, UnavailableError
from appliance.core.health import HealthBoard
from appliance.core.worker import Pulse
from appliance.messaging import topics
from appliance.messaging.errands import Errands
from appliance.messaging.feeder import Feeder
from appliance.messaging.inlet import Arrival, Inlet
from appliance.messaging.outbox import Outbox
from appliance.messaging.pacing import Pacer
from appliance.messaging.parcels import Link, Parcel
from appliance.messaging.payloads import Identity
from appliance.messaging.rendering import Renderer
from appliance.messaging.requests import Arrived, Replay
from appliance.messaging.storage_health import StorageHealth
from appliance.messaging.timekeeper import Timekeeper
from appliance.messaging.wear import Wear

if TYPE_CHECKING:
    from appliance.messaging.rows import Draft

ACKNOWLEDGE_AT: Final = 256  # messages: a kill repeats no more than these and what is in flight; they have the same id
ACKNOWLEDGE_WITH: Final = 16  # messages: so many are noted with the next commit; fewer are not worth the page
ACKNOWLEDGE_WITHIN: Final = 60.0  # seconds: then they have a commit of their own
LOOK_INTERVAL: Final = 1.0  # seconds between two looks at the age of what waits
TICK: Final = 0.5  # seconds between two looks at whether to stop
SETTLE: Final = 3.0  # seconds for what is in flight when the worker stops
ANSWER: Final = 10.0  # seconds that another thread waits for the answer to its request


_logger = logging.getLogger(__name__)


class Courier:
    """Owns the outbox. Its thread is the only one that touches the file.

    Args:
        device_id: The device's name.
        settings: Bounds and commits.
        state_dir: Where the outbox is kept.
        clock: The clock.
        timekeeper: Knows UTC; owned by this worker's thread from now on.
        renderer: Gives payloads.
        boot_id: The kernel's id of this boot.
        board: Where it reports, as ``outbox`` and ``delivery``.
        inlet: Where messages and news come in.
        link: The way to the broker.
        inflight: Most messages given to the link and not yet answered.
        pacer: How fast what waited is sent.
        is_end_to_end: What the broker has waits until a subscriber said that it is there.
    """

    name = "messaging"

    def __init__(
        self,
        *,
        device_id: str,
        settings: OutboxSettings,
        state_dir: Path,
        clock: Clock,
        timekeeper: Timekeeper,
        renderer: Renderer,
        boot_id: str,
        board: HealthBoard,
        inlet: Inlet,
        link: Link,
        inflight: int,
        pacer: Pacer,
        is_end_to_end: bool = False,
    ) -> None:
        self.pulse = Pulse(limit=60.0)
        self._settings, self._renderer = settings, renderer
        self._most_rows, self._interval = settings.rows_per_commit, settings.seconds_per_commit
        self._clock, self._timekeeper, self._board = clock, timekeeper, board
        self._inlet, self._link, self._inflight = inlet, link, inflight
        self._outbox = Outbox(
            state_dir / "outbox.db",
            settings,
            device_id=device_id,
            boot_id=boot_id,
            encode_gap=renderer.gap,
            now=clock.now,
            is_end_to_end=is_end_to_end,
        )
        self._feeder = Feeder(
            root=topics.root(device_id),
            outbox=self._outbox,
            link=link,
            inflight=inflight,
            pacer=pacer,
            clock=clock,
            board=board,
            resend_window=settings.resend_window if settings.replay_window else 0.0,
        )
        self._gen = ""
        self._staged: list[Draft] = []
        self._staged_at = 0.0
        self._health = StorageHealth(self._outbox, board)
        self._errands = Errands(self._outbox, self._feeder)
        self._look_at = 0.0
        self._time_at = 0.0
        self._is_time_new = False
        self._appended = 0
        self._wear = Wear(state_dir / "outbox.db")
        self._store: dict[str, Any] = {"bytes": 0, "oldest_age_s": 0.0, "written_bytes": None, "flushes": 0}

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; then commit what came in, and give the link a moment to deliver it."""
        self._inlet.is_staffed = True
        self._wear.figures(self._outbox.commits)
        try:
            self._commit(is_forced=True)
            while not stop.is_set():
                self._step(self._next_wait())
            self._finish()
        finally:
            self._inlet.is_staffed = False
            self._outbox.close(is_clean=self._inlet.depth == 0 and self._inlet.lost == 0)

    def replay(self, gen: str, first: int, last: int) -> int:
        """Send again what the broker had and the outbox still keeps; may be called from any other thread.

        Gives how many messages wait again. They keep their id; nothing is sent that is not there any more.

        Args:
            gen: The generation; empty: that of new messages.
            first: The lowest sequence number.
            last: The highest.

        Raises:
            UnavailableError: The outbox is closed or busy: ask again later.
        """
        request = Replay(gen, first, last)
        if self._inlet.ask(request):
            try:
                return request.answer.get(timeout=ANSWER)
            except queue.Empty:
                pass
        raise UnavailableError("the outbox did not answer; see `edgecam status`, and ask again")

    def arrived(self, word: Arrived) -> bool:
        """Take a subscriber's word of what it has; False: there is no room for it now. For any thread."""
        return self._inlet.ask(word)

    @property
    def is_drained(self) -> bool:
        """The broker has all that it takes: nothing waits in memory, and on disk only what it refused."""
        is_empty = self._inlet.depth == 0 and self._inlet.lost == 0 and not self._outbox.rescued.is_due
        return is_empty and self._feeder.has_link and self._feeder.is_settled

    def figures(self) -> dict[str, object]:
        """Give figures for status and health."""
        return {
            "rows": max(0, self._outbox.rows - len(self._feeder.acknowledged)),
            **self._store,
            "appended": self._appended,
            **self._feeder.counts,
            "gen": self._gen,
            "last_seq": self._outbox.last_seq,
            "kept": self._outbox.kept,
            "taken": self._outbox.deliveries.taken,
            "saved": self._outbox.rescued.rows,
            "evicted": self._outbox.evicted,
            "declared_lost": self._outbox.declared_lost,
            "commits": self._outbox.commits,
            "held_back": self._feeder.held_back,
        }

    # What comes in

    def _step(self, timeout: float) -> None:
        arrivals = max(1, self._most_rows - len(self._staged)) if self._staged else 1
        self._inlet.wait(timeout, arrivals)
        news = self._inlet.take_news()
        self._errands.take(news)
        self._feeder.take(news)
        self._ask_the_time()
        self._take_arrivals()
        if self._is_commit_due():
            self._commit(is_forced=self._feeder.is_closing)
        try:
            if self._outbox.is_open:
                # of a request that comes while it is not, whoever asks hears nothing in time
                self._errands.run(self._inlet.take_requests())
            self._keep_time()
            self._rescue()
            self._feeder.feed()
            self._look()
        except StorageError as error:
            self._health.failed(error)
        self._inlet.is_settled = not self._staged and self._feeder.is_settled
        self.pulse.beat()

    def _next_wait(self) -> float:
        now = time.monotonic()
        moments = [now if self._is_rescue_due() else now + TICK]
        if self._staged:
            moments.append(max(self._staged_at + self._interval, self._health.retry_at))
        if self._feeder.acknowledged:
            moments.append(max(self._feeder.acknowledged_at + ACKNOWLEDGE_WITHIN, self._health.retry_at))
        if (trial := self._feeder.next_trial()) is not None:
            moments.append(trial)
        return max(0.0, min(moments) - now)

    def _take_arrivals(self) -> None:
        for arrival in self._inlet.take():
            message = arrival.message
            if self._timekeeper.notice(arrival.time_ns, arrival.mono_ns):
                self._is_time_new = True
            if not message.durable:
                self._post(arrival)
                self._inlet.held -= 1
                continue
            if not self._staged:
                self._staged_at = time.monotonic()
            encode = partial(self._encode, arrival)
            self._staged.append(arrival.draft(encode))

    def _rescue(self) -> None:
        """Bring over some more of a corrupt outbox."""
        if self._outbox.is_open and self._is_rescue_due():
            lowest = self._outbox.rescue()
            if lowest is not None:
                self._feeder.look_from(lowest)
            if not self._is_rescue_due():
                self._storage_works()

    def _is_rescue_due(self) -> bool:
        return self._outbox.rescued.is_due and not self._health.is_waiting

    def _post(self, arrival: Arrival) -> None:
        message = arrival.message
        try:
            payload = self._renderer.render(arrival)
        except ValueError:
            _logger.exception("a message for %s cannot be encoded and is dropped", message.topic)
            return
        is_foreign = topics.is_foreign(message.topic)
        topic = message.topic[1:] if is_foreign else message.topic
        parcel = Parcel(topic, payload, message.qos, message.retain, message.expiry_s, is_whole_topic=is_foreign)
        if message.retain and not is_foreign:
            self._timekeeper.note_state(parcel)
        self._link.post(parcel)

    def _encode(self, arrival: Arrival, gen: str, seq: int) -> bytes:
        return self._renderer.render(arrival, Identity(gen, seq))

    # What time it is

    def _ask_the_time(self) -> None:
        """Once a second: ask the kernel about UTC, and tell again the state whose time was not known before."""
        now = time.monotonic()
        if now < self._time_at:
            return
        self._time_at = now + LOOK_INTERVAL
        self._is_time_new |= self._timekeeper.look()
        for parcel in self._timekeeper.state_to_tell_again():
            self._link.post(parcel)

    def _keep_time(self) -> None:
        """Keep what is new of UTC, for a later run in this boot."""
        known = self._timekeeper.known
        if known is not None and self._is_time_new and self._outbox.is_open and not self._health.is_waiting:
            self._outbox.keep_offset(known)
            self._is_time_new = False

    # What goes to disk

    def _is_commit_due(self) -> bool:
        now = time.monotonic()
        if now < self._health.retry_at and not self._feeder.is_closing:
            return False
        return (
            len(self._staged) >= self._most_rows
            or bool(self._staged and (self._feeder.is_closing or now - self._staged_at >= self._interval))
            or self._are_acknowledgements_due(ACKNOWLEDGE_AT)
            or self._inlet.lost > 0
            or not self._outbox.is_open
            or self._health.retry_at > 0.0
        )

    def _are_acknowledgements_due(self, count: int) -> bool:
        """Tell whether so many messages are acknowledged, or few but long ago."""
        if not self._feeder.acknowledged:
            return False
        waited = time.monotonic() - self._feeder.acknowledged_at
        return self._feeder.is_closing or len(self._feeder.acknowledged) >= count or waited >= ACKNOWLEDGE_WITHIN

    def _commit(self, *, is_forced: bool = False) -> None:
        """Make what is staged durable, in commits of the mode's size, and note what the broker has."""
        try:
            if not self._outbox.is_open:
                self._open()
            if self._health.retry_at > 0.0:
                self._outbox.relief.settle()
                self._outbox.probe()
            while True:
                try:
                    self._commit_once()
                except StorageError:
                    if not (self._outbox.is_open and self._outbox.relief.relieve()):
                        raise
                    self._commit_once()
                self.pulse.beat()
                if not self._staged or (len(self._staged) < self._most_rows and not is_forced):
                    break
        except StorageError as error:
            self._health.failed(error)
        else:
            self._storage_works()

    def _drain(self) -> None:
        """On a full disk: note by itself what the broker has, and delete it, so that others find room."""
        acknowledged = self._feeder.acknowledged.copy()
        self._outbox.acknowledge(acknowledged)
        self._feeder.acknowledged -= acknowledged
        self._evict()

    def _commit_once(self) -> None:
        if self._outbox.relief.is_tight:
            self._drain()
        batch = self._staged[: self._most_rows]
        lost = self._inlet.lost
        acknowledged = self._feeder.acknowledged.copy() if self._are_acknowledgements_due(ACKNOWLEDGE_WITH) else set()
        if not (batch or lost or acknowledged):
            return
        spare = self._feeder.on_their_way() | self._feeder.acknowledged
        with self._outbox.transaction():
            self._outbox.acknowledge(acknowledged)
            done = self._outbox.append(batch, spare)
            if lost:
                self._outbox.declare_lost(lost, "inlet")
        self._feeder.acknowledged -= acknowledged
        del self._staged[:done]
        self._staged_at = time.monotonic()
        self._appended += done
        self._inlet.declared(lost)
        self._inlet.held -= done
        if self._outbox.rows + self._outbox.kept > self._settings.max_rows:
            self._evict()

    def _open(self) -> None:
        self._outbox.open(self.pulse.beat)
        self._timekeeper.recall(self._outbox.offset)
        self._is_time_new = self._timekeeper.known != self._outbox.offset
        if self._outbox.gen != self._gen:
            self._gen = self._outbox.gen
            self._feeder.begin()

    def _storage_works(self) -> None:
        self._health.works()
        self._feeder.storage_works()

    def _look(self) -> None:
        """Once a second: keep the store within its bounds, and note its figures."""
        now = time.monotonic()
        if now < max(self._look_at, self._health.retry_at) or not self._outbox.is_open:
            return
        self._look_at = now + LOOK_INTERVAL
        self._outbox.relief.settle()
        self._evict()
        oldest = self._outbox.oldest()
        waited = None if oldest is None else self._feeder.waited(oldest, self._clock.now())
        self._store = {
            "bytes": self._outbox.used_bytes(),
            "oldest_age_s": round(waited or 0.0, 1),
            **self._wear.figures(self._outbox.commits),
        }

    def _evict(self) -> None:
        spare = self._feeder.on_their_way() | self._feeder.acknowledged
        while self._outbox.evict(spare=spare):
            self.pulse.beat()

    def _finish(self) -> None:
        """Commit what came in, then give the link a moment: bounded, whatever the broker does."""
        deadline = time.monotonic() + SETTLE
        while True:
            self._feeder.is_closing = True
            self._step(0.05)
            is_settled = not self._feeder.has_link or self._inlet.is_settled
            if (is_settled and not self._inlet.depth) or time.monotonic() > deadline:
                break
        self._commit(is_forced=True)
        if left := self._inlet.depth + self._inlet.lost:
            _logger.error("%d messages could not be written to the outbox and are lost", left)
