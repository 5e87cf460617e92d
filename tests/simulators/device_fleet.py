"""A fleet on a clock that is computed: real `Manners`, a broker that is there or not, nobody waits."""

import heapq
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from appliance.messaging.manners import Manners
from appliance.messaging.reasons import Pace


@dataclass
class Fleet:
    """So many devices that were connected for hours when their broker went away.

    Attributes:
        size: How many.
        outages: From and until when the broker is away, in seconds, in order.
        reconnect_spread: The setting.
        until: Seconds to compute.
        connects: Connections that the broker took, by second.
        attempts: Those and the ones that found nobody.
    """

    size: int
    outages: Sequence[tuple[float, float]]
    reconnect_spread: float = 50.0
    until: float = 3600.0
    connects: Counter[int] = field(default_factory=Counter)
    attempts: Counter[int] = field(default_factory=Counter)
    connected_at: dict[int, float] = field(default_factory=dict)

    def run(self, seed: int) -> None:
        """Compute it."""
        now = -7200.0
        manners = [
            Manners(
                f"camera-{number:04}",
                reconnect_spread=self.reconnect_spread,
                start_spread=10.0,
                monotonic=lambda: now,
                random_source=random.Random(seed * 1_000_003 + number),
            )
            for number in range(self.size)
        ]
        for one in manners:
            one.connected()
        due: list[tuple[float, int]] = []
        up = set(range(self.size))
        falls = [begin for begin, _ in self.outages]
        while True:
            next_fall = falls[0] if falls else float("inf")
            now = min(due[0][0] if due else float("inf"), next_fall)
            if now > self.until:
                return
            if now == next_fall:
                falls.pop(0)
                for number in sorted(up):
                    heapq.heappush(due, (now + manners[number].wait(Pace.FLEET), number))
                up.clear()
                continue
            now, number = heapq.heappop(due)
            self.attempts[int(now)] += 1
            if any(begin <= now < end for begin, end in self.outages):
                heapq.heappush(due, (now + manners[number].wait(Pace.FLEET), number))
                continue
            manners[number].connected()
            up.add(number)
            self.connects[int(now)] += 1
            self.connected_at[number] = now
