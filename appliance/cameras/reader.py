"""Reads a vendor's capture in a thread of its own, so that nothing it does can hold up the camera's owner."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.core.clock import Clock, Stamp
from appliance.core.errors import EdgecamError, UnavailableError
from appliance.core.frame import Frame, PixelLayout
from appliance.core.latest import Latest

MOST_WEDGED = 3  # threads that hang inside a vendor's library; each may hold a socket or a device, and some megabytes
_CLOSING = 1.0  # seconds that a healthy reader gets to end


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture and when it arrived.

    Attributes:
        image: Shape (H, W, 3), uint8, BGR.
        stamp: When it arrived.
    """

    image: NDArray[np.uint8]
    stamp: Stamp


class _End:
    """No more pictures come."""


class Reader:
    """Keeps the newest picture of a capture. The methods are for the camera's owner only and all end in time.

    A thread that hangs in the vendor's library past its time is abandoned: it lets go of its capture when it comes
    back. At most MOST_WEDGED of them are waited for; then `open` refuses to start another.

    Args:
        name: The camera's name, for frames and thread names.
        clock: Stamps pictures as they arrive.
        where: The camera and its address, for messages.
        fix: What the owner can do when it gives no pictures, for messages.
    """

    def __init__(self, name: str, clock: Clock, *, where: str, fix: str) -> None:
        self._name = name
        self._where = where
        self._fix = fix
        self._clock = clock
        self._number = 0
        self._running: _Run | None = None
        self._abandoned: list[_Run] = []

    @property
    def wedged(self) -> int:
        """How many abandoned threads hang in the vendor's library now."""
        self._abandoned = [run for run in self._abandoned if run.thread.is_alive()]
        return len(self._abandoned)

    @property
    def dropped(self) -> int:
        """Pictures since opening that a newer one replaced before they were read."""
        return self._running.slot.dropped if self._running else 0

    @property
    def is_open(self) -> bool:
        """It was opened and not closed since."""
        return self._running is not None

    def open(self, connect: Callable[[], cv2.VideoCapture], timeout: float, first: float) -> None:
        """Start a thread that connects and reads; come back when the first picture is there.

        Args:
            connect: Opens the capture, within the thread; raises one of our errors, complete, when it cannot.
            timeout: Seconds for `connect`.
            first: Seconds from then on for the first picture.

        Raises:
            UnavailableError: Not in time, or too many earlier threads hang.
            EdgecamError: What `connect` raised.
        """
        self.close()
        if self.wedged >= MOST_WEDGED:
            raise self._unavailable(f"{self.wedged} earlier attempts still hang in the video library")
        run = _Run(f"camera:{self._name}:reader", connect, self._clock)
        self._running, self._number = run, 0
        run.thread.start()
        connected = run.connected.wait(timeout)
        arrived = connected and run.arrived.wait(first)
        if arrived and run.error is None and run.reason is None:
            return
        self.close()
        if run.error is not None:
            raise run.error
        if run.reason is not None:
            raise self._unavailable(f"it opened but gave no picture ({run.reason})")
        if connected:
            raise self._unavailable(f"no picture came within {first:g} s of opening")
        raise self._unavailable(f"it did not answer within {timeout:g} s")

    def read(self, timeout: float) -> Frame:
        """Wait up to `timeout` seconds for a picture newer than the last one; they are numbered from 0 since opening.

        Raises:
            UnavailableError: None came in time, the capture has ended, or nothing is open.
        """
        run = self._running
        if run is None:
            raise UnavailableError(f"{self._where}: it is not open")
        picture = run.slot.take(0.0 if run.has_ended else timeout)
        if isinstance(picture, Picture):
            number, self._number = self._number, self._number + 1
            height, width = picture.image.shape[:2]
            stamp = picture.stamp
            return Frame(picture.image, PixelLayout.BGR, width, height, self._name, number, stamp.time, stamp.mono_ns)
        raise self._unavailable(run.reason or f"no picture came within {timeout:g} s")

    def close(self) -> None:
        """Tell the thread to end, and wait for it a moment."""
        run, self._running = self._running, None
        if run is None:
            return
        run.stop.set()
        run.thread.join(_CLOSING)
        if run.thread.is_alive():
            self._abandoned.append(run)

    def _unavailable(self, what: str) -> UnavailableError:
        return UnavailableError(f"{self._where}: {what}; {self._fix}")


class ReaderCamera:
    """What cameras are that a `Reader` reads; how one is opened is its kind's.

    Args:
        reader: Its own.

    Attributes:
        waits: It cannot wait for its consumer.
    """

    def __init__(self, reader: Reader) -> None:
        self.waits = False
        self._reader = reader

    @property
    def dropped(self) -> int:
        """Pictures since opening that a newer one replaced before they were read."""
        return self._reader.dropped

    @property
    def wedged(self) -> int:
        """Abandoned threads that still hang inside the vendor's library or the driver."""
        return self._reader.wedged

    def read(self, timeout: float) -> Frame | None:
        """Wait up to `timeout` seconds for a picture; never None, as neither cameras nor streams end for good.

        Raises:
            UnavailableError: None came in time, the camera has gone, or it is not open.
        """
        return self._reader.read(timeout)

    def close(self) -> None:
        """Let go of it; a thread that hangs is left behind and counted."""
        self._reader.close()


class _Run:
    """One thread's life: connect, read until told to stop or the end, release."""

    def __init__(self, name: str, connect: Callable[[], cv2.VideoCapture], clock: Clock) -> None:
        self.stop, self.connected, self.arrived = threading.Event(), threading.Event(), threading.Event()
        self.slot: Latest[Picture | _End] = Latest()
        self.error: EdgecamError | None = None
        self.reason: str | None = None
        self.has_ended = False
        self._connect = connect
        self._clock = clock
        # a daemon thread: one that hangs must not keep the process from ending
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _run(self) -> None:
        try:
            capture = self._connect()
        except EdgecamError as error:
            self.error = error
            return
        finally:
            self.connected.set()
            if self.error is not None:
                self.arrived.set()
        try:
            self._read_until_end(capture)
        finally:
            self.has_ended = True
            self.slot.put(_End())  # wakes who waits for a picture
            capture.release()
            self.arrived.set()

    def _read_until_end(self, capture: cv2.VideoCapture) -> None:
        began = time.monotonic()
        while not self.stop.is_set():
            try:
                good, image = capture.read()
            except cv2.error as error:
                good = False
                self.reason = f"OpenCV: {error.err}"
            if not good:
                self.reason = self.reason or f"the stream ended after {time.monotonic() - began:.0f} s"
                return
            self.slot.put(Picture(np.asarray(image, np.uint8), self._clock.now()))
            self.arrived.set()
