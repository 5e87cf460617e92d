"""Where frames come from: one protocol, one dictionary of kinds, imported only when chosen."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from appliance.core.registry import load

if TYPE_CHECKING:  # numpy stays out until a kind of camera is chosen
    from appliance.config import AnyCamera
    from appliance.core.clock import Clock
    from appliance.core.frame import Frame

CAMERAS: Mapping[str, str] = MappingProxyType(
    {
        "file": "appliance.cameras.file:FileCamera",
        "imx500": "appliance.cameras.imx500:Imx500Camera",
        "picamera2": "appliance.cameras.picamera2:Picamera2Camera",
        "rtsp": "appliance.cameras.rtsp:RtspCamera",
        "synthetic": "appliance.cameras.synthetic:SyntheticCamera",
        "v4l2": "appliance.cameras.v4l2:V4l2Camera",
    }
)
"""Every kind of camera, as ``module:Class``. A class is built from (name, settings, clock)."""


class Camera(Protocol):
    """A source of frames. Owned by one thread: the worker that opens it, reads it and keeps its backoff.

    Attributes:
        waits: The source can wait for its consumer, such as a file read as fast as frames are taken: hand its
            frames over with `Latest.put_when_empty`. Otherwise the newest frame wins.
    """

    waits: bool

    def open(self) -> None:
        """Get ready to give frames; blocks for a bounded time. A camera that was closed can be opened again.

        Raises:
            UnavailableError: It is not there or does not answer now: back off and try again.
            ConfigError: What the owner wrote cannot work, a wrong password included: do not try again.
            UnsupportedError: A library that this kind needs is missing here.
        """

    def read(self, timeout: float) -> "Frame | None":
        """Wait up to `timeout` seconds for a frame; the receiver owns it. None: the source has ended for good.

        Raises:
            UnavailableError: No frame came in time, or the camera is gone or not open: close it and open it again.
            ConfigError: The source holds something that cannot be read, such as a broken picture.
        """

    def close(self) -> None:
        """Let go of the source, within a bounded time. Does nothing when it is not open."""


def make_camera(name: str, settings: "AnyCamera", clock: "Clock") -> Camera:
    """Build the camera that `settings` describe, without opening it; imports only its own kind.

    Args:
        name: The camera's name in the configuration.
        settings: Its section.
        clock: Stamps its frames.

    Raises:
        UnsupportedError: Its kind needs a library that is not installed here.
    """
    camera: Camera = load(CAMERAS, settings.kind, f"[cameras.{name}] kind")(name, settings, clock)
    return camera
