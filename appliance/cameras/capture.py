"""Opens cv2.VideoCapture quietly: what goes wrong is told by our own errors, not on stderr."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import cv2

from appliance.core.errors import UnavailableError

_VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"


def open_capture(source: str, backend: int, parameters: Sequence[int] = ()) -> cv2.VideoCapture:
    """Open `source`; whether that worked is for the caller to judge by `isOpened()` and by frames.

    Args:
        source: A path or an address.
        backend: ``cv2.CAP_FFMPEG`` or ``cv2.CAP_V4L2``.
        parameters: Pairs of property and value, in one flat list.
    """
    # OpenCV reads this once, at the first capture of the process; its log could otherwise name an address with its
    # password. Set by an owner who looks for a fault, it stays as it is.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET
    if "OPENCV_LOG_LEVEL" not in os.environ:
        _silence()
    return cv2.VideoCapture(source, backend, list(parameters))


def _silence() -> None:
    set_level = getattr(cv2, "setLogLevel", None)  # OpenCV 4; in 5 it moved
    if set_level is not None:
        set_level(0)
    else:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class FfmpegOptions:
    """Guards the environment variable by which alone OpenCV lets FFmpeg be told a stream's transport.

    Those who want the same options may open at the same time; who wants others waits for them. The variable keeps
    its last value: taking it away and putting it back at every attempt would be unsafe, as C code in other threads
    may read the environment meanwhile (getenv, before glibc 2.41).
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._users = 0

    @contextmanager
    def held(self, options: str, timeout: float, where: str) -> Iterator[None]:
        """Hold the variable at `options` while a capture is opened.

        Args:
            options: As OpenCV wants them: ``rtsp_transport;tcp``.
            timeout: Seconds to wait for others.
            where: Who asks, for the message.

        Raises:
            UnavailableError: Others held it at something else for `timeout` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: not self._users or os.environ.get(_VARIABLE) == options, timeout):
                raise UnavailableError(
                    f"{where}: cameras with another `transport` were being opened for {timeout:g} s; "
                    "check those, or use one transport for all"
                )
            if os.environ.get(_VARIABLE) != options:
                os.environ[_VARIABLE] = options
            self._users += 1
        try:
            yield
        finally:
            with self._changed:
                self._users -= 1
                self._changed.notify_all()


FFMPEG_OPTIONS = FfmpegOptions()
"""The process has one environment, so that there is one guard of it."""
