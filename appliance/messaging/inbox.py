"""What other clients send to this device, on its way from the link to who works on it."""

import threading
from collections import deque
from dataclasses import dataclass
from typing import Final

MOST_WAITING: Final = 64  # messages: who sends more than that at once is not waiting for answers
MOST_BYTES: Final = 64 << 10  # of a payload


@dataclass(frozen=True, slots=True)
class Received:
    """A message from the broker. Nothing of it is checked but its size.

    Attributes:
        topic: The whole topic.
        payload: At most `MOST_BYTES`.
        is_retained: The broker had kept it, or its sender asked for that.
        response_topic: Where an answer is wanted; empty: the sender did not say. Never with wildcards.
        correlation: What the answer is to carry, so that the sender knows it by that; None: nothing.
    """

    topic: str
    payload: bytes
    is_retained: bool = False
    response_topic: str = ""
    correlation: bytes | None = None


class Inbox:
    """Takes messages from the link without ever blocking; one thread takes them out again.

    Args:
        most: How many may wait.
        keeps_newest: Where there is no room the oldest message goes, not the new one.

    Attributes:
        taken: Messages that found room.
        dropped: Messages that found none or lost it, or were too large.
    """

    def __init__(self, most: int = MOST_WAITING, *, keeps_newest: bool = False) -> None:
        self.taken = 0
        self.dropped = 0
        self._most, self._keeps_newest = most, keeps_newest
        self._changed = threading.Condition()
        self._waiting: deque[Received] = deque()

    def put(self, received: Received) -> bool:
        """Take a message in; False when there is no room or it is too large: it is dropped and counted."""
        with self._changed:
            is_full, is_large = len(self._waiting) >= self._most, len(received.payload) > MOST_BYTES
            self.dropped += is_full or is_large
            if is_large or (is_full and not self._keeps_newest):
                return False
            if is_full:
                self._waiting.popleft()
            self._waiting.append(received)
            self.taken += 1
            self._changed.notify()
            return True

    def take(self, timeout: float) -> Received | None:
        """Give the oldest message, waiting at most `timeout` seconds for one; None when there is none."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting, timeout)
            return self._waiting.popleft() if self._waiting else None
