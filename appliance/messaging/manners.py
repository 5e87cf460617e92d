"""When a connection may be tried again: pure rules, so that a fleet of a thousand can be simulated with them."""

import random
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from appliance.core.backoff import Backoff
from appliance.messaging.reasons import Pace

STABLE: Final = 60.0  # seconds for which a connection must have held before waits are short again
MOST_WAIT: Final = 120.0  # seconds; longer than the spread of most fleets, so that long outages end in no rush
HOURLY: Final = 8  # tries in an hour at the most, when banned
BOOTED: Final = 300.0  # seconds since the machine's start within which a whole site may have got its power back
TAKEOVERS: Final = 3  # within `TAKEOVERS_WITHIN` seconds: two clients fight over one name
TAKEOVERS_WITHIN: Final = 300.0


class Manners:
    """Gives the seconds to wait before the next try. Owned by the link's thread.

    Full jitter for every pace, each with a ceiling of its own that falls back after a stable minute (see `Backoff`).

    Args:
        device_id: The device's name.
        reconnect_spread: Seconds within which a fleet comes back to a broker that was away; 0: as after any loss.
        start_spread: Seconds within which a site's devices make their first connection.
        monotonic: The clock, in seconds.
        random_source: For all waits.
    """

    def __init__(
        self,
        device_id: str,
        *,
        reconnect_spread: float,
        start_spread: float,
        monotonic: Callable[[], float] = time.monotonic,
        random_source: random.Random | None = None,
    ) -> None:
        self._device_id, self._start_spread, self._monotonic = device_id, start_spread, monotonic
        self._random = random_source or random.Random()  # noqa: S311 - jitter is no secret

        def backoff(least: float, most: float, floor: float | None = None) -> Backoff:
            return Backoff(least, most, STABLE, floor=floor, random_source=self._random, monotonic=monotonic)

        quick = backoff(0.5, 60.0)
        banned_floor = 3600.0 / HOURLY
        self._backoffs = {
            Pace.QUICK: quick,
            Pace.FLEET: backoff(reconnect_spread, max(reconnect_spread, MOST_WAIT), 0.1) if reconnect_spread else quick,
            Pace.BUSY: backoff(20.0, 900.0),
            Pace.TAKEN: backoff(5.0, 900.0),
            Pace.LASTING: backoff(10.0, 900.0),
            Pace.BANNED: backoff(2.0 * banned_floor, 3600.0, banned_floor),
        }
        self._takeovers: deque[float] = deque(maxlen=TAKEOVERS)

    def first_wait(self, uptime: float) -> float:
        """Give the seconds before the very first try.

        Most of it is the device's own share of the spread, the same at every boot, so that no chance brings
        all of a site together.

        Args:
            uptime: Seconds since the machine was booted.
        """
        if uptime > BOOTED:
            return 0.0
        share = random.Random(self._device_id).random()  # noqa: S311 - no secret, only a share
        return self._start_spread * (0.9 * share + self._random.uniform(0.0, 0.1))

    def connected(self) -> None:
        """Note that the broker took the connection."""
        for backoff in self._backoffs.values():
            backoff.succeeded()

    def wait(self, pace: Pace) -> float:
        """Note that a try failed or a connection ended, and give the seconds before the next."""
        for backoff in self._backoffs.values():
            backoff.ended()
        return self._backoffs[pace].next_wait()

    def taken_over(self) -> bool:
        """Note that another client took this device's name; tell whether the two fight over it."""
        now = self._monotonic()
        self._takeovers.append(now)
        return len(self._takeovers) == TAKEOVERS and now - self._takeovers[0] <= TAKEOVERS_WITHIN
