"""Golden frames: drawn pictures beside a model, with what it must find there, on whatever machine it runs.

They lie in ``golden/`` in the model's folder: some PNG files and ``golden.json``, which names each picture and each
file of weights by its SHA-256. They do not tell how good a model is; but one that is broken, blind, or fires everywhere
does not pass. What a model must find is of its task: objects here, labels and label maps in modules of their own.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Generic, Literal, Self, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, ValidationError, model_validator

from appliance.core.clock import SystemClock
from appliance.core.errors import ModelError
from appliance.core.frame import Frame, PixelLayout
from appliance.core.manifest import Label, PlainFile, Score, Sha256
from appliance.core.part import Part
from appliance.inference.golden_task import golden_task

GOLDEN_FOLDER: Final = "golden"
GOLDEN_NAME: Final = "golden.json"
MOST_GOLDEN_BYTES = 256 << 10
MOST_FRAME_BYTES = 1 << 20
MOST_FRAME_PIXELS = 2_100_000  # 1920 x 1080; what a small file claims to unpack to is bounded before it is unpacked
MOST_FRAMES = 16
MOST_OBJECTS = 1000  # in a frame; as many as a manifest's max_detections may be
_HEADER = 24  # bytes of a PNG up to the end of width and height


def _upright(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    if not (box[2] >= box[0] and box[3] >= box[1]):
        raise ValueError("is x1, y1, x2, y2 with x1 <= x2 and y1 <= y2")
    return box


Place = Annotated[float, Field(ge=-10_000.0, le=10_000.0, allow_inf_nan=False)]


class GoldenObject(Part):
    """An object that a model finds in a golden frame.

    Attributes:
        label: Its label.
        score: Its score, 0..1.
        box: xyxy in pixels of the frame.
    """

    label: Label
    score: Score
    box: Annotated[tuple[Place, Place, Place, Place], AfterValidator(_upright)]


class GoldenFrame(Part):
    """A picture.

    Attributes:
        file: Its name, in the folder of golden.json.
        sha256: 64 hexadecimal digits, lower case.
        size: Bytes.
    """

    file: PlainFile
    sha256: Sha256
    size: Annotated[int, Field(ge=_HEADER, le=MOST_FRAME_BYTES)]


class Tolerance(Part):
    """How far another machine may be from what was written down.

    Attributes:
        iou: Least overlap of a box, or of what a label covers, with the expected one.
        score: Largest difference of the scores. An object within it of the lowest score may be missing or be there.
    """

    iou: Annotated[float, Field(ge=0.3, le=1.0)] = 0.8
    score: Annotated[float, Field(ge=0.0, le=0.3)] = 0.1


class Expectation(Part):
    """What one file of weights finds, whatever its task.

    Attributes:
        sha256: Of the weights.
        min_score: Lowest score of what it finds; 0 where it gives no scores.
        frames: For each frame, in their order, what is found there.
    """

    sha256: Sha256
    min_score: Score = 0.0
    frames: tuple[Any, ...]


class GoldenArtifact(Expectation):
    """What one file of a detector's weights finds.

    Attributes:
        min_score: Lowest score of a detection.
        frames: For each frame, in their order, the objects by falling score.
    """

    min_score: Score
    frames: tuple[Annotated[tuple[GoldenObject, ...], Field(max_length=MOST_OBJECTS)], ...]


ArtifactT = TypeVar("ArtifactT", bound=Expectation)


class GoldenContent(Part, Generic[ArtifactT]):
    """The content of golden.json, whatever the task.

    Attributes:
        schema_version: Of this format; `schema` in the file.
        made_from: What the pictures show.
        tolerance: How far another machine may be from it.
        frames: The pictures.
        artifacts: What each file of weights finds there.
    """

    schema_version: Literal[1] = Field(alias="schema")
    made_from: Annotated[str, Field(max_length=500)] = ""
    tolerance: Tolerance = Tolerance()
    frames: Annotated[tuple[GoldenFrame, ...], Field(min_length=1, max_length=MOST_FRAMES)]
    artifacts: Annotated[tuple[ArtifactT, ...], Field(min_length=1, max_length=16)]

    @model_validator(mode="after")
    def _each_artifact_has_each_frame(self) -> Self:
        if any(len(one.frames) != len(self.frames) for one in self.artifacts):
            raise ValueError("artifacts: each has a list of objects for each of the frames")
        return self

    def of(self, sha256: str) -> ArtifactT:
        """Give what the weights of this digest must find.

        Raises:
            ModelError: Nothing is known of them.
        """
        found = next((one for one in self.artifacts if one.sha256 == sha256), None)
        if found is None:
            raise ModelError(
                f"the golden frames know nothing of the weights {sha256[:12]}; "
                "make them again: edgecam-workbench golden FOLDER"
            )
        return found


class GoldenSet(GoldenContent[GoldenArtifact]):
    """The content of golden.json of a detector."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """Where a model did not do as expected.

    Attributes:
        frame: File name of the picture.
        what: ``missing``: an expected object was not found; ``unexpected``: something was found that is not there.
        label: Of the object.
        score: Expected, or found; of a label map the overlap of what is expected with what was found.
        box: Expected, or found; xyxy in pixels of the frame. Empty where it is not of an object.
    """

    frame: str
    what: Literal["missing", "unexpected"]
    label: str
    score: float
    box: tuple[float, ...] = ()

    def __str__(self) -> str:
        place = ", ".join(f"{value:.0f}" for value in self.box)
        return f"{self.frame}: {self.label} {self.score:.2f}{f' at {place}' if place else ''} is {self.what}"


@dataclass(frozen=True, slots=True)
class GoldenVerdict:
    """What came of running a model on its golden frames.

    Attributes:
        frames: How many were looked at.
        expected: Objects that must be found, or labels.
        deviations: Where it did not do as expected; none: it passed.
        total_ms: From each frame to what was found in it, milliseconds.
        of: What is expected, for people.
    """

    frames: int
    expected: int
    deviations: tuple[Deviation, ...]
    total_ms: tuple[float, ...]
    of: str = "objects"

    @property
    def is_passed(self) -> bool:
        """Nothing was missing or unexpected."""
        return not self.deviations


ContentT = TypeVar("ContentT", bound=Part)


def read_golden(folder: Path) -> GoldenSet:
    """Read and check the golden.json of a detector.

    Args:
        folder: The model's.

    Raises:
        ModelError: It is missing, too large, or has entries that are not accepted.
    """
    return read_content(folder, GoldenSet)


def read_content(folder: Path, kind: type[ContentT]) -> ContentT:
    """Read and check the golden.json of a model of any task.

    Args:
        folder: The model's.
        kind: What it holds.

    Raises:
        ModelError: It is missing, too large, or has entries that are not accepted.
    """
    file = folder / GOLDEN_FOLDER / GOLDEN_NAME
    content = _read(folder, file, MOST_GOLDEN_BYTES)
    try:
        return kind.model_validate(json.loads(content))
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, one['loc'])) or '(top level)'}: {one['msg'].removeprefix('Value error, ')}"
            for one in error.errors(include_url=False, include_input=False)[:20]
        ]
        raise ModelError("\n  ".join([f"{file} is not accepted:", *lines])) from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{file} is no valid JSON: {error}") from error


def read_golden_frame(folder: Path, frame: GoldenFrame) -> NDArray[np.uint8]:
    """Read a golden frame; shape (H, W, 3), BGR.

    Args:
        folder: The model's.
        frame: Which.

    Raises:
        ModelError: It is missing, too large, no PNG, or another picture than golden.json names.
    """
    path = folder / GOLDEN_FOLDER / frame.file
    content = _read(folder, path, MOST_FRAME_BYTES)
    if len(content) != frame.size or hashlib.sha256(content).hexdigest() != frame.sha256:
        raise ModelError(f"{path} is not the picture that {GOLDEN_NAME} names; copy it again")
    image = decode_golden_frame(content)
    if image is None:
        raise ModelError(f"{path} is no PNG of up to {MOST_FRAME_PIXELS} pixels that can be read")
    return image


def decode_golden_frame(content: bytes) -> NDArray[np.uint8] | None:
    """Unpack a PNG, shape (H, W, 3), BGR; None: it is none, broken, or too large."""
    if content[:8] != b"\x89PNG\r\n\x1a\n" or len(content) < _HEADER:
        return None
    width, height = int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
    if not 0 < width * height <= MOST_FRAME_PIXELS:
        return None
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None  # as a file that it cannot unpack
    return None if image is None else np.asarray(image, np.uint8)


def frame_of(image: NDArray[np.uint8]) -> Frame:
    """Give a picture, shape (H, W, 3), BGR, as the frame of now."""
    stamp = SystemClock().now()
    height, width = image.shape[:2]
    return Frame(image, PixelLayout.BGR, width, height, "golden", 0, stamp.time, stamp.mono_ns)


def check_golden(model: Any, folder: Path) -> GoldenVerdict:
    """Run a model of any task on its golden frames and compare.

    Args:
        model: The model, opened with its manifest's own lowest score and all its labels.
        folder: The model's.

    Raises:
        ModelError: The golden frames are missing or not what they were, know nothing of these weights, or the model
            cannot be run.
    """
    task = golden_task(model.manifest.task)
    golden = read_content(folder, task.content)
    expected = golden.of(model.digest)
    if model.min_score != expected.min_score:
        raise ModelError(
            f"the golden frames were made with scores from {expected.min_score:g}, the model's manifest says "
            f"{model.min_score:g}; make them again: edgecam-workbench golden {folder}"
        )
    least = expected.min_score + golden.tolerance.score
    deviations: list[Deviation] = []
    times = []
    for frame, one in zip(golden.frames, expected.frames, strict=True):
        found = task.look(model, read_golden_frame(folder, frame))
        times.append(model.last_total_ms)
        deviations += task.compare(frame.file, one, found, golden.tolerance, least)
    required = sum(task.required(one, least) for one in expected.frames)
    return GoldenVerdict(len(golden.frames), required, tuple(deviations), tuple(times), task.of)


def compare_golden(
    frame: str,
    expected: Sequence[GoldenObject],
    found: Sequence[GoldenObject],
    tolerance: Tolerance,
    least: float,
) -> list[Deviation]:
    """Compare what was found in a frame with what was expected. Pure.

    Each expected object takes the free one of its label that lies best within the tolerance.

    Args:
        frame: What the frame is called.
        expected: By falling score.
        found: By falling score.
        tolerance: How far they may be apart.
        least: Score from which an expected object must be found, and anything that was not expected must not.
    """
    free = list(found)
    deviations = []
    for one in expected:
        close = [
            (_iou(one.box, other.box), other)
            for other in free
            if other.label == one.label and abs(other.score - one.score) <= tolerance.score
        ]
        overlap, best = max(close, key=lambda pair: pair[0], default=(0.0, None))
        if best is not None and overlap >= tolerance.iou:
            free.remove(best)
        elif one.score >= least:
            deviations.append(Deviation(frame, "missing", one.label, one.score, one.box))
    deviations += [Deviation(frame, "unexpected", one.label, one.score, one.box) for one in free if one.score >= least]
    return deviations


def _iou(first: Sequence[float], second: Sequence[float]) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(0.0, width) * max(0.0, height)
    both = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)) - shared
    return shared / both if both > 0 else 0.0


def _read(folder: Path, file: Path, most: int) -> bytes:
    try:
        if not file.resolve(strict=True).is_relative_to(folder.resolve(strict=True)):
            raise ModelError(f"{file} leads out of the model's folder")
        if not file.is_file():  # a pipe would keep us waiting
            raise ModelError(f"{file} is no plain file")
        with file.open("rb") as opened:
            content = opened.read(most + 1)
    except FileNotFoundError as error:
        raise ModelError(f"{file} is missing; a model's maker writes it: edgecam-workbench golden {folder}") from error
    except OSError as error:
        raise ModelError(f"cannot read {file}: {error.strerror}") from error
    if len(content) > most:
        raise ModelError(f"{file} is larger than {most} bytes")
    return content
