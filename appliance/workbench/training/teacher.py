"""Lets another detector look at the corpus, once, and keeps what all its cells say."""

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from appliance.config import ModelSettings
from appliance.core.decoding import DistancesSpec, NanodetSpec, YoloxSpec
from appliance.core.errors import ConfigError, UnsupportedError
from appliance.core.files import write_atomically
from appliance.inference.decoders import grid
from appliance.inference.detector import Detector, open_detector
from appliance.workbench.evaluate import as_frame
from appliance.workbench.progress import with_progress
from appliance.workbench.recipe import DataRecipe, DistillationRecipe
from appliance.workbench.training.corpus import read_index, read_pictures
from appliance.workbench.training.lessons import Lessons

_NAME = "lessons-{key}.npz"
_DIGITS = 16  # of the key in the file's name
_FARTHEST = 8.0  # a box reaches no farther, in shares of the picture; what does is noise
_ACCEPTED = "one that has levels of cells can: yolox, nanodet, distances"


def learn_from(
    teacher: ModelSettings,
    data: Path,
    *,
    recipe: DataRecipe,
    distillation: DistillationRecipe,
    labels: Sequence[str],
    folder: Path,
    pictures: int,
    stop: threading.Event,
) -> Lessons | None:
    """Let the teacher look at every photograph of the corpus, or read what it saw in an earlier run.

    Args:
        teacher: Which model; its file must be the one that the recipe means.
        data: Folder of the corpus.
        recipe: Which pictures.
        distillation: Which teacher.
        labels: The teacher must know each of them.
        folder: Where what it saw is kept.
        pictures: How many `corpus.read_corpus` gives.
        stop: Ends the work after the present picture; nothing is kept then.

    Returns:
        In the order of `corpus.read_corpus`; drawn pictures, which no teacher knows, included. None when
        it was stopped.

    Raises:
        ConfigError: It is another model than the recipe's, or lacks a label, or the corpus is broken.
        UnsupportedError: Not every cell's scores can be had from it.
        StorageError: The folder cannot be written to.
    """
    settings = teacher.model_copy(update={"labels": tuple(labels)})
    with open_detector(settings, min_score=0.0, every_class=True) as detector:
        if detector.digest != distillation.teacher:
            raise ConfigError(
                f"--teacher is {detector.manifest.name} with SHA-256 {detector.digest}; the recipe learns from "
                f"{distillation.teacher} (distillation.teacher)"
            )
        if lacking := [label for label in labels if label not in detector.manifest.labels]:
            raise ConfigError(
                f"labels {', '.join(map(repr, lacking))} are none that {detector.manifest.name} gives scores for: "
                f"it cannot teach them; it knows {', '.join(detector.manifest.labels)}"
            )
        path = folder / _NAME.format(key=_key(detector.digest, data, recipe, labels)[:_DIGITS])
        if not path.is_file():
            seen = _look(detector, data, recipe, labels, stop)
            if seen is None:
                return None
            _write(path, seen)
        kept = _read(path)
        if len(kept["spans"]) + recipe.street != pictures:
            raise ConfigError(
                f"{path} tells of {len(kept['spans'])} photographs, {data} has {pictures - recipe.street}; "
                "remove the file"
            )
        return _complete(kept, detector, recipe.street)


def _key(teacher: str, data: Path, recipe: DataRecipe, labels: Sequence[str]) -> str:
    """Give a digest of all that a teacher's view of a corpus depends on."""
    try:
        index = hashlib.sha256((data / "train.json").read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"cannot read {data / 'train.json'}: {error.strerror}") from error
    values = (teacher, list(labels), recipe.pictures, recipe.long_side, index)
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _look(
    detector: Detector, data: Path, recipe: DataRecipe, labels: Sequence[str], stop: threading.Event
) -> dict[str, NDArray[np.generic]] | None:
    # candidates of a cell come in the order of the teacher's labels, which may be another
    column = np.argsort(np.argsort([detector.manifest.labels.index(label) for label in labels]))
    scores, boxes, spans = [], [], []
    pictures = read_pictures(data, "train", recipe, labels)
    for one in with_progress(pictures, "teacher", len(read_index(data, "train")["images"])):
        if stop.is_set():
            return None
        found, place = detector.candidates(as_frame(one.image))
        if len(found) != len(_strides(detector)) * len(labels):
            raise UnsupportedError(f"{detector.manifest.name} does not give every cell's scores: it cannot teach")
        scores.append(np.rint(found.scores.reshape(-1, len(labels))[:, column] * 255).astype(np.uint8))
        corner, size = np.array([place.left, place.top] * 2), np.array([place.width, place.height] * 2)
        shares = (found.boxes[:: len(labels)] - corner) / size
        boxes.append(shares.clip(-_FARTHEST, _FARTHEST).astype(np.float16))
        spans.append((place.left, place.top, place.width, place.height))
    return {"scores": np.stack(scores), "boxes": np.stack(boxes), "spans": np.array(spans, np.float32)}


def _strides(detector: Detector) -> NDArray[np.float32]:
    """Give the stride of each of the teacher's cells."""
    spec = detector.manifest.decoder
    if not isinstance(spec, YoloxSpec | NanodetSpec | DistancesSpec):
        raise UnsupportedError(f"{detector.manifest.name}: decoder {spec.kind!r} cannot teach; {_ACCEPTED}")
    return grid(detector.manifest, spec.strides)[1][:, 0]


def _write(path: Path, values: Mapping[str, NDArray[np.generic]]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **values)  # type: ignore[arg-type]  # a name could also be that of its second parameter
    write_atomically(path, buffer.getvalue())


def _read(path: Path) -> dict[str, Tensor]:
    try:
        with np.load(path, allow_pickle=False) as values:
            return {name: torch.from_numpy(values[name]) for name in ("scores", "boxes", "spans")}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ConfigError(f"cannot read what the teacher saw from {path}: {error}; remove the file") from error


def _complete(seen: Mapping[str, Tensor], detector: Detector, drawn: int) -> Lessons:
    """Add the drawn pictures, which the teacher did not see, and where its cells lie."""
    strides, counts = np.unique(_strides(detector), return_counts=True)
    columns = [-(-detector.manifest.input.width // int(stride)) for stride in strides]
    rows = [int(count) // across for count, across in zip(counts, columns, strict=True)]
    photographs = len(seen["spans"])
    more = {name: torch.cat((values, values.new_zeros(drawn, *values.shape[1:]))) for name, values in seen.items()}
    more["spans"][photographs:] = 1.0
    return Lessons(
        scores=more["scores"],
        boxes=more["boxes"],
        known=torch.arange(photographs + drawn) < photographs,
        spans=more["spans"],
        strides=torch.from_numpy(strides.astype(np.float32)),
        columns=torch.tensor(columns),
        rows=torch.tensor(rows),
    )
