"""Stands in for the vendor's hailo_platform, as recorded from its source (HailoRT 4.20, 4.23 and 5.2).

Recorded behaviour that matters: a VDevice takes the device for its process, and only those with the same `group_id`
share it (else status 74, as when there is none); a file for another device fails in `configure`, with an error that
differs between versions; `AsyncInferJob.wait` waits for the device and then for the callback, each up to its limit;
an error ends the network; bindings that were used hold HailoRT's own memory, and their outputs must be set again;
buffers are checked for their size in bytes alone, and only when the network is run.

A file is ``HEF`` and JSON: `arch`, `input` (height, width, 3), perhaps `scale` and `zero` of its input and its `order`,
and `outputs`, each with a `name` and either a `shape` or `classes` and `boxes`. An output with a shape is the mean of
the picture; a list holds what `Machine.found` has for each class.
"""

import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import NDArray

FormatType = Enum("FormatType", ["AUTO", "UINT8", "UINT16", "FLOAT32"])
FormatOrder = Enum("FormatOrder", ["NHWC", "NC", "NV12", "HAILO_NMS", "HAILO_NMS_BY_CLASS", "HAILO_NMS_BY_SCORE"])
HailoSchedulingAlgorithm = Enum("HailoSchedulingAlgorithm", ["NONE", "ROUND_ROBIN"])
DTYPES = {FormatType.UINT8: np.uint8, FormatType.UINT16: np.uint16, FormatType.FLOAT32: np.float32}


class HailoRTException(Exception):  # noqa: N818 - the vendor's name
    """Root of what HailoRT raises."""


class HailoRTTimeout(HailoRTException):
    pass


class HailoRTInvalidHEFException(HailoRTException):
    pass


class HailoRTHEFNotCompatibleWithDevice(HailoRTException):
    pass


class HailoRTInvalidOperationException(HailoRTException):
    pass


class HailoRTStreamAborted(HailoRTException):
    pass


def status(number: int, name: str) -> HailoRTException:
    """Give the error for a status that has no class of its own."""
    return HailoRTException(f"libhailort failed with error: {number} ({name})")


@dataclass
class Machine:
    """What is plugged in, and how it misbehaves.

    Attributes:
        arch: Of the device.
        trouble: What taking the device raises.
        is_old: HailoRT before 4.21: it calls a file for another device an invalid one.
        fault: ``hang`` (no answer until `answer` is set), ``late`` (the callback hangs), ``error``, ``abort``.
        found: Boxes of each class: y1, x1, y2, x2, score.
        counts: In place of the numbers of boxes of the classes.
        value: In place of the mean of the picture.
        scheduling: What the last VDevice was asked for.
        devices: VDevices that hold the device.
        networks: Networks that are configured.
        answer: Ends a hang.
    """

    arch: str = "hailo8l"
    trouble: HailoRTException | None = None
    is_old: bool = False
    fault: str = ""
    found: Mapping[int, list[tuple[float, ...]]] = field(default_factory=dict)
    counts: Mapping[int, float] = field(default_factory=dict)
    value: float | None = None
    scheduling: Any = None
    devices: list["VDevice"] = field(default_factory=list)
    networks: int = 0
    answer: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)


def hef(**content: Any) -> bytes:
    """Give a file's bytes."""
    return b"HEF" + json.dumps({"arch": "hailo8l", "input": [64, 64, 3], **content}).encode()


