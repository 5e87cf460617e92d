"""Runs .tflite models with LiteRT, on the CPU with XNNPACK or through a delegate. The only module that imports it.

Delegates: https://ai.google.dev/edge/litert/performance/delegates and
https://coral.ai/docs/edgetpu/tflite-python/; quantized values are (integer - zero point) * scale:
https://ai.google.dev/edge/litert/models/quantization_spec.
"""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from appliance.core.errors import ModelError, UnsupportedError
from appliance.core.manifest import Quantization, TensorSpec
from appliance.core.providers import Delegate
from appliance.inference.runtimes import NO_PLAN, Placement, Plan
from appliance.inference.runtimes.litert_nodes import count_stand_ins, count_taken

if TYPE_CHECKING:
    from types import ModuleType

_ERRORS = (RuntimeError, ValueError)  # all that the vendor raises


class LiteRtRuntime:
    """Loads .tflite files.

    Raises:
        UnsupportedError: LiteRT is not installed here.
    """

    def __init__(self) -> None:
        try:
            from ai_edge_litert import interpreter  # noqa: PLC0415 - an extra; some 20 MB, only where it is used
        except ImportError as error:
            raise UnsupportedError(
                f"a .tflite file needs LiteRT, which is not installed here: pip install 'edgecam[litert]' ({error})"
            ) from error
        self._vendor: ModuleType = interpreter

    def open(self, model: bytes, *, name: str, threads: int, plan: Plan = NO_PLAN) -> "LiteRtSession":
        """Load a model; see `Runtime.open`."""
        if not model:
            raise ModelError(f"{name} is empty; copy or convert it again")
        wanted, shortfalls = plan.delegate, list[str]()
        delegate = self._load(wanted, shortfalls) if wanted is not None else None
        interpreter = None
        if delegate is not None and wanted is not None:
            try:
                interpreter = self._interpret(model, threads, delegate, is_plain=plan.is_plain)
            except _ERRORS as error:
                shortfalls.append(f"delegate {wanted.library} could not load it: {_reason(error)}")
        if wanted is not None and wanted.is_required and shortfalls:
            raise UnsupportedError(f"nothing that may run {name} does so here: {'; '.join(shortfalls)}")
        if interpreter is None:
            try:
                interpreter = self._interpret(model, threads, None, is_plain=plan.is_plain)
            except _ERRORS as error:
                raise _refusal(name, error, shortfalls) from error
        placements = interpreter.placements(wanted.library if wanted is not None else "")
        if wanted is not None and not shortfalls and all(one.provider != _short(wanted.library) for one in placements):
            shortfalls.append(f"delegate {wanted.library} took none of the network's nodes")
            if wanted.is_required:
                raise UnsupportedError(f"nothing that may run {name} does so here: {'; '.join(shortfalls)}")
        return LiteRtSession(interpreter.vendors, name, placements, tuple(shortfalls))

    def _load(self, wanted: Delegate, shortfalls: list[str]) -> Any:
        """Load a delegate; where it cannot be, tell why and give none."""
        try:
            # looked at first: of what is no delegate the vendor leaves half a one, and tells its end on the terminal
            if not hasattr(ctypes.CDLL(wanted.library), "tflite_plugin_create_delegate"):
                shortfalls.append(f"{wanted.library} is a library, but no delegate of LiteRT")
                return None
            return self._vendor.load_delegate(wanted.library, dict(wanted.options))
        except OSError as error:
            shortfalls.append(f"delegate {wanted.library} is not here: {_reason(error)}")
        except _ERRORS as error:  # its device is not there
            shortfalls.append(f"delegate {wanted.library} could not be started: {_reason(error)}")
        return None

    def _interpret(self, model: bytes, threads: int, delegate: Any, *, is_plain: bool) -> "_Interpreter":
        kernels = self._vendor.OpResolverType
        vendors = self._vendor.Interpreter(
            model_content=model,
            num_threads=threads,
            experimental_delegates=[delegate] if delegate is not None else None,
            experimental_op_resolver_type=kernels.BUILTIN_WITHOUT_DEFAULT_DELEGATES if is_plain else kernels.AUTO,
        )
        before = count_stand_ins(_nodes(vendors) or ())
        vendors.allocate_tensors()  # XNNPACK comes in here, and here an operator that is not known is found
        return _Interpreter(vendors, before)


@dataclass(frozen=True, slots=True)
class _Interpreter:
    """A graph that is ready to run.

    Attributes:
        vendors: LiteRT's own.
        stand_ins: How many nodes stand for what the delegate has taken.
    """

    vendors: Any
    stand_ins: int

    def placements(self, library: str) -> tuple[Placement, ...]:
        """Tell what runs it."""
        nodes = _nodes(self.vendors)
        if nodes is None:
            names = [*([_short(library)] if library and self.stand_ins else []), "xnnpack", "cpu"]
            return tuple(Placement(name, None) for name in names)
        total = count_stand_ins(nodes)
        taken = count_taken(nodes, range(self.stand_ins))
        faster = count_taken(nodes, range(self.stand_ins, total))
        counted = {_short(library): taken, "xnnpack": faster, "cpu": len(nodes) - total - taken - faster}
        return tuple(Placement(name, count) for name, count in counted.items() if count) or (Placement("cpu", 0),)


