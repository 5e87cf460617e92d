"""Simulated detectors: model files of the known families that answer every picture alike, and a folder of manifests."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from appliance.core.manifest import ModelManifest, read_manifest
from appliance.inference.folders import bundled_models
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


def write_ladder(directory: Path, *rungs: bytes, entries: dict[int, str] | None = None) -> Path:
    """Write the model `stairs` with a file for each rung: r0.onnx, fp32; r1.onnx, int8; and so on.

    Args:
        directory: For models.
        rungs: The files' contents.
        entries: More lines for the artifacts with these numbers.
    """
    folder = directory / "stairs"
    folder.mkdir(parents=True)
    manifest = (bundled_models() / "yolox" / "manifest.toml").read_text(encoding="utf-8")
    labels = bundled_models() / "labels" / "coco80.txt"
    manifest = manifest.replace('name = "yolox"', 'name = "stairs"').replace("../labels/coco80.txt", str(labels))
    for at, content in enumerate(rungs):
        (folder / f"r{at}.onnx").write_bytes(content)
        precision = ("fp32", "int8")[at % 2]
        manifest += f'[[artifacts]]\nfile = "r{at}.onnx"\nformat = "onnx"\nprecision = "{precision}"\n'
        manifest += f'sha256 = "{hashlib.sha256(content).hexdigest()}"\nsize = {len(content)}\n'
        manifest += (entries or {}).get(at, "")
    (folder / "manifest.toml").write_text(manifest, encoding="utf-8")
    return folder


def add_artifact(folder: Path, file: str, content: bytes, more: str = "") -> Path:
    """Add an artifact of 8 bits to a model's folder, last; its format is the ending of its name.

    Args:
        folder: The model's.
        file: Its name.
        content: Its bytes.
        more: More lines of its table.
    """
    (folder / file).write_bytes(content)
    entry = f'\n[[artifacts]]\nfile = "{file}"\nformat = "{Path(file).suffix[1:]}"\nprecision = "int8"\n'
    entry += f'sha256 = "{hashlib.sha256(content).hexdigest()}"\nsize = {len(content)}\n{more}'
    with (folder / "manifest.toml").open("a", encoding="utf-8") as manifest:
        manifest.write(entry)
    return folder
