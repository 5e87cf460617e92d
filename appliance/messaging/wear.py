"""What the outbox writes to the disk, counted: cards wear out by that."""

import threading
from pathlib import Path
from typing import Final

_LOG_HEADER_BYTES: Final = 16  # file format of SQLite, section 4.1; the fourth word counts how often it began anew
_FLUSHES_OF_A_RESTART: Final = 3  # log and file when the log is brought in, and the log's new header


class Wear:
    """Bytes and flushes since the start. Owned by the thread that owns the outbox: what it writes is the outbox's.

    Bytes are the kernel's count for this thread (`write_bytes` in ``/proc/thread-self/io``): pages that were made
    dirty, journal and metadata of the file system not included. Flushes are one for each commit, and three for each
    time that the log was brought into the file, by the log's own counter.

    Args:
        path: The database.
    """

    def __init__(self, path: Path) -> None:
        self._log = path.with_name(path.name + "-wal")
        self._io = Path("/proc/thread-self/io")
        self._thread = 0
        self._bytes_before: int | None = None
        self._restarts: int | None = None
        self._flushes = 0

    def figures(self, commits: int) -> dict[str, int | None]:
        """Give `written_bytes` and `flushes`; None where the kernel does not count.

        Args:
            commits: Transactions that were committed since the start.
        """
        self._count_restarts()
        return {"written_bytes": self._written(), "flushes": commits + self._flushes}

    def _written(self) -> int | None:
        if self._thread != threading.get_native_id():
            # a worker that was restarted is another thread, whose count begins anew
            self._thread, self._bytes_before = threading.get_native_id(), None
        try:
            lines = self._io.read_text(encoding="ascii").splitlines()
        except OSError:
            return None
        counted = next((int(line.split()[1]) for line in lines if line.startswith("write_bytes:")), None)
        if counted is not None and self._bytes_before is None:
            self._bytes_before = counted
        return None if counted is None or self._bytes_before is None else counted - self._bytes_before

    def _count_restarts(self) -> None:
        try:
            with self._log.open("rb") as log:
                header = log.read(_LOG_HEADER_BYTES)
        except OSError:
            return
        restarts = int.from_bytes(header[12:16], "big") if len(header) == _LOG_HEADER_BYTES else None
        if restarts is not None and self._restarts is not None and restarts > self._restarts:
            self._flushes += _FLUSHES_OF_A_RESTART * (restarts - self._restarts)
        self._restarts = restarts
