"""Which message makes the broker drop the connection: pure bookkeeping."""

from collections.abc import Collection
from typing import Final

TOGETHER: Final = 2  # connections in a row that end with a message in flight, after which messages go one by one
ALONE: Final = 3  # after which one that was alone in flight is the one


class Suspects:
    """Messages that were in flight when the broker ended the connection, by how many times in a row.

    A broker that restarts is no proof against what happens to be in flight: the same message has to be there again
    and again, and at last alone. A broker that says what it objects to is believed at once.
    """

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._is_told = False

    @property
    def is_careful(self) -> bool:
        """Whether messages are to go one by one until it shows which one it is."""
        return self._is_told or any(count >= TOGETHER for count in self._counts.values())

    def lost(self, in_flight: Collection[int], *, is_blamed: bool) -> int | None:
        """Note that the broker ended the connection; give the message that is the reason, None when nobody can tell.

        Args:
            in_flight: What was not acknowledged.
            is_blamed: It said that the reason is something that was sent.
        """
        self._counts = {seq: self._counts.get(seq, 0) + 1 for seq in in_flight}
        self._is_told = is_blamed and bool(in_flight)
        if len(in_flight) != 1:
            return None
        (seq,) = in_flight
        return seq if is_blamed or self._counts[seq] >= ALONE else None

    def answered(self, seq: int) -> None:
        """Note that a message was taken or refused in good order: it is not the one."""
        if self._counts.pop(seq, None) is not None and not self._counts:
            self._is_told = False

    def clear(self) -> None:
        """Note that the one was found, or that all are gone."""
        self._counts.clear()
        self._is_told = False
