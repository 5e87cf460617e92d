"""A USB or other Video4Linux camera, judged by its frames."""

import logging
from pathlib import Path

import cv2

from appliance.cameras.capture import open_capture
from appliance.cameras.nodes import query_node
from appliance.cameras.reader import Reader, ReaderCamera
from appliance.config import V4l2CameraSettings
from appliance.core.clock import Clock
from appliance.core.errors import ConfigError, UnavailableError

OPENING = 5.0  # seconds: a USB camera may take two to power up
FIRST_FRAME = 5.0
_RAW_UP_TO = 640 * 480  # above, uncompressed pictures do not fit through USB 2 at 30 frames a second

_log = logging.getLogger(__name__)


class V4l2Camera(ReaderCamera):
    """Gives the newest picture of a local camera, in BGR.

    OpenCV calls a camera opened even after it was unplugged, so that only frames count here: `open` has succeeded
    when the first one is there.
    """

    def __init__(self, name: str, settings: V4l2CameraSettings, clock: Clock) -> None:
        self._name = name
        self._settings = settings
        self._where = f"[cameras.{name}] {settings.device}"
        fix = "plug it in again, or ask for a smaller width, height or fps"
        super().__init__(Reader(name, clock, where=self._where, fix=fix))

    def open(self) -> None:
        """Start the camera and wait for its first picture, up to ten seconds in all.

        Raises:
            UnavailableError: It is not there, in use, not permitted, or gives no pictures.
            ConfigError: What is there is no camera.
        """
        self.close()
        node = query_node(Path(self._settings.device))
        if node.trouble:
            raise (ConfigError if node.is_wrong else UnavailableError)(f"[cameras.{self._name}] device: {node.trouble}")
        self._reader.open(self._connect, OPENING, FIRST_FRAME)

    def _connect(self) -> cv2.VideoCapture:
        """Open the device and ask for the format. Runs in the reader's thread."""
        chosen = self._settings
        capture = open_capture(chosen.device, cv2.CAP_V4L2)
        if not capture.isOpened():
            capture.release()
            raise UnavailableError(f"{self._where}: it cannot be opened; {query_node(Path(chosen.device)).trouble}")
        if chosen.width * chosen.height > _RAW_UP_TO:
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, chosen.width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, chosen.height)
        capture.set(cv2.CAP_PROP_FPS, chosen.fps)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        width, height = (int(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if (width, height) != (chosen.width, chosen.height):
            asked = f"{chosen.width}x{chosen.height}"
            _log.info("[cameras.%s] %s gives %dx%d, not %s", self._name, chosen.device, width, height, asked)
        return capture
