"""A Raspberry Pi AI Camera: the IMX500 runs a network itself, and its tensors come with the pictures' metadata.

picamera2/devices/imx500/imx500.py of https://github.com/raspberrypi/picamera2.
"""

import hashlib
import logging
import struct
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from appliance.cameras.picamera2 import OPENING, Attempt, Picamera2Camera
from appliance.config import Imx500CameraSettings, Picamera2CameraSettings
from appliance.core.answer import MOST_TENSORS, MOST_VALUES, Answer, CameraNetwork
from appliance.core.clock import Clock
from appliance.core.errors import ConfigError, UnavailableError, UnsupportedError
from appliance.core.frame import Frame

LOADING: Final = 900.0  # seconds; a network that the camera does not have yet takes minutes
MOST_NETWORK_BYTES: Final = 64 << 20  # the sensor's memory has 8 MB
SENSOR: Final = (4056, 3040)  # pixels in which ScalerCrop is told; what the network sees, as no region is set
_NETWORK_STAGE: Final = 2  # FW_NETWORK_STAGE
_MAGIC: Final = b"9464"  # of a file's first block
_ASKING: Final = 2.0
_log = logging.getLogger(__name__)


class Imx500Camera(Picamera2Camera):
    """Gives pictures that carry what the camera's own network found in them; see `Picamera2Camera`.

    A picture without an answer says nothing yet, neither that something is there nor that nothing is: it is left out
    and counted.

    Loading a network for the first time takes minutes. `open` then says so, with how far it is, again and again; it
    goes on meanwhile, `close` notwithstanding, and a later `open` takes it up.

    Attributes:
        unanswered: Pictures that were left out since the camera was made.
    """

    def __init__(self, name: str, settings: Imx500CameraSettings, clock: Clock) -> None:
        streams = settings.model_dump(include={"width", "height", "lores_width", "lores_height", "fps", "timeout"})
        super().__init__(name, Picamera2CameraSettings(kind="picamera2", **streams), clock)
        self.unanswered = 0
        self._file = settings.network.expanduser()
        self._device: Any = None
        self._network: CameraNetwork | None = None
        self._loading: Attempt | None = None
        self._began = 0.0

    def open(self) -> None:
        """Load the network and start the camera; returns within ten seconds, or says that it is still loading.

        Raises:
            UnavailableError: The network is still being loaded, or as `Picamera2Camera.open`.
            ConfigError: There is no such file, or as `Picamera2Camera.open`.
            UnsupportedError: picamera2's part for the IMX500 is not installed, or not as this program knows it.
        """
        self.close()
        attempt = self._loading
        if attempt is None:
            attempt, self._began = self._attempt(), time.monotonic()
        if not attempt.is_done_within(OPENING):
            self._loading = attempt
            if time.monotonic() - self._began > LOADING:
                self._loading = None
                self._give_up(attempt)
                raise UnavailableError(f"{self._where()}: its network did not load within {LOADING / 60:g} min")
            told = self._progress()
            raise UnavailableError(
                f"{self._where()}: its network is being loaded{told}; the first time this takes minutes"
            )
        self._loading = None
        self._adopt(attempt)

    def read(self, timeout: float) -> Frame | None:
        """Wait up to `timeout` seconds for a picture with its answer; never None.

        Raises:
            UnavailableError: None came in time, or the camera is not open.
        """
        deadline = time.monotonic() + timeout
        before = self.unanswered
        while True:
            try:
                frame = super().read(max(0.01, deadline - time.monotonic()))
            except UnavailableError as error:
                if self.unanswered == before or time.monotonic() < deadline:
                    raise
                raise self._without_answers(timeout) from error  # the camera is well: pictures came a moment ago
            if frame is None or frame.answer is not None:
                return frame
            if not self.unanswered:
                _log.info("%s: a picture came without its network's answer and is left out", self._where())
            self.unanswered += 1
            self._number -= 1
            if time.monotonic() >= deadline:
                raise self._without_answers(timeout)

    def _without_answers(self, timeout: float) -> UnavailableError:
        return UnavailableError(
            f"{self._where()}: pictures come, but no answer of its network within {timeout:g} s; "
            f"{self.unanswered} were left out; check that {self._file.name} is for an IMX500"
        )

    def _choose(self) -> int:
        """Load the network, which has to come before anything else is asked of the camera; give the camera's number."""
        digest = self._digest()
        try:
            from picamera2 import devices  # noqa: PLC0415 - the vendor's library is loaded only when it is needed
        except ImportError as error:
            raise UnsupportedError(
                f"{self._where()}: picamera2's part for the IMX500 cannot be loaded ({error}); do: sudo apt install "
                "imx500-all"
            ) from error
        try:
            self._device = devices.IMX500(str(self._file))
            self._network = network_of(self._device.network_intrinsics, self._device.get_input_size(), digest)
            return int(self._device.camera_num)
        except (RuntimeError, OSError, StopIteration) as error:  # the last: the driver has it, libcamera does not
            raise UnavailableError(
                f"{self._where()}: {str(error) or 'libcamera has no IMX500'}; check the ribbon cable, and that it is a "
                "Raspberry Pi AI Camera"
            ) from error
        except (KeyError, ValueError, struct.error) as error:
            raise ConfigError(
                f"{self._where()}: network: {self._file} cannot be read ({error}); copy or package it again"
            ) from error

    def _frame(self, request: Any) -> Frame:
        frame = super()._frame(request)
        metadata = request.get_metadata()
        outputs = self._device.get_outputs(metadata, add_batch=True)
        if outputs is None or self._network is None:
            return frame
        took = self._device.get_kpi_info(metadata)
        view = view_of(metadata.get("ScalerCrop"), (frame.width, frame.height))
        return replace(frame, answer=Answer(self._network, checked(outputs), view, sum(took) if took else None))

    def _digest(self) -> str:
        try:
            with self._file.open("rb") as file:
                content = file.read(MOST_NETWORK_BYTES + 1)
        except OSError as error:
            raise ConfigError(
                f"{self._where()}: network: cannot read {self._file}: {error.strerror}; check the path"
            ) from error
        if len(content) > MOST_NETWORK_BYTES or not content.startswith(_MAGIC):
            raise ConfigError(f"{self._where()}: network: {self._file} is no network for an IMX500; take another file")
        return hashlib.sha256(content).hexdigest()

    def _progress(self) -> str:
        """Tell how far the loading is, where the system lets that be seen."""
        device = self._device
        if device is None or not device.fw_progress:
            return ""
        asked = Attempt(lambda: device.get_fw_upload_progress(_NETWORK_STAGE), lambda _: None, "imx500:progress")
        if not asked.finishes_within(_ASKING) or not asked.result or not asked.result[1]:
            return ""
        done, total = asked.result
        return f", {100 * done // total} % done"

    def _where(self) -> str:
        return f"[cameras.{self._name}] imx500"


