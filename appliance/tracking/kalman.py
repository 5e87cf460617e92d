"""Where every box is expected next: constant-velocity Kalman filters for all tracks at once."""

import numpy as np
from numpy.typing import NDArray

# Noise in units of the box's own size (mean of width and height), after SORT (Bewley et al., 2016), DeepSORT
# (Wojke et al., 2017) and ByteTrack (Zhang et al., 2022): 1/20 of the size for a position, 1/160 a frame for a
# velocity, ten times that for the first one. Theirs are per frame at 30 frames a second; here they are densities, so
# that any frame rate will do. Sides change more slowly than places do: someone who comes nearer at a walk grows by
# a third in a second. With a place's noise two narrow sights in a row foretold a box without width.
MEASUREMENT_STD = 1 / 20  # sizes
POSITION_DRIFT = 30 * (1 / 20) ** 2  # sizes² a second
VELOCITY_DRIFT = 30 * (30 / 160) ** 2 * np.array((1.0, 1.0, 0.1, 0.1))  # (sizes a second)² a second; x, y, w, h
INITIAL_VELOCITY_STD = 10 * 30 / 160 * np.array((1.0, 1.0, 0.25, 0.25))  # sizes a second; x, y, w, h
LEAST_SIDE = 1.0  # pixels; a side that shrinks through zero would turn the box inside out

# (x, y, w, h) = xyxy @ _TO_CENTRED, and back
_TO_CENTRED = np.array(((0.5, 0.0, -1.0, 0.0), (0.0, 0.5, 0.0, -1.0), (0.5, 0.0, 1.0, 0.0), (0.0, 0.5, 0.0, 1.0)))
_TO_CORNERS = np.array(((1.0, 0.0, 1.0, 0.0), (0.0, 1.0, 0.0, 1.0), (-0.5, 0.0, 0.5, 0.0), (0.0, -0.5, 0.0, 0.5)))

_TO_SIZE = np.array(((0.0,), (0.0,), (0.5,), (0.5,)))


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
        # one product moves the mean and the covariance: F P F' written out for two states
        self._step = np.eye(5)
        self._noise = np.zeros((5, 1, 4))

    def __len__(self) -> int:
        return self._state.shape[1]

    @property
    def boxes(self) -> NDArray[np.float64]:
        """Where the boxes are now held to be: shape (N, 4), xyxy in pixels."""
        boxes: NDArray[np.float64] = self._state[0].dot(_TO_CORNERS)
        return boxes

    def predict(self, seconds: float, unseen: NDArray[np.intp]) -> None:
        """Let time pass for all tracks.

        Args:
            seconds: Since the last prediction, 0 or more.
            unseen: Shape (K,): the tracks that were not seen in the last frame. Their size is held: the last thing
                seen before an occlusion is a box that is cut off more and more (ByteTrack does the same).
        """
        if len(unseen):
            self._state[1, unseen, 2:] = 0.0
        step, noise = self._step, self._noise
        step[0, 1] = step[3, 4] = seconds
        step[2, 3], step[2, 4] = 2.0 * seconds, seconds * seconds
        noise[4, 0] = VELOCITY_DRIFT * seconds
        noise[3, 0] = noise[4, 0] * (seconds / 2.0)
        noise[2, 0] = noise[3, 0] * (seconds / 1.5) + POSITION_DRIFT * seconds
        drift = noise * _squared_sizes(self._state[0])
        self._state = step.dot(self._state.reshape(5, -1)).reshape(self._state.shape)
        self._state += drift
        sides = self._state[0, :, 2:]
        np.maximum(sides, LEAST_SIDE, out=sides)

    def correct(self, rows: NDArray[np.intp], boxes: NDArray[np.float64]) -> None:
        """Take in what was seen.

        Args:
            rows: Shape (K,): the tracks that were seen.
            boxes: Shape (K, 4), xyxy in pixels: where.
        """
        state = self._state.take(rows, axis=1)
        shared = state[2:4]  # what position and velocity have in common with the position that is measured
        gains = shared / (state[2] + MEASUREMENT_STD**2 * _squared_sizes(state[0]))
        state[:2] += gains * (_centred(boxes) - state[0])
        state[4] -= gains[1] * state[3]
        shared -= gains[0] * shared
        self._state[:, rows] = state

    def add(self, boxes: NDArray[np.float64]) -> None:
        """Start filters, at rest, for boxes seen for the first time: shape (K, 4), xyxy in pixels."""
        mean = _centred(boxes)
        squared = np.broadcast_to(_squared_sizes(mean), mean.shape)
        still = np.zeros_like(mean)
        started = np.stack((mean, still, MEASUREMENT_STD**2 * squared, still, INITIAL_VELOCITY_STD**2 * squared))
        self._state = np.concatenate((self._state, started), axis=1)

    def keep(self, chosen: NDArray[np.bool_]) -> None:
        """Drop the filters whose entry in `chosen`, shape (N,), is false."""
        self._state = self._state[:, chosen]

    def rescale(self, across: float, down: float) -> None:
        """Go over to a frame that is `across` times as wide and `down` times as high."""
        factors = np.array((across, down, across, down))
        self._state[:2] *= factors
        self._state[2:] *= factors**2


def _centred(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    centred: NDArray[np.float64] = boxes.dot(_TO_CENTRED)
    sides = centred[:, 2:]
    np.maximum(sides, LEAST_SIDE, out=sides)
    return centred


def _squared_sizes(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the square of the mean of width and height, shape (N, 1)."""
    sizes: NDArray[np.float64] = centred.dot(_TO_SIZE)
    sizes *= sizes
    return sizes
