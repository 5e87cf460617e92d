"""A process of its own for one order: bounded in time and in what it answers, and never left behind."""

import os
import selectors
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from typing import IO, Final

from appliance.core.errors import UnavailableError

_LOOK: Final = 0.2  # seconds between two looks at whether to stop
_GRACE: Final = 3.0  # seconds for the process to end
_CHUNK: Final = 64 << 10
_MOST_TOLD: Final = 4 << 10  # bytes of the end of what a process wrote, among which is its last line


class StoppedError(UnavailableError):
    """The process was ended because the daemon is to stop; nothing is wrong."""


class OverdueError(UnavailableError):
    """The process took longer than it may."""


class TalkativeError(UnavailableError):
    """The process writes a line that has no end."""


def end(process: "subprocess.Popen[bytes]", grace: float) -> None:
    """End a process that may still run: it is asked to, so that it tidies up, then killed.

    Args:
        process: The process.
        grace: Seconds that it is waited for, each time.
    """
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    if process.poll() is None:
        process.kill()
        with suppress(subprocess.TimeoutExpired):  # in a driver that does not let go: it goes when that returns
            process.wait(grace)


def last_line(told: IO[bytes]) -> str:
    """Give the last line of a file that a process wrote, bounded: that is where it says why it failed."""
    told.seek(max(0, told.seek(0, os.SEEK_END) - _MOST_TOLD))
    lines = told.read(_MOST_TOLD).decode("utf-8", "replace").split("\n")
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "no reason was told")


class Child:
    """Gives a process an order on its standard input, and what it writes line by line.

    The process gets our process id as its last argument, so that it can see to it that it ends with us.

    Args:
        command: The process.
        stop: Ends it.
        beat: Called while it is waited for, several times a second.
    """

    def __init__(self, command: Sequence[str], stop: threading.Event, beat: Callable[[], None] = lambda: None) -> None:
        self._command, self._stop, self._beat = command, stop, beat
        self.status: int | None = None
        """Exit status of the last process; below 0: the signal that ended it; None: it was ended by us."""

    def lines(self, order: bytes, within: float, most: int, files: Sequence[int] = ()) -> Generator[bytes, None, None]:
        """Run the process; give its lines as they come, until it ends.

        Args:
            order: For its standard input.
            within: Seconds.
            most: Bytes of its longest line.
            files: Open files that it gets too, under the same numbers.

        Raises:
            OverdueError: It took longer.
            StoppedError: It was ended, as we are to stop.
            TalkativeError: It writes without end.
            UnavailableError: It cannot be started.
        """
        self.status = None
        try:
            process = subprocess.Popen(  # noqa: S603 - a module of ours
                [*self._command, str(os.getpid())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=files
            )
        except OSError as error:
            raise UnavailableError(f"cannot start {self._command[0]}: {error.strerror or error}") from error
        try:
            if process.stdin is not None and process.stdout is not None:
                until = time.monotonic() + within
                self._give(process.stdin.fileno(), order, until)
                process.stdin.close()
                yield from self._read(process.stdout.fileno(), until, most)
            with suppress(subprocess.TimeoutExpired):
                self.status = process.wait(_GRACE)
        finally:
            if process.poll() is None:
                process.kill()
                with suppress(subprocess.TimeoutExpired):  # a disk that hangs holds it; it ends with that
                    process.wait(_GRACE)
            for pipe in filter(None, (process.stdin, process.stdout)):
                pipe.close()

    def _give(self, pipe: int, order: bytes, until: float) -> None:
        """Write the order; a pipe takes 64 KiB, and a process that hangs before it reads would keep us for ever."""
        os.set_blocking(pipe, False)
        rest = memoryview(order)
        with selectors.DefaultSelector() as selector, suppress(BrokenPipeError):  # it ended at once, and told why
            selector.register(pipe, selectors.EVENT_WRITE)
            while rest:
                self._look(until)
                if selector.select(_LOOK):
                    rest = rest[os.write(pipe, rest[:_CHUNK]) :]

    def _look(self, until: float) -> None:
        self._beat()
        if self._stop.is_set():
            raise StoppedError("the daemon is to stop; it goes on after the next start")
        if time.monotonic() > until:
            raise OverdueError(f"{self._command[-1]} did not end in time")

    def _read(self, pipe: int, until: float, most: int) -> Iterator[bytes]:
        held = b""
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while True:
                self._look(until)
                if not selector.select(_LOOK):
                    continue
                chunk = os.read(pipe, _CHUNK)
                if not chunk:
                    return
                *whole, held = (held + chunk).split(b"\n")
                if len(held) > most:
                    raise TalkativeError(f"{self._command[-1]} answers without end")
                yield from whole
