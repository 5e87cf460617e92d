"""The store that keeps numbered messages until the broker has them."""

import json
import logging
import os
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from appliance.config import OutboxSettings
from appliance.core.clock import Stamp
from appliance.core.errors import StorageError
from appliance.messaging import gaps, topics
from appliance.messaging.database import PAGE_BYTES, Database
from appliance.messaging.gaps import Gap, Run
from appliance.messaging.payloads import nanoseconds
from appliance.messaging.rows import Draft, Row

MOST_PAYLOAD_BYTES: Final = 128 << 10  # AWS IoT Core, quotas: the smallest limit of the large brokers
EVICT_ROWS: Final = 200  # per transaction: on a nearly full disk a large delete itself does not fit into the WAL
MOST_RUNS: Final = 256  # runs in one gap record: about 4 kB of JSON
MOST_OPEN_GAPS: Final = 64  # gap records of one reason not yet sent; beyond, the oldest two are joined

_SCHEMA: Final = (
    # 1
    """
    CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE boot(number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
    CREATE TABLE outbox(seq INTEGER PRIMARY KEY AUTOINCREMENT, priority INTEGER NOT NULL, topic TEXT NOT NULL,
      retain INTEGER NOT NULL, expiry_s INTEGER, boot INTEGER NOT NULL, mono_ns INTEGER NOT NULL,
      time_ns INTEGER NOT NULL, payload BLOB NOT NULL);
    -- only what is evicted first is indexed: an index over every row would add a page to every commit
    CREATE INDEX evicted_first ON outbox(priority DESC, seq) WHERE priority > 1;
    CREATE TABLE gap(seq INTEGER PRIMARY KEY, reason TEXT NOT NULL, runs TEXT NOT NULL, count INTEGER NOT NULL,
      sealed INTEGER NOT NULL)
    """,
)
_SELECT: Final = "SELECT seq, topic, retain, expiry_s, boot, mono_ns, time_ns, payload FROM outbox WHERE "
_INSERT: Final = (
    "INSERT INTO outbox(seq, priority, topic, retain, expiry_s, boot, mono_ns, time_ns, payload) "
    "VALUES(?,?,?,?,?,?,?,?,?)"
)
_logger = logging.getLogger(__name__)


