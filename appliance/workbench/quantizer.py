"""Makes 8-bit variants of an ONNX model and tells what each costs. ONNX Runtime's own tools are used only here."""

import contextlib
import io
import logging
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import version_converter
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QDQQuantizer,
    QuantType,
    TensorsData,
    create_calibrator,
    quant_pre_process,
)
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from appliance.core.errors import ModelError
from appliance.inference.runtimes.onnx import OnnxRuntime
from appliance.inference.runtimes.onnx_file import without_weight_inputs
from appliance.workbench.biases import beside, with_biases
from appliance.workbench.equalisation import equalise
from appliance.workbench.noise import decibels, outputs_sqnr
from appliance.workbench.ranges import rounded

Scheme = Literal["u8s8", "s8s8", "u8s7"]
Calibration = Literal["minmax", "entropy", "percentile"]
SCHEMES: Final[tuple[Scheme, ...]] = ("u8s8", "s8s8", "u8s7")
CALIBRATIONS: Final[tuple[Calibration, ...]] = ("minmax", "entropy", "percentile")

_ACTIVATIONS = {"u8s8": QuantType.QUInt8, "s8s8": QuantType.QInt8, "u8s7": QuantType.QUInt8}
_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
# of what was seen: with ORT's own 99.999 YOLOX-Nano loses 0.1 AP more
_OPTIONS = {"percentile": {"percentile": 99.99}}
_OPERATORS = sorted({*QDQRegistry, *QLinearOpsRegistry})
_OPSET = 13  # the first in which DequantizeLinear has an axis, which scales per channel need
_AT_ONCE = 4  # pictures whose activations are held in memory while calibrating: some 60 MB each
_LARGE = 5000  # values: below that float weights are worth their bytes; what lies above is most of a model
_HANDS_ON = {"Gather", "MaxPool", "Reshape", "Transpose", "Resize", "Split", "Squeeze", "Unsqueeze", "Flatten", "Slice"}
_FATAL = 4  # OrtLoggingLevel: what goes wrong comes as an exception
_ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    StopIteration,
    DecodeError,
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
    onnxruntime.capi.onnxruntime_pybind11_state.Fail,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidGraph,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument,
    onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented,
)
Tensor = NDArray[Any]


