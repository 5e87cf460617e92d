"""What the owner asks of the worker of updates, from other threads."""

import queue
import threading
from enum import StrEnum
from typing import Final

from appliance.core.errors import UnavailableError

MOST: Final = 8  # that wait


class Wish(StrEnum):
    """What can be asked."""

    CHECK = "check"
    """Look at the fleet now."""
    UPDATE = "update"
    """Likewise, and begin at once: whatever the owner's window, and however starts are spread."""
    ROLLBACK = "rollback"
    """Leave what is under way, or else in service, for what was before it; it is not taken again."""
    PIN = "pin"
    """Take nothing else than what is in service."""
    UNPIN = "unpin"
    """Take what the fleet offers again."""


class Wishes:
    """A bounded queue of wishes. Safe to use from any thread.

    Attributes:
        heard: How many were fulfilled, or could not be.
    """

    def __init__(self) -> None:
        self.heard = 0
        self._asked = 0
        self._waiting: queue.Queue[Wish] = queue.Queue(MOST)
        self._lock = threading.Lock()

    def ask(self, wish: Wish) -> int:
        """Ask for something; give its number, which `heard` has reached once it was done.

        Raises:
            UnavailableError: Too much was asked for already.
        """
        with self._lock:
            try:
                self._waiting.put_nowait(wish)
            except queue.Full:
                raise UnavailableError("more was asked for than can be done at once; try again in a minute") from None
            self._asked += 1
            return self._asked

    def take(self) -> Wish | None:
        """Give the next wish; None: there is none. The worker's thread only, which counts it in `heard` when done."""
        try:
            return self._waiting.get_nowait()
        except queue.Empty:
            return None