class Outbox:
    """Numbered messages on disk. Owned by one thread: `open` it in the thread that uses it.

    Every number given out is, at every moment and after every crash, either pending, acknowledged, or named in a gap
    record; and none is given out twice. Every method that writes is a transaction of its own, or part of one opened
    with `transaction`; after a StorageError nothing of it was written.

    Args:
        path: The database file.
        settings: Its bounds.
        device_id: Kept for the record.
        boot_id: The kernel's id of this boot.
        encode_gap: Gives the payload of a gap record for a generation, a sequence number and its content.
        now: The clock.
    """

    def __init__(
        self,
        path: Path,
        settings: OutboxSettings,
        *,
        device_id: str,
        boot_id: str,
        encode_gap: Callable[[str, int, Gap], bytes],
        now: Callable[[], Stamp],
    ) -> None:
        self.gen = ""
        self.rows = 0
        self.evicted = 0
        self.declared_lost = 0
        self._settings = settings
        self._most_pages = settings.max_bytes // PAGE_BYTES
        # what is left above takes gap records and the next commit
        self._watermark = self._most_pages - max(32, self._most_pages // 50)
        self._db = Database(path, _SCHEMA, self._most_pages)
        self._device_id, self._boot_id = device_id, boot_id
        self._encode_gap = encode_gap
        self._now = now
        self._boot = 0
        self._last_seq = 0
        self._before = (0, 0, 0, 0)

    @property
    def is_open(self) -> bool:
        """Whether the store can be used."""
        return self._db.is_open

    @property
    def last_seq(self) -> int:
        """The newest number given out."""
        return self._last_seq

    @property
    def commits(self) -> int:
        """How many transactions were committed."""
        return self._db.commits

    @property
    def quarantined(self) -> Path | None:
        """Where a corrupt file was put when the store was opened; None when it was sound."""
        return self._db.quarantined

    def open(self) -> None:
        """Open the store, and make it when there is none.

        Reads the whole file once to count its rows (512 MB take some seconds on an SD card), so that a broken file is
        found now. One that is corrupt is put aside (see `quarantined`) and a new generation begins.

        Raises:
            StorageError: The directory cannot be written to, the disk is full, or another process has the file.
        """
        self._db.open()
        try:
            self._begin()
        except StorageError:
            # not half open: without generation and last number the next append would give out numbers again
            self._db.close()
            raise

    def _begin(self) -> None:
        with self.transaction():
            self._db.change("INSERT OR IGNORE INTO meta VALUES('gen', ?)", os.urandom(8).hex())
            self._db.change("INSERT OR REPLACE INTO meta VALUES('device', ?)", self._device_id)
            self._db.change("INSERT OR IGNORE INTO boot(id) VALUES(?)", self._boot_id)
            self._boot = self._db.rows("SELECT number FROM boot WHERE id=?", self._boot_id)[0][0]
            self._db.change("DELETE FROM boot WHERE number<>? AND number NOT IN (SELECT boot FROM outbox)", self._boot)
        self.gen = self._db.rows("SELECT value FROM meta WHERE key='gen'")[0][0]
        self.rows = self._db.rows("SELECT count(*) FROM outbox")[0][0]
        last = self._db.rows("SELECT seq FROM sqlite_sequence WHERE name='outbox'")
        self._last_seq = last[0][0] if last else 0

    def close(self) -> None:
        """Close the store; safe to call twice."""
        self._db.close()

    def transaction(self) -> AbstractContextManager[None]:
        """Make everything inside one commit: all of it survives a power cut once this returns, or none of it.

        Raises:
            StorageError: Nothing was written: the disk is full, read-only or broken. Unless it was full the store is
                closed; `open` it again.
        """
        if not self._db.in_transaction:
            self._before = (self._last_seq, self.rows, self.evicted, self.declared_lost)
        return self._db.transaction(self._undo)

    def append(self, drafts: Sequence[Draft], spare: Collection[int] = ()) -> int:
        """Number and keep messages; evict others when there is no room for them.

        Gives how many of `drafts`, from the first, were dealt with: fewer than all when they are too large for one
        commit, so call again with the rest. One that cannot be encoded or is larger than a broker takes is declared
        lost.

        Args:
            drafts: The messages.
            spare: Numbers that the broker has or may have: none of them is evicted.
        """
        most_bytes = max(self._most_pages // 8 * PAGE_BYTES, MOST_PAYLOAD_BYTES)
        done, size, rows = 0, 0, []
        with self.transaction():
            for draft in drafts:
                payload, reason = self._encoded(draft)
                size += len(payload)
                if done and size > most_bytes:
                    break
                done += 1
                if reason:
                    self.declare_lost(1, reason)
                else:
                    self._last_seq += 1
                    rows.append((self._last_seq, *self._columns(draft), payload))
            self._make_room(size, spare)
            self._db.change_many(_INSERT, rows)
            self.rows += len(rows)
        return done

    def pending(self, after_seq: int, limit: int, without_topics: Collection[str] = ()) -> list[Row]:
        """Give up to `limit` unacknowledged messages with numbers above `after_seq`, in the order of their numbers."""
        unless = f"AND topic NOT IN ({','.join('?' * len(without_topics))}) " if without_topics else ""
        query = f"{_SELECT} seq>? {unless}ORDER BY seq LIMIT ?"
        return [
            Row(seq, topic, bool(retain), expiry_s, boot == self._boot, mono_ns, time_ns, payload)
            for seq, topic, retain, expiry_s, boot, mono_ns, time_ns, payload in self._db.rows(
                query, after_seq, *without_topics, limit
            )
        ]

    def oldest(self) -> Row | None:
        """Give the oldest message; None when there is none."""
        rows = self.pending(0, 1)
        return rows[0] if rows else None

    def used_bytes(self) -> int:
        """Give the bytes of the file that hold something; the file itself does not shrink, it uses its pages again."""
        return self._db.used_pages() * PAGE_BYTES

    def acknowledge(self, seqs: Collection[int]) -> None:
        """Forget messages that the broker has."""
        with self.transaction():
            self._delete(seqs)

    def seal(self, seqs: Sequence[int]) -> None:
        """Note that gap records are about to be sent, so that nothing more is put into them."""
        with self.transaction():
            self._db.change_many("UPDATE gap SET sealed=1 WHERE seq=?", [(seq,) for seq in seqs])

    def declare_lost(self, count: int, reason: str) -> None:
        """Give numbers to messages that were lost before they had one, and name them in a gap record."""
        with self.transaction():
            first = self._last_seq + 1
            self._last_seq += count
            self.declared_lost += count
            self._record_gap([(first, self._last_seq)], reason)

    def probe(self) -> None:
        """Write something small, to learn whether a disk that failed works again."""
        with self.transaction():
            self._db.change("INSERT OR REPLACE INTO meta VALUES('probe', ?)", str(self._now().mono_ns))

    def evict(self, *, spare: Collection[int] = (), is_clock_set: bool = True) -> int:
        """Drop messages over the bounds, lowest priority first, then oldest, and name them in a gap record.

        Gives how many; at most `EVICT_ROWS` for each bound: call again until it gives 0.

        Args:
            spare: Numbers that the broker has or may have.
            is_clock_set: UTC can be trusted: without it only messages of this boot have an age.
        """
        too_old = self._too_old(spare, is_clock_set=is_clock_set)
        over = self.rows - len(too_old) - self._settings.max_rows
        if not too_old and over <= 0 and self._db.used_pages() <= self._watermark:
            return 0
        with self.transaction():
            dropped = self._drop(too_old, "age")
            if over > 0:
                dropped += self._drop(self._victims(min(over, EVICT_ROWS), spare), "rows")
            if self._db.used_pages() > self._watermark:
                dropped += self._drop(self._victims(EVICT_ROWS, spare), "bytes")
        return dropped

    def give_up(self, seqs: Sequence[int], reason: str) -> int:
        """Delete messages that the broker will never take, and name them in a gap record; give how many."""
        with self.transaction():
            return self._drop([seq for seq in seqs if any(row.seq == seq for row in self.pending(seq - 1, 1))], reason)

    def _undo(self) -> None:
        self._last_seq, self.rows, self.evicted, self.declared_lost = self._before

    def _encoded(self, draft: Draft) -> tuple[bytes, str]:
        """Give the payload, or else why there is none."""
        try:
            payload = draft.encode(self.gen, self._last_seq + 1)
        except ValueError:
            _logger.exception("a message for %s cannot be encoded and is lost", draft.topic)
            return b"", "invalid"
        if len(payload) > MOST_PAYLOAD_BYTES:
            _logger.error("a message for %s has %d bytes, too many, and is lost", draft.topic, len(payload))
            return b"", "too_large"
        return payload, ""

    def _columns(self, draft: Draft) -> tuple[int, str, int, int | None, int, int, int]:
        retain = int(draft.retain)
        return int(draft.priority), draft.topic, retain, draft.expiry_s, self._boot, draft.mono_ns, draft.time_ns

    def _make_room(self, size: int, spare: Collection[int]) -> None:
        needed = size * 5 // 4 // PAGE_BYTES + 8  # a page is seldom quite full, and inner pages split
        while self._db.used_pages() + needed > self._most_pages:
            if not self._drop(self._victims(EVICT_ROWS, spare), "bytes"):
                return  # SQLite itself says that it is full

    def _too_old(self, spare: Collection[int], *, is_clock_set: bool) -> list[int]:
        now = self._now()
        mono_before = now.mono_ns - int(self._settings.max_age * 1e9)
        time_before = nanoseconds(now.time) - int(self._settings.max_age * 1e9)

        def is_old(boot: int, mono_ns: int, time_ns: int) -> bool:
            return mono_ns < mono_before if boot == self._boot else is_clock_set and time_ns < time_before

        # numbers rise with age, so the first that is young ends the search; mostly it is the very first
        old: list[int] = []
        query = "SELECT seq, boot, mono_ns, time_ns FROM outbox WHERE priority>0 ORDER BY seq LIMIT ?"
        for limit in (1, EVICT_ROWS):
            old = []
            for seq, *when in self._db.rows(query, limit):
                if not is_old(*when):
                    break
                old.append(seq)
            if not old:
                break
        return [seq for seq in old if seq not in spare]

    def _victims(self, count: int, spare: Collection[int]) -> list[int]:
        for query in (
            "SELECT seq FROM outbox WHERE priority>1 ORDER BY priority DESC, seq LIMIT ?",
            "SELECT seq FROM outbox WHERE priority=1 ORDER BY seq LIMIT ?",
        ):
            found = [seq for (seq,) in self._db.rows(query, count + len(spare)) if seq not in spare]
            if found:
                return found[:count]
        return []

    def _drop(self, seqs: Sequence[int], reason: str) -> int:
        if seqs:
            self._delete(seqs)
            self.evicted += len(seqs)
            self._record_gap(gaps.runs_of(seqs), reason)
        return len(seqs)

    def _delete(self, seqs: Collection[int]) -> None:
        for first, last in gaps.runs_of(seqs):
            self.rows -= self._db.change("DELETE FROM outbox WHERE seq BETWEEN ? AND ?", first, last)
            self._db.change("DELETE FROM gap WHERE seq BETWEEN ? AND ?", first, last)

    def _record_gap(self, runs: list[Run], reason: str) -> None:
        """Name numbers in the record of this reason that was not sent yet, or in a new one."""
        query = "SELECT seq, runs, count FROM gap WHERE reason=? AND sealed=0 ORDER BY seq DESC LIMIT 1"
        count = gaps.count(runs)
        for seq, before, before_count in self._db.rows(query, reason):
            merged = gaps.merge([*_parsed(before), *runs])
            if len(merged) <= MOST_RUNS:
                self._write_gap(seq, merged, before_count + count, reason)
                return
        self._last_seq += 1
        self._write_gap(self._last_seq, runs, count, reason)
        self._join_oldest(reason)

    def _write_gap(self, seq: int, runs: list[Run], count: int, reason: str) -> None:
        exact = tuple(runs) if gaps.count(runs) == count else ()
        payload = self._encode_gap(self.gen, seq, Gap(count, runs[0][0], runs[-1][1], exact, reason))
        text = json.dumps(runs, separators=(",", ":"))
        self._db.change("INSERT OR REPLACE INTO gap VALUES(?,?,?,?,0)", seq, reason, text, count)
        if self._db.change("UPDATE outbox SET payload=? WHERE seq=?", payload, seq):
            # no row was inserted, so AUTOINCREMENT has not seen the numbers that were given out with this record
            self._db.change("UPDATE sqlite_sequence SET seq=? WHERE name='outbox'", self._last_seq)
            return
        now = self._now()
        self._db.change(_INSERT, seq, 0, topics.GAP, 0, None, self._boot, now.mono_ns, nanoseconds(now.time), payload)
        self.rows += 1

    def _join_oldest(self, reason: str) -> None:
        """Bound the records: beyond `MOST_OPEN_GAPS` the oldest two become one that says how many, not which."""
        query = "SELECT seq, runs, count FROM gap WHERE reason=? AND sealed=0 ORDER BY seq LIMIT ?"
        records = self._db.rows(query, reason, MOST_OPEN_GAPS + 1)
        if len(records) <= MOST_OPEN_GAPS:
            return
        (first, runs, count), (second, more, more_count) = records[:2]
        # the number of the record that goes is itself one that will never arrive
        merged = gaps.merge([*_parsed(runs), *_parsed(more), (first, first)])
        if len(merged) > MOST_RUNS:
            merged = [(merged[0][0], merged[-1][1])]
        self._delete([first])
        self._write_gap(second, merged, count + more_count + 1, reason)


def _parsed(runs: str) -> list[Run]:
    return [(first, last) for first, last in json.loads(runs)]
