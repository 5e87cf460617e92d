"""One SQLite file that survives power cuts: the only module that speaks to SQLite.

One connection in one thread, exclusive, so that nothing but this process can write and SQLite needs no shared memory.
WAL with ``synchronous=FULL``: what a transaction committed survives a power cut. NORMAL would not: it syncs only at
checkpoints.
"""

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from appliance.core.errors import StorageError
from appliance.core.files import sync_directory
from appliance.messaging import quarantine

PAGE_BYTES: Final = 4096
SMALL_PAGE_BYTES: Final = 2048  # less is written for a commit of one row, and a row of 700 bytes wastes a third of it
CHECKPOINT_PAGES: Final = 256  # after so many in the log it is brought into the file: 1 MB
TIGHT_CHECKPOINT_PAGES: Final = 16  # likewise, while the disk is full
RESERVE_PAGES: Final = 32  # even at its bound a file has them: without any, nothing can be deleted
CHECK_WITHIN: Final = 2.0  # seconds for looking at a file when it is opened
MOST_CHECKED_BYTES: Final = 64 << 20  # of larger ones the pages are looked at when they are read

_PRAGMAS: Final = (
    "locking_mode=EXCLUSIVE",
    "journal_mode=WAL",
    "synchronous=FULL",
    f"wal_autocheckpoint={CHECKPOINT_PAGES}",
    "journal_size_limit=1048576",
    "cache_size=-1024",
    "mmap_size=0",
    "cell_size_check=ON",
)
_WORDS: Final = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space on it, or lower [messaging.outbox] max_bytes",
    sqlite3.SQLITE_READONLY: "cannot be written to; check owner and mode, and that {where} is not mounted read-only",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; check that {where} exists and that this user may write to it",
    sqlite3.SQLITE_PERM: "cannot be opened; check that this user may write to {where}",
    sqlite3.SQLITE_BUSY: "is in use by another process; is Edgecam running twice?",
    sqlite3.SQLITE_CORRUPT: "is corrupt; it will be put aside, and what can be read of it goes into a new one",
    sqlite3.SQLITE_NOTADB: "is no outbox; it will be put aside and a new one begun",
    sqlite3.SQLITE_IOERR: "the disk gives errors ({error}); look into `dmesg`, and replace the card or disk",
}
_PERHAPS_READ_ONLY: Final = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})
_logger = logging.getLogger(__name__)