def network_of(intrinsics: Any, size: tuple[int, int], sha256: str) -> CameraNetwork:
    """Give what a network's file tells of it.

    Args:
        intrinsics: ``IMX500.network_intrinsics``; None: the file has none.
        size: Width and height of its input, pixels.
        sha256: Of the file.
    """
    width, height = (int(one) for one in size)
    if intrinsics is None:
        return CameraNetwork(sha256, width, height)
    labels = [str(label) for label in intrinsics.labels or ()]
    return CameraNetwork(
        sha256,
        width,
        height,
        task=str(intrinsics.task or ""),
        labels=tuple(label for label in labels if not intrinsics.ignore_dash_labels or label not in {"", "-"}),
        box_order=str(intrinsics.bbox_order or ""),
        boxes_are_pixels=intrinsics.bbox_normalization,  # what it says is that they still have to be normalised
        keeps_aspect_ratio=intrinsics.preserve_aspect_ratio,
        postprocess=str(intrinsics.postprocess or ""),
    )


def view_of(crop: Sequence[int] | None, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Give where the whole sensor lies in pixels of the frame: left, top, width, height.

    Args:
        crop: ``ScalerCrop``: left, top, width and height of what the frame shows, in pixels of the sensor.
        size: Of the frame, pixels.

    Raises:
        ValueError: There is no crop, or one that is empty.
    """
    if crop is None or len(crop) != 4 or min(crop[2:]) <= 0:  # noqa: PLR2004 - the four that are named
        raise ValueError(f"the camera tells no usable ScalerCrop ({crop})")
    left, top, width, height = crop
    across, down = size[0] / width, size[1] / height
    return -left * across, -top * down, SENSOR[0] * across, SENSOR[1] * down


def checked(outputs: Sequence[NDArray[Any]]) -> tuple[NDArray[np.float32], ...]:
    """Give a network's tensors, the receiver's own.

    Raises:
        ValueError: They are more or larger than a network in a camera can give.
    """
    if len(outputs) > MOST_TENSORS or sum(one.size for one in outputs) > MOST_VALUES:
        raise ValueError(f"the camera gave {len(outputs)} tensors of {sum(one.size for one in outputs)} values")
    return tuple(np.ascontiguousarray(one, np.float32) for one in outputs)
