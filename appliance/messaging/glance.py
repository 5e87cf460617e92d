"""The outbox, seen from outside while no daemon has it: how much waits, since when, what was lost or put aside."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.core.checkup import CheckState, Outcome
from appliance.core.errors import StorageError
from appliance.messaging import quarantine
from appliance.messaging.database import looked_into

OUTBOX: Final = "outbox.db"
WITHIN: Final = 5.0  # seconds for counting
OLD_S: Final = 3600.0  # messages that wait for longer are worth a word

_QUESTION: Final = (
    "SELECT (SELECT count(*) FROM outbox) - (SELECT coalesce(sum(last - first + 1), 0) FROM kept),"
    " (SELECT min(time_ns) FROM (SELECT time_ns FROM outbox WHERE NOT EXISTS"
    "   (SELECT 1 FROM kept WHERE outbox.seq BETWEEN kept.first AND kept.last) ORDER BY seq LIMIT 1)),"
    " (SELECT count(*) FROM gap), (SELECT coalesce(sum(count), 0) FROM gap)"
)


@dataclass(frozen=True, slots=True)
class Glance:
    """What an outbox holds.

    Attributes:
        file_bytes: Size of its file.
        waiting: Messages that the broker does not have.
        oldest_s: For how long the first of them has waited, by UTC; None: none waits, or UTC was set meanwhile.
        gaps: Gap records that are kept.
        missing: Numbers that they name.
    """

    file_bytes: int
    waiting: int
    oldest_s: float | None
    gaps: int
    missing: int


def glance(path: Path) -> Glance | None:
    """Look at an outbox that no daemon has open; None: there is none.

    Raises:
        StorageError: It cannot be read.
    """
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error
    with looked_into(path, WITHIN) as ask:
        waiting, oldest_ns, gaps, missing = ask(_QUESTION)[0]
    waited = None if oldest_ns is None else time.time() - oldest_ns / 1e9
    return Glance(size, waiting, waited if waited is not None and waited >= 0.0 else None, gaps, missing)


def check_outbox(state_dir: Path) -> Outcome:
    """Tell how the outbox in a state folder is, for the doctor."""
    path = state_dir / OUTBOX
    try:
        aside = quarantine.aside(path)
        seen = glance(path)
    except StorageError as error:
        if isinstance(error.__cause__, PermissionError):
            return Outcome("outbox", CheckState.SKIPPED, str(error), "run sudo edgecam doctor")
        fix = "start the daemon: it puts a corrupt outbox aside and saves what can be read; check the disk"
        return Outcome("outbox", CheckState.FAILED, str(error), fix)
    except OSError as error:
        return Outcome("outbox", CheckState.SKIPPED, f"{state_dir}: {error.strerror}", "run sudo edgecam doctor")
    return judge_outbox(seen, aside)


def judge_outbox(seen: Glance | None, aside: list[Path]) -> Outcome:
    """Tell how an outbox is.

    Args:
        seen: What it holds; None: there is none.
        aside: Corrupt ones that were put aside, oldest first.
    """
    if seen is None:
        told = "there is none yet: no daemon has run with this state folder"
    else:
        oldest = "" if seen.oldest_s is None else f", the oldest for {seen.oldest_s / 3600.0:.1f} h"
        told = f"{seen.waiting} messages wait{oldest}; {seen.file_bytes / 1e6:.1f} MB"
        if seen.gaps:
            told += f"; {seen.missing} numbers were given up, in {seen.gaps} gap records"
    if aside:
        what = f"a corrupt one was put aside as {aside[-1].name}; {told}"
        fix = f"check the disk; delete {aside[-1]} once it is seen to"
        return Outcome("outbox", CheckState.WARNING, what, fix)
    if seen is not None and (seen.oldest_s or 0.0) > OLD_S:
        return Outcome("outbox", CheckState.WARNING, told, "see to the broker: what waits is sent once it is there")
    return Outcome("outbox", CheckState.OK if seen is not None else CheckState.SKIPPED, told)
