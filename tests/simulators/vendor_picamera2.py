"""Stands in for the vendor's picamera2, as recorded from its source (picamera2 0.3.x at 3e6dff0, May 2026).

Recorded behaviour that matters: `global_camera_info` lists what is attached; the constructor raises IndexError for a
camera that is not there and RuntimeError where another program has it; `configure` aligns sizes down to even numbers
and libcamera may give another format, size and stride than asked for, to be read back from `camera_configuration`;
`capture_request(wait=False)` gives a job that stays in the queue until a frame comes, its `get_result(timeout)` raises
concurrent.futures.TimeoutError; a request that is not released keeps its buffer, and without free buffers no frame
comes; `stop` waits for ever behind a job that never finishes, unless `cancel_all_and_flush` was called first.

`devices.IMX500` has to be made before the camera; the file is loaded while the camera starts, which blocks for minutes
the first time. Its tensors come with some pictures' metadata, column by column (``order="F"``), and not with others. A
file here is ``9464`` and JSON: `size`, `intrinsics`.
"""

import json
import struct
import threading
import time
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np


@dataclass
class Sensor:
    """What is plugged in, and how it misbehaves."""

    model: str = "imx708"
    is_busy: bool = False
    hangs_for: float = 0.0
    gives_frames: bool = True
    lores_format: str = "YUV420"
    stride_multiple: int = 64
    outputs: list[Any] = field(default_factory=list)  # tensors of its network, without a batch
    answered: Any = None  # of a picture's number: whether its answer comes with it; None: always
    crop: tuple[int, int, int, int] = (0, 380, 4056, 2282)
    loading: threading.Event | None = None  # until it is set the network is being loaded
    progress: int = 1  # firmware upload can be seen, FwProgressType
    network: str = ""
    users: list["Picamera2"] = field(default_factory=list)


class Job:
    """picamera2.job.Job."""

    def __init__(self) -> None:
        self.future: Future[Any] = Future()
        self.future.set_running_or_notify_cancel()

    def get_result(self, timeout: float | None = None) -> Any:
        return self.future.result(timeout=timeout)

    def cancel(self) -> None:
        self.future.set_exception(CancelledError())


