"""The store that keeps numbered messages until the broker has them, and for a while after."""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from appliance.config import OutboxSettings
from appliance.core.clock import Stamp
from appliance.core.errors import StorageError
from appliance.messaging import header, topics
from appliance.messaging.ballast import Ballast, Relief
from appliance.messaging.boots import Boots
from appliance.messaging.bounds import PARTS, Bounds, most_bytes
from appliance.messaging.damage import Damage
from appliance.messaging.database import PAGE_BYTES, SMALL_PAGE_BYTES, Database
from appliance.messaging.deliveries import Deliveries
from appliance.messaging.gaps import Gap
from appliance.messaging.kept import Kept
from appliance.messaging.losses import Losses
from appliance.messaging.migration import carry_over
from appliance.messaging.numbers import Numbers
from appliance.messaging.payloads import nanoseconds
from appliance.messaging.rescue import Rescue
from appliance.messaging.rows import Draft, Row, seq_of
from appliance.messaging.shelf import Shelf
from appliance.messaging.stamping import Offset

MOST_PAYLOAD_BYTES: Final = 128 << 10  # AWS IoT Core, quotas: the smallest limit of the large brokers

_logger = logging.getLogger(__name__)


class Outbox:
    """Numbered messages on disk. Owned by one thread: `open` it in the thread that uses it.

    Every number given out is, at every moment and after every crash, either pending, acknowledged, or named in a gap
    record; and none is given out twice. Every method that writes is a transaction of its own, or part of one opened
    with `transaction`; after a StorageError nothing of it was written.

    What is acknowledged is kept for the replay window, and gives way to what is not.

    Args:
        path: The database file.
        settings: Its bounds.
        device_id: Kept for the record.
        boot_id: The kernel's id of this boot.
        encode_gap: Gives the payload of a gap record for a generation, a sequence number and its content.
        now: The clock.
        is_end_to_end: What the broker has waits nevertheless until a subscriber said that it is there (`arrived`).

    Attributes:
        declared_lost: Messages that never had a row, since the start.
        ended_well: It was closed in good order before it was opened now.
        relief: What helps when the disk is full.
        deliveries: What the broker has.
        rescued: What became of a corrupt outbox.
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
        is_end_to_end: bool = False,
    ) -> None:
        self.declared_lost = 0
        self.ended_well = True
        self._settings = settings
        self._path = path
        self._device_id, self._boot_id = device_id, boot_id
        self._now = now
        # where each message has its own commit, and a commit is a page, smaller pages wear the card out less
        page_bytes = SMALL_PAGE_BYTES if settings.rows_per_commit == 1 else PAGE_BYTES
        self._db = Database(path, Database.scripts(), most_bytes(settings), page_bytes)
        self.relief = Relief(self._db, Ballast(path.with_suffix(".ballast"), settings.max_bytes))
        self._numbers = Numbers(self._db)
        self._kept = Kept(self._db, int(settings.replay_window * 1e9) // PARTS)
        self._boots = Boots(self._db)
        self._shelf = Shelf(self._db, self._kept, self._boots, now)
        self._losses = Losses(
            self._db,
            self._numbers,
            encode=encode_gap,
            insert=self._insert_gap,
            rewrite=self._shelf.rewrite,
            delete=lambda key: self._shelf.delete([(key, key)]),
        )
        self._bounds = Bounds(
            settings,
            db=self._db,
            shelf=self._shelf,
            kept=self._kept,
            losses=self._losses,
            numbers=self._numbers,
            boots=self._boots,
            now=now,
        )

        self._damage = Damage(self._shelf, self._losses, self._numbers, self.transaction)
        self.deliveries = Deliveries(
            self._db,
            numbers=self._numbers,
            shelf=self._shelf,
            losses=self._losses,
            transaction=self.transaction,
            is_kept=settings.replay_window > 0,
            is_end_to_end=is_end_to_end,
        )
        self.rescued = Rescue(
            path, db=self._db, numbers=self._numbers, shelf=self._shelf, losses=self._losses, boots=self._boots
        )

    @property
    def is_open(self) -> bool:
        """Whether the store can be used."""
        return self._db.is_open

    @property
    def gen(self) -> str:
        """The generation that new messages belong to; empty before the store was opened."""
        return self._numbers.gen

    @property
    def last_seq(self) -> int:
        """The newest number given out."""
        return seq_of(self._numbers.last_key)

    @property
    def last_key(self) -> int:
        """The key of the newest number, see `rows.key_of`: higher than that of any other message."""
        return self._numbers.last_key

    @property
    def rows(self) -> int:
        """How many messages are not acknowledged."""
        return self._shelf.waiting

    @property
    def offset(self) -> Offset | None:
        """How UTC stands to CLOCK_BOOTTIME in this boot, as it was kept last; None: nobody has kept it."""
        return self._boots.offset

    @property
    def evicted(self) -> int:
        """How many of them a bound pushed out, since the start."""
        return self._bounds.evicted

    @property
    def kept(self) -> int:
        """How many messages are kept that the broker has."""
        return self._kept.rows

    @property
    def damaged(self) -> int:
        """How many messages were given up since the start, for they were not any more what was written."""
        return self._damage.rows

    @property
    def commits(self) -> int:
        """How many transactions were committed."""
        return self._db.commits

    @property
    def quarantined(self) -> Path | None:
        """Where a corrupt file was put when the store was opened; None when it was sound."""
        return self._db.quarantined

    def open(self, beat: Callable[[], None] = lambda: None) -> None:
        """Open the store, and make it when there is none; bring an older one up to date.

        One that is corrupt is put aside (see `quarantined`) and a new generation begins; `rescue` brings over what can
        be read of it. One that was not closed in good order gets a gap record: what had no number yet is lost, and
        nobody knows how much it was.

        Args:
            beat: Called now and then while that takes long.

        Raises:
            StorageError: The directory cannot be written to, the disk is full, or another process has the file.
        """
        before = header.first_page(self._path)
        self._db.open()
        try:
            carry_over(self._db, beat)
            self._begin(beat)
            header.keep(self._db, self.gen, self._numbers.place, before)
        except StorageError:
            # not half open: without generation and last number the next append would give out numbers again
            self.rescued.close()
            self._db.close()
            raise

    def close(self, *, is_clean: bool = True) -> None:
        """Close the store; safe to call twice.

        Args:
            is_clean: Everything that came in is in it: the next start has nothing to declare.
        """
        if self._db.is_open and is_clean:
            # when it fails, the next start declares more than there is
            with suppress(StorageError), self.transaction():
                self._db.change("UPDATE meta SET value='clean' WHERE key='end'")
        self.rescued.close()
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make everything inside one commit: all of it survives a power cut once this returns, or none of it.

        Raises:
            StorageError: Nothing was written: the disk is full, read-only or broken. Unless it was full the store is
                closed; `open` it again.
        """
        if self._db.in_transaction:
            yield
            return
        counts = self._shelf.waiting, self._bounds.evicted, self.declared_lost
        last, waiting = self._numbers.snapshot(), self._losses.waiting.copy()
        kept, taken = self._kept.snapshot(), self._shelf.taken.snapshot()

        def undo() -> None:
            self._shelf.waiting, self._bounds.evicted, self.declared_lost = counts
            self._losses.waiting = waiting
            self._numbers.restore(last)
            self._kept.restore(kept)
            self._shelf.taken.restore(taken)
            self._bounds.forget_room()

        with self._db.transaction(undo):
            yield
            self._numbers.write()

    def append(self, drafts: Sequence[Draft], spare: Collection[int] = ()) -> int:
        """Number and keep messages; evict others when there is no room for them.

        Gives how many of `drafts`, from the first, were dealt with: fewer than all when they are too large for one
        commit, so call again with the rest. One that cannot be encoded or is larger than a broker takes is declared
        lost.

        Args:
            drafts: The messages.
            spare: Keys that the broker has or may have: none of them is evicted.
        """
        most = max(self._db.most_pages // 8 * self._db.page_bytes, MOST_PAYLOAD_BYTES)
        done, size = 0, 0
        rows: list[tuple[Any, ...]] = []
        with self.transaction():
            for draft in drafts:
                payload, reason = self._encoded(draft)
                size += len(payload)
                if done and size > most:
                    break
                done += 1
                if reason:
                    self.declare_lost(1, reason)
                else:
                    rows.append(self._shelf.numbered(self._numbers.take(), draft, payload))
            self._bounds.make_room(size, spare)
            self._shelf.insert(rows)
        return done

    def pending(self, after_seq: int, limit: int, without_topics: Collection[str] = ()) -> list[Row]:
        """Give up to `limit` unacknowledged messages with keys above `after_seq`, in the order of their keys."""
        return self._damage.sound(lambda: self._shelf.pending(after_seq, limit, without_topics))

    def urgent(self, limit: int, without_topics: Collection[str] = ()) -> list[Row]:
        """Give up to `limit` unacknowledged gap records, in their order: what is to be sent before all else."""
        if not self._losses.waiting or topics.GAP in without_topics:
            return []
        waiting = [key for key in sorted(self._losses.waiting) if any(self._shelf.taken.between(key, key))]
        return self._damage.sound(lambda: self._shelf.some(waiting[:limit]))

    def oldest(self) -> Row | None:
        """Give the oldest message that waits; None when there is none."""
        rows = self.pending(0, 1)
        return rows[0] if rows else None

    def used_bytes(self) -> int:
        """Give the bytes of the file that hold something; the file itself does not shrink, it uses its pages again."""
        return self._db.used_pages() * self._db.page_bytes

    def acknowledge(self, seqs: Collection[int]) -> None:
        """Note messages that the broker has; see `Deliveries`."""
        self.deliveries.acknowledge(seqs)

    def recall(self, gen: str, first: int, last: int) -> int:
        """Have messages be sent again that the broker had and that are kept; give how many; see `Deliveries`."""
        return self.deliveries.recall(gen, first, last)

    def rescue(self) -> int | None:
        """Bring over some rows of a corrupt outbox that this one took the place of; `rescued` tells how far that is.

        Gives the lowest key of them, None when there were none.

        Raises:
            StorageError: Nothing was written, or the corrupt file cannot be read.
        """
        if not self.rescued.is_due:
            return None
        try:
            with self.transaction():
                lowest = self.rescued.step()
        except StorageError:
            self.rescued.close()
            raise
        self.rescued.committed()
        return lowest

    def seal(self, seqs: Sequence[int]) -> None:
        """Note that gap records are about to be sent, so that nothing more is put into them."""
        if not self._losses.are_sealed(seqs):
            with self.transaction():
                self._losses.seal(seqs)

    def declare_lost(self, count: int, reason: str) -> None:
        """Give numbers to messages that were lost before they had one, and name them in a gap record."""
        with self.transaction():
            last = self._numbers.take(count)
            self.declared_lost += count
            self._losses.record([(last - count + 1, last)], reason)

    def keep_offset(self, offset: Offset) -> None:
        """Keep how UTC stands to CLOCK_BOOTTIME in this boot: what was queued in it is dated by that from now on."""
        with self.transaction():
            self._boots.keep(offset)

    def probe(self) -> None:
        """Write something small, to learn whether a disk that failed works again."""
        with self.transaction():
            self._db.change("INSERT OR REPLACE INTO meta VALUES('probe', ?)", str(self._now().mono_ns))

    def evict(self, *, spare: Collection[int] = ()) -> int:
        """Delete messages over the bounds: first what the broker has, then lowest priority, then oldest.

        Those that it does not have are named in a gap record. Gives how many were deleted, `EVICT_ROWS` or so for each
        bound: call again until it gives 0.

        Args:
            spare: Keys that the broker has or may have, beside those that are acknowledged.
        """
        if not self._bounds.has_excess(is_tight=self.relief.is_tight):
            return 0
        with self.transaction():
            return self._bounds.shrink(spare, is_tight=self.relief.is_tight)

    def give_up(self, seqs: Sequence[int], reason: str) -> int:
        """Delete messages that the broker will never take, and name them in a gap record; give how many.

        What a gap record among them names is named in another one.
        """
        waiting = [seq for seq in seqs if any(row.seq == seq for row in self.pending(seq - 1, 1))]
        with self.transaction():
            others = [seq for seq in waiting if not self._losses.renew(seq)]
            return len(waiting) - len(others) + self._bounds.drop(others, reason)

    def _begin(self, beat: Callable[[], None]) -> None:
        is_new = not self._db.rows("SELECT 1 FROM generation")
        place = self.rescued.find(beat) if is_new else 0
        with self.transaction():
            self._numbers.load(place)
            self._boots.load(self._boot_id)
            self.rescued.resume(beat)
            self._shelf.load()
            self._bounds.forget_room()
            self._db.change("INSERT OR REPLACE INTO meta VALUES('device', ?)", self._device_id)
            records = self._db.rows("SELECT seq FROM outbox WHERE priority=0")
            self._losses.waiting = {key for (key,) in records if any(self._kept.between(key, key))}
            end = self._db.rows("SELECT value FROM meta WHERE key='end'")
            self._db.change("INSERT OR REPLACE INTO meta VALUES('end', 'none')")
            self.ended_well = end != [("none",)]
            if not self.ended_well:
                self._losses.note_restart(self._settings.seconds_per_commit)

    def _encoded(self, draft: Draft) -> tuple[bytes, str]:
        """Give the payload, or else why there is none."""
        try:
            payload = draft.encode(self.gen, self.last_seq + 1)
        except ValueError:
            _logger.exception("a message for %s cannot be encoded and is lost", draft.topic)
            return b"", "invalid"
        if len(payload) > MOST_PAYLOAD_BYTES:
            _logger.error("a message for %s has %d bytes, too many, and is lost", draft.topic, len(payload))
            return b"", "too_large"
        return payload, ""

    def _insert_gap(self, key: int, payload: bytes) -> None:
        now = self._now()
        draft = Draft(topics.GAP, lambda _gen, _seq: payload, nanoseconds(now.time), now.mono_ns, priority=0)
        self._shelf.insert([self._shelf.numbered(key, draft, payload)])
