"""What the broker has: until when it is kept, and what of it is to be sent again."""

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager

from appliance.messaging import gaps
from appliance.messaging.database import Database
from appliance.messaging.gaps import Run
from appliance.messaging.losses import Losses
from appliance.messaging.numbers import Numbers
from appliance.messaging.rows import LAST_SEQ, key_of
from appliance.messaging.shelf import Shelf


class Deliveries:
    """Owned by the thread that owns the outbox.

    Args:
        db: Where rows are.
        numbers: Knows the generations.
        shelf: The rows.
        losses: Gap records among them.
        transaction: Makes what is done inside one commit.
        is_kept: There is a replay window.
        is_end_to_end: What the broker has waits nevertheless until a subscriber said that it is there.
    """

    def __init__(
        self,
        db: Database,
        *,
        numbers: Numbers,
        shelf: Shelf,
        losses: Losses,
        transaction: Callable[[], AbstractContextManager[None]],
        is_kept: bool,
        is_end_to_end: bool,
    ) -> None:
        self.is_end_to_end = is_end_to_end
        self._is_kept = is_kept
        self._db, self._numbers, self._shelf, self._losses = db, numbers, shelf, losses
        self._transaction = transaction

    @property
    def taken(self) -> int:
        """How many messages the broker took of which no subscriber said that they are there; only end to end."""
        return self._shelf.taken.rows

    def has(self, gen: str) -> bool:
        """Tell whether there is, or was, such a generation in the store."""
        return gen in self._numbers.gens.values()

    def acknowledge(self, seqs: Collection[int]) -> None:
        """Note keys that the broker has: they wait no longer, and are kept for the replay window.

        End to end they are only not sent again, until `retake`.
        """
        if self.is_end_to_end:
            self._shelf.take(gaps.runs_of(seqs))
        elif seqs:
            with self._transaction():
                self._shelf.keep(gaps.runs_of(seqs), is_settled=not self._is_kept)
                self._losses.forget(seqs)

    def recall(self, gen: str, first: int, last: int) -> int:
        """Have messages be sent again that the broker had and that are kept; give how many.

        Args:
            gen: Their generation; one that the store does not know has none.
            first: The lowest sequence number.
            last: The highest.
        """
        if (keys := self._keys(gen, first, last)) is None:
            return 0
        with self._transaction():
            return self._recall(*keys)

    def lately(self, seconds: float) -> set[int]:
        """Give keys that the broker has, queued within so many seconds before the newest message, in the same boot."""
        return self._shelf.kept_lately(int(seconds * 1e9))

    def wait_again(self, keys: Collection[int]) -> None:
        """Have those of some messages that the broker had, and that are kept, be sent again."""
        with self._transaction():
            for run in gaps.runs_of(keys):
                self._recall(*run)

    def arrived(self, gen: str, upto: int, missing: Collection[Run]) -> tuple[int, int]:
        """Take a subscriber's word that it has all messages up to a number but for those that are missing.

        What it has is needed no longer; what it lacks, and the broker had, is to be sent again. Only messages that the
        broker took can have arrived. Gives how many are needed no longer, and how many are to be sent again.

        Args:
            gen: The generation.
            upto: The highest sequence number.
            missing: Runs of sequence numbers.
        """
        if (keys := self._keys(gen, 1, upto)) is None or not self._shelf.unsettled(*keys):
            return 0, 0
        with self._transaction():
            lacking = [found for run in missing if (found := self._keys(gen, *run)) is not None]
            again = sum(self._recall(*found) for found in lacking)
            runs = self._shelf.unsettled(*keys)
            self._shelf.keep(runs, is_settled=True)
            self._losses.forget([key for key in self._losses.waiting if any(low <= key <= high for low, high in runs)])
        return gaps.count(gaps.merge(runs)), again

    def retake(self) -> None:
        """Have all messages be sent again that the broker took and of which no subscriber said that they are there."""
        self._shelf.taken.clear()

    def _keys(self, gen: str, first: int, last: int) -> Run | None:
        places = [place for place, name in self._numbers.gens.items() if name == gen]
        first, last = max(1, first), min(LAST_SEQ, last)
        return (key_of(places[0], first), key_of(places[0], last)) if places and first <= last else None

    def _recall(self, first: int, last: int) -> int:
        taken = self._shelf.recall(first, last)
        for low, high in taken:
            found = self._db.rows("SELECT seq FROM outbox WHERE priority=0 AND seq BETWEEN ? AND ?", low, high)
            self._losses.waiting.update(key for (key,) in found)
        return gaps.count(taken)
