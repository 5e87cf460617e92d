"""A slot for one item: the newest wins, what it pushed out is counted."""

import threading
import time
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """Hands the newest item from one thread to another and never builds a backlog.

    Safe for one or more threads on either side.
    """

    def __init__(self) -> None:
        self._item: T | None = None
        self._changed = threading.Condition()
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """How many items were replaced before anybody took them."""
        return self._dropped

    def put(self, item: T) -> None:
        """Put `item` into the slot; an item still in it is dropped and counted."""
        with self._changed:
            if self._item is not None:
                self._dropped += 1
            self._item = item
            self._changed.notify_all()

    def put_when_empty(self, item: T, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the slot to be empty, then put `item`; tell whether that happened.

        For sources that can wait, such as a file read as fast as it is consumed.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._item is None, timeout):
                return False
            self._item = item
            self._changed.notify_all()
            return True

    def take(self, timeout: float) -> T | None:
        """Wait up to `timeout` seconds for an item and empty the slot; None when none came."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while self._item is None:
                if not self._changed.wait(deadline - time.monotonic()):
                    break
            item, self._item = self._item, None
            self._changed.notify_all()
            return item
