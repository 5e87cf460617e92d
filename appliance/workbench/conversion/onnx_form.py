"""Brings an ONNX file into the form that converters start from: one opset, known shapes, nothing superfluous."""

from dataclasses import dataclass
from typing import Any, Final

import onnx
from google.protobuf.message import DecodeError
from onnx import version_converter

from appliance.core.errors import ModelError, UnsupportedError
from appliance.inference.runtimes.onnx_file import without_weight_inputs
from appliance.workbench.conversion.extras import ERRORS, load_converter
from appliance.workbench.conversion.quiet import quietly

OPSET: Final = 17
"""The one that `train` exports; ONNX Runtime knows it since 1.12."""
_QUANTIZED = {"QuantizeLinear", "DequantizeLinear", "QLinearConv"}
_ERRORS: Final = (*ERRORS, onnx.checker.ValidationError, onnx.shape_inference.InferenceError)


@dataclass(frozen=True, slots=True)
class OnnxForm:
    """A float network in ONNX, ready for converters.

    Attributes:
        content: The file's bytes; the same for the same input and versions.
        opset: Of its operators.
        nodes_before: How many nodes the file had.
        nodes: How many it has now.
        simplifier: What simplified it; empty: nothing did.
        input: Name of the picture.
        shape: Of the picture, with the batch first.
        outputs: Name and shape of each output.
    """

    content: bytes
    opset: int
    nodes_before: int
    nodes: int
    simplifier: str
    input: str
    shape: tuple[int, ...]
    outputs: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def model(self) -> Any:
        """The parsed file."""
        return onnx.load_model_from_string(self.content)


def bring_into_form(content: bytes, name: str, opset: int = OPSET) -> OnnxForm:
    """Check a file, bring it to an opset, simplify it, infer its shapes.

    It is simplified by onnxslim where that is installed, and else left as it is.

    Args:
        content: The ONNX file.
        name: What to call it in messages.
        opset: Of the operators.

    Raises:
        ModelError: It is broken, calculates in 8 bits already, or has a size that is left open or cannot be inferred.
    """
    try:
        model = onnx.load_model_from_string(without_weight_inputs(content))
    except (DecodeError, ValueError) as error:
        raise ModelError(f"{name} is no ONNX file: {error}") from error
    before = len(model.graph.node)
    if _QUANTIZED & {node.op_type for node in model.graph.node}:
        raise ModelError(f"{name} calculates in 8 bits; a conversion starts from the float file, give that one")
    with quietly(f"{name} cannot be brought to opset {opset}", _ERRORS):
        onnx.checker.check_model(model, full_check=True)
        if _opset(model) != opset:
            model = version_converter.convert_version(model, opset)
    model, simplifier = _simplified(model, name)
    with quietly(f"the shapes of {name} cannot be inferred", _ERRORS):
        model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        onnx.checker.check_model(model, full_check=True)
    _name_nodes(model)
    weights = {one.name for one in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in weights]
    if len(inputs) != 1:
        raise ModelError(f"{name} has {len(inputs)} inputs; accepted: one, the picture")
    shapes = [(one.name, _shape(one, name)) for one in (*inputs, *model.graph.output)]
    return OnnxForm(
        content=model.SerializeToString(deterministic=True),
        opset=_opset(model),
        nodes_before=before,
        nodes=len(model.graph.node),
        simplifier=simplifier,
        input=shapes[0][0],
        shape=shapes[0][1],
        outputs=tuple(shapes[1:]),
    )


def _simplified(model: Any, name: str) -> tuple[Any, str]:
    try:
        slim = load_converter("onnxslim", "simpler graphs")
    except UnsupportedError:
        return model, ""
    with quietly(f"{name} cannot be simplified", _ERRORS):
        return slim.slim(model), f"onnxslim {slim.__version__}"


def _opset(model: Any) -> int:
    return next(int(one.version) for one in model.opset_import if one.domain in {"", "ai.onnx"})


def _name_nodes(model: Any) -> None:
    """Give every node a name of its own: compilers name what they cut off or cannot take by it."""
    taken: set[str] = set()
    for at, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_at_{at}"
        taken.add(node.name)


def _shape(value: Any, name: str) -> tuple[int, ...]:
    sizes = [one.dim_value for one in value.type.tensor_type.shape.dim]
    if not sizes or not all(sizes):
        raise ModelError(f"{name} leaves a size of {value.name!r} open; export it with fixed sizes and a batch of 1")
    return tuple(sizes)
