"""Carries the rows of an outbox of schema 1 over into the table that has checksums, some at a time."""

import logging
from collections.abc import Callable
from typing import Final

from appliance.messaging.database import Database
from appliance.messaging.rows import checksum

BATCH: Final = 500  # rows in one transaction: a file that is nearly full has no room for two copies of everything

_logger = logging.getLogger(__name__)


def carry_over(db: Database, beat: Callable[[], None]) -> int:
    """Move the rows that still lie in the old table; give how many. After a power cut the next start goes on with it.

    Args:
        db: Open, and with the schema of now.
        beat: Called between two transactions.

    Raises:
        StorageError: The disk is full or broken.
    """
    if not db.rows("SELECT 1 FROM sqlite_schema WHERE name='outbox_1'"):
        return 0
    moved = 0
    while batch := _move(db):
        moved += batch
        beat()
    with db.transaction(lambda: None):
        db.change("DROP TABLE outbox_1")
    _logger.info("outbox: %d messages were carried over from schema 1", moved)
    return moved


def _move(db: Database) -> int:
    with db.transaction(lambda: None):
        found = db.rows(
            "SELECT seq, priority, topic, retain, expiry_s, boot, mono_ns, time_ns, NULL, payload FROM outbox_1 "
            "ORDER BY seq LIMIT ?",
            BATCH,
        )
        if found:
            # first out, then in: the pages that come free are those that are needed
            db.change("DELETE FROM outbox_1 WHERE seq<=?", found[-1][0])
            rows = [(*columns, checksum(tuple(columns), payload), payload) for *columns, payload in found]
            db.change_many("INSERT INTO outbox VALUES(?,?,?,?,?,?,?,?,?,?,?)", rows)
    return len(found)
