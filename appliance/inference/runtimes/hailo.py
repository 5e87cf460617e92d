"""Runs .hef models on a Hailo with HailoRT. The only module that imports it.

HailoRT 4 (Hailo-8, 8L) and 5 (Hailo-10H), by its asynchronous interface: hailo_platform/pyhailort/pyhailort.py of
https://github.com/hailo-ai/hailort. picamera2's own helper is built on it too, but waits for an answer without end.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from appliance.core.errors import ModelError, UnsupportedError
from appliance.core.manifest import TensorSpec
from appliance.inference.runtimes import NO_PLAN, Placement, Plan
from appliance.inference.runtimes.hailo_errors import brief, refuse_device, refuse_model, status_of
from appliance.inference.runtimes.hailo_lists import BOX, unpack

if TYPE_CHECKING:
    from types import ModuleType

READY_MS: Final = 1000  # for a place in the queue: it is empty unless another camera's frame is on its way
ANSWER_MS: Final = 1500  # HailoRT may wait twice as long: for the device, then for its own thread to tell
DEVICES: Final = Path("/dev")
LISTS: Final = ("HAILO_NMS_BY_CLASS", "HAILO_NMS")  # the second is its older name


class HailoRuntime:
    """Loads .hef files.

    All sessions of a process share the Hailos; another process cannot have them meanwhile.

    Raises:
        UnsupportedError: HailoRT is not installed here.
    """

    def __init__(self) -> None:
        try:
            import hailo_platform  # noqa: PLC0415 - comes with the device's driver, only where it is used
        except ImportError as error:
            raise UnsupportedError(
                "a .hef file needs HailoRT for this Python, which is not installed here: sudo apt install hailo-all, "
                f"for a Hailo-10H hailo-h10-all ({brief(error)})"
            ) from error
        self._vendor: ModuleType = hailo_platform

    def open(self, model: bytes, *, name: str, threads: int, plan: Plan = NO_PLAN) -> "HailoSession":  # noqa: ARG002
        """Load a model; see `Runtime.open`. HailoRT has no limit for how long this takes, usually a second or two."""
        if not model:
            raise ModelError(f"{name} is empty; copy or compile it again")
        try:
            return self._open(model, name)
        except (AttributeError, TypeError) as error:  # its names or parameters are not those that we know
            raise UnsupportedError(
                f"this version of HailoRT does not fit ({type(error).__name__}: {brief(error)}); "
                "do: sudo apt update && sudo apt full-upgrade"
            ) from error

    def _open(self, model: bytes, name: str) -> "HailoSession":
        with ExitStack() as stack:
            device = self._take(stack)
            try:
                network = device.create_infer_model(model)
            except self._vendor.HailoRTException as error:
                raise refuse_model(error, name, is_read=False) from error
            try:
                network.set_batch_size(1)
                inputs = tuple(self._input(one, name) for one in network.inputs)
                told = {one.name: one for one in network.hef.get_output_vstream_infos()}
                outputs = tuple(self._output(one, told.get(one.name), name) for one in network.outputs)
                configured = stack.enter_context(network.configure())
            except self._vendor.HailoRTException as error:
                raise refuse_model(error, name, is_read=True) from error
            return HailoSession(
                configured, stack.pop_all(), inputs, outputs, name=name, vendor_error=self._vendor.HailoRTException
            )

    def _take(self, stack: ExitStack) -> Any:
        try:
            params = self._vendor.VDevice.create_params()
            params.scheduling_algorithm = self._vendor.HailoSchedulingAlgorithm.ROUND_ROBIN
            params.group_id = "SHARED"  # without a name that they share, a second camera's session finds no device
            return stack.enter_context(self._vendor.VDevice(params))
        except self._vendor.HailoRTException as error:
            nodes = sorted(map(str, (*DEVICES.glob("hailo[0-9]*"), *DEVICES.glob("h1x-*"))))
            raise refuse_device(error, nodes) from error

    def _input(self, stream: Any, name: str) -> TensorSpec:
        if stream.format.order.name != "NHWC":
            raise UnsupportedError(f"{name} takes its picture as {stream.format.order.name}; compile it to take NHWC")
        # with a scale of 1 a step is a value of a pixel; otherwise HailoRT has to do the sum, from the value itself
        is_plain = all((one.qp_scale, one.qp_zp) == (1.0, 0.0) for one in stream.quant_infos)
        kind = self._vendor.FormatType.UINT8 if is_plain else self._vendor.FormatType.FLOAT32
        stream.set_format_type(kind)
        return TensorSpec(name=stream.name, shape=(1, *stream.shape), dtype="uint8" if is_plain else "float32")

    def _output(self, stream: Any, info: Any, name: str) -> "_Output":
        order = stream.format.order.name
        if stream.is_nms and (order not in LISTS or info is None):
            raise UnsupportedError(f"{name} gives its detections as {order}; compile it to give {LISTS[0]}")
        stream.set_format_type(self._vendor.FormatType.FLOAT32)
        size = tuple(int(one) for one in stream.shape)
        if not stream.is_nms:
            return _Output(TensorSpec(name=stream.name, shape=(1, *size), dtype="float32"), size)
        classes, boxes = int(info.nms_shape.number_of_classes), int(info.nms_shape.max_bboxes_per_class)
        if size != (classes * (1 + BOX * boxes),):
            raise UnsupportedError(
                f"{name}: this version of HailoRT gives {list(size)} values for {classes} classes of {boxes} boxes; "
                "do: sudo apt update && sudo apt full-upgrade"
            )
        spec = TensorSpec(name=stream.name, shape=(1, classes, boxes, BOX), dtype="float32")
        return _Output(spec, size, (classes, boxes))


@dataclass(frozen=True, slots=True)
class _Output:
    """An output of the network.

    Attributes:
        spec: As the session gives it.
        size: Shape of HailoRT's buffer for it.
        lists: Number of classes and most boxes of each, where it is a list of detections.
    """

    spec: TensorSpec
    size: tuple[int, ...]
    lists: tuple[int, int] | None = None

    def read(self, buffer: NDArray[np.float32], name: str) -> NDArray[np.float32]:
        """Give what the buffer holds."""
        if self.lists is None:
            return buffer.reshape(1, *self.size)
        found = unpack(buffer, *self.lists)
        if found is None:
            raise ModelError(f"{name} gave a list of detections that cannot be read; restart the device")
        return found


class HailoSession:
    """A .hef model on a Hailo; see `Session`.

    Pictures are uint8, or float32 where the file scales them itself. Outputs are float32, made so by HailoRT with the
    file's own scales. What the file's own suppression found comes as (1, classes, boxes, 5): y1, x1, y2, x2 of 0..1 of
    the input, score; zeros where there is none.

    After an answer that failed or did not come in time it gives no more: HailoRT ends the network then.
    """

    def __init__(
        self,
        configured: Any,
        stack: ExitStack,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[_Output, ...],
        *,
        name: str,
        vendor_error: type[Exception],
    ) -> None:
        self._configured: Any = configured
        self._stack = stack
        self._outputs = outputs
        self._name = name
        self._vendor_error = vendor_error
        self._trouble = ""
        self.inputs = inputs
        self.outputs = tuple(one.spec for one in outputs)
        self.placements = (Placement("hailo", None),)
        self.shortfalls: tuple[str, ...] = ()

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
        """Run the model once, within 4 s; see `Session.run`."""
        if self._configured is None:
            raise ModelError(f"{self._name} was closed")
        if self._trouble:
            raise ModelError(self._trouble)
        pictures = self._pictures(inputs)
        # new ones for each run: what an answer that is late is written to is nobody's, as HailoRT keeps it alive
        answers = {one.spec.name: np.empty(one.size, np.float32) for one in self._outputs}
        try:
            self._run(pictures, answers)
        except self._vendor_error as error:
            told = f"gave no answer in {(READY_MS + 2 * ANSWER_MS) / 1000:g} s; is the Hailo well seated and cool?"
            told = told if status_of(error) == "HAILO_TIMEOUT" else f"failed to run: {brief(error)}"
            self._trouble = f"{self._name} {told}"
            raise ModelError(self._trouble) from error
        return [one.read(answers[one.spec.name], self._name) for one in self._outputs]

    def close(self) -> None:
        """Let go of the model and the device; a second call does nothing.

        HailoRT waits up to ten seconds for an answer that is still on its way.
        """
        self._configured = None
        self._stack.close()

    def _pictures(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Give the inputs as HailoRT takes them, without the batch; it would read beyond the end of smaller ones."""
        specs = {one.name: one for one in self.inputs}
        for name, value in inputs.items():
            if name not in specs:
                raise ModelError(f"{self._name} has no input {name!r}; it has {', '.join(specs)}")
            if (value.shape, value.dtype) != (specs[name].shape, np.dtype(specs[name].dtype)):
                raise ModelError(f"{self._name} takes {specs[name]}, not {value.dtype}{list(value.shape)}")
        if missing := specs.keys() - inputs.keys():
            raise ModelError(f"{self._name} was given no {', '.join(sorted(missing))}")
        return {name: np.ascontiguousarray(value[0]) for name, value in inputs.items()}

    def _run(self, pictures: dict[str, NDArray[Any]], answers: dict[str, NDArray[np.float32]]) -> None:
        """Fill the answers; HailoRT's errors pass."""
        failures: list[Exception] = []

        def done(*, completion_info: Any) -> None:
            if completion_info.exception is not None:
                failures.append(completion_info.exception)

        bindings = self._configured.create_bindings(input_buffers=pictures, output_buffers=answers)
        self._configured.wait_for_async_ready(timeout_ms=READY_MS)
        self._configured.run_async([bindings], done).wait(ANSWER_MS)
        if failures:
            raise failures[0]
