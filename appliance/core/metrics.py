"""Figures of the last minute: rates and percentiles in bounded memory."""

import threading
import time
from collections import deque
from collections.abc import Callable


class RollingFigures:
    """Keeps the newest samples and tells their rate and percentiles. Safe to use from any thread.

    Args:
        most: How many samples are kept at the most.
        seconds: How long a sample counts.
        monotonic: The clock; a test brings its own.
    """

    def __init__(self, most: int = 512, seconds: float = 30.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=most)
        self._seconds = seconds
        self._monotonic = monotonic
        self._lock = threading.Lock()

    def add(self, value: float) -> None:
        """Note a sample."""
        with self._lock:
            self._samples.append((self._monotonic(), value))

    def rate(self) -> float:
        """Give samples per second over the time that the kept samples span; 0.0 with fewer than two."""
        times = [time for time, _ in self._recent()]
        if len(times) < 2 or times[-1] == times[0]:  # noqa: PLR2004 - a rate needs two moments
            return 0.0
        return (len(times) - 1) / (times[-1] - times[0])

    def percentile(self, percent: float) -> float:
        """Give the value below which `percent` (0..100) of the recent samples lie; 0.0 without samples."""
        values = sorted(value for _, value in self._recent())
        if not values:
            return 0.0
        return values[min(len(values) - 1, int(len(values) * percent / 100.0))]

    def _recent(self) -> list[tuple[float, float]]:
        oldest = self._monotonic() - self._seconds
        with self._lock:
            return [sample for sample in self._samples if sample[0] >= oldest]