class Quantizer:
    """One model in float and, once calibrated, its variants in 8 bits: weights per channel, activations per tensor.

    Args:
        content: The ONNX file.
        name: What to call it in messages: the file's path.
        scheme: Unsigned (u8s8) or signed (s8s8) activations; weights are signed. With weights of 7 bits (u8s7) sums of
            products cannot saturate, so that processors without VNNI need not take a slower, exact way.

    Attributes:
        nodes: Names of the nodes that can run in 8 bits, in the graph's order.
        operators: What each of them does, by name: ``Conv``.
        always_float: How many nodes there are of each operator that has no form in 8 bits.

    Raises:
        ModelError: The file cannot be read or prepared.
    """

    def __init__(self, content: bytes, name: str, scheme: Scheme = "u8s8") -> None:
        onnxruntime.set_default_logger_severity(_FATAL)
        self._name = name
        self._activations = _ACTIVATIONS[scheme]
        self._is_reduced = scheme == "u8s7"
        self._ranges: TensorsData | None = None
        self._added: dict[str, NDArray[np.float32]] = {}  # to biases, where their convolution is in 8 bits
        with self._explained("cannot be prepared"):
            self._model = _prepare(content)
        graph = self._model.graph
        weights = {weight.name for weight in graph.initializer}
        self._input: str = next(one.name for one in graph.input if one.name not in weights)
        self.operators: Mapping[str, str] = {n.name: n.op_type for n in graph.node if n.op_type in _OPERATORS}
        self.nodes: tuple[str, ...] = tuple(self.operators)
        others = Counter(node.op_type for node in graph.node if node.op_type not in _OPERATORS)
        self.always_float: Mapping[str, int] = dict(sorted(others.items()))

    def equalise(self) -> int:
        """Make neighbouring convolutions' weights of alike size; the float model gives what it gave before.

        To be done before the ranges are learned.

        Returns:
            How many pairs of convolutions there are of which it can be done.
        """
        self._ranges = None
        with self._explained("cannot be equalised"):
            return equalise(self._model)

    def calibrate(self, pictures: Sequence[Tensor], method: Calibration = "minmax") -> Iterator[int]:
        """Learn the range of every activation; gives how many pictures are done, to the last.

        Args:
            pictures: Inputs as the device makes them, shape (1, ...).
            method: How the range is chosen from what was seen.

        Raises:
            ModelError: The model cannot be run on them.
        """
        with tempfile.TemporaryDirectory(prefix="edgecam-quantize-") as folder:
            with self._explained("cannot be calibrated"), _quietly():
                file = Path(folder) / "model.onnx"
                onnx.save(self._model, file)
                augmented = str(Path(folder) / "augmented.onnx")
                # ORT >= 1.20 takes a path only, and needs the second one to be text
                calibrator = create_calibrator(
                    file, _OPERATORS, augmented, _METHODS[method], extra_options=_OPTIONS.get(method, {})
                )
            for start in range(0, len(pictures), _AT_ONCE):
                chosen = pictures[start : start + _AT_ONCE]
                with self._explained("cannot be calibrated"), _quietly():
                    calibrator.collect_data(_Reader(self._input, chosen))
                yield start + len(chosen)
            with self._explained("cannot be calibrated"), _quietly():
                self._ranges = calibrator.compute_data()

    def take_ranges(self, ranges: Mapping[str, tuple[float, float]]) -> None:
        """Take the range of every activation as it was learned in training, in place of `calibrate`.

        Args:
            ranges: Lowest and highest value by tensor. One that only holds what another holds (the outputs of Reshape,
                MaxPool, ...) and one that goes into a ReLU alone may be missing.

        Raises:
            ModelError: One is missing that cannot be known from the others.
        """
        known = dict(ranges)
        for node in self._model.graph.node:
            if node.op_type in _HANDS_ON and node.input[0] in known:
                known |= {name: known[node.input[0]] for name in node.output if name not in known}
            elif node.op_type == "Relu" and node.output[0] in known:
                known.setdefault(node.input[0], known[node.output[0]])
        made = {output for node in self._model.graph.node for output in node.output}
        if missing := sorted(made - set(known)):
            raise ModelError(f"{self._name} has tensors without a range: {', '.join(missing[:5])}; train it again")
        pairs = {name: (np.float32(low), np.float32(high)) for name, (low, high) in known.items()}
        self._ranges = TensorsData(CalibrationMethod.MinMax, pairs)

    def round_ranges(self) -> None:
        """Round the ranges up to a grid, see `ranges.rounded`; to be done after they are learned.

        Raises:
            ModelError: They are not.
        """
        if self._ranges is None:
            raise ModelError(f"{self._name} was not calibrated: its ranges cannot be rounded")
        pairs = {}
        for name, tensor in self._ranges.data.items():
            low, high = rounded(*(float(np.ravel(end)[0]) for end in tensor.range_value))
            pairs[name] = (np.float32(low), np.float32(high))
        self._ranges = TensorsData(CalibrationMethod.MinMax, pairs)

    def correct_biases(self, pictures: Sequence[Tensor]) -> Iterator[int]:
        """Learn by how much 8 bits shift each convolution's mean output; `variant` takes that off their biases.

        To be done after the ranges are learned. Each convolution reads what the float model gives it, so that its shift
        is its own, whatever else is in 8 bits.

        Args:
            pictures: Inputs as the device makes them, shape (1, ...).

        Yields:
            How many pictures are done, to the last.

        Raises:
            ModelError: It was not calibrated, or cannot be run.
        """
        self._added = {}
        names = [name for name in self.nodes if self.operators[name] == "Conv"]
        both, pairs = beside(self._model, onnx.load_from_string(self.variant()), names)
        with self._explained("cannot be run"):
            session = _all_tensors(both, [tensor for pair in pairs.values() for tensor in pair])
        shifts = {name: np.zeros(1) for name in names}
        for done, picture in enumerate(pictures, start=1):
            with self._explained("cannot be run"):
                found = session.run(None, {self._input: picture})
            for name, wanted, got in zip(names, found[::2], found[1::2], strict=True):
                places = (0, *range(2, wanted.ndim))
                shifts[name] = shifts[name] + np.mean(wanted - got, axis=places, dtype=np.float64)
            yield done
        self._added = {name: (shift / len(pictures)).astype(np.float32) for name, shift in shifts.items()}

    def variant(self, in_float: Collection[str] = (), *, float_weights: bool = False) -> bytes:
        """Give the model with all nodes in 8 bits but these, in the QDQ format.

        Args:
            in_float: Nodes that calculate in float. Their weights are stored in 8 bits all the same, a scale for each
                channel: what hurts is 8-bit activations, and float weights would take four times the bytes.
            float_weights: Store them in float.

        Raises:
            ModelError: It was not calibrated, has no node of such a name, or cannot be quantized.
        """
        if self._ranges is None:
            raise ModelError(f"{self._name} was not calibrated; run calibrate to its end first")
        if unknown := sorted(set(in_float) - set(self.nodes)):
            raise ModelError(f"{self._name} has no node {', '.join(map(repr, unknown))} that can run in 8 bits")
        with self._explained("cannot be quantized"), _quietly():
            quantizer = QDQQuantizer(
                with_biases(self._model, {name: v for name, v in self._added.items() if name not in in_float}),
                per_channel=True,
                reduce_range=self._is_reduced,
                weight_qType=QuantType.QInt8,
                activation_qType=self._activations,
                tensors_range=self._ranges,
                nodes_to_quantize=[],
                nodes_to_exclude=sorted(in_float),
                op_types_to_quantize=_OPERATORS,
                extra_options={},
            )
            quantizer.quantize_model()
            model = quantizer.model.model
            if not float_weights:
                _shrink_weights(model.graph, set(in_float))
            content: bytes = model.SerializeToString(deterministic=True)
            return content

    def alone(self, node: str, pictures: Sequence[Tensor], expected: Sequence[Sequence[Tensor]]) -> float:
        """Give the quality of the outputs when this node alone runs in 8 bits: SQNR, dB, see `outputs_sqnr`.

        Args:
            node: Its name.
            pictures: Inputs as the device makes them.
            expected: The float model's outputs for each of them, as `outputs` gives them.
        """
        rest = [name for name in self.nodes if name != node]
        return outputs_sqnr(expected, list(self.outputs(self.variant(rest, float_weights=True), pictures)))

    def outputs(self, content: bytes | None, pictures: Iterable[Tensor]) -> Iterator[Sequence[Tensor]]:
        """Give the outputs of a variant, or with None those of the float model, for each picture.

        Raises:
            ModelError: It cannot be run.
        """
        whole = self._model.SerializeToString() if content is None else content
        session = OnnxRuntime().open(whole, name=self._name, threads=1)
        try:
            for picture in pictures:
                yield session.run({self._input: picture})
        finally:
            session.close()

    def tensors_sqnr(self, content: bytes, pictures: Sequence[Tensor]) -> dict[str, float]:
        """Give SQNR in dB of each tensor between the float model and a variant, worst first.

        Noise adds up on its way: a tensor that is bad while those before it are good tells the culprit.

        Args:
            content: The variant.
            pictures: Inputs as the device makes them.

        Raises:
            ModelError: It cannot be run.
        """
        variant = onnx.load_from_string(content)
        made = {output for node in self._model.graph.node for output in node.output}
        pairs: dict[str, str] = {}
        for name in _tensors(variant):
            source = name.removesuffix("_DequantizeLinear_Output")
            if source in made:
                pairs[source] = max(name, pairs.get(source, ""), key=len)
        powers = {name: np.zeros(2) for name in pairs}
        with self._explained("cannot be run"):
            ours, theirs = _all_tensors(self._model, list(pairs)), _all_tensors(variant, list(pairs.values()))
            for picture in pictures:
                found = zip(pairs, *(one.run(None, {self._input: picture}) for one in (ours, theirs)), strict=True)
                for name, wanted, got in found:
                    if wanted.dtype == np.float32 and wanted.shape == got.shape:
                        powers[name] += np.sum(np.square(wanted)), np.sum(np.square(wanted - got))
        seen = {name: decibels(signal, noise) for name, (signal, noise) in powers.items() if signal > 0}
        return dict(sorted(seen.items(), key=lambda item: (item[1], item[0])))

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except _ERRORS as error:
            raise ModelError(f"{self._name} {what}: {' '.join(str(error).split())[:300]}") from error