class LiteRtSession:
    """A loaded .tflite model; see `Session`.

    An input with integers takes float32 too, where the file says how to quantize it. Outputs that are quantized come
    as float32.
    """

    def __init__(
        self, interpreter: Any, name: str, placements: tuple[Placement, ...], shortfalls: tuple[str, ...]
    ) -> None:
        self._interpreter: Any = interpreter
        self._name = name
        self.placements = placements
        self.shortfalls = shortfalls
        self._inputs = {one["name"]: _Tensor.of(one) for one in interpreter.get_input_details()}
        self._outputs = [_Tensor.of(one) for one in interpreter.get_output_details()]
        self.inputs = tuple(one.spec for one in self._inputs.values())
        self.outputs = tuple(
            one.spec if one.scale is None else TensorSpec(name=one.spec.name, shape=one.spec.shape, dtype="float32")
            for one in self._outputs
        )

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
        """Run the model once; see `Session.run`."""
        if self._interpreter is None:
            raise ModelError(f"{self._name} was closed")
        try:
            for name, value in inputs.items():
                tensor = self._inputs[name]
                self._interpreter.set_tensor(tensor.index, tensor.quantize(value))
            self._interpreter.invoke()
            return [one.dequantize(self._interpreter.get_tensor(one.index)) for one in self._outputs]
        except KeyError as error:
            raise ModelError(f"{self._name} has no input {error}; it has {', '.join(self._inputs)}") from error
        except _ERRORS as error:
            raise ModelError(f"{self._name} failed to run: {_reason(error)}") from error

    def close(self) -> None:
        """Let go of the model's memory; a second call does nothing."""
        self._interpreter = None


@dataclass(frozen=True, slots=True)
class _Tensor:
    """An input or output of the graph.

    Attributes:
        index: LiteRT's number of it.
        spec: As in the file.
        scale: Of one step of the integers, for each channel or for all; None: it is not quantized.
        zero: The integers that stand for 0.
    """

    index: int
    spec: TensorSpec
    scale: NDArray[np.float32] | None
    zero: NDArray[np.int32]

    @classmethod
    def of(cls, detail: Mapping[str, Any]) -> Self:
        """Read what LiteRT says of a tensor."""
        shape = tuple(int(size) for size in detail["shape"])
        dtype = np.dtype(detail["dtype"])
        quantized = detail["quantization_parameters"]
        scales, zeros = quantized["scales"], quantized["zero_points"]
        is_quantized = dtype.kind in "iu" and len(scales) > 0
        # one for each channel lies along the axis that the file names
        axes = [1] * len(shape)
        if len(scales) > 1:
            axes[quantized["quantized_dimension"]] = len(scales)
        return cls(
            int(detail["index"]),
            TensorSpec(
                name=detail["name"],
                shape=shape,
                dtype=str(dtype),
                takes_float=is_quantized,
                quantization=_uniform(scales, zeros) if is_quantized else None,
            ),
            np.asarray(scales, np.float32).reshape(axes) if is_quantized else None,
            np.asarray(zeros, np.int32).reshape(axes) if is_quantized else np.zeros((), np.int32),
        )

    def quantize(self, value: NDArray[Any]) -> NDArray[Any]:
        """Give a value as the graph takes it: integers as they are, float32 quantized."""
        if self.scale is None or value.dtype != np.float32:
            return value
        limits = np.iinfo(self.spec.dtype)
        steps = np.rint(value / self.scale) + self.zero
        return np.clip(steps, limits.min, limits.max).astype(self.spec.dtype)

    def dequantize(self, value: NDArray[Any]) -> NDArray[Any]:
        """Give a value of the graph as float32 where it is quantized."""
        if self.scale is None:
            return value
        return (value.astype(np.int32) - self.zero).astype(np.float32) * self.scale


def _uniform(scales: Sequence[float], zeros: Sequence[int]) -> Quantization | None:
    """Give what the integers stand for, where one scale is for all and a manifest could say it."""
    if len(scales) != 1 or not 1e-6 <= scales[0] <= 1e3 or not -128 <= zeros[0] <= 255:  # noqa: PLR2004 - Quantization's
        return None
    return Quantization(scale=float(scales[0]), zero_point=int(zeros[0]))


def _nodes(interpreter: Any) -> Sequence[Mapping[str, Any]] | None:
    """Give the graph's nodes; None where this version has no way to. LiteRT has no public one."""
    ask = getattr(interpreter, "_get_ops_details", None)
    return ask() if ask is not None else None


def _short(library: str) -> str:
    """Give a library's name without folder and endings: ``libedgetpu``."""
    return library.rpartition("/")[2].partition(".")[0]


def _refusal(name: str, error: Exception, shortfalls: Sequence[str]) -> ModelError | UnsupportedError:
    if shortfalls:  # it may be made for the delegate that is missing
        told = "; ".join(shortfalls)
        return UnsupportedError(f"nothing that may run {name} does so here: {told}; without it: {_reason(error)}")
    return ModelError(
        f"{name} is no model that LiteRT can run ({_reason(error)}); is the file complete, and made of operators that "
        "LiteRT has? Copy or convert it again"
    )


def _reason(error: Exception) -> str:
    """Give the vendor's message on one line, without its links."""
    words = str(error).replace("See instructions: https://www.tensorflow.org/lite/guide/ops_custom", "").split()
    return " ".join(words)[:300]
