"""A worker is what the supervisor runs in a thread of its own; its pulse shows that it gets on."""

import threading
import time
from typing import Protocol


class Pulse:
    """The moment of a worker's last progress. Written by the worker, read by the watchdog.

    Args:
        limit: Seconds without progress after which the worker counts as stuck.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._last = time.monotonic()

    def beat(self) -> None:
        """Note that progress was made, or that there was honestly nothing to do."""
        self._last = time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since the last progress."""
        return time.monotonic() - self._last

    @property
    def is_stuck(self) -> bool:
        """No progress for longer than the limit."""
        return self.age > self.limit


class Worker(Protocol):
    """Something that runs until it is told to stop.

    Attributes:
        name: The thread's name: ``camera:door``.
        pulse: Beaten whenever the worker gets on.
    """

    name: str
    pulse: Pulse

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set, then tidy up and return within a few seconds.

        Returning earlier means that the work is done. Raising means that it failed: the supervisor starts it
        again, within a budget.
        """
