"""Brings what can be read of a corrupt outbox into the new one, some rows at a time, and names the rest."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from appliance.core.errors import StorageError
from appliance.messaging import gaps, header, quarantine
from appliance.messaging.boots import UNKNOWN, Boots
from appliance.messaging.database import Database
from appliance.messaging.losses import Losses
from appliance.messaging.numbers import Numbers
from appliance.messaging.rows import MOST_PLACES, checksum, key_of, place_of
from appliance.messaging.salvage import OldRow, Salvage
from appliance.messaging.shelf import Shelf

ROWS: Final = 500  # in one transaction

_logger = logging.getLogger(__name__)


class Rescue:
    """Rows of a corrupt outbox on their way into the new one. Owned by the thread that owns the outbox.

    Args:
        path: The new outbox.
        db: It, open.
        numbers: Learns of the old generations.
        shelf: Takes the rows.
        losses: Names what is missing.
        boots: Learns of the old boots.

    Attributes:
        source: The file that is read, or was; None: there is none.
        is_due: Not all of it is read.
        rows: How many were saved since the start.
        missing: How many numbers nobody accounts for, of which a gap record tells.
    """

    def __init__(
        self, path: Path, *, db: Database, numbers: Numbers, shelf: Shelf, losses: Losses, boots: Boots
    ) -> None:
        self.source: Path | None = None
        self.is_due = False
        self.rows = 0
        self.missing = 0
        self._path, self._db, self._numbers, self._shelf, self._losses = path, db, numbers, shelf, losses
        self._boots = boots
        self._salvage: Salvage | None = None
        self._leaf = 0
        self._batch = 0  # rows of a step that is not committed yet
        self._lost: int | None = None
        self._adopted: dict[int, int] = {}

    def __str__(self) -> str:
        if self.source is None:
            return "nothing of it could be read"
        if self.is_due:
            return "its messages are being saved"
        return f"{self.rows} messages of it were saved, {self.missing} are named in a gap record"

    def find(self, beat: Callable[[], None]) -> int:
        """Look for a corrupt outbox that this new one takes the place of; give the place of the new generation.

        Args:
            beat: Called now and then: every page is read once.

        Raises:
            StorageError: It cannot be read.
        """
        source = self._db.quarantined or quarantine.unfinished(self._path)
        if source is None or (self._db.quarantined is None and quarantine.header_of(self._path).exists()):
            return 0
        salvage = self._surveyed(source, beat)
        place = max(salvage.generations, default=-1) + 1
        if place == 0 or place >= MOST_PLACES:
            salvage.close()
            return 0
        self._salvage, self._leaf, self.source, self.is_due = salvage, 0, source, True
        return place

    def resume(self, beat: Callable[[], None]) -> None:
        """Go on with what was begun, in the new outbox or before a restart; inside a transaction.

        Args:
            beat: Called now and then.

        Raises:
            StorageError: It cannot be read.
        """
        if self._salvage is not None:
            self._note_progress()  # found just now
        for (text,) in self._db.rows("SELECT value FROM meta WHERE key='salvage'") if self._salvage is None else ():
            name, _, leaf = text.rpartition(" ")
            self.source, self.is_due, self._leaf = self._path.with_name(name), True, int(leaf)
            self._salvage = self._surveyed(self.source, beat)
            for done in range(self._leaf):  # read again, to know what is missing
                for _ in self._salvage.rows(done):
                    pass
                beat()
        if self._salvage is not None:
            for place, one in self._salvage.generations.items():
                if one.gen:
                    self._numbers.learn(place, one.gen)
                    # before any row comes: a gap record that an eviction needs meanwhile must not take a row's number
                    self._numbers.raise_to(max(one.last, key_of(place, 0)))

    def step(self) -> int | None:
        """Bring over some rows, inside a transaction; give the lowest key of them, None: there were none."""
        if self._salvage is None:
            self.resume(lambda: None)
        salvage = self._salvage
        if salvage is None:  # it was deleted meanwhile, or is told nowhere
            self.is_due = False
            return None
        found: list[OldRow] = []
        while self._leaf < salvage.leaves and len(found) < ROWS:
            found += salvage.rows(self._leaf)
            self._leaf += 1
        rows = [self._row(old) for old in found if place_of(old.key) in self._numbers.gens]
        known = {key for (key,) in self._db.rows(*_among([row[0] for row in rows]))} if rows else set()
        rows = [row for row in {row[0]: row for row in rows}.values() if row[0] not in known]
        self._shelf.insert(rows)
        self._numbers.is_stale = True  # they are below what was thought to be the lowest that waits
        self._losses.waiting.update(row[0] for row in rows if row[1] == 0)
        self._batch, self._lost = len(rows), None
        if self._leaf < salvage.leaves:
            self._note_progress()
        else:
            self._finish(salvage)
        return min((row[0] for row in rows), default=None)

    def committed(self) -> None:
        """Note that what the last step did is on disk."""
        self.rows += self._batch
        if self._lost is not None and self.source is not None:
            self.missing, self.is_due = self._lost, False
            self.close()
            # without it the file is not looked at again
            quarantine.header_aside(self.source).unlink(missing_ok=True)
            _logger.warning("outbox: %d messages were saved from %s, %d are lost", self.rows, self.source, self.missing)

    def close(self) -> None:
        """Close the file that is read; `resume` opens it again."""
        if self._salvage is not None:
            self._salvage.close()
            self._salvage = None

    def _surveyed(self, source: Path, beat: Callable[[], None]) -> Salvage:
        try:
            salvage = Salvage(source, header.read(quarantine.header_aside(source)))
            salvage.survey(beat)
        except OSError as error:
            raise StorageError(f"{source} cannot be read: {error.strerror}; move it away to do without it") from error
        return salvage

    def _row(self, old: OldRow) -> tuple[Any, ...]:
        columns = (old.key, *old.columns[:4], self._boot(old.columns[4]), *old.columns[5:])
        return (*columns, checksum(columns, old.payload), old.payload)

    def _boot(self, number: Any) -> int:
        """Give the number of a boot in the new outbox for that in the old one; 0: it is not known."""
        if number not in self._adopted:
            self._adopted[number] = UNKNOWN
            if self._salvage is not None and number in self._salvage.boots:
                self._adopted[number] = self._boots.adopt(number, self._salvage.boots[number])
        return self._adopted[number]

    def _note_progress(self) -> None:
        if self.source is not None:
            self._db.change("INSERT OR REPLACE INTO meta VALUES('salvage', ?)", f"{self.source.name} {self._leaf}")

    def _finish(self, salvage: Salvage) -> None:
        self._lost = 0
        for place, runs in salvage.missing().items():
            if runs and place in self._numbers.gens:
                self._losses.record(runs, "corrupt")
                self._lost += gaps.count(runs)
        self._db.change("DELETE FROM meta WHERE key='salvage'")


def _among(keys: list[int]) -> tuple[Any, ...]:
    return (f"SELECT seq FROM outbox WHERE seq IN ({','.join('?' * len(keys))})", *keys)  # noqa: S608 - marks only