class Database:
    """A SQLite file. Owned by one thread: `open` it in the thread that uses it.

    Args:
        path: The file; its directory is made when it is not there.
        schema: Scripts, numbered from 1: each makes the schema of its number out of the one before.
        most_bytes: SQLite refuses to let the file grow beyond. It comes before the disk is full, and unlike then
            rows can still be deleted.
        page_bytes: Of a new file; one that is there keeps the size it has.

    Attributes:
        page_bytes: Size of a page of the file.
    """

    def __init__(self, path: Path, schema: Sequence[str], most_bytes: int, page_bytes: int = PAGE_BYTES) -> None:
        self.path = path
        self.commits = 0
        self.quarantined: Path | None = None
        self._schema = schema
        self.page_bytes = page_bytes
        self._new_page_bytes, self._most_bytes = page_bytes, most_bytes
        self._connection: sqlite3.Connection | None = None
        self._corrupt: sqlite3.Error | None = None

    @staticmethod
    def scripts() -> list[str]:
        """Give the scripts of the outbox's schema, from the files beside this module."""
        files = sorted((Path(__file__).parent / "schema").glob("*.sql"))
        return [file.read_text(encoding="utf-8") for file in files]

    @property
    def most_pages(self) -> int:
        """How many pages the file may have."""
        return self._most_bytes // self.page_bytes

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        return self._connection is not None

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._connection is not None and self._connection.in_transaction

    def open(self) -> None:
        """Open the file, make it when there is none, and bring its schema up to date.

        A file that is corrupt or no database is renamed and kept, `quarantined` tells its new name, and an empty one
        takes its place.

        When corruption is met later, that call fails, and the next `open` puts the file aside.

        Raises:
            StorageError: The directory cannot be written to, the disk is full, or another process has the file.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"cannot make {self.path.parent}: {error.strerror}; set [device] state_dir to a writable directory"
            ) from error
        if self._corrupt is not None:
            self._quarantine(self._corrupt)
        quarantine.adopt_log(self.path)
        try:
            self._connect()
        except sqlite3.Error as error:
            failure = self._explained(error)
            if self._corrupt is None:
                raise failure from error
            self._quarantine(error)
            try:
                self._connect()
            except sqlite3.Error as again:
                raise self._explained(again) from again

    def close(self) -> None:
        """Close the file; safe to call twice."""
        if self._connection is not None:
            with suppress(sqlite3.Error):  # everything that was promised is committed already
                self._connection.close()
            self._connection = None

    @contextmanager
    def transaction(self, undo: Callable[[], None]) -> Iterator[None]:
        """Make everything inside one commit: all of it survives a power cut once this returns, or none of it.

        Inside another transaction it is simply part of that one.

        Args:
            undo: Called when nothing was written.

        Raises:
            StorageError: Nothing was written: the disk is full, read-only or broken. Unless it was full the file is
                closed; `open` it again.
        """
        connection = self._connected()
        if connection.in_transaction:
            yield
            return
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("COMMIT")
            self.commits += 1
        except BaseException as error:
            with suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                connection.execute("ROLLBACK")
            undo()
            if isinstance(error, sqlite3.Error):
                raise self._explained(error) from error
            raise

    def rows(self, query: str, *values: Any) -> list[Any]:
        """Give all rows of a query, as tuples.

        Raises:
            StorageError: The file cannot be read; it is closed.
        """
        connection = self._connected()
        try:
            return connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            if connection.in_transaction:
                raise  # `transaction` rolls back and explains
            raise self._explained(error) from error

    def change(self, statement: str, *values: Any) -> int:
        """Execute a statement inside a transaction; give how many rows it changed."""
        return self._connected().execute(statement, values).rowcount

    def change_many(self, statement: str, values: Sequence[Sequence[Any]]) -> None:
        """Execute a statement once for each row of values inside a transaction."""
        self._connected().executemany(statement, values)

    def checkpoint(self) -> None:
        """Bring the log into the file and cut it to nothing: on a full disk that makes room.

        Raises:
            StorageError: The disk has no room even for that, or is broken.
        """
        try:
            self._connected().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def tighten(self, *, is_tight: bool) -> None:
        """Have the file grow no more and its log stay short, as the disk is full; or go back to the bounds of always.

        Raises:
            StorageError: The file cannot be read; it is closed.
        """
        pages = self.rows("PRAGMA page_count")[0][0] if is_tight else self.most_pages
        self.rows(f"PRAGMA max_page_count={pages}")
        self.rows(f"PRAGMA wal_autocheckpoint={TIGHT_CHECKPOINT_PAGES if is_tight else CHECKPOINT_PAGES}")

    def used_pages(self) -> int:
        """Give how many pages hold something. The file does not shrink: free pages are used again."""
        pages: int = self.rows("PRAGMA page_count")[0][0]
        free: int = self.rows("PRAGMA freelist_count")[0][0]
        return pages - free

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StorageError(f"{self.path} is not open")
        return self._connection

    def _connect(self) -> None:
        is_new = not self.path.exists()
        connection = sqlite3.connect(self.path, timeout=1.0, isolation_level=None)
        try:
            for pragma in (f"page_size={self._new_page_bytes}", *_PRAGMAS):
                connection.execute(f"PRAGMA {pragma}")
            if not is_new:
                self._check(connection)
            self.page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
            self._bound(connection, RESERVE_PAGES)
            self._migrate(connection)
        except (sqlite3.Error, StorageError):
            connection.close()
            raise
        self._connection = connection
        if is_new:
            sync_directory(self.path.parent)

    def _migrate(self, connection: sqlite3.Connection) -> None:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > len(self._schema):
            raise StorageError(
                f"{self.path} was written by a newer Edgecam (schema {version}, known here: {len(self._schema)}); "
                "install that version again, or move the file away"
            )
        if version < len(self._schema):
            # at its bound a file needs more to change: rows become larger. From the next start on the bound holds again
            self._bound(connection, RESERVE_PAGES + connection.execute("PRAGMA page_count").fetchone()[0] // 4)
        for number, script in enumerate(self._schema[version:], version + 1):
            connection.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version={number}; COMMIT;")

    def _bound(self, connection: sqlite3.Connection, reserve: int) -> None:
        pages, free = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
        connection.execute(f"PRAGMA max_page_count={max(self.most_pages, pages - free + reserve)}")

    def _check(self, connection: sqlite3.Connection) -> None:
        """Look at a file's pages, for a bounded time; a page that nobody has looked at is found when it is read."""
        if self.path.stat().st_size > MOST_CHECKED_BYTES:
            return
        deadline = time.monotonic() + CHECK_WITHIN
        connection.set_progress_handler(lambda: time.monotonic() > deadline, 1000)
        try:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_INTERRUPT:
                raise
            return
        finally:
            connection.set_progress_handler(None, 0)
        if found != "ok":
            corrupt = sqlite3.DatabaseError(found)
            corrupt.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise corrupt

    def _quarantine(self, error: sqlite3.Error) -> None:
        self.quarantined = quarantine.put_aside(self.path)
        self._corrupt = None
        _logger.error("%s is corrupt (%s); it is kept as %s, a new one is begun", self.path, error, self.quarantined)

    def _is_read_only(self) -> bool:
        try:
            return bool(os.statvfs(self.path.parent).f_flag & os.ST_RDONLY)
        except OSError:
            return False

    def _explained(self, error: sqlite3.Error) -> StorageError:
        code = _code(error)
        if code != sqlite3.SQLITE_FULL:
            self.close()
        if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            self._corrupt = error
        if code in _PERHAPS_READ_ONLY and self._is_read_only():
            code = sqlite3.SQLITE_READONLY
        words = _WORDS.get(code, "{error}; move it away to begin a new one").format(error=error, where=self.path.parent)
        return StorageError(f"{self.path}: {words}")


@contextmanager
def looked_into(path: Path, within: float) -> Iterator[Callable[[str], list[Any]]]:
    """Give a way to ask a database while nothing of it is touched: no lock is taken, no file is made or changed.

    Its log is not read: up to `CHECKPOINT_PAGES` pages of what was committed last are not seen.

    Args:
        path: The file.
        within: Seconds after which a question is broken off.

    Raises:
        StorageError: It cannot be read, is no database, or a question took too long.
    """
    try:
        connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1", uri=True)
    except sqlite3.Error as error:
        raise StorageError(f"{path} cannot be read: {error}") from error
    deadline = time.monotonic() + within
    connection.set_progress_handler(lambda: time.monotonic() > deadline, 1000)
    try:
        yield lambda question: connection.execute(question).fetchall()
    except sqlite3.Error as error:
        if _code(error) == sqlite3.SQLITE_INTERRUPT:
            raise StorageError(f"{path} is too large to be counted within {within:.0f} s") from error
        raise StorageError(f"{path} cannot be read: {error}") from error
    finally:
        connection.close()


def _code(error: sqlite3.Error) -> int:
    # the low byte; the rest is the extended code. Errors of the sqlite3 module itself carry none.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
