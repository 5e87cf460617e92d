"""Runs ONNX models with ONNX Runtime. The only module that imports it."""

import ctypes
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray

from appliance.core.errors import ModelError, UnsupportedError
from appliance.core.manifest import TensorSpec
from appliance.core.providers import AnyProvider, default_provider
from appliance.inference.faults import failed
from appliance.inference.runtimes import NO_PLAN, Placement, Plan
from appliance.inference.runtimes.onnx_file import without_weight_inputs
from appliance.inference.runtimes.onnx_providers import VENDOR_NAMES, keeps_files, our_name, placements, vendor_options

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
    MemoryError,
    RuntimeError,
    ValueError,
)


def available_providers() -> tuple[str, ...]:
    """Give those providers, by our names, that the ONNX Runtime installed here was built with."""
    return tuple(name for one in onnxruntime.get_available_providers() if (name := our_name(one)) in VENDOR_NAMES)


class OnnxRuntime:
    """Loads ONNX files."""

    def open(self, model: bytes, *, name: str, threads: int, plan: Plan = NO_PLAN) -> "OnnxSession":
        """Load a model; see `Runtime.open`."""
        onnxruntime.set_default_logger_severity(_FATAL)
        asked = plan.providers or (default_provider("cpu"),)
        shortfalls = _missing(asked)
        cache = _made(plan.cache if any(keeps_files(one) for one in asked) else None, shortfalls)
        left = [one for one in asked if VENDOR_NAMES[one.kind] in onnxruntime.get_available_providers()]
        content = without_weight_inputs(model)
        while True:
            if not left:
                raise _unusable(name, shortfalls)
            try:
                opened = _Opened(content, left, threads, cache)
                break
            except _ERRORS as error:
                blamed = _blamed(left, str(error))
                if blamed is None:  # the CPU alone: it is the file's fault
                    raise failed(
                        f"{name} is no model that ONNX Runtime can load ({_reason(error)}); is the file complete? "
                        "Copy or export it again",
                        str(error),
                    ) from error
                shortfalls.append(f"provider {blamed.kind} could not load it: {_reason(error)}")
                left.remove(blamed)
        shortfalls += opened.shortfalls()
        if opened.is_on_cpu_only() and all(one.kind != "cpu" for one in asked):
            raise _unusable(name, shortfalls)
        _trim()
        return OnnxSession(opened.session, name, opened.placements, tuple(shortfalls))


class _Opened:
    """A graph in ONNX Runtime and what became of the providers that were to run it."""

    def __init__(self, model: bytes, providers: Sequence[AnyProvider], threads: int, cache: Path | None) -> None:
        self._asked = [one.kind for one in providers]
        # enable_fallback would print to the terminal and try the same provider again.
        self.session = onnxruntime.InferenceSession(
            model,
            _options(threads),
            providers=[(VENDOR_NAMES[one.kind], vendor_options(one, threads, cache)) for one in providers],
            enable_fallback=0,
        )
        # It would keep the file's bytes for as long as it lives, only to be able to fall back.
        self.session._model_bytes = None  # noqa: SLF001
        self._started = [our_name(one) for one in self.session.get_providers()]
        self.placements = placements(self._asked, self._started, _count_nodes(self.session))

    def shortfalls(self) -> list[str]:
        """Tell of each provider that was asked for and runs nothing."""
        taken = {one.provider: one.nodes for one in self.placements}
        whole = sum(nodes or 0 for nodes in taken.values())
        told = []
        for kind in self._asked:
            if kind not in self._started:
                told.append(f"provider {kind} could not be started: {_library_trouble(kind)}")
            elif kind != "cpu" and whole and taken.get(kind, 0) == 0:
                told.append(f"provider {kind} took none of the network's {whole} nodes")
        return told

    def is_on_cpu_only(self) -> bool:
        return all(one.provider == "cpu" for one in self.placements)


class OnnxSession:
    """A loaded ONNX model; see `Session`."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        name: str,
        placements: tuple[Placement, ...],
        shortfalls: tuple[str, ...],
    ) -> None:
        self._session: onnxruntime.InferenceSession | None = session
        self._name = name
        self.placements = placements
        self.shortfalls = shortfalls
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
            raise failed(f"{self._name} failed to run: {_reason(error)}", str(error)) from error
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


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A pool that spins while it waits doubles the CPU time as soon as anything else runs on the device.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # Which provider has which node; costs nothing, and versions before 1.24 pass over it.
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if sums_saturate(_read_cpu()):
        # NanoDet int8 loses 1.7 points of AP by it; the exact way costs int8 models 15 %.
        options.add_session_config_entry("session.x64quantprecision", "1")
    # One block for all activations, planned ahead, costs 3 MB (YOLOX-Nano) to 13 MB (PicoDet-S) and is no faster.
    options.enable_mem_pattern = False
    return options


def _made(cache: Path | None, shortfalls: list[str]) -> Path | None:
    """Make the folder for what is compiled; where it cannot be, tell so and do without."""
    if cache is not None:
        try:
            cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            shortfalls.append(f"what is compiled cannot be kept in {cache}: {error.strerror}")
            return None
    return cache


def _missing(asked: Sequence[AnyProvider]) -> list[str]:
    here = onnxruntime.get_available_providers()
    missing = [one.kind for one in asked if VENDOR_NAMES[one.kind] not in here]
    if not missing:
        return []
    those = f"{'providers' if len(missing) > 1 else 'provider'} {', '.join(missing)}"
    has = ", ".join(map(our_name, here))
    return [f"{those} not in ONNX Runtime {onnxruntime.__version__} as installed here, which has {has}"]


def _blamed(providers: Sequence[AnyProvider], message: str) -> AnyProvider | None:
    """Give the provider that an error speaks of, else the first; None when there is but the CPU."""
    accelerators = [one for one in providers if one.kind != "cpu"]
    named = (one for one in accelerators if one.kind in message.lower())
    return next(named, accelerators[0] if accelerators else None)


def _unusable(name: str, shortfalls: Sequence[str]) -> UnsupportedError:
    return UnsupportedError(f"nothing that may run {name} does so here: {'; '.join(shortfalls)}")


def _count_nodes(session: onnxruntime.InferenceSession) -> dict[str, int] | None:
    """Give how many nodes each provider has, by our name; None where this version cannot tell."""
    ask = getattr(session, "get_provider_graph_assignment_info", None)  # from 1.24 on
    if ask is None:
        return None
    nodes: Counter[str] = Counter()
    for part in ask():
        nodes[our_name(part.ep_name)] += len(part.get_nodes())
    return dict(nodes)


def _library_trouble(kind: str) -> str:
    """Tell why a provider did not come up; ONNX Runtime itself says it in its log only, and goes on without."""
    library = Path(onnxruntime.__file__).parent / "capi" / f"libonnxruntime_providers_{kind}.so"
    if library.is_file():
        try:
            ctypes.CDLL(str(library))
        except OSError as error:
            return " ".join(str(error).split())
    return "its device or its driver is not there"


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
    """Give the vendor's message on one line, without its prefix or the place in its sources."""
    text = " ".join(str(error).split()).removeprefix("[ONNXRuntimeError] : ")
    return re.sub(r"^/\S+:\d+ .*?\) (?=[A-Z])", "", text)[:300]
