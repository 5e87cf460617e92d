"""Keeps the gap records: messages that name the numbers that will never arrive. They are sent before all others."""

import json
from collections.abc import Callable, Collection, Sequence
from itertools import groupby
from typing import Final

from appliance.messaging import gaps
from appliance.messaging.database import Database
from appliance.messaging.gaps import Gap, Run
from appliance.messaging.numbers import Numbers
from appliance.messaging.rows import key_of, place_of, seq_of

MOST_RUNS: Final = 256  # runs in one gap record: about 4 kB of JSON
MOST_OPEN_GAPS: Final = 64  # gap records of one reason not yet sent; beyond, the oldest two are joined


class Losses:
    """Names numbers in gap records. Owned by the thread that owns the outbox; used inside its transactions.

    Args:
        db: Where they are kept.
        numbers: Gives a record its own number.
        encode: Gives the payload of a record for a generation, a sequence number and its content.
        insert: Puts a record's row into the store, for a key and a payload.
        rewrite: Puts another payload into the row of a key; False when there is no such row.
        delete: Deletes the row of a key.

    Attributes:
        waiting: Keys of the records that the broker does not have.
    """

    def __init__(
        self,
        db: Database,
        numbers: Numbers,
        *,
        encode: Callable[[str, int, Gap], bytes],
        insert: Callable[[int, bytes], None],
        rewrite: Callable[[int, bytes], bool],
        delete: Callable[[int], object],
    ) -> None:
        self.waiting: set[int] = set()
        self._db, self._numbers = db, numbers
        self._encode, self._insert, self._rewrite, self._delete = encode, insert, rewrite, delete

    def record(self, runs: Sequence[Run], reason: str) -> None:
        """Name keys in the record of this reason that was not sent yet, or in a new one of their generation."""
        for place, part in groupby(runs, key=lambda run: place_of(run[0])):
            found = list(part)
            for at in range(0, len(found), MOST_RUNS):
                self._record(place, found[at : at + MOST_RUNS], reason)

    def note_restart(self, uncounted_s: float) -> None:
        """Say that messages that had no number yet may have been lost, nobody knows how many."""
        key = self._numbers.take()
        seq = seq_of(key)
        self._db.change("INSERT INTO gap VALUES(?,'restart','[]',0,1)", key)
        payload = self._encode(self._numbers.gen, seq, Gap(0, seq, seq, (), "restart", uncounted_s))
        self._insert(key, payload)
        self.waiting.add(key)

    def seal_open(self, reason: str) -> None:
        """Have the next loss of this reason begin a record of its own: an open one may just have been read."""
        self._db.change("UPDATE gap SET sealed=1 WHERE reason=?", reason)

    def mend(self, key: int) -> bool:
        """Write a record anew whose row is damaged; False when the row is none, or what it said is not known.

        Nothing more is put into it: it may have been sent as it was, and who has its number reads it no second time.
        """
        for reason, runs, count in self._db.rows("SELECT reason, runs, count FROM gap WHERE seq=?", key):
            if runs := parsed(runs):
                self._delete(key)  # all of it: the damage may be in its topic
                self._write(key, runs, count, reason)
                self.seal([key])
                return True
        return False

    def renew(self, key: int) -> bool:
        """Put what a record names that the broker never takes into another one, which says how many and not which.

        It is shorter, and carries the number of the one that goes as well. False when the key is no such record.
        """
        for reason, runs, count in self._db.rows("SELECT reason, runs, count FROM gap WHERE seq=?", key):
            if named := parsed(runs):
                merged = gaps.merge([*named, (key, key)])
                self._delete(key)
                self.forget([key])
                another = self._numbers.take(place=place_of(key))
                self._write(another, [(merged[0][0], merged[-1][1])], count + 1, reason)
                return True
        return False

    def seal(self, keys: Sequence[int]) -> None:
        """Note that records are about to be sent, so that nothing more is put into them."""
        self._db.change_many("UPDATE gap SET sealed=1 WHERE seq=?", [(key,) for key in keys])

    def are_sealed(self, keys: Sequence[int]) -> bool:
        """Tell whether nothing more can be put into these records."""
        unsealed = {key for (key,) in self._db.rows("SELECT seq FROM gap WHERE sealed=0")}
        return unsealed.isdisjoint(keys)

    def forget(self, keys: Collection[int]) -> None:
        """Note that the broker has these messages, or that they are gone, whether they are gap records or not."""
        for key in self.waiting.intersection(keys):
            self._db.change("DELETE FROM gap WHERE seq=?", key)
            self.waiting.discard(key)

    def _record(self, place: int, runs: list[Run], reason: str) -> None:
        query = (
            "SELECT seq, runs, count FROM gap WHERE reason=? AND sealed=0 AND seq BETWEEN ? AND ? "
            "ORDER BY seq DESC LIMIT 1"
        )
        count = gaps.count(runs)
        for key, before, before_count in self._db.rows(query, reason, key_of(place, 0), key_of(place + 1, 0) - 1):
            merged = gaps.merge([*parsed(before), *runs])
            if len(merged) <= MOST_RUNS:
                self._write(key, merged, before_count + count, reason)
                return
        self._write(self._numbers.take(place=place), runs, count, reason)
        self._join_oldest(place, reason)

    def _write(self, key: int, runs: list[Run], count: int, reason: str) -> None:
        # the numbers in it, and its own, may have no row from which the last number could be read
        self._numbers.is_stale = True
        gen, seqs = self._numbers.gens[place_of(key)], [(seq_of(first), seq_of(last)) for first, last in runs]
        exact = tuple(seqs) if gaps.count(seqs) == count else ()
        payload = self._encode(gen, seq_of(key), Gap(count, seqs[0][0], seqs[-1][1], exact, reason))
        text = json.dumps(runs, separators=(",", ":"))
        self._db.change("INSERT OR REPLACE INTO gap VALUES(?,?,?,?,0)", key, reason, text, count)
        if not self._rewrite(key, payload):
            self._insert(key, payload)
        self.waiting.add(key)

    def _join_oldest(self, place: int, reason: str) -> None:
        """Bound the records: beyond `MOST_OPEN_GAPS` the oldest two become one that says how many, not which."""
        query = (
            "SELECT seq, runs, count FROM gap WHERE reason=? AND sealed=0 AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?"
        )
        last = key_of(place + 1, 0) - 1
        records = self._db.rows(query, reason, key_of(place, 0), last, MOST_OPEN_GAPS + 1)
        if len(records) <= MOST_OPEN_GAPS:
            return
        (first, runs, count), (second, more, more_count) = records[:2]
        # the number of the record that goes is itself one that will never arrive
        merged = gaps.merge([*parsed(runs), *parsed(more), (first, first)])
        if len(merged) > MOST_RUNS:
            merged = [(merged[0][0], merged[-1][1])]
        self._delete(first)
        self.forget([first])
        self._write(second, merged, count + more_count + 1, reason)


def parsed(runs: str) -> list[Run]:
    """Give the runs that a record's text holds; no run when it is none."""
    try:
        return [(int(first), int(last)) for first, last in json.loads(runs)]
    except (TypeError, ValueError):
        return []
