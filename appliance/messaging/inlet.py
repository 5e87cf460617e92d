"""The bounded door between the threads that publish and the one that owns the outbox."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from appliance.core.clock import ClockQuality
from appliance.core.message import Message
from appliance.messaging.parcels import LinkClosing, News
from appliance.messaging.requests import Request
from appliance.messaging.rows import Draft

MOST_WAITING = 2000  # messages: a minute of a busy crossing; about 4 MB
MOST_REQUESTS = 64

_QUALITIES = {ClockQuality.UNSYNCED: 0, ClockQuality.HOLDOVER: 1, ClockQuality.SYNCED: 2}


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message and the moment it came.

    Attributes:
        message: The message.
        time_ns: UTC, nanoseconds since 1970.
        mono_ns: CLOCK_BOOTTIME, nanoseconds.
        clock: How far UTC could be trusted then.
    """

    message: Message
    time_ns: int
    mono_ns: int
    clock: ClockQuality

    def draft(self, encode: Callable[[str, int], bytes]) -> Draft:
        """Give it as a message that has no number yet; see `Draft` for `encode`."""
        message = self.message
        return Draft(
            message.topic,
            encode,
            self.time_ns,
            self.mono_ns,
            message.priority,
            message.retain,
            message.expiry_s,
            _QUALITIES[self.clock],
        )


class Inlet:
    """Takes messages from any thread without ever blocking; one thread takes them out again.

    Args:
        most: How many may wait, those included that were taken out and are not yet on disk (`held`).

    Attributes:
        held: Messages that were taken out and are not yet on disk; set by the taker.
        is_staffed: Somebody takes messages out; set by the taker.
        is_settled: A link that is closing has been given all that was left for it; set by the taker.
        dropped: Messages that found no room.
        refused: Requests that found no room.
    """

    def __init__(self, most: int = MOST_WAITING) -> None:
        self.held = 0
        self.is_staffed = False
        self.is_settled = True
        self.dropped = 0
        self.refused = 0
        self.most, self._wake_at = most, 1
        self._changed = threading.Condition()
        self._arrivals: deque[Arrival] = deque()
        self._news: list[News] = []
        self._requests: list[Request] = []
        self._lost = 0

    @property
    def depth(self) -> int:
        """How many messages wait, in memory only."""
        return len(self._arrivals) + self.held

    @property
    def lost(self) -> int:
        """How many durable messages found no room and are not yet declared."""
        return self._lost

    def put(self, arrival: Arrival) -> bool:
        """Take a message in; False when there is no room: it is dropped and counted."""
        with self._changed:
            if self.depth >= self.most:
                self.dropped += 1
                self._lost += arrival.message.durable
                return False
            self._arrivals.append(arrival)
            if len(self._arrivals) == self._wake_at:
                self._changed.notify()
            return True

    def tell(self, news: Sequence[News]) -> None:
        """Take in what happened on the link. Bounded by what may be in flight."""
        with self._changed:
            self._news.extend(news)
            if self.is_staffed and any(isinstance(item, LinkClosing) for item in news):
                self.is_settled = False  # until the taker has answered it
            self._changed.notify()

    def ask(self, request: Request) -> bool:
        """Take a request in; False when there is no room: it is refused and counted."""
        with self._changed:
            if len(self._requests) >= MOST_REQUESTS:
                self.refused += 1
                return False
            self._requests.append(request)
            self._changed.notify()
            return True

    def wait(self, timeout: float, arrivals: int) -> None:
        """Wait for news, a request, or for so many messages, or `timeout` seconds."""
        with self._changed:
            self._wake_at = arrivals
            self._changed.wait_for(
                lambda: self._news or self._requests or len(self._arrivals) >= arrivals,
                timeout,
            )

    def take_news(self) -> list[News]:
        """Give what happened on the link since the last call."""
        with self._changed:
            news, self._news = self._news, []
            return news

    def take_requests(self) -> list[Request]:
        """Give what was asked since the last call."""
        with self._changed:
            requests, self._requests = self._requests, []
            return requests

    def take(self) -> list[Arrival]:
        """Give all messages that wait; `held` says afterwards how many of them are not yet dealt with."""
        with self._changed:
            arrivals = list(self._arrivals)
            self._arrivals.clear()
            self.held += len(arrivals)
            return arrivals

    def declared(self, lost: int) -> None:
        """Note that so many of the lost messages are named in a gap record now."""
        with self._changed:
            self._lost -= lost
