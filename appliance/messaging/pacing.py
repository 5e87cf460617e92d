"""How fast what waited is sent, so that it harms neither the broker nor what happens now: pure rules."""

import math
import random
import time
from collections.abc import Callable
from typing import Final

LONG_OUTAGE: Final = 300.0  # seconds after which a broker is assumed to come back to a whole fleet
SLOW: Final = 1.0  # seconds for an answer from which on a link counts as slow: live messages have two seconds

_HANDFUL: Final = 3  # a part of the window
_HELPING: Final = 0.1  # seconds: a wake-up for each token would cost more than the sending


class TokenBucket:
    """So many a second, and at most a second's worth at once.

    Args:
        rate: Tokens per second; 0: as many as one likes.
        monotonic: The clock, in seconds.
    """

    def __init__(self, rate: float, monotonic: Callable[[], float]) -> None:
        self._rate, self._monotonic = rate, monotonic
        self._most = max(1.0, rate)
        self._tokens, self._at = self._most, monotonic()

    def available(self) -> float:
        """Give how many tokens there are; infinite where there is no limit."""
        if not self._rate:
            return math.inf
        now = self._monotonic()
        self._tokens = min(self._most, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return self._tokens

    def take(self) -> None:
        """Take one."""
        self._tokens -= 1.0

    def next_at(self) -> float:
        """Give the monotonic second at which it is worth asking again."""
        missing = max(1.0, self._rate * _HELPING) - self.available()
        return self._monotonic() + max(0.0, missing) / (self._rate or math.inf)


class Pacer:
    """Says how many of the messages that waited may go now. Owned by the thread that feeds the link.

    Three bounds: tokens; three quarters of the window, so that a live message finds room at once; and on a slow link
    fewer still, so that a live message is not behind a queue of them (additive increase, multiplicative decrease;
    Chiu and Jain, 1989). After a long outage the start is put off at random, for a whole fleet comes back at once.

    Args:
        rate: Messages per second; 0: unlimited.
        spread: Longest time by which the start is put off, seconds.
        monotonic: The clock, in seconds.
        random_source: For the start.
    """

    def __init__(
        self,
        rate: float,
        spread: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        random_source: random.Random | None = None,
    ) -> None:
        self._tokens = TokenBucket(rate, monotonic)
        self._spread, self._monotonic = spread, monotonic
        self._random = random_source or random.Random()  # noqa: S311 - jitter is no secret
        self._start_at = 0.0
        self._share = math.inf
        self._slowed_at = 0.0
        self._sent: dict[int, float] = {}

    def begin(self, outage: float) -> None:
        """Note a new connection after so many seconds without one: what was on its way is no more."""
        self._sent.clear()
        self._share = math.inf
        self._start_at = 0.0
        if outage > LONG_OUTAGE:
            self._start_at = self._monotonic() + self._random.uniform(0.0, self._spread)

    def room(self, window: int) -> int:
        """Give how many may be sent now, of a window of so many messages in flight."""
        if self._monotonic() < self._start_at:
            return 0
        most = min(_most(window), self._share)
        free = most - len(self._sent)
        if self._sent and free < most // _HANDFUL:
            return 0  # a few at a time: each message would cost a query and a wake-up of its own
        return int(max(0.0, min(free, self._tokens.available())))

    def sent(self, ticket: int) -> None:
        """Note that one was given to the link."""
        self._sent[ticket] = self._monotonic()
        self._tokens.take()

    def answered(self, ticket: int, window: int) -> None:
        """Note that one was answered; what was not sent from here is passed over."""
        sent_at = self._sent.pop(ticket, None)
        if sent_at is None:
            return
        now = self._monotonic()
        if now - sent_at <= SLOW:
            self._share += 1.0 / self._share
        elif sent_at >= self._slowed_at:  # once for all that were on their way together
            self._share, self._slowed_at = max(1.0, min(self._share, _most(window)) / 2.0), now

    def next_at(self) -> float:
        """Give the monotonic second at which time alone may have made room."""
        return max(self._start_at, self._tokens.next_at())


def _most(window: int) -> int:
    return window - max(1, window // 4) if window > 1 else 1
