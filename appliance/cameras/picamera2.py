"""A Raspberry Pi camera module through picamera2: the ISP scales the picture for the detector."""

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.config import Picamera2CameraSettings
from appliance.core.clock import Clock, Stamp
from appliance.core.errors import ConfigError, EdgecamError, UnavailableError, UnsupportedError
from appliance.core.frame import Frame, PixelLayout

BUFFERS = 4  # one filled, one queued, one read, one to spare; picamera2's six for video would take 8 MB more at 1080p
OPENING = 10.0  # seconds; a healthy camera takes one
CLOSING = 3.0
MOST_WEDGED = 2
_LAYOUTS = {"YUV420": PixelLayout.I420, "NV12": PixelLayout.NV12}
_FRESH_NS = 10_000_000_000  # an older sensor time stamp is not on our clock
# What picamera2 and libcamera raise when the hardware or its configuration does not play along
_VENDOR_ERRORS = (RuntimeError, IndexError, OSError, ValueError, AssertionError)
# What our calls raise where its names, parameters or dictionaries are not those that we know
_MISFITS = (TypeError, KeyError, AttributeError)

_log = logging.getLogger(__name__)


class Picamera2Camera:
    """Gives the small YUV stream of a camera module; boxes are reported in pixels of its main stream.

    `Frame.image` is the small stream as it comes from the ISP, without its padding: I420, or NV12 where libcamera
    substitutes that. Times are the sensor's own.

    Attributes:
        waits: It cannot wait for its consumer.
    """

    def __init__(self, name: str, settings: Picamera2CameraSettings, clock: Clock) -> None:
        self.waits = False
        self._name = name
        self._settings = settings
        self._clock = clock
        self._camera: Any = None
        self._job: Any = None
        self._hanging: list[Attempt] = []

    @property
    def wedged(self) -> int:
        """Attempts to open or close the camera that still hang inside picamera2."""
        self._hanging = [attempt for attempt in self._hanging if attempt.thread.is_alive()]
        return len(self._hanging)

    def open(self) -> None:
        """Configure both streams and start the camera; takes about a second, and ten at the most.

        Raises:
            UnavailableError: No such camera is attached, another program has it, or its driver hangs.
            ConfigError: The camera cannot give these streams.
            UnsupportedError: picamera2 is not installed, or not as this program knows it.
        """
        self.close()
        attempt = self._attempt()
        if not attempt.finishes_within(OPENING):
            self._hanging.append(attempt)
            raise UnavailableError(f"{self._where()}: it did not start within {OPENING:g} s; check the ribbon cable")
        self._adopt(attempt)

    def _attempt(self) -> "Attempt":
        """Begin to start it, in a thread of its own."""
        if self.wedged >= MOST_WEDGED:
            raise UnavailableError(f"{self._where()}: it hangs in its driver; restart the device")
        library = _import_vendor(self._where())
        return Attempt(lambda: self._start(library), self._shut, f"camera:{self._name}:open")

    def _adopt(self, attempt: "Attempt") -> None:
        """Take what an attempt that is done has started."""
        if attempt.error is not None:
            raise attempt.error
        if attempt.result is None:  # it ended in an error that nobody expected, which Python has written to the log
            raise UnsupportedError(f"{self._where()}: picamera2 failed; do: sudo apt update && sudo apt full-upgrade")
        self._camera = attempt.result
        self._number = 0

    def _give_up(self, attempt: "Attempt") -> None:
        """Wait for an attempt no longer: where it still finishes, the camera is shut."""
        if not attempt.finishes_within(0):
            self._hanging.append(attempt)
        elif attempt.result is not None:
            self._shut(attempt.result)

    def _start(self, library: Any) -> Any:
        camera = None
        try:
            camera = self._take(library)
            self._configure(camera)
            camera.start()
        except _MISFITS as error:
            if camera is not None:
                self._shut(camera)
            fix = "do: sudo apt update && sudo apt full-upgrade"
            raise UnsupportedError(
                f"{self._where()}: this version of picamera2 does not fit ({type(error).__name__}: {error}); {fix}"
            ) from error
        except _VENDOR_ERRORS as error:
            self._shut(camera)
            raise UnavailableError(f"{self._where()}: it cannot be started: {error}; check the ribbon cable") from error
        except EdgecamError:
            if camera is not None:
                self._shut(camera)
            raise
        return camera

    def read(self, timeout: float) -> Frame | None:
        """Wait up to `timeout` seconds for a frame; never None, as a camera has no end that is for good.

        Raises:
            UnavailableError: None came in time, or the camera is not open.
        """
        if self._camera is None:
            raise UnavailableError(f"{self._where()}: it is not open")
        try:
            # an unfinished job is kept: a second one would let the first take a buffer that nobody gives back
            self._job = self._job or self._camera.capture_request(wait=False)
            request = self._job.get_result(timeout=timeout)
        except TimeoutError as error:
            raise UnavailableError(
                f"{self._where()}: no frame came within {timeout:g} s; check the ribbon cable"
            ) from error
        except (*_VENDOR_ERRORS, CancelledError) as error:
            self._job = None
            raise UnavailableError(f"{self._where()}: it gave no frame: {error}") from error
        self._job = None
        try:
            return self._frame(request)
        except _VENDOR_ERRORS as error:
            raise UnavailableError(f"{self._where()}: a frame could not be read: {error}") from error
        finally:
            request.release()

    def close(self) -> None:
        """Stop the camera, waiting up to three seconds for picamera2 to do so."""
        camera, self._camera, self._job = self._camera, None, None
        if camera is None:
            return
        attempt = Attempt(lambda: self._shut(camera), lambda _: None, f"camera:{self._name}:close")
        if not attempt.finishes_within(CLOSING):
            self._hanging.append(attempt)

    def _shut(self, camera: Any) -> None:
        try:
            try:
                # a capture that never finished stands in the way of stop(); this is picamera2's own remedy
                camera.cancel_all_and_flush()
                camera.stop()
            finally:  # only this gives the camera back to the system
                camera.close()
        except (*_VENDOR_ERRORS, *_MISFITS) as error:
            _log.warning("%s: it did not close cleanly: %s", self._where(), error)

    def _where(self) -> str:
        return f"[cameras.{self._name}] picamera2:{self._settings.index}"

    def _take(self, library: Any) -> Any:
        try:
            chosen = self._choose()
            attached = len(library.global_camera_info())
            if chosen >= attached:
                fix = f"index counts from 0, {attached} attached; check the ribbon cable and its ends"
                raise UnavailableError(f"{self._where()}: there is no such camera; {fix}")
            return library(chosen)
        except _VENDOR_ERRORS as error:
            fix = "another program may use it: stop it (`pgrep -a rpicam`, `sudo fuser -v /dev/video*`)"
            raise UnavailableError(f"{self._where()}: it cannot be opened: {error}; {fix}") from error

    def _choose(self) -> int:
        """Give the camera's number."""
        return self._settings.index

    def _configure(self, camera: Any) -> None:
        chosen = self._settings
        if chosen.lores_width > chosen.width or chosen.lores_height > chosen.height:
            raise ConfigError(f"{self._where()}: lores_width and lores_height must not exceed width and height")
        duration = round(1e6 / chosen.fps)
        wanted = camera.create_video_configuration(
            main={"size": (chosen.width // 2 * 2, chosen.height // 2 * 2), "format": "YUV420"},
            lores={"size": (chosen.lores_width, chosen.lores_height), "format": "YUV420"},
            controls={"FrameDurationLimits": (duration, duration)},
            buffer_count=BUFFERS,
            queue=True,
            display=None,
            encode=None,
        )
        camera.configure(wanted)
        given = camera.camera_configuration()
        small, large = given["lores"], given["main"]
        if small["format"] not in _LAYOUTS:
            raise ConfigError(
                f"{self._where()}: the small stream comes as {small['format']}; known: {', '.join(_LAYOUTS)}"
            )
        self._layout = _LAYOUTS[small["format"]]
        self._small, self._stride = tuple(small["size"]), int(small["stride"])
        self._large = tuple(large["size"])
        if self._large != (chosen.width, chosen.height):
            _log.info("%s: the main stream is %dx%d", self._where(), *self._large)

    def _frame(self, request: Any) -> Frame:
        image = crop_planes(request.make_buffer("lores"), self._small, self._stride, self._layout)
        stamp = stamp_of(request.get_metadata().get("SensorTimestamp"), self._clock.now())
        number, self._number = self._number, self._number + 1
        width, height = self._large
        return Frame(image, self._layout, width, height, self._name, number, stamp.time, stamp.mono_ns)


class Attempt:
    """A call into picamera2 in a thread of its own: where it hangs there, only that thread does.

    Args:
        work: The call; may raise one of our errors.
        dispose: What to do with its result when that comes too late.
        name: The thread's name.
    """

    def __init__(self, work: Callable[[], Any], dispose: Callable[[Any], None], name: str) -> None:
        self.result: Any = None
        self.error: EdgecamError | None = None
        self._work, self._dispose = work, dispose
        self._lock = threading.Lock()
        self._is_done = self._is_late = False
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.thread.start()

    def is_done_within(self, seconds: float) -> bool:
        """Wait for it, and go on waiting another time where that was too short."""
        self.thread.join(seconds)
        with self._lock:
            return self._is_done or not self.thread.is_alive()

    def finishes_within(self, seconds: float) -> bool:
        """Wait for it; when it takes longer, give it up."""
        self.thread.join(seconds)
        with self._lock:
            self._is_late = not self._is_done
            return self._is_done

    def _run(self) -> None:
        try:
            self.result = self._work()
        except EdgecamError as error:
            self.error = error
        with self._lock:
            self._is_done = True
        if self._is_late and self.result is not None:
            self._dispose(self.result)


def crop_planes(
    buffer: NDArray[np.uint8], size: tuple[int, int], stride: int, layout: PixelLayout
) -> NDArray[np.uint8]:
    """Give a YUV 4:2:0 buffer without the padding at the end of its rows; shape (H * 3 / 2, W).

    Args:
        buffer: Shape (N,), the planes one after the other; the result may share its memory.
        size: Width and height in pixels, both even.
        stride: Bytes from one row of the Y plane to the next; U and V rows of I420 are half as far apart.
        layout: I420 or NV12.
    """
    width, height = size
    rows = height * 3 // 2
    padded = buffer[: rows * stride].reshape(rows, stride)
    if stride == width or layout is PixelLayout.NV12:
        return np.ascontiguousarray(padded[:, :width])
    image = np.empty((rows, width), np.uint8)
    image[:height] = padded[:height, :width]
    chroma = padded[height:].reshape(height, stride // 2)  # U rows, then V rows, each half as wide as those of Y
    image[height:] = chroma[:, : width // 2].reshape(rows - height, width)
    return image


def stamp_of(sensor_ns: int | None, now: Stamp) -> Stamp:
    """Give the moment of capture from the sensor's time, which runs on CLOCK_BOOTTIME, as `now.mono_ns` does.

    Args:
        sensor_ns: ``SensorTimestamp`` of the frame, in nanoseconds; None where the pipeline does not tell.
        now: This moment, used where the sensor's time is missing or not on that clock.
    """
    age = now.mono_ns - sensor_ns if sensor_ns else -1
    if not sensor_ns or not 0 <= age < _FRESH_NS:
        return now
    return Stamp(now.time - timedelta(microseconds=age / 1000), sensor_ns)


def list_modules() -> list[str]:
    """Name the attached camera modules in the order of their index.

    Raises:
        UnsupportedError: picamera2 cannot be loaded.
        UnavailableError: libcamera cannot list them.
    """
    library = _import_vendor("picamera2")
    try:
        return [f"{info.get('Model', 'camera')} ({info.get('Id', '?')})" for info in library.global_camera_info()]
    except _VENDOR_ERRORS as error:
        raise UnavailableError(f"picamera2 cannot list cameras: {error}") from error


def _import_vendor(where: str) -> Any:
    """Give the class picamera2.Picamera2."""
    # libcamera tells of every camera it looks at on stderr; what keeps one from working comes as an exception
    os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "*:FATAL")
    try:
        from picamera2 import Picamera2  # noqa: PLC0415 - the vendor's library is loaded only when it is needed
    except ImportError as error:
        raise UnsupportedError(
            f"{where}: picamera2 cannot be loaded ({error}); do: sudo apt install python3-picamera2 "
            "--no-install-recommends, and run with the system's Python packages visible"
        ) from error
    return Picamera2
