"""Simulated classifiers and segmentation networks: folders with files that answer every picture alike."""

import hashlib
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.simulators import tiny_onnx

CLASSIFICATION = 'activation = "softmax"\nmin_score = 0.3\ntop = 3\nsmoothing = 1.0\nbackground = "nothing"'
SEGMENTATION = 'output = "labels"\nbackground = "nothing"'
SIZE = 32  # of the input, pixels

_HEAD = """schema = 1
name = "{name}"
version = "1.0"
title = "For tests"
task = "{task}"
labels = {labels}
licence = "Apache-2.0"
[source]
url = "https://example.org"
[input]
width = 32
height = 32
colour = "rgb"
fit = "{fit}"
[{table}]
{spec}
[signature]
input = {{ shape = [1, 3, "height", "width"] }}
outputs = [{{ shape = {shape}, dtype = "{dtype}" }}]
[[artifacts]]
file = "model.onnx"
format = "onnx"
precision = "fp32"
sha256 = "{sha256}"
size = {size}
"""


def write_classifier(
    folder: Path, answer: list[float], labels: tuple[str, ...] = ("nothing", "cat", "dog"), spec: str = CLASSIFICATION
) -> Path:
    """Write a classifier that gives `answer`, a value for each label, for every picture."""
    tensor = np.array([answer], np.float32)
    return _write_constant(folder, "classify", tensor, '[1, "classes"]', labels, spec=spec)


def write_segmenter(
    folder: Path,
    label_map: NDArray[np.int64],
    labels: tuple[str, ...] = ("nothing", "road", "grass"),
    spec: str = SEGMENTATION,
    fit: str = "stretch",
) -> Path:
    """Write a segmentation network that gives `label_map`, shape (rows, columns), for every picture."""
    shape = json.dumps([1, *label_map.shape])
    return _write_constant(folder, "segment", label_map[None], shape, labels, spec=spec, fit=fit)


def _write_constant(
    folder: Path,
    task: str,
    answer: NDArray[np.float32] | NDArray[np.int64],
    shape: str,
    labels: tuple[str, ...],
    *,
    spec: str,
    fit: str = "stretch",
) -> Path:
    content = tiny_onnx.model({"x": (1, 3, SIZE, SIZE)}, {"y": answer})
    return write_network(folder, task, content, shape, labels, spec=spec, fit=fit, dtype=str(answer.dtype))


def write_network(
    folder: Path,
    task: str,
    content: bytes,
    shape: str,
    labels: tuple[str, ...],
    *,
    spec: str,
    fit: str = "stretch",
    dtype: str,
) -> Path:
    """Write a folder with a network of 32 x 32.

    Args:
        folder: Where to.
        task: Its task.
        content: Of the file.
        shape: Of its output, as a signature has it.
        labels: Its labels.
        spec: The task's table.
        fit: How a picture becomes its input.
        dtype: Of its output.
    """
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(content)
    text = _HEAD.format(
        name=folder.name,
        task=task,
        labels=json.dumps(labels),
        fit=fit,
        table={"classify": "classification", "segment": "segmentation"}[task],
        spec=spec,
        shape=shape,
        dtype=dtype,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
    )
    (folder / "manifest.toml").write_text(text, encoding="utf-8")
    return folder
