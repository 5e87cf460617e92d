"""When the frames of a recording are due: deadlines on its own timeline, never sums of sleeps."""

import time
from typing import Protocol


class Timer(Protocol):
    """Monotonic time and a way to wait; a test brings one that it turns by hand."""

    def monotonic(self) -> float:
        """Give monotonic seconds."""

    def sleep(self, seconds: float) -> None:
        """Wait so many seconds."""


class SystemTimer:
    """The machine's own monotonic clock."""

    def monotonic(self) -> float:
        """Give monotonic seconds."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait so many seconds."""
        time.sleep(seconds)


class Pacer:
    """Ties a recording's timeline to the monotonic clock at its first frame. Owned by one thread."""

    def __init__(self, timer: Timer) -> None:
        self._timer = timer
        self._origin: float | None = None

    def lateness(self, at: float) -> float:
        """Give by how many seconds the frame at `at` seconds of the recording is overdue; negative: not due yet."""
        now = self._timer.monotonic()
        if self._origin is None:
            self._origin = now - at
        return now - self._origin - at

    def wait_until_due(self, at: float, timeout: float) -> bool:
        """Wait up to `timeout` seconds until the frame at `at` is due; tell whether it is."""
        wait = -self.lateness(at)
        if wait > 0:
            self._timer.sleep(max(0.0, min(wait, timeout)))
        return wait <= timeout

    def restart(self, at: float) -> None:
        """Declare the frame at `at` due now: what was missed is given up."""
        self._origin = self._timer.monotonic() - at
