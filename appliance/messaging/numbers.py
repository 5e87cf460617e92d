"""Which generations the store holds messages of, and which of their numbers are given out."""

import os
from typing import Final

from appliance.messaging.database import Database
from appliance.messaging.rows import key_of, place_of

_END: Final = 1  # past the last key of a place comes the first one of the next


class Numbers:
    """Gives out keys, each once. Owned by the thread that owns the outbox.

    The last number is written only where rows are deleted, or a number is used up without a row: else the highest key
    tells, and a commit needs no page for it.

    Args:
        db: Where they are kept.

    Attributes:
        gens: Names of the generations by place.
        place: Of the generation that new messages belong to.
        is_stale: The last numbers on disk are behind those given out: `write` is due before the commit.
    """

    def __init__(self, db: Database) -> None:
        self.gens: dict[int, str] = {}
        self.place = 0
        self.is_stale = False
        self._db = db
        self._last: dict[int, int] = {}

    @property
    def gen(self) -> str:
        """Name of the generation that new messages belong to; empty before there is one."""
        return self.gens.get(self.place, "")

    @property
    def last_key(self) -> int:
        """The key given out last."""
        last = self._last.get(self.place)
        return key_of(self.place, 0) if last is None else last

    def load(self, first_place: int = 0) -> None:
        """Read what is on disk, inside a transaction; begin a generation when there is none.

        Args:
            first_place: Where that one is put: above all generations of which rows may still come.
        """
        found = self._db.rows("SELECT place, gen, last FROM generation ORDER BY place")
        if not found:
            found = [(first_place, os.urandom(8).hex(), 0)]
            self._db.change("INSERT INTO generation VALUES(?,?,?,0)", *found[0])
        self.gens = {place: gen for place, gen, _ in found}
        self.place = max(self.gens)
        self._last = {}
        for place, _, last in found:
            highest = self._db.rows("SELECT max(seq) FROM outbox WHERE seq<?", key_of(place + _END, 0))[0][0] or 0
            self._last[place] = max(key_of(place, last), highest)
        self.is_stale = False

    def snapshot(self) -> tuple[dict[int, int], dict[int, str]]:
        """Give what `restore` takes."""
        return self._last.copy(), self.gens.copy()

    def restore(self, before: tuple[dict[int, int], dict[int, str]]) -> None:
        """Take back the numbers given out since a snapshot; what is on disk is not changed."""
        self._last, self.gens = before
        self.is_stale = False

    def take(self, count: int = 1, place: int | None = None) -> int:
        """Give out so many keys, of the generation of now or of an older one; gives the last of them."""
        place = self.place if place is None else place
        self._last[place] += count
        return self._last[place]

    def learn(self, place: int, gen: str) -> None:
        """Note an older generation, of which rows come; one that is known stays as it is."""
        if place not in self.gens:
            self._db.change("INSERT INTO generation VALUES(?,?,0,0)", place, gen)
            self.gens[place] = gen
            self._last[place] = key_of(place, 0)

    def raise_to(self, key: int) -> None:
        """Note that all keys of a generation up to this one may have been given out."""
        self._last[place_of(key)] = max(key, self._last[place_of(key)])
        self.is_stale = True

    def write(self) -> None:
        """Write the last numbers, and below which all are delivered, named in a gap record or given up with one."""
        if not self.is_stale:
            return
        for place, last in self._last.items():
            lowest = self._db.rows("SELECT min(seq) FROM outbox WHERE seq>=?", key_of(place, 0))[0][0]
            floor = last if lowest is None or place_of(lowest) != place else lowest - 1
            self._db.change(
                "UPDATE generation SET last=?, floor=? WHERE place=?",
                last - key_of(place, 0),
                floor - key_of(place, 0),
                place,
            )
        self.is_stale = False
