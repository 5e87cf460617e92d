"""Has another process speak to the fleet, and waits for what it answers; see `errand`."""

import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from pydantic import ValidationError

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
from appliance.updates.refusals import Code, RefusedError

COMMAND: Final = (sys.executable, "-m", "appliance.updates.errand")
CHECK_WITHIN: Final = 300.0
"""Seconds for a check: four small files, of which each may take two minutes where the link is poor."""

BRING_WITHIN: Final = 6 * 3600.0
"""Seconds for the files of a release; what came is kept, so that the next try goes on from there."""

_LOOK: Final = 0.2  # seconds between two looks at whether to stop
_GRACE: Final = 3.0  # seconds for the process to end
_CHUNK: Final = 64 << 10


class StoppedError(UnavailableError):
    """The errand was ended because the daemon is to stop; nothing is wrong."""


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
        self._stop, self._beat, self._command = stop, beat, command

    def check(self, order: CheckOrder, within: float = CHECK_WITHIN) -> CheckAnswer:
        """Ask what the fleet wants of this device; blocks.

        Args:
            order: Which fleet.
            within: Seconds.

        Raises:
            ConfigError: The root of trust cannot be read.
            RefusedError: The fleet's metadata is refused.
            StorageError: It cannot be kept.
            UnavailableError: The fleet cannot be asked now.
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
        with _process(self._command) as process:
            if process.stdin is None or process.stdout is None:
                raise UnavailableError("what asks the fleet could not be started")
            with suppress(BrokenPipeError), process.stdin as pipe:  # it ended at once, and told why
                pipe.write(order.model_dump_json(by_alias=True).encode())
            for line in self._lines(process.stdout.fileno(), time.monotonic() + within):
                if line.failure is not None:
                    raise _error(line.failure)
                if line.progress is None:
                    return line
                tell(line.progress)
        raise UnavailableError(f"what asks the fleet ended with status {process.returncode}; the log says why")

    def _lines(self, pipe: int, until: float) -> Iterator[Line]:
        held = b""
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while True:
                self._beat()
                if self._stop.is_set():
                    raise StoppedError("the daemon is to stop; it goes on after the next start")
                if time.monotonic() > until:
                    raise UnavailableError("the fleet was asked for too long; it is asked again later")
                if not selector.select(_LOOK):
                    continue
                chunk = os.read(pipe, _CHUNK)
                if not chunk:
                    return
                *whole, held = (held + chunk).split(b"\n")
                if len(held) > MOST_ANSWER:
                    raise UnavailableError("what asks the fleet answered without end")
                for one in whole:
                    yield _parse(one)


@contextmanager
def _process(command: Sequence[str]) -> "Iterator[subprocess.Popen[bytes]]":
    """Run the process; none is left when this ends."""
    try:
        process = subprocess.Popen(  # noqa: S603 - our own module
            [*command, str(os.getpid())], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
    except OSError as error:
        raise UnavailableError(f"cannot start a process to ask the fleet: {error.strerror or error}") from error
    try:
        yield process
    finally:
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.0 if sys.exception() else _GRACE)
        if process.poll() is None:
            process.kill()
            process.wait(_GRACE)
        if process.stdout is not None:
            process.stdout.close()


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
    unavailable = UnavailableError(failure.why)
    unavailable.retry_after = failure.retry_after
    return unavailable
