"""What goes when the outbox is over its bounds: first what the broker has, then details, then the oldest."""

from collections.abc import Callable, Collection, Sequence
from typing import Final

from appliance.config import OutboxSettings
from appliance.core.clock import Stamp
from appliance.messaging import gaps
from appliance.messaging.boots import Boots
from appliance.messaging.database import Database
from appliance.messaging.gaps import Run
from appliance.messaging.kept import MOST_RUNS, SETTLED, Kept, KeptRun
from appliance.messaging.losses import Losses
from appliance.messaging.numbers import Numbers
from appliance.messaging.shelf import Shelf

EVICT_ROWS: Final = 200  # per transaction: on a nearly full disk a large delete itself does not fit into the WAL
PURGE_ROWS: Final = 1000  # of those that the broker has, per transaction: the more at once, the fewer pages are written
PARTS: Final = 24  # the replay window is dropped in so many parts


class Bounds:
    """Deletes rows so that the outbox stays within its bounds. Used inside the outbox's transactions, but for `look`.

    Args:
        settings: The bounds.
        db: Tells how full the file is.
        shelf: The rows.
        kept: Which of them the broker has.
        losses: Names those that it does not have.
        numbers: Is told that rows went.
        boots: Tells how old a moment is, whatever UTC was set to.
        now: The clock.

    Attributes:
        evicted: Rows that were deleted before the broker had them.
    """

    def __init__(
        self,
        settings: OutboxSettings,
        *,
        db: Database,
        shelf: Shelf,
        kept: Kept,
        losses: Losses,
        numbers: Numbers,
        boots: Boots,
        now: Callable[[], Stamp],
    ) -> None:
        self.evicted = 0
        self._settings, self._db, self._shelf, self._kept = settings, db, shelf, kept
        self._losses, self._numbers, self._boots, self._now = losses, numbers, boots, now
        self._room = 0  # pages of which we know that they are free

    def has_excess(self, *, is_tight: bool = False) -> bool:
        """Tell whether rows have to go; reads no more than the oldest."""
        return (
            self._rows_over() > 0
            or self._db.used_pages() > self._watermark()
            or bool(self._too_old(()))
            or bool(self._purgeable(is_tight=is_tight))
        )

    def shrink(self, spare: Collection[int], *, is_tight: bool = False) -> int:
        """Delete some of the rows that have to go; give how many."""
        deleted = self.drop(self._too_old(spare), "age")
        if (over := self._rows_over()) > 0:
            deleted += self._give_way(min(over, EVICT_ROWS), "rows", spare)
        if self._db.used_pages() > self._watermark():
            deleted += self._give_way(self._step(), "bytes", spare)
        return deleted + self._purge(self._purgeable(is_tight=is_tight))

    def make_room(self, size: int, spare: Collection[int]) -> None:
        """See to it that so many bytes of payload fit in, by deleting others."""
        needed = size * 5 // 4 // self._db.page_bytes + 8  # a page is seldom quite full, and inner pages split
        self._room -= needed
        while self._room < 0:
            self._room = self._db.most_pages - self._db.used_pages() - needed
            if self._room < 0 and not self._give_way(self._step(), "bytes", spare):
                return  # SQLite itself says that it is full

    def forget_room(self) -> None:
        """Note that nobody knows how many pages are free."""
        self._room = 0

    def _watermark(self) -> int:
        # what is left above takes gap records and the next commit
        return self._db.most_pages - max(32, self._db.most_pages // 50)

    def _step(self) -> int:
        # of a small store no more than a tenth at a time
        return max(1, min(EVICT_ROWS, (self._shelf.waiting + self._kept.rows) // 10))

    def _rows_over(self) -> int:
        return self._shelf.waiting + self._kept.rows - self._settings.max_rows

    def _give_way(self, count: int, reason: str, spare: Collection[int]) -> int:
        """Delete what the broker has; only when there is none of it, what it does not have."""
        if self._kept.rows:
            return self._purge(_cut(sorted(self._kept, key=lambda run: (run.boot != SETTLED, run.first)), count))
        return self.drop(self._victims(count, spare), reason)

    def _purge(self, runs: Sequence[Run]) -> int:
        if runs:
            self._shelf.delete(runs)
            self._numbers.is_stale = True
        return gaps.count(runs)

    def _purgeable(self, *, is_tight: bool) -> list[Run]:
        """Give what is kept for too long, or beyond its share; nothing before there is enough to be worth a commit."""
        if is_tight:
            return _cut(list(self._kept), EVICT_ROWS)
        window_ns = int(self._settings.replay_window * (1 + 1 / PARTS) * 1e9)
        now_ns = self._now().mono_ns
        due = [run for run in self._kept if self._is_older(window_ns, run, now_ns)]
        rows = sum(run.last - run.first + 1 for run in due)
        if rows >= PURGE_ROWS:
            return _cut(due, PURGE_ROWS)
        allowed = self._allowed()
        step = max(1, min(PURGE_ROWS, allowed // 10))
        over = self._kept.rows - allowed
        if over < step and len(self._kept) <= MOST_RUNS:
            return []
        return _cut([*due, *(run for run in self._kept if run not in due)], min(PURGE_ROWS, max(step, over)))

    def _allowed(self) -> int:
        """Give how many rows may be kept: a share of all rows, and of the bytes as far as they are alike."""
        rows = int(self._settings.replay_share * self._settings.max_rows)
        if self._kept.rows == 0:
            return rows
        pages = self._db.used_pages() * self._kept.rows / (self._shelf.waiting + self._kept.rows)
        most_pages = self._settings.replay_share * self._db.most_pages
        return min(rows, int(self._kept.rows * most_pages / pages))

    def _is_older(self, age_ns: int, run: KeptRun, now_ns: int) -> bool:
        return run.boot == SETTLED or self._boots.age(run.boot, run.mono_ns, now_ns) > age_ns

    def _too_old(self, spare: Collection[int]) -> list[int]:
        now_ns, most_ns = self._now().mono_ns, int(self._settings.max_age * 1e9)
        # numbers rise with age, so the first that is young ends the search; mostly it is the very first
        old: list[int] = []
        for limit in (1, EVICT_ROWS):
            old = []
            for seq, boot, mono_ns in self._shelf.search("seq, boot, mono_ns", 0, limit, "AND priority>0"):
                if self._boots.age(boot, mono_ns, now_ns) <= most_ns:
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

    def drop(self, seqs: Sequence[int], reason: str) -> int:
        """Delete messages that wait, and name them in a gap record; give how many."""
        if seqs:
            runs = gaps.runs_of(seqs)
            self._shelf.delete(runs)
            self._losses.forget(seqs)
            self._numbers.is_stale = True
            self.evicted += len(seqs)
            self._losses.record(runs, reason)
        return len(seqs)


def most_bytes(settings: OutboxSettings) -> int:
    """Give how large the file may be: below the quota, for log and ballast have to fit as well."""
    return settings.max_bytes // 16 * 15


def _cut(runs: Sequence[KeptRun], count: int) -> list[Run]:
    """Give the first `count` rows of runs, as runs."""
    cut: list[Run] = []
    for run in runs:
        if count <= 0:
            break
        last = min(run.last, run.first + count - 1)
        cut.append((run.first, last))
        count -= last - run.first + 1
    return sorted(cut)
