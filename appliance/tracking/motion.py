"""Whether an object stays in place, and which way it goes."""

import math

from appliance.core.events import Change

STAY_WITHIN = 0.25  # sizes (mean of width and height) that the centre may stray: boxes of a parked car jitter by less
FRAMES_TO_MOVE = 3  # in a row; a box that is half hidden by a passer-by for a frame is no movement
LEAST_WAY = 0.5  # sizes; below that a direction is noise: see core.events.Event.direction

Vector = tuple[float, float]


def direction_of(way: Vector, size: float) -> float | None:
    """Give a way's direction in degrees clockwise from up, 0..360, or None when it is short.

    Args:
        way: Pixels to the right and down.
        size: Mean of the box's width and height in pixels.
    """
    if math.hypot(*way) < LEAST_WAY * size:
        return None
    return math.degrees(math.atan2(way[0], -way[1])) % 360.0


class Rest:
    """Whether one object stays in place for long enough to be called stationary."""

    __slots__ = ("_after_ns", "_place", "_since_ns", "_strays", "is_stationary")

    def __init__(self, after_ns: int, place: Vector, mono_ns: int) -> None:
        self._after_ns = after_ns
        self._place, self._since_ns = place, mono_ns
        self._strays = 0
        self.is_stationary = False

    def see(self, place: Vector, stretch: Vector, mono_ns: int) -> Change | None:
        """Take in where the object's centre is and tell if it has come to rest or set off.

        Args:
            place: 0..1 of the picture.
            stretch: Width and height of the picture, in sizes of the object.
            mono_ns: When.
        """
        across, down = (place[0] - self._place[0]) * stretch[0], (place[1] - self._place[1]) * stretch[1]
        if across * across + down * down <= STAY_WITHIN * STAY_WITHIN:
            self._strays = 0
            if self.is_stationary or mono_ns - self._since_ns < self._after_ns:
                return None
            self.is_stationary = True
            return Change.STATIONARY
        self._strays += 1
        if self._strays < FRAMES_TO_MOVE:
            return None
        self._place, self._since_ns, self._strays = place, mono_ns, 0
        if not self.is_stationary:
            return None
        self.is_stationary = False
        return Change.MOVING