class _Reader(CalibrationDataReader):  # type: ignore[misc] # the vendor's has no types
    def __init__(self, name: str, pictures: Sequence[Tensor]) -> None:
        self._left = iter([{name: picture} for picture in pictures])

    def get_next(self) -> dict[str, Tensor] | None:
        return next(self._left, None)


def _prepare(content: bytes) -> Any:
    """Give the model with weights as constants, named nodes, known shapes, and what can be folded folded."""
    model = onnx.load_from_string(without_weight_inputs(content))
    if next(one.version for one in model.opset_import if one.domain in {"", "ai.onnx"}) < _OPSET:
        model = version_converter.convert_version(model, _OPSET)
    taken: set[str] = set()
    for at, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_at_{at}"
        taken.add(node.name)
    with tempfile.TemporaryDirectory(prefix="edgecam-quantize-") as folder, _quietly():
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        onnx.save(model, before)
        quant_pre_process(str(before), str(after), skip_symbolic_shape=True)
        model = onnx.load(after)
    used = {node.domain for node in model.graph.node} | {""}
    kept = [one for one in model.opset_import if one.domain in used]
    del model.opset_import[:]  # the optimiser lists every domain that it knows
    model.opset_import.extend(kept)
    return model


def _shrink_weights(graph: Any, names: set[str]) -> None:
    """Store the weights of these convolutions in 8 bits, symmetric, with a scale for each output channel."""
    stored = {one.name: one for one in graph.initializer}
    nodes = [node for node in graph.node if node.name in names and node.op_type == "Conv" and node.input[1] in stored]
    for name in sorted({node.input[1] for node in nodes}):
        weight = onnx.numpy_helper.to_array(stored[name])
        if weight.size < _LARGE:
            continue
        scale = np.abs(weight).reshape(len(weight), -1).max(axis=1) / 127
        scale = np.where(scale > 0, scale, 1).astype(np.float32)  # a channel of zeros
        in_8_bits = np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.int8)
        parts = {"stored": in_8_bits, "stored_scale": scale, "stored_zero": np.zeros(len(weight), np.int8)}
        graph.initializer.remove(stored[name])
        graph.initializer.extend(onnx.numpy_helper.from_array(part, f"{name}_{key}") for key, part in parts.items())
        taken = [f"{name}_{key}" for key in parts]
        graph.node.insert(0, onnx.helper.make_node("DequantizeLinear", taken, [name], f"{name}_unpacked", axis=0))


def _tensors(model: Any) -> list[str]:
    return [output for node in model.graph.node for output in node.output]


def _all_tensors(model: Any, names: Sequence[str]) -> Any:
    """Give a session without optimisations whose outputs are these tensors."""
    model = deepcopy(model)
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = _FATAL
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep the vendor's chatter off standard output and out of the log."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
