"""The boots in which messages were queued, and what is known of UTC in each."""

from collections.abc import Sequence
from typing import Any, Final

from appliance.messaging.database import Database
from appliance.messaging.stamping import Bounds, Offset, bounded, corrected

MOST_BOOTS: Final = 1000  # of which messages may be left
UNKNOWN: Final = 0
"""In the place of a boot's number: nobody knows which it was."""

_ADOPTED: Final = 1_000_000_000  # below any boot of this outbox, and in their own order


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
        newest = "SELECT number FROM boot ORDER BY number DESC LIMIT ?"
        self._db.change(f"DELETE FROM boot WHERE number NOT IN ({newest})", MOST_BOOTS)  # noqa: S608 - ours
        query = "SELECT number, wall_offset_ns, offset_error_ns, offset_at_ns FROM boot WHERE offset_at_ns IS NOT NULL"
        self._offsets = {number: Offset(*known) for number, *known in self._db.rows(query)}

    def keep(self, offset: Offset) -> None:
        """Keep how UTC stands to CLOCK_BOOTTIME in this boot."""
        self._keep(self.number, offset)

    def adopt(self, number: int, columns: Sequence[Any]) -> int:
        """Take over a boot of an outbox that was put aside; give its number here, or `UNKNOWN`.

        Args:
            number: Its number there.
            columns: What stood behind that, as far as it can be read.
        """
        match [*columns, None, None, None, None][:5]:
            case [str(boot_id), int(utc_ns), int(error_ns), str(), int(at_ns)]:
                known: tuple[int, ...] = (utc_ns, error_ns, at_ns)
            case [str(boot_id), *_]:
                known = ()
            case _:
                return UNKNOWN
        self._db.change("INSERT OR IGNORE INTO boot(number, id) VALUES(?,?)", number - _ADOPTED, boot_id)
        numbers = self._db.rows("SELECT number FROM boot WHERE id=?", boot_id)
        if not numbers:  # another boot has that number: what a damaged page says is not to be believed
            return UNKNOWN
        found: int = numbers[0][0]
        if known and found not in self._offsets:
            self._keep(found, Offset(*known))
        return found

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

    def _keep(self, number: int, offset: Offset) -> None:
        self._db.change(
            "UPDATE boot SET wall_offset_ns=?, offset_error_ns=?, offset_at_ns=?, quality='synced' WHERE number=?",
            offset.utc_ns,
            offset.error_ns,
            offset.at_ns,
            number,
        )
        self._offsets[number] = offset

    def _bounds(self, boot: int) -> Bounds:
        if boot == UNKNOWN:
            return Bounds(None, None)
        after = [known.utc(known.at_ns) - known.error_ns for number, known in self._offsets.items() if number < boot]
        before = [known.utc_ns + known.error(0) for number, known in self._offsets.items() if number > boot]
        return Bounds(max(after, default=None), min(before, default=None))
