"""Others' classifier and segmentation network, which lie beside the repository, as releases: good, and blind."""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from click.testing import CliRunner
from numpy.typing import NDArray

from appliance.inference.artifacts import locate_artifact
from appliance.inference.folders import bundled_models
from appliance.inference.golden import read_content, read_golden_frame
from appliance.inference.golden_task import golden_task
from appliance.inference.opening import load_model
from appliance.workbench.evaluate import evaluate
from appliance.workbench.golden import golden
from tests.shared_data import SHARED

PHOTOGRAPHS: Final = "eval/coco_val400/images"


@dataclass(frozen=True, slots=True)
class Kind:
    """A network of a task.

    Attributes:
        task: Its task.
        family: Whose manifest it has.
        file: Its weights, beside the repository.
        last: Shape of the last layer's weights: without them it says the same whatever it sees.
        shown: A label for each photograph that shows it well.
    """

    task: str
    family: str
    file: str
    last: tuple[int, ...]
    shown: dict[str, str]

    @property
    def photographs(self) -> list[str]:
        """Where they lie beside the repository."""
        return [f"{PHOTOGRAPHS}/{name}" for name in self.shown]


MOBILENET: Final = Kind(
    "classify",
    "mobilenet",
    "models/mobilenet_v2_1.0_224_quant.tflite",
    (1001, 1, 1, 1280),
    {"000000001818.jpg": "zebra", "000000006012.jpg": "banana"},
)
DEEPLAB: Final = Kind(
    "segment",
    "deeplab",
    "models/deeplabv3_mnv2_dm05_pascal_quant.tflite",
    (21, 1, 1, 256),
    {"000000503755.jpg": "person", "000000001818.jpg": "background"},
)


def blinded(kind: Kind) -> bytes:
    """Give a network's weights with nothing in its last layer but what it adds: it says the same whatever it sees."""
    return _with_last(kind, np.full_like)


def nudged(kind: Kind) -> bytes:
    """Give a network's weights with each of the last layer a step off, or not: nearly as good, and another network."""
    steps = np.random.default_rng(1)

    def nudge(weights: NDArray[np.uint8], _zero: int) -> NDArray[np.uint8]:
        return np.clip(weights.astype(np.int16) + steps.integers(-1, 2, weights.shape), 0, 255).astype(np.uint8)

    return _with_last(kind, nudge)


def _with_last(kind: Kind, change: Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]) -> bytes:
    path = SHARED / kind.file
    interpreter, content = Interpreter(str(path)), path.read_bytes()
    interpreter.allocate_tensors()
    for tensor in interpreter.get_tensor_details():
        if tuple(tensor["shape"]) == kind.last:
            weights: NDArray[np.uint8] = interpreter.get_tensor(tensor["index"])
            assert content.count(weights.tobytes()) == 1
            return content.replace(weights.tobytes(), change(weights, int(tensor["quantization"][1])).tobytes())
    raise AssertionError(f"{kind.file} has no weights of shape {kind.last}")


def released(folder: Path, kind: Kind, version: str, weights: bytes | None = None) -> Path:
    """Write a folder that could be released; other weights are said to find what its own do.

    Args:
        folder: Where to.
        kind: Which network.
        version: Of the model.
        weights: In place of its own.
    """
    folder.mkdir(parents=True)
    own = (SHARED / kind.file).read_bytes()
    _write_manifest(folder, kind, version, own)
    pictures = folder.with_name(f"{folder.name}-pictures")
    _write_pictures(pictures, kind)
    done = CliRunner().invoke(golden, [str(folder), "--frames", str(pictures), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    if weights is not None:
        _write_manifest(folder, kind, version, weights)
        _rewrite(folder, {"sha256": hashlib.sha256(weights).hexdigest()})
    return folder


def with_own_golden(folder: Path, kind: Kind) -> Path:
    """Have what a folder's weights find be what they must find, as a publisher does who never looks at it."""
    task = golden_task(kind.task)
    with load_model(locate_artifact(folder)) as model:
        pictures = [read_golden_frame(folder, one) for one in read_content(folder, task.content).frames]
        found = [_plain(task.look(model, picture)) for picture in pictures]
    _rewrite(folder, {"frames": found})
    return folder


def metrics_of(folder: Path, kind: Kind) -> Path:
    """Measure a model as its owner does, over the photographs; give the file with what the workbench prints."""
    dataset = folder.with_name(f"{folder.name}-dataset")
    for name, label in kind.shown.items():
        for part in (label, "images", "masks"):
            (dataset / part).mkdir(parents=True, exist_ok=True)
        for part in (label, "images"):
            shutil.copy(SHARED / PHOTOGRAPHS / name, dataset / part / name)
        height, width = cv2.imread(str(SHARED / PHOTOGRAPHS / name)).shape[:2]
        whole = np.full(
            (height, width), 15 if label == "person" else 0, np.uint8
        )  # a crude truth, and one all the same
        cv2.imwrite(str(dataset / "masks" / f"{Path(name).stem}.png"), whole)
    file = folder.with_name(f"{folder.name}-metrics.json")
    words = [str(folder), str(dataset), "--json"]
    file.write_text(CliRunner().invoke(evaluate, words, catch_exceptions=False).stdout, encoding="utf-8")
    return file


def write_album(folder: Path, kind: Kind, copies: int = 3) -> Path:
    """Write the photographs in turns, as a camera's pictures."""
    folder.mkdir()
    for number in range(copies):
        for at, name in enumerate(kind.shown):
            shutil.copy(SHARED / PHOTOGRAPHS / name, folder / f"{number}-{at}.jpg")
    return folder


def _write_manifest(folder: Path, kind: Kind, version: str, content: bytes) -> None:
    family = bundled_models() / kind.family
    text = (family / "manifest.toml").read_text(encoding="utf-8")
    labels = next(line.split('"')[1] for line in text.splitlines() if line.startswith("labels = "))
    shutil.copy(family / labels, folder / "labels.txt")
    text = text.replace(f'"{labels}"', '"labels.txt"').replace('version = "1.0"', f'version = "{version}"')
    (folder / "model.tflite").write_bytes(content)
    text += '\n[[artifacts]]\nfile = "model.tflite"\nformat = "tflite"\nprecision = "int8"\n'
    text += f'sha256 = "{hashlib.sha256(content).hexdigest()}"\nsize = {len(content)}\n'
    (folder / "manifest.toml").write_text(text, encoding="utf-8")


def _write_pictures(folder: Path, kind: Kind) -> None:
    folder.mkdir()
    for name in kind.shown:
        image = cv2.imread(str(SHARED / PHOTOGRAPHS / name))
        small = cv2.resize(image, (320, 240), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / f"{Path(name).stem}.png"), small)


def _plain(found: Any) -> Any:
    return [one.model_dump() for one in found] if isinstance(found, Sequence) else found.model_dump()


def _rewrite(folder: Path, changes: dict[str, Any]) -> None:
    file = folder / "golden" / "golden.json"
    told = json.loads(file.read_text(encoding="utf-8"))
    told["artifacts"][0] |= changes
    file.write_text(json.dumps(told), encoding="utf-8")
