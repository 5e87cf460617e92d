"""What the broker acknowledged last: a broker that is killed may take that with it before it has passed it on."""

import time
from collections.abc import Callable
from typing import Final

MOST_LATELY: Final = 10_000  # messages: a window of 10 s at 1,000 a second


class Lately:
    """Messages that the broker acknowledged within a window before its last word. Owned by the feeder's thread.

    A connection that was lost says nothing of why: the broker may have died, and what it had acknowledged a moment ago
    with it. So that is sent again on the next one. The window is counted from a message's first acknowledgement: on a
    link that comes and goes all the time a message is not sent again for ever.

    Args:
        window: Its length in seconds; 0: nothing is remembered.
        monotonic: The clock, in seconds.
    """

    def __init__(self, window: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.window = window
        self._monotonic = monotonic
        self._since: dict[int, float] = {}  # in the order of the first acknowledgements
        self._again: set[int] = set()

    def acknowledged(self, key: int) -> None:
        """Note that the broker has a message."""
        if not self.window:
            return
        now = self._monotonic()
        if key in self._again:
            self._again.discard(key)
        else:
            self._since[key] = now
        while self._since and (len(self._since) > MOST_LATELY or now - next(iter(self._since.values())) > self.window):
            del self._since[next(iter(self._since))]

    def again(self) -> set[int]:
        """Give the keys to send again, now that there is a new connection."""
        self._again = set(self._since)
        return self._again.copy()

    def forget(self) -> None:
        """Forget all: the outbox is another file."""
        self._since.clear()
        self._again.clear()
