"""The boots in which messages were queued, and what is known of UTC in each."""

from typing import Final

from appliance.messaging.database import Database
from appliance.messaging.stamping import Bounds, Offset, bounded, corrected

MOST_BOOTS: Final = 1000  # of which messages may be left


class Boots:
    """What the outbox knows of time. Owned by its thread; `load` and `keep` are used inside its transactions.

    Args:
        db: Where they are kept.

    Attributes:
        number: Of this boot; later boots have higher ones.
    """

    def __init__(self, db: Database) -> None:
        self.number = 0
        self._db = db
        self._offsets: dict[int, Offset] = {}

    @property
    def offset(self) -> Offset | None:
        """How UTC stands to CLOCK_BOOTTIME in this boot; None: nobody has kept it yet."""
        return self._offsets.get(self.number)

    def load(self, boot_id: str) -> None:
        """Note this boot, and read what is known of the others.

        Args:
            boot_id: The kernel's id of this boot.
        """
        self._db.change("INSERT OR IGNORE INTO boot(id) VALUES(?)", boot_id)
        self.number = self._db.rows("SELECT number FROM boot WHERE id=?", boot_id)[0][0]
        self._db.change("DELETE FROM boot WHERE number<=?", self.number - MOST_BOOTS)
        query = "SELECT number, wall_offset_ns, offset_error_ns, offset_at_ns FROM boot WHERE offset_at_ns IS NOT NULL"
        self._offsets = {number: Offset(*known) for number, *known in self._db.rows(query)}

    def keep(self, offset: Offset) -> None:
        """Keep how UTC stands to CLOCK_BOOTTIME in this boot."""
        self._db.change(
            "UPDATE boot SET wall_offset_ns=?, offset_error_ns=?, offset_at_ns=?, quality='synced' WHERE number=?",
            offset.utc_ns,
            offset.error_ns,
            offset.at_ns,
            self.number,
        )
        self._offsets[self.number] = offset

    def here(self, boot: int, mono_ns: int) -> int | None:
        """Give a moment of any boot as CLOCK_BOOTTIME of this one, nanoseconds, below 0 when it was before.

        None: UTC of then or now is not known, or two clocks that were both synced contradict each other.
        """
        if boot == self.number:
            return mono_ns
        then, now = self._offsets.get(boot), self.offset
        if then is None or now is None:
            return None
        moment_ns = mono_ns + then.utc_ns - now.utc_ns
        return moment_ns if moment_ns <= 0 else None

    def age(self, boot: int, mono_ns: int, now_ns: int) -> int:
        """Give how old a moment is at least, nanoseconds: exactly where that is known, else as old as this boot.

        Args:
            boot: Number of the boot of the moment.
            mono_ns: CLOCK_BOOTTIME of the moment, in its boot.
            now_ns: CLOCK_BOOTTIME of now.
        """
        moment_ns = self.here(boot, mono_ns)
        return now_ns - (0 if moment_ns is None else moment_ns)

    def dated(self, boot: int, payload: bytes) -> bytes:
        """Give an encoded payload with the best time that is known for it by now.

        Args:
            boot: Number of the boot in which it was queued.
            payload: As it was encoded then.
        """
        if (offset := self._offsets.get(boot)) is not None:
            return corrected(payload, offset)
        return payload if boot == self.number else bounded(payload, self._bounds(boot))

    def _bounds(self, boot: int) -> Bounds:
        after = [known.utc(known.at_ns) - known.error_ns for number, known in self._offsets.items() if number < boot]
        before = [known.utc_ns + known.error(0) for number, known in self._offsets.items() if number > boot]
        return Bounds(max(after, default=None), min(before, default=None))
