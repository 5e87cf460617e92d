"""Recordings: a video or a series of pictures, gone through frame by frame."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.cameras.capture import open_capture
from appliance.cameras.pictures import read_picture, require_bounded
from appliance.core.errors import ConfigError

FOLDER_FPS = 10.0
USUAL_FPS = 25.0  # where a video does not tell, or tells nonsense
MOST_FPS = 1000.0
LONGEST_GAP = 2.0  # seconds between two frames of a video; a camera that pauses for longer counts as stalled


class Timeline:
    """Turns the timestamps that a video tells into times that can be played: growing, and without long pauses.

    Args:
        period: Seconds from one frame to the next where timestamps are of no use.
    """

    def __init__(self, period: float) -> None:
        self._period = period
        self._at = -period
        self._shift = 0.0

    def next(self, told: float) -> float:
        """Give the next frame's time in seconds, from the video's own timestamp in seconds."""
        expected = self._at + self._period
        at = told - self._shift
        if not self._at < at <= max(expected, self._at + LONGEST_GAP):
            # it stands still, runs back, jumps or is no number: go on from here, and believe what comes after it
            self._shift += at - expected if math.isfinite(at) else 0.0
            at = expected
        self._at = at
        return at


class Clip(Protocol):
    """A recording that is gone through once.

    Attributes:
        period: Seconds from one frame to the next, as a rule.
        path: The file that the present frame comes from.
    """

    period: float
    path: Path

    def advance(self) -> float | None:
        """Go on to the next frame and give its time in seconds from the recording's start; None: it has ended."""

    def picture(self) -> NDArray[np.uint8]:
        """Give the present frame, shape (H, W, 3), BGR; the receiver owns it."""

    def close(self) -> None:
        """Let go of the file."""


class VideoClip:
    """A video, unpacked by FFmpeg in one thread.

    Args:
        path: The file.
        fps: Frames a second instead of the video's own timestamps; 0: its own.

    Raises:
        ConfigError: It is no video that FFmpeg can read, or its picture is too large.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path = path
        # more decoder threads would each keep frames of their own: 20 MB and more for 1080p
        self._capture = open_capture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        try:
            self._require_usable()
        except ConfigError:
            self._capture.release()
            raise
        self._override = fps
        own = self._capture.get(cv2.CAP_PROP_FPS)
        rate = fps or (own if math.isfinite(own) and 0.0 < own <= MOST_FPS else USUAL_FPS)
        self.period = 1.0 / rate if fps else min(1.0 / rate, LONGEST_GAP)
        self._timeline = Timeline(self.period)
        self._index = -1

    def _require_usable(self) -> None:
        if not self._capture.isOpened():
            raise ConfigError(
                f"{self.path} is no video that can be read; accepted: what FFmpeg reads (MP4, MKV, AVI, WebM, GIF …); "
                "a file that was cut off while it was recorded may lack its index"
            )
        width, height = (self._capture.get(p) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        require_bounded(int(width), int(height), str(self.path))

    def advance(self) -> float | None:
        """Go on to the next frame and give its time; unpacks it, but does not convert it."""
        if not self._capture.grab():
            return None
        self._index += 1
        if self._override:
            return self._index * self.period
        return self._timeline.next(self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0)

    def picture(self) -> NDArray[np.uint8]:
        """Give the present frame.

        Raises:
            ConfigError: It cannot be unpacked.
        """
        good, image = self._capture.retrieve()
        if not good:
            raise ConfigError(f"frame {self._index} of {self.path} cannot be unpacked; is the file damaged?")
        return np.asarray(image, np.uint8)

    def close(self) -> None:
        """Let go of the file."""
        self._capture.release()


class PictureClip:
    """Pictures in a given order, each of its own size.

    Args:
        paths: The pictures, at least one.
        fps: Pictures a second; 0: 10.
    """

    def __init__(self, paths: Sequence[Path], fps: float) -> None:
        self._paths = paths
        self.path = paths[0]
        self.period = 1.0 / (fps or FOLDER_FPS)
        self._index = -1

    def advance(self) -> float | None:
        """Go on to the next picture and give its time; does not read it."""
        if self._index + 1 >= len(self._paths):
            return None
        self._index += 1
        self.path = self._paths[self._index]
        return self._index * self.period

    def picture(self) -> NDArray[np.uint8]:
        """Read the present picture.

        Raises:
            ConfigError: It is missing, broken or too large; the next `advance` leaves it behind.
        """
        return read_picture(self.path)

    def close(self) -> None:
        """Nothing is held open between pictures."""
