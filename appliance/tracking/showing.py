"""Which label a camera's picture as a whole has, and when that changes. Pure."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

LEAD: Final = 1.1  # another label needs a tenth more than the one in place, as an object's does
STAY: Final = 0.9  # of the lowest score: down to it a label stays, so that a score on the border tells nothing
LEAST_NS: Final = 1_000_000_000  # between two changes: each is a durable message, and a flicker would fill the outbox


@dataclass(frozen=True, slots=True)
class Turn:
    """Another label has come into place.

    Attributes:
        class_id: The label's; None: no label is sure enough.
        score: Its score, 0..1; 0 where there is none.
        before: Class id of the label before; None: there was none.
        lasted: Seconds for which that was in place.
    """

    class_id: int | None
    score: float
    before: int | None
    lasted: float


class Showing:
    """The label of one camera's picture. Owned by one thread.

    Args:
        wanted: Shape (labels,): those that may be told.
        min_score: Lowest score with which a label comes into place, 0..1.

    Attributes:
        class_id: The label in place; None: no label is sure enough.
        since_ns: CLOCK_BOOTTIME at which it came into place, nanoseconds; None before the first frame.
    """

    def __init__(self, wanted: NDArray[np.bool_], min_score: float) -> None:
        self._wanted, self._min_score = wanted, min_score
        self._turned_ns: int | None = None
        self._last_ns = 0
        self.class_id: int | None = None
        self.since_ns: int | None = None

    def set_min_score(self, min_score: float) -> None:
        """Let a label come into place, from the next frame on, that has this score."""
        self._min_score = min_score

    def step(self, scores: NDArray[np.float32], mono_ns: int) -> Turn | None:
        """Take in the next frame and tell what has changed, if anything has.

        Args:
            scores: Shape (labels,), 0..1, calmed.
            mono_ns: CLOCK_BOOTTIME of the frame, nanoseconds.
        """
        if self.since_ns is None:
            self.since_ns = mono_ns
        self._last_ns = mono_ns
        best = self._best(scores)
        if best == self.class_id or (self._turned_ns is not None and mono_ns - self._turned_ns < LEAST_NS):
            return None
        return self._turn(best, float(scores[best]) if best is not None else 0.0, mono_ns)

    def finish(self) -> Turn | None:
        """End what is shown, as of the last frame: the daemon stops, or the camera shows nothing any more."""
        turn = self._turn(None, 0.0, self._last_ns) if self.class_id is not None else None
        self.since_ns = self._turned_ns = None
        return turn

    def _best(self, scores: NDArray[np.float32]) -> int | None:
        """Give the label that has a right to the place; None: none is sure enough."""
        allowed = np.where(self._wanted, scores, np.float32(-1.0))
        best = int(allowed.argmax())
        here = self.class_id
        rival = best if allowed[best] >= self._min_score else None
        if here is None or scores[here] < self._min_score * STAY:
            return rival
        return rival if rival is not None and scores[rival] > scores[here] * LEAD else here

    def _turn(self, class_id: int | None, score: float, mono_ns: int) -> Turn:
        since_ns = mono_ns if self.since_ns is None else self.since_ns
        turn = Turn(class_id, score, self.class_id, max(0.0, (mono_ns - since_ns) / 1e9))
        self.class_id, self.since_ns, self._turned_ns = class_id, mono_ns, mono_ns
        return turn