class VDevice:
    """hailo_platform.VDevice."""

    machine: Machine

    def __init__(self, params: Any = None, *, device_ids: list[str] | None = None) -> None:
        assert device_ids is None
        machine = self.machine
        if machine.trouble is not None:
            raise machine.trouble
        if any(one.group_id != params.group_id for one in machine.devices) or (
            machine.devices and params.group_id == "UNIQUE"
        ):
            raise status(74, "HAILO_OUT_OF_PHYSICAL_DEVICES")
        self.group_id = params.group_id
        machine.scheduling = params.scheduling_algorithm
        machine.devices.append(self)

    @staticmethod
    def create_params() -> Any:
        return SimpleNamespace(
            scheduling_algorithm=HailoSchedulingAlgorithm.NONE, group_id="UNIQUE", multi_process_service=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> bool:
        self.release()
        return False

    def release(self) -> None:
        if self in self.machine.devices:
            self.machine.devices.remove(self)

    def create_infer_model(self, hef_source: str | bytes, name: str = "") -> "InferModel":
        assert type(hef_source) is bytes
        assert name == ""
        if not hef_source.startswith(b"HEF{"):
            raise HailoRTInvalidHEFException("Invalid HEF. See hailort.log for more information")
        return InferModel(self.machine, json.loads(hef_source[3:]))


class InferStream:
    """InferModel.InferStream."""

    def __init__(self, content: Mapping[str, Any], shape: list[int], order: str) -> None:
        self.name = content["name"]
        self.format = SimpleNamespace(order=FormatOrder[order], type=FormatType.UINT8)
        self.shape = shape
        self.is_nms = "NMS" in order
        self.quant_infos = [SimpleNamespace(qp_scale=content.get("scale", 1.0), qp_zp=content.get("zero", 0.0))]

    def set_format_type(self, type: FormatType) -> None:  # noqa: A002 - the vendor's word
        assert isinstance(type, FormatType)
        self.format.type = type

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape)) * np.dtype(DTYPES[self.format.type]).itemsize


class InferModel:
    """hailo_platform's InferModel."""

    def __init__(self, machine: Machine, content: dict[str, Any]) -> None:
        self.machine, self.content = machine, content
        picture = {"name": "net/input_layer1", **content}
        self.inputs = [InferStream(picture, content["input"], content.get("order", "NHWC"))]
        self.outputs = [InferStream(one, _shape(one), _order(one)) for one in content["outputs"]]
        infos = [SimpleNamespace(name=one["name"], nms_shape=_nms_shape(one)) for one in content["outputs"]]
        self.hef = SimpleNamespace(get_output_vstream_infos=lambda: infos)
        self.batch_size = 0

    def set_batch_size(self, batch_size: int) -> None:
        self.batch_size = batch_size

    def configure(self) -> "ConfiguredInferModel":
        assert self.machine.scheduling is HailoSchedulingAlgorithm.ROUND_ROBIN  # else it would have to be activated
        if self.content["arch"] != self.machine.arch:
            kind = HailoRTInvalidHEFException if self.machine.is_old else HailoRTHEFNotCompatibleWithDevice
            raise kind("HEF file is not compatible with device. See hailort.log for more information")
        self.machine.networks += 1
        return ConfiguredInferModel(self)


class BoundStream:
    """ConfiguredInferModel.Bindings.InferStream."""

    def __init__(self) -> None:
        self.buffer: NDArray[Any] | None = None

    def set_buffer(self, buffer: NDArray[Any]) -> None:
        if not buffer.flags.c_contiguous:
            raise HailoRTException("Buffer must be C_CONTIGUOUS")
        self.buffer = buffer


class Bindings:
    """ConfiguredInferModel.Bindings."""

    def __init__(self, model: InferModel) -> None:
        self._streams = {one.name: BoundStream() for one in (*model.inputs, *model.outputs)}

    def input(self, name: str = "") -> BoundStream:
        return self._streams[name or next(iter(self._streams))]

    def output(self, name: str = "") -> BoundStream:
        return self._streams[name or next(reversed(self._streams))]


class ConfiguredInferModel:
    """hailo_platform's ConfiguredInferModel."""

    def __init__(self, model: InferModel) -> None:
        self._model: InferModel | None = model
        self._is_ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._model is not None:
            self._model.machine.networks -= 1
        self._model = None

    def create_bindings(
        self,
        input_buffers: dict[str, NDArray[Any]] | None = None,
        output_buffers: dict[str, NDArray[Any]] | None = None,
    ) -> Bindings:
        bindings = Bindings(self._open())
        for name, buffer in (input_buffers or {}).items():
            bindings.input(name).set_buffer(buffer)
        for name, buffer in (output_buffers or {}).items():
            bindings.output(name).set_buffer(buffer)
        return bindings

    def wait_for_async_ready(self, timeout_ms: int = 1000, frames_count: int = 1) -> None:
        assert isinstance(timeout_ms, int)
        assert frames_count == 1
        if self._is_ended:
            raise HailoRTStreamAborted("Stream was aborted")

    def run_async(self, bindings: list[Bindings], callback: Callable[..., None] | None = None) -> "AsyncInferJob":
        (bound,), model = bindings, self._open()
        for stream, where in [(one, bound.input(one.name)) for one in model.inputs] + [
            (one, bound.output(one.name)) for one in model.outputs
        ]:
            if where.buffer is None or where.buffer.nbytes != stream.nbytes:
                self._is_ended = True
                raise HailoRTInvalidOperationException("Invalid operation. See hailort.log for more information")
        outputs = {one.name: bound.output(one.name).buffer for one in model.outputs}
        for one in model.outputs:
            bound.output(one.name).buffer = None  # HailoRT's own memory from now on
        return AsyncInferJob(self, model, bound.input().buffer, outputs, callback)

    def end(self) -> None:
        self._is_ended = True

    def _open(self) -> InferModel:
        assert self._model is not None, "it is closed: HailoRT would crash"
        return self._model


