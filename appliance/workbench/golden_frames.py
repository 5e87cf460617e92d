"""Draws golden frames, and writes down what a model finds in them."""

import hashlib
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.cameras.pictures import list_pictures
from appliance.cameras.synthetic import Street
from appliance.core.errors import ConfigError, ModelError, StorageError
from appliance.core.files import write_atomically
from appliance.core.manifest import ModelManifest, read_manifest
from appliance.inference.artifacts import LocatedModel
from appliance.inference.golden import (
    GOLDEN_FOLDER,
    GOLDEN_NAME,
    MOST_FRAME_BYTES,
    MOST_FRAME_PIXELS,
    MOST_FRAMES,
    MOST_GOLDEN_BYTES,
    Expectation,
    GoldenContent,
    GoldenFrame,
    Tolerance,
    check_golden,
    decode_golden_frame,
    read_content,
)
from appliance.inference.golden_task import golden_task
from appliance.inference.opening import load_model
from appliance.workbench.progress import with_progress
from appliance.workbench.runnable import read_runnable

STREETS: Final = ((15, 50), (21, 100), (6, 240), (12, 260), (3, 30))
"""Seed and frame of drawn streets in which all that a street has is seen well: people, bicycle, car, bus, truck."""
WIDTH, HEIGHT = 480, 270
_STEP = 8  # of brightness: the pictures pack to a half, and keep their edges
_GREY = 120


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures to look at.

    Attributes:
        files: PNG by file name.
        made_from: What they show.
    """

    files: Mapping[str, bytes]
    made_from: str

    def images(self) -> dict[str, NDArray[np.uint8]]:
        """Give each by its name, shape (H, W, 3), BGR.

        Raises:
            ModelError: One is no picture that a device would accept.
        """
        images = {}
        for name, content in self.files.items():
            image = decode_golden_frame(content)
            if image is None:
                raise ModelError(f"{name} is no picture that a device would accept; make golden frames of another")
            images[name] = image
        return images


def drawn_frames() -> Pictures:
    """Draw streets, and a plain grey in which nothing is; the same bytes with the same version of OpenCV."""
    files = {}
    for seed, number in with_progress(STREETS, "drawing"):
        large = Street(WIDTH * 2, HEIGHT * 2, 10.0, seed).draw(number)  # halved, its noise is gone
        small = cv2.resize(large, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        files[f"street-{seed}-{number}.png"] = _png(np.asarray(small // _STEP * _STEP + _STEP // 2, np.uint8))
    files["grey.png"] = _png(np.full((HEIGHT, WIDTH, 3), _GREY, np.uint8))
    return Pictures(files, "drawn streets, named by seed and frame, and a plain grey")


def own_frames(folder: Path) -> Pictures:
    """Read the PNG files of a folder.

    Raises:
        ConfigError: There are none or too many, or one is too large.
    """
    paths = [path for path in list_pictures(folder) if path.suffix.lower() == ".png"]
    if not 0 < len(paths) <= MOST_FRAMES:
        raise ConfigError(f"{folder} has {len(paths)} PNG files; accepted: 1 to {MOST_FRAMES}")
    files = {}
    for path in paths:
        try:
            files[path.name] = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from error
        if len(files[path.name]) > MOST_FRAME_BYTES or decode_golden_frame(files[path.name]) is None:
            raise ConfigError(
                f"{path} is not accepted: a PNG of at most {MOST_FRAME_BYTES} bytes and {MOST_FRAME_PIXELS} pixels"
            )
    return Pictures(files, "pictures of the model's maker")


def make_golden(folder: Path, pictures: Pictures, tolerance: Tolerance) -> GoldenContent[Any]:
    """Check the golden frames of a model, for all of its artifacts that can be run here, and write them.

    They are written to a folder for the trial first: frames that do not pass replace none that do. An artifact that
    cannot be run here is told, and has no golden frames until they are made where it can be.

    Args:
        folder: The model's.
        pictures: To look at.
        tolerance: How far another machine may be from what is found here.

    Raises:
        ConfigError: There are no weights.
        ModelError: An artifact finds nothing in the pictures that it is sure of, or not the same twice, or more than
            golden.json may hold; one of another task than detection finds the same in all of them.
        StorageError: The folder cannot be written to.
        UnsupportedError: There are weights, and none can be run here.
    """
    manifest = read_manifest(folder)
    located = [one for _, one in read_runnable(folder, manifest).found]
    if not located:
        raise ConfigError(f"{folder} has no weights of {manifest.name!r}: there is nothing to write down")
    frames = [
        GoldenFrame(file=name, sha256=hashlib.sha256(content).hexdigest(), size=len(content))
        for name, content in pictures.files.items()
    ]
    golden = golden_task(manifest.task).content(
        schema=1,
        made_from=pictures.made_from,
        tolerance=tolerance,
        frames=tuple(frames),
        artifacts=tuple(_expect(one, pictures, tolerance) for one in located),
    )
    size = len(_text(golden).encode())
    if size > MOST_GOLDEN_BYTES:
        raise ModelError(
            f"nothing was written: {GOLDEN_NAME} would have {size} bytes, accepted: {MOST_GOLDEN_BYTES}; give fewer "
            "pictures, or some with fewer objects: --frames FOLDER"
        )
    with tempfile.TemporaryDirectory(prefix="edgecam-golden-") as trial:
        _write(Path(trial), manifest, golden, pictures)
        for one in located:
            _check(one, Path(trial))
    _write(folder, manifest, golden, pictures)
    return golden


def _check(located: LocatedModel, folder: Path) -> None:
    with load_model(located) as model:
        verdict = check_golden(model, folder)
    if not verdict.is_passed:
        raise ModelError(f"nothing was written: {located.path} does not do the same twice: {verdict.deviations[0]}")


def _expect(located: LocatedModel, pictures: Pictures, tolerance: Tolerance) -> Expectation:
    images = pictures.images()
    with load_model(located) as model:
        return golden_task(model.manifest.task).expect(model, images, tolerance)


def _write(folder: Path, manifest: ModelManifest, golden: GoldenContent[Any], pictures: Pictures) -> None:
    target = folder / GOLDEN_FOLDER
    before: set[str] = set()
    with suppress(ModelError):  # none yet, or of another kind: then none of these files is known to be ours
        before = {one.file for one in read_content(folder, golden_task(manifest.task).content).frames}
    try:
        target.mkdir(exist_ok=True)
        for name, content in pictures.files.items():
            write_atomically(target / name, content)
        write_atomically(target / GOLDEN_NAME, _text(golden).encode())
        for name in before - pictures.files.keys():
            (target / name).unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write {target}: {error.strerror}") from error


def _text(golden: GoldenContent[Any]) -> str:
    """Give the JSON with an object a line: what changed is seen in a comparison of versions."""
    text = golden.model_dump_json(by_alias=True)
    for before, after in (('{"label"', '\n    {"label"'), ('{"file"', '\n  {"file"'), ('{"sha256"', '\n  {"sha256"')):
        text = text.replace(before, after)
    return text + "\n"


def _png(image: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes())
