"""How far apart the frames are, and with that how long an object may be unseen."""

from collections import deque

FRAMES = 3.5  # times from frame to frame: seen, missed twice and seen again are three, and frames are never even
INTERVALS = 5  # of which the median is the pace: a pause of the camera, even two, leave it as it is


class Pace:
    """Follows the time between frames."""

    def __init__(self, lost_after: float) -> None:
        """Begin without a frame.

        Args:
            lost_after: Seconds that an object may be unseen, as configured.
        """
        self._configured_ns = round(lost_after * 1e9)
        self._intervals: deque[int] = deque(maxlen=INTERVALS)
        self._last_ns: int | None = None
        self.lost_after_ns = self._configured_ns
        """How long an object may be unseen before it ends: as configured, or `FRAMES` frames' time if that is longer.

        With less, an object would end between two frames in which it is seen, and nothing ever be confirmed.
        """

    def step(self, mono_ns: int) -> None:
        """Take in that a frame came; one from before the last one counts as simultaneous."""
        if self._last_ns is None:
            self._last_ns = mono_ns
            return
        mono_ns = max(mono_ns, self._last_ns)
        self._intervals.append(mono_ns - self._last_ns)
        self._last_ns = mono_ns
        median = sorted(self._intervals)[(len(self._intervals) - 1) // 2]
        self.lost_after_ns = max(self._configured_ns, round(FRAMES * median))
