"""Rows that are not any more what was written: they are named, and never delivered."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager

from appliance.messaging import gaps
from appliance.messaging.losses import Losses
from appliance.messaging.numbers import Numbers
from appliance.messaging.rows import Row, place_of
from appliance.messaging.shelf import Shelf

_logger = logging.getLogger(__name__)


class Damage:
    """Gives up rows whose checksum is wrong. Owned by the thread that owns the outbox.

    Args:
        shelf: Notes such rows when it reads them.
        losses: Names them; a gap record among them is written anew from what it was made of.
        numbers: Knows the generations.
        transaction: Of the outbox.

    Attributes:
        rows: How many were given up, since the start.
    """

    def __init__(
        self, shelf: Shelf, losses: Losses, numbers: Numbers, transaction: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self.rows = 0
        self._shelf, self._losses, self._numbers, self._transaction = shelf, losses, numbers, transaction

    def sound(self, read: Callable[[], list[Row]]) -> list[Row]:
        """Give what `read` gives, again and again until it met no damage: fewer rows than it asked for end a search."""
        rows = read()
        while self._shelf.damaged:
            self._give_up()
            rows = read()
        return rows

    def _give_up(self) -> None:
        with self._transaction():
            lost = {key for key in self._shelf.damaged if not self._losses.mend(key)}
            self._shelf.delete(gaps.runs_of(lost))
            self._losses.forget(lost)
            # a key that no generation can have is itself damaged: its number shows as a break in the tree's order
            if known := gaps.runs_of(key for key in lost if place_of(key) in self._numbers.gens):
                self._losses.seal_open("corrupt")
                self._losses.record(known, "corrupt")
        _logger.error("%d messages on disk were damaged and are given up", len(lost))
        self.rows += len(lost)
        self._shelf.damaged.clear()
