"""Runs ONNX models on the CPU with ONNX Runtime. The only module that imports it."""

import ctypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray

from appliance.core.errors import ModelError
from appliance.core.manifest import TensorSpec
from appliance.inference.runtimes.onnx_file import without_weight_inputs

_FATAL = 4  # OrtLoggingLevel: what goes wrong comes as an exception; the log would say it again, unreadably
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}
_ERRORS: tuple[type[Exception], ...] = (
    *(
        error
        for error in vars(onnxruntime.capi.onnxruntime_pybind11_state).values()
        if isinstance(error, type) and issubclass(error, Exception)
    ),
    RuntimeError,
    ValueError,
)


class OnnxRuntime:
    """Loads ONNX files."""

    def open(self, model: bytes, *, name: str, threads: int) -> "OnnxSession":
        """Load a model; see `Runtime.open`."""
        onnxruntime.set_default_logger_severity(_FATAL)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # A pool that spins while it waits doubles the CPU time as soon as anything else runs on the device.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        if sums_saturate(_read_cpu()):
            # NanoDet int8 loses 1.7 points of AP by it; the exact way costs int8 models 15 %.
            options.add_session_config_entry("session.x64quantprecision", "1")
        # One block for all activations, planned ahead, costs 3 MB (YOLOX-Nano) to 13 MB (PicoDet-S) and is no faster.
        options.enable_mem_pattern = False
        try:
            # The fallback would print to the terminal and try the same provider again.
            session = onnxruntime.InferenceSession(
                without_weight_inputs(model), options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        except _ERRORS as error:
            raise ModelError(
                f"{name} is no model that ONNX Runtime can load ({_reason(error)}); is the file complete? "
                "Copy or export it again"
            ) from error
        # It would keep the file's bytes for as long as it lives, only to be able to fall back.
        session._model_bytes = None  # noqa: SLF001
        _trim()
        return OnnxSession(session, name)


class OnnxSession:
    """A loaded ONNX model; see `Session`."""

    def __init__(self, session: onnxruntime.InferenceSession, name: str) -> None:
        self._session: onnxruntime.InferenceSession | None = session
        self._name = name
        # get_inputs leaves out initializers that are listed as inputs too: they are weights, not pictures
        self.inputs = tuple(_spec(node) for node in session.get_inputs())
        self.outputs = tuple(_spec(node) for node in session.get_outputs())
        self._output_names = [spec.name for spec in self.outputs]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
        """Run the model once; see `Session.run`."""
        if self._session is None:
            raise ModelError(f"{self._name} was closed")
        try:
            outputs: list[NDArray[Any]] = self._session.run(self._output_names, inputs)
        except _ERRORS as error:
            raise ModelError(f"{self._name} failed to run: {_reason(error)}") from error
        return outputs

    def close(self) -> None:
        """Let go of the model's memory; a second call does nothing."""
        self._session = None


def sums_saturate(cpu: str) -> bool:
    """Tell whether sums of 8-bit products overflow silently: on x86 with AVX2 and without VNNI.

    See kOrtSessionOptionsAvx2PrecisionMode in onnxruntime_session_options_config_keys.h. With VNNI the exact way
    would be slower and no more exact.

    Args:
        cpu: As in /proc/cpuinfo.
    """
    flags = set(cpu.split())
    return "avx2" in flags and not flags & {"avx512_vnni", "avx_vnni"}


def _read_cpu() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""  # no Linux on x86 is without it; elsewhere there is nothing to tell


def _trim() -> None:
    """Give back what parsing and optimising took: 5 MB that glibc would keep. Other C libraries need no telling."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _spec(node: Any) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else None for size in node.shape)
    return TensorSpec(name=node.name, shape=shape, dtype=_DTYPES.get(node.type, node.type))


def _reason(error: Exception) -> str:
    """Give the vendor's message on one line, without its prefix."""
    text = " ".join(str(error).split()).removeprefix("[ONNXRuntimeError] : ")
    return text[:300]