class AsyncInferJob:
    """hailo_platform's AsyncInferJob."""

    def __init__(
        self,
        network: ConfiguredInferModel,
        model: InferModel,
        picture: Any,
        outputs: dict[str, Any],
        callback: Callable[..., None] | None,
    ) -> None:
        self._is_computed, self._is_told = threading.Event(), threading.Event()
        self._work = (network, model, picture, outputs, callback)
        thread = threading.Thread(target=self._run, daemon=True)
        model.machine.threads.append(thread)
        thread.start()

    def wait(self, timeout_ms: int) -> None:
        assert isinstance(timeout_ms, int)
        for event in (self._is_computed, self._is_told):
            if not event.wait(timeout_ms / 1000):
                raise HailoRTTimeout("Received a timeout - hailort has failed because a timeout had occurred")

    def _run(self) -> None:
        network, model, picture, outputs, callback = self._work
        machine = model.machine
        error: HailoRTException | None = None
        if machine.fault == "hang":
            machine.answer.wait(20)
        if machine.fault in {"error", "abort"}:
            network.end()
            kinds = {"error": status(87, "HAILO_DRIVER_TIMEOUT"), "abort": HailoRTStreamAborted("Stream was aborted")}
            error = kinds[machine.fault]
        else:
            for content in model.content["outputs"]:
                outputs[content["name"]][...] = _answer(machine, content, picture, outputs[content["name"]].shape)
        self._is_computed.set()
        if machine.fault == "late":
            machine.answer.wait(20)
        if callback is not None:
            callback(completion_info=SimpleNamespace(exception=error))
        self._is_told.set()


def _answer(machine: Machine, content: Mapping[str, Any], picture: Any, shape: tuple[int, ...]) -> NDArray[np.float32]:
    if "shape" in content:
        return np.full(shape, picture.mean() if machine.value is None else machine.value, np.float32)
    values: list[float] = []
    for number in range(content["classes"]):
        boxes = machine.found.get(number, [])
        values.append(machine.counts.get(number, float(len(boxes))))
        values += [value for box in boxes for value in box]
    answer = np.full(shape, np.nan, np.float32)  # what lies behind the lists means nothing
    answer[: len(values)] = values
    return answer


def _shape(content: Mapping[str, Any]) -> list[int]:
    return content["shape"] if "shape" in content else [content["classes"] * (1 + 5 * content["boxes"])]


def _order(content: Mapping[str, Any]) -> str:
    return content.get("order", "NHWC" if "shape" in content else "HAILO_NMS_BY_CLASS")


def _nms_shape(content: Mapping[str, Any]) -> Any:
    if "shape" in content:
        return None
    return SimpleNamespace(number_of_classes=content["classes"], max_bboxes_per_class=content["boxes"])


@contextmanager
def installed(machine: Machine | None = None) -> Iterator[Machine]:
    """Let `import hailo_platform` give this module, on this machine."""
    chosen = machine or Machine()
    vendor = SimpleNamespace(
        **{
            name: value
            for name, value in globals().items()
            if name.startswith(("Hailo", "Format"))  # what the package exports and Edgecam may use
        },
        VDevice=type("VDevice", (VDevice,), {"machine": chosen}),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "hailo_platform", vendor)
        yield chosen
    chosen.answer.set()
    for thread in chosen.threads:
        thread.join(10)
