"""Says how the disk under the outbox is, and when to try again."""

import logging
import time
from typing import Final

from appliance.core.backoff import Backoff
from appliance.core.errors import StorageError
from appliance.core.health import HealthBoard, HealthState
from appliance.messaging.inlet import MOST_WAITING
from appliance.messaging.outbox import Outbox

COMPONENT: Final = "outbox"
_logger = logging.getLogger(__name__)


class StorageHealth:
    """Owned by the thread that owns the outbox.

    Args:
        outbox: What is kept on the disk.
        board: Where it is reported, as ``outbox``.

    Attributes:
        retry_at: Monotonic second before which nothing is to be written; 0: nothing failed.
    """

    def __init__(self, outbox: Outbox, board: HealthBoard) -> None:
        self.retry_at = 0.0
        self._outbox, self._board = outbox, board
        self._backoff = Backoff(least=1.0, most=30.0, stable=10.0)

    @property
    def is_waiting(self) -> bool:
        """Whether it is too early to try again."""
        return time.monotonic() < self.retry_at

    def failed(self, error: StorageError) -> None:
        """Note that the disk failed."""
        self.retry_at = time.monotonic() + self._backoff.next_wait()
        what, _, fix = str(error).partition("; ")
        if self._board.report(COMPONENT, HealthState.FAILED, what, fix):
            _logger.error("outbox: %s; messages are kept in memory, %d at the most", error, MOST_WAITING)

    def works(self) -> None:
        """Note that it was written to."""
        self.retry_at = 0.0
        self._backoff.succeeded()
        if (aside := self._outbox.rescued.source or self._outbox.quarantined) is not None:
            what = f"the outbox was corrupt and is kept in {aside}; {self._outbox.rescued}"
            fix = "check the disk; delete the file once it is seen to"
            self._board.report(COMPONENT, HealthState.DEGRADED, what, fix)
        elif self._outbox.damaged:
            what = f"{self._outbox.damaged} messages on disk were damaged and are given up"
            self._board.report(
                COMPONENT, HealthState.DEGRADED, what, "check the disk: it does not keep what it is given"
            )
        elif self._board.report(COMPONENT, HealthState.OK):
            _logger.info("outbox: generation %s, %d messages wait", self._outbox.gen, self._outbox.rows)
