"""Room on the disk that is kept free for the moment when there is none left."""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from appliance.messaging.database import Database

MOST_BYTES: Final = 4 << 20
LEAST_BYTES: Final = 3 << 19  # less is of no use: a log of 1 MB may make the file as much larger when it is brought in
SHARE_OF_FREE: Final = 4  # no more than this part of what is free: on a small disk it must not be what fills it
SHARE_OF_QUOTA: Final = 16

_logger = logging.getLogger(__name__)


class Ballast:
    """A file that takes up room and has no content. Owned by the thread that owns the outbox.

    With its help a disk that others have filled can be drained: what only deletes has to be written down first, too.

    Args:
        path: The file.
        quota_bytes: What the outbox may take; the ballast is a part of it.
    """

    def __init__(self, path: Path, quota_bytes: int) -> None:
        self._path, self._most = path, min(MOST_BYTES, quota_bytes // SHARE_OF_QUOTA)
        self._is_possible = False

    def hold(self) -> bool:
        """Take up the room, if there is enough; tell whether it is taken. Costs no writing but the file's entry."""
        try:
            if self._path.exists():
                self._is_possible = True
                return True
            size = min(self._most, self._free() // SHARE_OF_FREE) // 4096 * 4096
            if size < LEAST_BYTES:
                return False
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, size)
            finally:
                os.close(descriptor)
        except OSError as error:
            _logger.info("no room is kept for a full disk: %s", error)
            self.release()
            return False
        self._is_possible = True
        return True

    def has_room(self) -> bool:
        """Tell whether the disk is no longer full: the room is taken again, or would be, were the disk large enough."""
        if self._is_possible:
            return self.hold()
        try:
            return self._free() >= LEAST_BYTES
        except OSError:
            return False

    def release(self) -> bool:
        """Give the room back; tell whether there was any."""
        with suppress(OSError):
            self._path.unlink()
            return True
        return False

    def _free(self) -> int:
        found = os.statvfs(self._path.parent)
        return found.f_bavail * found.f_frsize


class Relief:
    """What helps an outbox on a full disk. Owned by the thread that owns the outbox.

    Args:
        db: The outbox's file.
        ballast: The room that is kept for it.

    Attributes:
        is_tight: The disk was full when it was last written to: the file does not grow, and what the broker has goes.
    """

    def __init__(self, db: Database, ballast: Ballast) -> None:
        self.is_tight = False
        self._db, self._ballast = db, ballast

    def relieve(self) -> bool:
        """Make what room there can be; tell whether anything was done that is worth another try.

        Raises:
            StorageError: The disk gives errors, or is full even for that.
        """
        if not self._ballast.release() and self.is_tight:
            return False
        self.is_tight = True
        self._db.tighten(is_tight=True)
        self._db.checkpoint()
        return True

    def settle(self) -> None:
        """Keep some room on the disk for when it is full; once there is enough again, go back to the bounds of always.

        Raises:
            StorageError: The file cannot be read; it is closed.
        """
        if self.is_tight and not self._ballast.has_room():
            return
        self._ballast.hold()
        if self.is_tight:
            self.is_tight = False
            self._db.tighten(is_tight=False)
