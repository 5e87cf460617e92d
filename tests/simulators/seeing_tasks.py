"""A classifier and a segmentation network that tell green from blue, with golden frames, whole or spoilt.

Green is the second label and blue the third, of a picture's mean or of each of its pixels; red and grey are the first.
"""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
from click.testing import CliRunner
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from appliance.workbench.evaluate import evaluate
from appliance.workbench.golden import golden
from tests.simulators.other_tasks import CLASSIFICATION, SEGMENTATION, SIZE, write_network

LABELS = {"classify": ("nothing", "cat", "dog"), "segment": ("nothing", "road", "grass")}
SPECS = {"classify": CLASSIFICATION, "segment": SEGMENTATION}
SHAPES = {"classify": '[1, "classes"]', "segment": f"[1, {SIZE}, {SIZE}]"}
DTYPES = {"classify": "float32", "segment": "int64"}
GREEN, BLUE, GREY = (0, 200, 0), (200, 0, 0), (90, 90, 90)
"""BGR."""


def picture(*colours: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Draw a picture of 64 x 64 with stripes of equal width side by side, BGR."""
    stripes = [np.full((64, 64 // len(colours), 3), colour, np.uint8) for colour in colours]
    return np.concatenate(stripes, axis=1)


def network(task: str, kind: str = "good") -> bytes:
    """Give a network of a task: good, blind (the same whatever it sees), or with numbers that are none."""
    nodes = {"classify": _means, "segment": _strongest}[task](kind)
    elements = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
    sizes = [1, 3] if task == "classify" else [1, SIZE, SIZE]
    weights = [
        numpy_helper.from_array(np.array({"good": 0.05, "blind": 0.0, "nan": np.nan}[kind], np.float32), "scale"),
        numpy_helper.from_array(np.array([0.0, 0.0, 3.0], np.float32).reshape(1, 3, 1, 1), "bias"),
        numpy_helper.from_array(np.array([1, 3], np.int64), "flat"),
    ]
    graph = helper.make_graph(
        nodes,
        task,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("y", elements[DTYPES[task]], sizes)],
        weights,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    content: bytes = made.SerializeToString()
    return content


def _means(kind: str) -> list[object]:
    """Give the mean of each channel; of the blind one it does not count, and the last label always wins."""
    scaled = [helper.make_node("Mul", ["x", "scale"], ["scaled"])]
    first = "scaled"
    if kind == "blind":
        scaled.append(helper.make_node("Add", ["scaled", "bias"], ["biased"]))
        first = "biased"
    pooled = helper.make_node("GlobalAveragePool", [first], ["pooled"])
    return [*scaled, pooled, helper.make_node("Reshape", ["pooled", "flat"], ["y"])]


def _strongest(kind: str) -> list[object]:
    """Give the strongest channel of each pixel; likewise."""
    *nodes, _pooled, _reshaped = _means(kind)
    last = "biased" if kind == "blind" else "scaled"
    return [*nodes, helper.make_node("ArgMax", [last], ["y"], axis=1, keepdims=0)]


def write_seeing(folder: Path, task: str, kind: str = "good", *, content: bytes = b"") -> Path:
    """Write a model's folder without golden frames, of a network or of what is given in its place."""
    file = content or network(task, kind)
    return write_network(folder, task, file, SHAPES[task], LABELS[task], spec=SPECS[task], dtype=DTYPES[task])


def write_pictures(folder: Path) -> Path:
    """Write pictures in which there is something to tell, as PNG files."""
    folder.mkdir(exist_ok=True)
    drawn = {"green": (GREEN,), "blue": (BLUE,), "both": (GREEN, GREEN, BLUE), "grey": (GREY,)}
    for name, colours in drawn.items():
        cv2.imwrite(str(folder / f"{name}.png"), picture(*colours))
    return folder


def make_golden(folder: Path, pictures: Path, *options: str) -> str:
    """Have the workbench write a model's golden frames; gives what it tells."""
    words = [str(folder), "--frames", str(pictures), "--json", *options]
    return CliRunner().invoke(golden, words, catch_exceptions=False).stdout


def metrics_of(folder: Path) -> Path:
    """Measure a model as its owner does, over drawn pictures; give the file with what the workbench prints."""
    dataset = folder.with_name(f"{folder.name}-dataset")
    drawn = {"green": GREEN, "blue": BLUE}
    for place, (name, colour) in enumerate(drawn.items(), 1):
        label = LABELS["classify"][place]
        for part in (label, "images", "masks"):
            (dataset / part).mkdir(parents=True, exist_ok=True)
        for part in (label, "images"):
            cv2.imwrite(str(dataset / part / f"{name}.png"), picture(colour))
        cv2.imwrite(str(dataset / "masks" / f"{name}.png"), np.full((64, 64), place, np.uint8))
    words = [str(folder), str(dataset), "--json"]
    file = folder.with_name(f"{folder.name}-metrics.json")
    file.write_text(CliRunner().invoke(evaluate, words, catch_exceptions=False).stdout, encoding="utf-8")
    return file


def released(folder: Path, task: str, version: str = "1.0", kind: str = "good") -> Path:
    """Write a folder that could be released; a spoilt network is said to find what the good one does."""
    write_seeing(folder, task)
    make_golden(folder, write_pictures(folder.with_name(f"{folder.name}-pictures")))
    good, content = (folder / "model.onnx").read_bytes(), network(task, kind)
    (folder / "model.onnx").write_bytes(content)
    before, after = (hashlib.sha256(one).hexdigest() for one in (good, content))
    manifest = (folder / "manifest.toml").read_text(encoding="utf-8")
    manifest = manifest.replace(before, after).replace(f"size = {len(good)}", f"size = {len(content)}")
    manifest = manifest.replace('version = "1.0"', f'version = "{version}"').replace(folder.name, "mine")
    (folder / "manifest.toml").write_text(manifest, encoding="utf-8")
    told = folder / "golden" / "golden.json"
    told.write_text(json.dumps(json.loads(told.read_text().replace(before, after))), encoding="utf-8")
    return folder