class CompletedRequest:
    """picamera2.request.CompletedRequest."""

    def __init__(self, camera: "Picamera2", number: int) -> None:
        self._camera = camera
        self._number = number
        self._timestamp = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - 20_000_000
        self._references = 1

    def make_buffer(self, name: str) -> np.ndarray:
        stream = self._camera.camera_configuration()[name]
        (width, height), stride = stream["size"], stream["stride"]
        luma = np.full((height, stride), 255, np.uint8)  # padding shows as white
        luma[:, :width] = np.arange(width) % 200 + self._number % 50
        if stream["format"] == "NV12":
            chroma = np.full((height // 2, stride), 255, np.uint8)
            chroma[:, 0:width:2], chroma[:, 1:width:2] = 100, 160
        else:
            chroma = np.full((height, stride // 2), 255, np.uint8)
            chroma[: height // 2, : width // 2], chroma[height // 2 :, : width // 2] = 100, 160
        return np.concatenate([luma.ravel(), chroma.ravel(), np.zeros(4096, np.uint8)])  # frames end on a page

    def get_metadata(self) -> dict[str, Any]:
        told = {"SensorTimestamp": self._timestamp, "ExposureTime": 9000, "AnalogueGain": 1.0}
        sensor = self._camera.sensor
        told["ScalerCrop"] = sensor.crop
        if sensor.network and (sensor.answered is None or sensor.answered(self._number)):
            flat = [value for one in sensor.outputs for value in np.asarray(one, np.float32).ravel(order="F").tolist()]
            told |= {"CnnOutputTensor": flat, "CnnKpiInfo": (15000, 2500)}
            told["CnnOutputTensorInfo"] = [np.shape(one) for one in sensor.outputs]
        return told

    def release(self) -> None:
        self._references -= 1
        if self._references < 0:
            raise RuntimeError("CompletedRequest: lock now has negative ref_count")
        self._camera.free_buffers += 1


class Picamera2:
    """picamera2.Picamera2, with a thread as its event loop."""

    sensors: ClassVar[list[Sensor]] = []

    @staticmethod
    def global_camera_info() -> list[dict[str, Any]]:
        return [
            {"Model": sensor.model, "Location": 2, "Rotation": 180, "Id": f"/base/i2c@{at}/{sensor.model}", "Num": at}
            for at, sensor in enumerate(Picamera2.sensors)
        ]

    def __init__(self, camera_num: int = 0) -> None:
        self._sensor = Picamera2.sensors[camera_num]
        if self._sensor.is_busy or self._sensor.users:
            raise RuntimeError("Camera __init__ sequence did not complete.")
        self._sensor.users.append(self)
        self.sensor = self._sensor
        self._config: dict[str, Any] = {}
        self._jobs: list[Job] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.free_buffers = 0
        self.frames = 0

    def create_video_configuration(
        self,
        *,
        main: dict[str, Any],
        lores: dict[str, Any],
        buffer_count: int = 6,
        controls: dict[str, Any],
        display: str | None = "main",
        encode: str | None = "main",
        queue: bool = True,
    ) -> dict[str, Any]:
        main = {"format": "XBGR8888", "size": (1280, 720), **main}
        lores = {"format": "YUV420", "size": main["size"], **lores}
        return {
            "main": main,
            "lores": lores,
            "buffer_count": buffer_count,
            "queue": queue,
            "controls": {"FrameDurationLimits": (33333, 33333), **controls},
            "display": display,
            "encode": encode,
        }

    def configure(self, config: dict[str, Any]) -> None:
        main, lores = config["main"], config["lores"]
        for stream in (main, lores):
            if stream["size"][0] % 2 or stream["size"][1] % 2:
                raise RuntimeError("width and height should be even")
        if lores["size"][0] > main["size"][0] or lores["size"][1] > main["size"][1]:
            raise RuntimeError("lores stream dimensions may not exceed main stream")
        multiple = self._sensor.stride_multiple
        for stream in (main, lores):
            stream["stride"] = -(-stream["size"][0] // multiple) * multiple
        lores["format"] = self._sensor.lores_format
        self._config = config

    def camera_configuration(self) -> dict[str, Any]:
        return self._config

    def start(self) -> None:
        if not self._config:
            raise RuntimeError("Camera has not been configured")
        self._stop.wait(self._sensor.hangs_for)
        if self._sensor.loading is not None:
            self._sensor.loading.wait(20)
        self.free_buffers = self._config["buffer_count"]
        self._stop.clear()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        seconds = self._config["controls"]["FrameDurationLimits"][0] / 1e6
        while not self._stop.wait(seconds):
            with self._lock:
                if self._sensor.gives_frames and self._jobs and self.free_buffers:
                    self.free_buffers -= 1
                    self.frames += 1
                    self._jobs.pop(0).future.set_result(CompletedRequest(self, self.frames))

    def capture_request(self, wait: Any = None) -> Any:
        job = Job()
        with self._lock:
            self._jobs.append(job)
        return job.get_result(None if wait is True else wait) if wait or wait is None else job

    def cancel_all_and_flush(self) -> None:
        with self._lock:
            for job in self._jobs:
                job.cancel()
            self._jobs = []

    def stop(self) -> None:
        if self._thread is None:
            return
        while self._jobs:  # the vendor's stop is a job behind these
            self._stop.wait(0.01)
        self._stop.set()
        self._thread.join()
        self._thread = None

    def close(self) -> None:
        self.stop()
        if self in self._sensor.users:
            self._sensor.users.remove(self)


class IMX500:
    """picamera2.devices.IMX500."""

    def __init__(self, network_file: str, camera_id: str = "", tensor_injection: bool = False) -> None:  # noqa: FBT001, FBT002 - the vendor's
        assert isinstance(network_file, str)
        assert (camera_id, tensor_injection) == ("", False)
        numbers = [at for at, sensor in enumerate(Picamera2.sensors) if sensor.model == "imx500"]
        if not numbers:
            raise RuntimeError("IMX500: Requested camera dev-node not found")
        self.camera_num = numbers[0]
        self._sensor = Picamera2.sensors[self.camera_num]
        assert not self._sensor.users, "the network has to be given before the camera is opened"
        self.fw_progress = self._sensor.progress
        with open(network_file, "rb") as file:  # noqa: PTH123 - as the vendor does
            content = file.read()
        if content[4:8] == b"":
            raise struct.error("unpack requires a buffer of 8 bytes")
        self._told = json.loads(content[4:])
        self._sensor.network = network_file
        chosen = self._told.get("intrinsics")
        names = ("task", "labels", "bbox_order", "bbox_normalization", "preserve_aspect_ratio", "postprocess")
        names = (*names, "ignore_dash_labels")
        told = None if chosen is None else SimpleNamespace(**(dict.fromkeys(names) | chosen))
        self.network_intrinsics = told

    def get_input_size(self) -> tuple[int, int]:
        return tuple(self._told["size"])

    def get_outputs(self, metadata: dict[str, Any], add_batch: bool = False) -> list[np.ndarray] | None:  # noqa: FBT001, FBT002 - the vendor's
        flat = metadata.get("CnnOutputTensor")
        if not flat:
            return None
        values, offset, outputs = np.fromiter(flat, dtype=np.float32), 0, []
        for shape in metadata["CnnOutputTensorInfo"]:
            size = int(np.prod(shape))
            one = values[offset : offset + size].reshape(shape, order="F")
            outputs.append(np.expand_dims(one, 0) if add_batch else one)
            offset += size
        return outputs

    @staticmethod
    def get_kpi_info(metadata: dict[str, Any]) -> tuple[float, float] | None:
        told = metadata.get("CnnKpiInfo")
        return None if told is None else (told[0] / 1000, told[1] / 1000)

    def get_fw_upload_progress(self, stage_req: int) -> tuple[int, int]:
        assert self.fw_progress
        return (430, 1000) if stage_req == 2 else (0, 0)

    def convert_inference_coords(self, coords: tuple[float, ...], crop: tuple[int, ...], size: tuple[int, int]) -> Any:
        """What the vendor makes of a box y0, x0, y1, x1 that lies within the crop: x, y, width, height."""
        y0, x0, y1, x1 = coords
        left, top, width, height = x0 * 4056, y0 * 3040, (x1 - x0) * 4056, (y1 - y0) * 3040
        across, down = size[0] / crop[2], size[1] / crop[3]
        return (left - crop[0]) * across, (top - crop[1]) * down, width * across, height * down


devices = SimpleNamespace(IMX500=IMX500)
