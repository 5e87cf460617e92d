"""Simulated detectors: model files of the known families that answer every picture alike, and a folder of manifests."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from appliance.core.manifest import ModelManifest, read_manifest
from appliance.inference.artifacts import bundled_models
from tests.simulators import tiny_onnx

YOLOX_CELLS = 8 * 8 + 4 * 4 + 2 * 2  # of a 64 x 64 input, strides 8, 16, 32


def manifest(name: str, width: int = 64, height: int = 64) -> ModelManifest:
    """Give one of Edgecam's own manifests for another input size."""
    return read_manifest(bundled_models() / name).for_size(width, height)


def yolox_answer(*found: tuple[int, int, float]) -> NDArray[np.float32]:
    """Give an output of YOLOX 64 x 64 with objects of one cell's size: (cell, class id, score) each."""
    answer = np.zeros((1, YOLOX_CELLS, 85), np.float32)
    for cell, class_id, score in found:
        answer[0, cell, :4] = (0.5, 0.5, 0.0, 0.0)
        answer[0, cell, 4] = 1.0
        answer[0, cell, 5 + class_id] = score
    return answer


def write_yolox(path: Path, answer: NDArray[np.float32], size: int = 64) -> Path:
    """Write a YOLOX that gives `answer` for every picture."""
    path.write_bytes(yolox(answer, size))
    return path


def write_folder(folder: Path, weights: Mapping[str, bytes], labels: tuple[str, ...] = ()) -> Path:
    """Write a model's folder: a YOLOX manifest under the folder's name, with artifacts by precision, best first.

    Args:
        folder: Where to.
        weights: Bytes of each artifact.
        labels: The model's; empty: COCO's 80.
    """
    folder.mkdir(parents=True)
    family = bundled_models() / "yolox" / "manifest.toml"
    known = (bundled_models() / "labels" / "coco80.txt").read_text(encoding="utf-8").split("\n")
    chosen = json.dumps(list(labels) or [label for label in known if label])
    text = family.read_text(encoding="utf-8").replace('name = "yolox"', f'name = "{folder.name}"')
    text = text.replace('"../labels/coco80.txt"', chosen)
    for precision, content in weights.items():
        (folder / f"{precision}.onnx").write_bytes(content)
        text += f'\n[[artifacts]]\nfile = "{precision}.onnx"\nformat = "onnx"\nprecision = "{precision}"\n'
        text += f'sha256 = "{hashlib.sha256(content).hexdigest()}"\nsize = {len(content)}\n'
    (folder / "manifest.toml").write_text(text, encoding="utf-8")
    return folder


def yolox(answer: NDArray[np.float32], size: int = 64) -> bytes:
    """Give the bytes of a YOLOX that gives `answer` for every picture."""
    return tiny_onnx.model({"images": (1, 3, size, size)}, {"output": answer})
