"""Which rows the broker has and the store keeps for a while, so that they can be sent again.

A row is not touched when it is acknowledged: that would write its page a second time. A run of them is one small row
of a table of its own, of which only the last is written, and rows are deleted many at a time: that frees whole pages.
"""

from bisect import bisect_right
from collections.abc import Iterator
from typing import Final, NamedTuple

from appliance.messaging.database import Database
from appliance.messaging.gaps import Run

MOST_RUNS: Final = 1000  # beyond, the oldest run is no longer kept
LAST_KEY: Final = (1 << 63) - 1
SETTLED: Final = 0  # in the place of a boot's number: those rows are needed no longer, and wait to be deleted


class KeptRun(NamedTuple):
    """Rows with consecutive keys that the broker has.

    Attributes:
        first: The lowest key.
        last: The highest key.
        boot: Number of the boot in which the first of them was noted; `SETTLED`: they are needed no longer.
        mono_ns: CLOCK_BOOTTIME then.
        time_ns: UTC then.
    """

    first: int
    last: int
    boot: int
    mono_ns: int
    time_ns: int


class Kept:
    """Runs of rows that the broker has, in the order of their keys. Owned by the thread that owns the outbox.

    Args:
        db: Where they are kept; None: in memory only.
        part_ns: A run grows no longer than this before the next begins, so that it can be dropped piece by piece.

    Attributes:
        rows: How many rows there are in all runs.
    """

    def __init__(self, db: Database | None, part_ns: int) -> None:
        self.rows = 0
        self._db, self._part_ns = db, part_ns
        self._runs: list[KeptRun] = []

    def __iter__(self) -> Iterator[KeptRun]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)

    def load(self) -> None:
        """Read what is on disk."""
        if self._db is not None:
            found = self._db.rows("SELECT first, last, boot, mono_ns, time_ns FROM kept ORDER BY first")
            self.restore([KeptRun(*row) for row in found])

    def snapshot(self) -> list[KeptRun]:
        """Give what `restore` takes."""
        return self._runs.copy()

    def restore(self, runs: list[KeptRun]) -> None:
        """Go back to a snapshot; what is on disk is not changed."""
        self._runs = runs
        self.rows = sum(run.last - run.first + 1 for run in runs)

    def clear(self) -> None:
        """Forget all runs that are kept in memory only."""
        self.restore([])

    def add(self, run: KeptRun) -> None:
        """Note that the broker has rows, of which none is noted yet."""
        at = bisect_right(self._runs, run.first, key=_first)
        self.rows += run.last - run.first + 1
        if at < len(self._runs) and self._is_one(run, self._runs[at]):
            run = run._replace(last=self._runs[at].last)
            self._exchange(at, [])
        if at and self._is_one(self._runs[at - 1], run):
            at -= 1
            run = self._runs[at]._replace(last=run.last)
            self._exchange(at, [run])
        else:
            self._runs.insert(at, run)
            self._write(run)

    def carve(self, first: int, last: int) -> list[Run]:
        """Take keys out of the runs; give those that were in one."""
        at = bisect_right(self._runs, first, key=_first)
        if at and self._runs[at - 1].last >= first:
            at -= 1
        taken: list[Run] = []
        while at < len(self._runs) and self._runs[at].first <= last:
            run = self._runs[at]
            low, high = max(first, run.first), min(last, run.last)
            taken.append((low, high))
            self.rows -= high - low + 1
            left = [] if run.first == low else [run._replace(last=low - 1)]
            if high < run.last:
                left.append(run._replace(first=high + 1))
            self._exchange(at, left)
            at += len(left)
        return taken

    def between(self, first: int, last: int = LAST_KEY) -> Iterator[Run]:
        """Give the keys from `first` to `last` that are in no run, as runs."""
        at = bisect_right(self._runs, first, key=_first)
        if at and self._runs[at - 1].last >= first:
            first = self._runs[at - 1].last + 1
        for run in self._runs[at:]:
            if run.first > last:
                break
            if run.first > first:
                yield first, run.first - 1
            first = run.last + 1
        if first <= last:
            yield first, last

    def _is_one(self, before: KeptRun, after: KeptRun) -> bool:
        return (
            before.last + 1 == after.first
            and before.boot == after.boot
            and abs(after.mono_ns - before.mono_ns) <= self._part_ns
        )

    def _exchange(self, at: int, runs: list[KeptRun]) -> None:
        gone = self._runs[at].first
        self._runs[at : at + 1] = runs
        if self._db is not None and all(run.first != gone for run in runs):
            self._db.change("DELETE FROM kept WHERE first=?", gone)
        for run in runs:
            self._write(run)

    def _write(self, run: KeptRun) -> None:
        if self._db is not None:
            self._db.change("INSERT OR REPLACE INTO kept VALUES(?,?,?,?,?)", *run)


def _first(run: KeptRun) -> int:
    return run.first
