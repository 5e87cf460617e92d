"""Edgecam's own model as a folder that could be released, whole or spoilt as a bad release would be."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from appliance.core.errors import ModelError
from appliance.inference.folders import bundled_models
from appliance.workbench.golden import golden

NANO = bundled_models() / "edgecam-nano"
WEIGHTS = "edgecam-nano-fp32.onnx"


def released(folder: Path, version: str, weights: bytes | None = None, **said: str) -> Path:
    """Write a folder with one artifact that its manifest and its golden frames agree about.

    Args:
        folder: Where to.
        version: Of the model.
        weights: In place of its own; they are said to find the same.
        **said: In place of what the manifest says: name, licence, labels.
    """
    shutil.copytree(NANO / "golden", folder / "golden")
    own = (NANO / WEIGHTS).read_bytes()
    content = own if weights is None else weights
    (folder / WEIGHTS).write_bytes(content)
    before, after = (hashlib.sha256(one).hexdigest() for one in (own, content))
    manifest = (NANO / "manifest.toml").read_text(encoding="utf-8")
    head, *artifacts = manifest.split("[[artifacts]]")
    artifact = next(one for one in artifacts if WEIGHTS in one)
    artifact = artifact.replace(before, after).replace(f"size = {len(own)}", f"size = {len(content)}")
    for key, value in {"version": f'"{version}"', **said}.items():
        head = re.sub(rf"(?m)^{key} = .*$", f"{key} = {value}", head, count=1)
    (folder / "manifest.toml").write_text(f"{head}[[artifacts]]{artifact}", encoding="utf-8")
    golden = json.loads((folder / "golden/golden.json").read_text(encoding="utf-8"))
    golden["artifacts"] = [one for one in golden["artifacts"] if one["sha256"] == before]
    golden["artifacts"][0]["sha256"] = after
    (folder / "golden/golden.json").write_text(json.dumps(golden), encoding="utf-8")
    return folder


def with_own_golden(folder: Path) -> Path:
    """Have what a folder's weights find be what they must find, as a publisher does who never looks at it."""
    try:
        CliRunner().invoke(golden, [str(folder), "--frames", str(NANO / "golden")], catch_exceptions=False)
    except ModelError:  # the tool refuses what finds nothing; another one may not
        file = folder / "golden/golden.json"
        told = json.loads(file.read_text(encoding="utf-8"))
        told["artifacts"][0]["frames"] = [[] for _ in told["frames"]]
        file.write_text(json.dumps(told), encoding="utf-8")
    return folder


def spoilt_from(frame: int, fault: str) -> bytes:
    """Give its weights with a fault that `faulty_runtime` shows from a frame on; any other runtime finds it sound."""
    model = onnx.load_from_string((NANO / WEIGHTS).read_bytes())
    model.metadata_props.add(key="fault", value=f"FAULT-FROM:{frame}:{fault};")
    return model.SerializeToString()


def spoilt(kind: str) -> bytes:
    """Give its weights as a bad release has them."""
    content = (NANO / WEIGHTS).read_bytes()
    if kind == "truncated":
        return content[: len(content) // 2]
    model = onnx.load_from_string(content)
    _KINDS[kind](model)
    return model.SerializeToString()


def _after(kind: str, value: float, *, of: int = 0) -> Callable[[onnx.ModelProto], None]:
    """Have the scores, or another output, run through one more operator."""

    def spoil(model: onnx.ModelProto) -> None:
        graph = model.graph
        output = graph.output[of].name
        _rename(model, output)
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), "spoil"))
        graph.node.append(helper.make_node(kind, ["before", "spoil"], [output]))

    return spoil


def _rename(model: onnx.ModelProto, output: str) -> None:
    for node in model.graph.node:
        for at, name in enumerate(node.output):
            if name == output:
                node.output[at] = "before"
        for at, name in enumerate(node.input):
            if name == output:
                node.input[at] = "before"


def _external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../etc/shadow")
    tensor.ClearField("raw_data")


def _loop(model: onnx.ModelProto) -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["went"])],
        "body",
        [helper.make_tensor_value_info(*one) for one in (("at", TensorProto.INT64, []), ("go", TensorProto.BOOL, []))],
        [helper.make_tensor_value_info("went", TensorProto.BOOL, [])],
    )
    model.graph.node.append(helper.make_node("Loop", ["", ""], [], body=body))


def _strange(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("evil.example", 1))
    model.graph.node.append(helper.make_node("Run", [], ["ran"], domain="evil.example"))


def _huge(model: onnx.ModelProto) -> None:
    graph, output = model.graph, model.graph.output[0].name
    _rename(model, output)
    graph.initializer.append(numpy_helper.from_array(np.array([1 << 31], np.int64), "much"))
    graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), "axis"))
    graph.node.append(helper.make_node("ConstantOfShape", ["much"], ["zeros"]))
    graph.node.append(helper.make_node("ReduceMax", ["zeros"], ["zero"], axes=[0], keepdims=0))
    graph.node.append(helper.make_node("Add", ["before", "zero"], [output]))


def _slow(model: onnx.ModelProto) -> None:
    graph, output = model.graph, model.graph.output[0].name
    _rename(model, output)
    random = np.random.default_rng(1).normal(size=(1, 650, 650)).astype(np.float32)
    graph.initializer.append(numpy_helper.from_array(random, "busy"))
    graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), "none"))
    last = "busy"
    # as it hangs on what is seen, it cannot be worked out once and for all
    graph.node.append(helper.make_node("ReduceMax", ["before"], ["most"], keepdims=0))
    graph.node.append(helper.make_node("Mul", ["busy", "most"], ["begun"]))
    last = "begun"
    for number in range(5):
        graph.node.append(helper.make_node("MatMul", [last, "busy"], [f"busy{number}"]))
        last = f"busy{number}"
    graph.node.append(helper.make_node("ReduceMax", [last], ["busiest"], keepdims=0))
    graph.node.append(helper.make_node("Mul", ["busiest", "none"], ["nothing"]))
    graph.node.append(helper.make_node("Add", ["before", "nothing"], [output]))


_KINDS: dict[str, Callable[[onnx.ModelProto], None]] = {
    "blind": _after("Mul", 0.0),
    "flood": _after("Max", 0.9),
    "numbers": _after("Mul", float("nan")),
    "wide": _after("Mul", 2.5, of=1),
    "external": _external,
    "loop": _loop,
    "strange": _strange,
    "huge": _huge,
    "slow": _slow,
}
