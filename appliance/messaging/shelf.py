"""The rows of the outbox: which wait for the broker, and which it has and are kept for a while."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final

from appliance.core.clock import Stamp
from appliance.messaging import gaps
from appliance.messaging.boots import Boots
from appliance.messaging.database import Database
from appliance.messaging.gaps import Run
from appliance.messaging.kept import LAST_KEY, SETTLED, Kept, KeptRun
from appliance.messaging.lately import MOST_LATELY
from appliance.messaging.payloads import nanoseconds
from appliance.messaging.rows import SYNCED, Draft, Row, checksum

_ROW: Final = "seq, priority, topic, retain, expiry_s, boot, mono_ns, time_ns, clock, crc, payload"
_INSERT: Final = "INSERT INTO outbox VALUES(?,?,?,?,?,?,?,?,?,?,?)"


class Shelf:
    """Rows on disk. Owned by the thread that owns the outbox; what changes them is used inside its transactions.

    Args:
        db: Where they are.
        kept: Which of them the broker has.
        boots: What is known of time in each boot.
        now: The clock.

    Attributes:
        waiting: How many rows the broker does not have; end to end, or a subscriber.
        taken: Of those, the ones that the broker has: they are not to be sent again for now. In memory only.
        damaged: Keys of rows whose checksum was wrong when they were read, since somebody took them out of here.
    """

    def __init__(self, db: Database, kept: Kept, boots: Boots, now: Callable[[], Stamp]) -> None:
        self.waiting = 0
        self.damaged: set[int] = set()
        self.taken = Kept(None, LAST_KEY)
        self._db, self._kept, self._boots, self._now = db, kept, boots, now

    def load(self) -> None:
        """Count the rows, which reads the whole table once."""
        self._kept.load()
        self.taken.clear()
        self.waiting = self._db.rows("SELECT count(*) FROM outbox")[0][0] - self._kept.rows

    def numbered(self, key: int, draft: Draft, payload: bytes) -> tuple[Any, ...]:
        """Give the row of a message."""
        columns = (
            key,
            int(draft.priority),
            draft.topic,
            int(draft.retain),
            draft.expiry_s,
            self._boots.number,
            draft.mono_ns,
            draft.time_ns,
            draft.clock,
        )
        return (*columns, checksum(columns, payload), payload)

    def insert(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Put in rows that `numbered` gave."""
        self._db.change_many(_INSERT, rows)
        self.waiting += len(rows)

    def rewrite(self, key: int, payload: bytes) -> bool:
        """Put another payload into a row; False when there is no such row."""
        found = self._db.rows(
            "SELECT seq, priority, topic, retain, expiry_s, boot, mono_ns, time_ns, clock FROM outbox WHERE seq=?", key
        )
        for columns in found:
            self._db.change("UPDATE outbox SET payload=?, crc=? WHERE seq=?", payload, checksum(columns, payload), key)
        return bool(found)

    def delete(self, runs: Sequence[Run]) -> int:
        """Delete rows, kept ones as well; give how many that waited."""
        rows = sum(self._db.change("DELETE FROM outbox WHERE seq BETWEEN ? AND ?", *run) for run in runs)
        kept = sum(gaps.count(self._kept.carve(*run)) for run in runs)
        for run in runs:
            self.taken.carve(*run)
        self.waiting -= rows - kept
        return rows - kept

    def keep(self, runs: Sequence[Run], *, is_settled: bool) -> None:
        """Note that the broker has rows.

        Args:
            runs: Their keys.
            is_settled: They are needed no longer: nobody will ask for them again.
        """
        now = self._now()
        when = (SETTLED, 0, 0) if is_settled else (self._boots.number, now.mono_ns, nanoseconds(now.time))
        for first, last in runs:
            self.taken.carve(first, last)
            before = gaps.count(self._kept.carve(first, last))
            self._kept.add(KeptRun(first, last, *when))
            self.waiting -= last - first + 1 - before

    def take(self, runs: Sequence[Run]) -> None:
        """Note that the broker has rows, which wait for a subscriber's word all the same."""
        for run in runs:
            self.taken.carve(*run)
            for first, last in list(self._kept.between(*run)):
                self.taken.add(KeptRun(first, last, SETTLED, 0, 0))

    def recall(self, first: int, last: int) -> list[Run]:
        """Have rows be sent again that the broker had; give their keys."""
        kept = self._kept.carve(first, last)
        self.waiting += gaps.count(kept)
        return gaps.merge([*kept, *self.taken.carve(first, last)])

    def kept_lately(self, span_ns: int) -> set[int]:
        """Give the keys of rows that the broker has, queued within `span_ns` before the newest row, in its boot."""
        newest = self._db.rows("SELECT seq, boot, mono_ns FROM outbox ORDER BY seq DESC LIMIT ?", MOST_LATELY)
        if not newest or span_ns <= 0:
            return set()
        _, last_boot, last_ns = newest[0]
        near = [seq for seq, boot, mono_ns in newest if boot == last_boot and last_ns - mono_ns <= span_ns]
        return {seq for seq in near if not any(self._kept.between(seq, seq))}

    def unsettled(self, first: int, last: int) -> list[Run]:
        """Give the keys, of those from `first` to `last`, of rows that the broker has and that may be needed again."""
        runs = [run for run in self._kept if run.boot != SETTLED] + list(self.taken)
        clipped = [(max(first, run.first), min(last, run.last)) for run in runs]
        return [run for run in clipped if run[0] <= run[1]]

    def pending(self, after: int, limit: int, without_topics: Collection[str] = ()) -> list[Row]:
        """Give up to `limit` rows that wait, with keys above `after`, in the order of their keys."""
        unless = f"AND topic NOT IN ({','.join('?' * len(without_topics))})" if without_topics else ""
        return self._sound(self.search(_ROW, after, limit, unless, without_topics))

    def some(self, keys: Sequence[int]) -> list[Row]:
        """Give the rows with these keys, in their order."""
        query = f"SELECT {_ROW} FROM outbox WHERE seq IN ({','.join('?' * len(keys))}) ORDER BY seq"  # noqa: S608 - marks
        return self._sound(self._db.rows(query, *keys))

    def search(
        self, columns: str, after: int, limit: int, and_where: str = "", values: Collection[Any] = ()
    ) -> list[Any]:
        """Give columns of rows that wait, in the order of their keys: what is kept between them is not even read."""
        query = f"SELECT {columns} FROM outbox WHERE seq BETWEEN ? AND ? {and_where} ORDER BY seq LIMIT ?"  # noqa: S608 - ours
        found: list[Any] = []
        for first, last in self._open_after(after):
            found += self._db.rows(query, first, last, *values, limit - len(found))
            if len(found) >= limit:
                break
        return found

    def _sound(self, found: Sequence[tuple[Any, ...]]) -> list[Row]:
        """Give the rows whose checksum is right: SQLite does not notice a bit that has flipped inside one."""
        rows = []
        for *columns, crc, payload in found:
            if isinstance(payload, bytes) and checksum(tuple(columns), payload) == crc:
                rows.append(self._row(columns, payload))
            else:
                self.damaged.add(columns[0])
        return rows

    def _open_after(self, after: int) -> Iterator[Run]:
        for run in self._kept.between(after + 1):
            yield from self.taken.between(*run)

    def _row(self, columns: Sequence[Any], payload: bytes) -> Row:
        seq, _, topic, retain, expiry_s, boot, mono_ns, _, clock = columns
        if clock != SYNCED:
            payload = self._boots.dated(boot, payload)
        return Row(seq, topic, bool(retain), expiry_s, self._boots.here(boot, mono_ns), payload)
