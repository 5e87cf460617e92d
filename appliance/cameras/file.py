"""A video file, or pictures in the order of their names, as a camera."""

from datetime import timedelta
from pathlib import Path

from appliance.cameras.clips import Clip, PictureClip, VideoClip
from appliance.cameras.pacing import Pacer, SystemTimer, Timer
from appliance.cameras.pictures import ACCEPTED, SUFFIXES, list_pictures
from appliance.config import FileCameraSettings
from appliance.core.clock import Clock, Stamp
from appliance.core.errors import ConfigError, UnavailableError
from appliance.core.frame import Frame, PixelLayout

MOST_CATCHING_UP = 0.5  # seconds in one read; beyond, this machine cannot unpack the clip in real time


class FileCamera:
    """Plays a clip in real time or as fast as its frames are taken, once or again and again.

    In real time the clip goes on while its consumer is busy: frames that are overdue are skipped, and a frame's
    number is its place in the clip, so that gaps show what was skipped. As fast as possible, every frame is given
    and its times run on the clip's own timeline from the moment of opening, so that durations come out as recorded.

    Attributes:
        waits: It is read as fast as frames are taken.
        skipped: Frames left out since opening because they were overdue.
    """

    def __init__(self, name: str, settings: FileCameraSettings, clock: Clock, timer: Timer | None = None) -> None:
        self.waits = settings.pace == "fastest"
        self.skipped = 0
        self._name = name
        self._settings = settings
        self._clock = clock
        self._timer = timer or SystemTimer()
        self._clip: Clip | None = None
        self._ended = False

    @property
    def path(self) -> Path:
        """The file that the last frame came from: for a folder, the picture."""
        return self._clip.path if self._clip else self._settings.path

    def open(self) -> None:
        """Open the clip at its start.

        Raises:
            ConfigError: It is missing, or neither a video nor pictures.
        """
        self.close()
        self._clip = self._open_clip()
        self._opened = self._clock.now()
        self._pacer = Pacer(self._timer)
        self._ended = False
        self._number, self._at, self._offset = -1, 0.0, 0.0
        self._has_next = False
        self.skipped = 0

    def read(self, timeout: float) -> Frame | None:
        """Give the frame that is due, waiting for it up to `timeout` seconds; None: the clip has ended.

        Raises:
            UnavailableError: It is not open, or the next frame is due later than that.
            ConfigError: A picture cannot be read; the next read goes on behind it.
        """
        if self._ended:
            return None
        if self._clip is None:
            raise UnavailableError(f"[cameras.{self._name}] {self._settings.path} is not open")
        if not self._has_next and not self._advance():
            return None
        if not self.waits:
            if not self._catch_up():
                return None
            if not self._pacer.wait_until_due(self._at, timeout):
                raise UnavailableError(
                    f"[cameras.{self._name}] the next frame of {self.path} is due later than in {timeout:g} s"
                )
        self._has_next = False
        image = self._clip.picture()
        stamp = self._stamp()
        height, width = image.shape[:2]
        return Frame(image, PixelLayout.BGR, width, height, self._name, self._number, stamp.time, stamp.mono_ns)

    def close(self) -> None:
        """Let go of the file."""
        if self._clip is not None:
            self._clip.close()
        self._clip = None
        self._ended = False

    def _open_clip(self) -> Clip:
        path, fps = self._settings.path.expanduser(), self._settings.fps
        if path.is_dir():
            pictures = list_pictures(path)
            if not pictures:
                raise ConfigError(f"[cameras.{self._name}] the folder {path} holds no pictures; accepted: {ACCEPTED}")
            return PictureClip(pictures, fps)
        if not path.is_file():
            what = "is neither a file nor a folder" if path.exists() else "there is no such file or folder"
            raise ConfigError(f"[cameras.{self._name}] path {path}: {what}")
        if path.suffix.lower() in SUFFIXES:
            return PictureClip([path], fps)
        return VideoClip(path, fps)

    def _advance(self) -> bool:
        """Go on to the next frame, over the end when looping; tell whether there is one."""
        assert self._clip is not None  # noqa: S101 - read() checked it
        at = self._clip.advance()
        if at is None and self._settings.loop and self._number >= 0:
            self._clip.close()
            self._clip = self._open_clip()
            self._offset = self._at + self._clip.period
            at = self._clip.advance()
        if at is None:
            self._ended = True
            self._clip.close()
            return False
        self._at = self._offset + at
        self._number += 1
        self._has_next = True
        return True

    def _catch_up(self) -> bool:
        """Leave out frames while the one after them is due already; tell whether a frame is left."""
        assert self._clip is not None  # noqa: S101 - read() checked it
        give_up = self._timer.monotonic() + MOST_CATCHING_UP
        while self._pacer.lateness(self._at) >= self._clip.period:
            if self._timer.monotonic() >= give_up:
                self._pacer.restart(self._at)  # slower than recorded is better than no frame at all
                return True
            if not self._advance():
                return False
            self.skipped += 1
        return True

    def _stamp(self) -> Stamp:
        if not self.waits:
            return self._clock.now()
        time = self._opened.time + timedelta(seconds=self._at)
        return Stamp(time, self._opened.mono_ns + round(self._at * 1e9))
