"""Where every box is expected next: constant-velocity Kalman filters for all tracks at once."""

import numpy as np
from numpy.typing import NDArray

# Noise in units of the box's own size (mean of width and height), after SORT (Bewley et al., 2016), DeepSORT
# (Wojke et al., 2017) and ByteTrack (Zhang et al., 2022): 1/20 of the size for a position, 1/160 a frame for a
# velocity. Theirs are per frame at 30 frames a second; here they are densities, so that any frame rate will do.
MEASUREMENT_STD = 1 / 20  # sizes
POSITION_DRIFT = 30 * (1 / 20) ** 2  # sizes² a second
VELOCITY_DRIFT = 30 * (30 / 160) ** 2  # (sizes a second)² a second
INITIAL_VELOCITY_STD = 10 * 30 / 160  # sizes a second
LEAST_SIDE = 1.0  # pixels; a side that shrinks through zero would turn the box inside out


class KalmanFilters:
    """One filter for each track, N in all, over centre x, centre y, width and height in pixels.

    Transition, measurement and noise of the eight-state filter of SORT couple a coordinate only with its own
    velocity. So it falls apart, exactly, into four filters of two states, whose 2 x 2 covariances are three numbers.
    All is elementwise: no matrix is ever inverted. Equations: Kalman, 1960; process noise of white acceleration:
    Bar-Shalom, Li, Kirubarajan, "Estimation with Applications to Tracking and Navigation", section 6.2.2.
    """

    def __init__(self) -> None:
        # position, velocity, their variances and covariance: (mean, speed, p00, p01, p11) x N x (x, y, w, h)
        self._state = np.empty((5, 0, 4))

    def __len__(self) -> int:
        return self._state.shape[1]

    @property
    def boxes(self) -> NDArray[np.float64]:
        """Where the boxes are now held to be: shape (N, 4), xyxy in pixels."""
        centres, sides = self._state[0, :, :2], self._state[0, :, 2:]
        return np.concatenate((centres - sides / 2, centres + sides / 2), axis=1)

    def predict(self, seconds: float, unseen: NDArray[np.bool_]) -> None:
        """Let time pass for all tracks.

        Args:
            seconds: Since the last prediction, 0 or more.
            unseen: Shape (N,): tracks that were not seen in the last frame. Their size is held: the last thing
                seen before an occlusion is a box that is cut off more and more (ByteTrack does the same).
        """
        mean, speed, p00, p01, p11 = self._state
        if unseen.any():
            speed[unseen, 2:] = 0.0
        area = _sizes(mean) ** 2
        mean += speed * seconds
        np.maximum(mean[:, 2:], LEAST_SIDE, out=mean[:, 2:])
        p00 += seconds * (2.0 * p01 + seconds * p11)
        p00 += area * (POSITION_DRIFT * seconds + VELOCITY_DRIFT * seconds**3 / 3.0)
        p01 += seconds * p11 + area * (VELOCITY_DRIFT * seconds**2 / 2.0)
        p11 += area * (VELOCITY_DRIFT * seconds)

    def correct(self, rows: NDArray[np.intp], boxes: NDArray[np.float32]) -> None:
        """Take in what was seen.

        Args:
            rows: Shape (K,): the tracks that were seen.
            boxes: Shape (K, 4), xyxy in pixels: where.
        """
        mean, speed, p00, p01, p11 = self._state[:, rows]
        measured = _centred(boxes)
        total = p00 + (MEASUREMENT_STD * _sizes(measured)) ** 2
        gain, speed_gain = p00 / total, p01 / total
        surprise = measured - mean
        rest = 1.0 - gain
        self._state[:, rows] = (
            mean + gain * surprise,
            speed + speed_gain * surprise,
            p00 * rest,
            p01 * rest,
            p11 - speed_gain * p01,
        )

    def add(self, boxes: NDArray[np.float32]) -> None:
        """Start filters, at rest, for boxes seen for the first time: shape (K, 4), xyxy in pixels."""
        mean = _centred(boxes)
        size = np.broadcast_to(_sizes(mean), mean.shape)
        still = np.zeros_like(mean)
        started = np.stack((mean, still, (MEASUREMENT_STD * size) ** 2, still, (INITIAL_VELOCITY_STD * size) ** 2))
        self._state = np.concatenate((self._state, started), axis=1)

    def keep(self, chosen: NDArray[np.bool_]) -> None:
        """Drop the filters whose entry in `chosen`, shape (N,), is false."""
        self._state = self._state[:, chosen]

    def rescale(self, across: float, down: float) -> None:
        """Go over to a frame that is `across` times as wide and `down` times as high."""
        factors = np.array((across, down, across, down))
        self._state[:2] *= factors
        self._state[2:] *= factors**2


def _centred(boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    first, last = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64)
    return np.concatenate(((first + last) / 2, np.maximum(last - first, LEAST_SIDE)), axis=1)


def _sizes(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the mean of width and height, shape (N, 1)."""
    return (centred[:, 2:3] + centred[:, 3:4]) / 2
