"""Has another process speak to the fleet, and waits for what it answers; see `errand`."""

import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Final

from pydantic import ValidationError

from appliance.core.child import Child
from appliance.core.errors import ConfigError, EdgecamError, StorageError, UnavailableError
from appliance.updates.orders import (
    MOST_ANSWER,
    BringAnswer,
    BringOrder,
    CheckAnswer,
    CheckOrder,
    Failure,
    Line,
    Progress,
)
from appliance.updates.refusals import Code, RefusedError, UnreachedError

COMMAND: Final = (sys.executable, "-m", "appliance.updates.errand")
CHECK_WITHIN: Final = 300.0
"""Seconds for a check: four small files, of which each may take two minutes where the link is poor."""

BRING_WITHIN: Final = 6 * 3600.0
"""Seconds for the files of a release; what came is kept, so that the next try goes on from there."""


class Errands:
    """Runs one errand at a time, each in a process of its own. Used by one thread.

    Args:
        stop: Ends an errand that is under way.
        beat: Called while it waits, several times a second.
        command: The process.
    """

    def __init__(
        self, stop: threading.Event, beat: Callable[[], None] = lambda: None, command: Sequence[str] = COMMAND
    ) -> None:
        self._child = Child(command, stop, beat)

    def check(self, order: CheckOrder, within: float = CHECK_WITHIN) -> CheckAnswer:
        """Ask what the fleet wants of this device; blocks.

        Args:
            order: Which fleet.
            within: Seconds.

        Raises:
            ConfigError: The root of trust cannot be read.
            RefusedError: The fleet's metadata is refused.
            StorageError: It cannot be kept.
            UnavailableError: The fleet cannot be asked now; `UnreachedError` where it is known why.
        """
        line = self._run(order, within, lambda _: None)
        if line.checked is None:
            raise UnavailableError("what asks the fleet answered something else; is this a mixed installation?")
        return line.checked

    def bring(self, order: BringOrder, tell: Callable[[Progress], None], within: float = BRING_WITHIN) -> BringAnswer:
        """Bring the files of a release; blocks.

        Args:
            order: Which files.
            tell: Is told how it goes on, from this thread.
            within: Seconds.

        Raises:
            RefusedError: A file is not what was signed.
            StorageError: It cannot be written.
            UnavailableError: The fleet cannot be reached now; what came is kept.
        """
        line = self._run(order, within, tell)
        if line.brought is None:
            raise UnavailableError("what asks the fleet answered something else; is this a mixed installation?")
        return line.brought

    def _run(self, order: CheckOrder | BringOrder, within: float, tell: Callable[[Progress], None]) -> Line:
        with closing(self._child.lines(order.model_dump_json(by_alias=True).encode(), within, MOST_ANSWER)) as lines:
            for one in lines:
                line = _parse(one)
                if line.failure is not None:
                    raise _error(line.failure)
                if line.progress is None:
                    return line
                tell(line.progress)
        raise UnavailableError(f"what asks the fleet ended with status {self._child.status}; the log says why")


def _parse(line: bytes) -> Line:
    try:
        return Line.model_validate_json(line)
    except ValidationError as error:
        raise UnavailableError("what asks the fleet answered something that is not understood") from error


def _error(failure: Failure) -> EdgecamError:
    if failure.kind == "refused":
        return RefusedError(failure.code or Code.INVALID, failure.why)
    if failure.kind == "config":
        return ConfigError(failure.why)
    if failure.kind == "storage":
        return StorageError(failure.why)
    return UnreachedError(failure.code or Code.NETWORK, failure.why, failure.retry_after)
