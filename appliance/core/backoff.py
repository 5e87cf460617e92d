"""How long to wait before the next try."""

import random
import time
from collections.abc import Callable


class Backoff:
    """Full jitter: each wait is random, up to a ceiling that begins at `least` and doubles up to `most`.

    A fifth of `least` is the floor unless another is given, so that chance alone hammers nobody.

    The ceiling falls back only after things went well for `stable` seconds, so that a peer that accepts and
    then drops us at once is not hammered. Formula: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    Owned by one thread.
    """

    def __init__(
        self,
        least: float = 0.5,
        most: float = 60.0,
        stable: float = 60.0,
        *,
        floor: float | None = None,
        random_source: random.Random | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._least, self._most, self._stable = least, most, stable
        self._floor = least / 5.0 if floor is None else floor
        self._random = random_source or random.Random()  # noqa: S311 - jitter is no secret
        self._monotonic = monotonic
        self._failures = 0
        self._well_since: float | None = None

    @property
    def failures(self) -> int:
        """Failures in a row since things last went well for long enough."""
        return self._failures

    def succeeded(self) -> None:
        """Note that the try went well; the ceiling falls back once it stayed well for `stable` seconds."""
        self._well_since = self._monotonic()

    def ended(self) -> None:
        """Note that what went well has ended, where no wait is asked for."""
        if self._well_since is not None and self._monotonic() - self._well_since >= self._stable:
            self._failures = 0
        self._well_since = None

    def next_wait(self) -> float:
        """Note that a try failed, or that what went well has ended, and give the seconds to wait."""
        self.ended()
        ceiling = min(self._most, self._least * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return self._random.uniform(min(self._floor, ceiling), ceiling)
