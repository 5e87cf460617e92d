"""The newest events, kept in memory for those who look in over SSH."""

import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

KEPT = 1000  # events; about half a megabyte, some hours of a busy street


class Feed:
    """A bounded ring of entries, each with a number that grows by one. Safe to use from any thread."""

    def __init__(self, kept: int = KEPT) -> None:
        self._entries: deque[tuple[int, Mapping[str, Any]]] = deque(maxlen=kept)
        self._next = 1
        self._changed = threading.Condition()

    def put(self, entry: Mapping[str, Any]) -> None:
        """Add an entry; the oldest falls out once the ring is full."""
        with self._changed:
            self._entries.append((self._next, entry))
            self._next += 1
            self._changed.notify_all()

    def after(self, number: int, timeout: float = 0.0) -> list[tuple[int, Mapping[str, Any]]]:
        """Give the kept entries with a higher number, oldest first; wait up to `timeout` seconds for one."""
        with self._changed:
            self._changed.wait_for(lambda: self._next > number + 1, timeout)
            return [entry for entry in self._entries if entry[0] > number]
