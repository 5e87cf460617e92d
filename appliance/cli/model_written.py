"""What `edgecam model add` and `model get` have in common: where models go, sample frames, and what a new one sees."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.config import FileCameraSettings, ModelSettings
from appliance.core.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from appliance.core.frame import Frame

PICTURE_NAME = "sample.png"
_DRAWN = ((1280, 720, 7, 60), (1280, 720, 11, 140), (1280, 720, 21, 100))  # width, height, seed, number of the frame
_MOST_LABEL_BYTES = 256 << 10
_READ_TIMEOUT = 30.0  # seconds; a file that gives nothing for so long is on a disk that is gone


def models_directory(settings: ModelSettings, given: Path | None) -> Path:
    """Give the folder that new models go into.

    Raises:
        ConfigError: None was given and none is configured.
    """
    if given is not None:
        return given.expanduser()
    if not settings.directories:
        raise ConfigError(
            "no folder for models is configured: name one with --directory, and in edgecam.toml as [model] directories"
        )
    return settings.directories[0].expanduser()


def labels_named(given: str) -> tuple[str, ...]:
    """Give the labels that are meant: of a file, or COCO's 80, or COCO's own numbers from 0, which have gaps.

    Raises:
        ConfigError: The file cannot be read, or is no list of labels.
    """
    from appliance.core.manifest import read_manifest
    from appliance.inference.adding.about import GAP, parse_lines
    from appliance.inference.folders import bundled_models

    if given in {"coco80", "coco90"}:
        manifest = read_manifest(bundled_models() / "efficientdet")
        if given == "coco80":
            return manifest.labels
        numbers: tuple[int, ...] = getattr(manifest.decoder, "class_numbers", ())
        placed = dict(zip(numbers, manifest.labels, strict=True))
        return tuple(placed.get(number, GAP) for number in range(max(numbers) + 1))
    path = Path(given).expanduser()
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_LABEL_BYTES + 1)
        labels = parse_lines(content.decode("utf-8")) if len(content) <= _MOST_LABEL_BYTES else ()
    except OSError as error:
        raise ConfigError(f"--labels: cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"--labels: {path} is no UTF-8 text") from error
    if not labels:
        raise ConfigError(f"--labels: {path} is no list of labels: one a line, at most 100 characters each")
    return labels


def drawn_frames() -> list["Frame"]:
    """Give frames of the drawn street, BGR."""
    from appliance.cameras.synthetic import Street

    return [_frame(Street(width, height, 10.0, seed).draw(number)) for width, height, seed, number in _DRAWN]


def sample_frames(paths: Sequence[Path]) -> list["Frame"]:
    """Read the first frame of pictures or clips, BGR.

    Raises:
        ConfigError: One cannot be read.
    """
    from appliance.cameras.file import FileCamera
    from appliance.core.clock import SystemClock

    frames = []
    for path in paths:
        camera = FileCamera("sample", FileCameraSettings(kind="file", path=path, pace="fastest"), SystemClock())
        try:
            camera.open()
            frame = camera.read(_READ_TIMEOUT)
        except (ConfigError, UnavailableError) as error:
            raise ConfigError(f"--sample: {str(error).removeprefix('[cameras.sample] ')}") from error
        finally:
            camera.close()
        if frame is not None:
            frames.append(frame)
    if not frames:
        raise ConfigError("--sample: there is no frame in it")
    return frames


def report(folder: Path, frames: Sequence["Frame"], found_out: dict[str, Any], *, threads: int, as_json: bool) -> None:
    """Run a model that was written on the frames, write the picture in which it sees most, and tell all.

    Args:
        folder: The model's.
        frames: BGR.
        found_out: What is to be told of how it became what it is; ``notes`` among it.
        threads: CPU threads of one inference.
        as_json: One JSON object in place of lines.

    Raises:
        ModelError: It cannot be run.
        StorageError: The picture cannot be written.
    """
    import cv2

    from appliance.cli.seen import see
    from appliance.core.files import write_atomically
    from appliance.inference.artifacts import locate_artifact
    from appliance.inference.opening import load_model

    with load_model(locate_artifact(folder), threads=threads) as model:
        runs = [(see(model, frame), model.last_inference_ms) for frame in frames]
    seen, _ = max(runs, key=lambda run: len(next(iter(run[0].fields.values()))))
    picture = folder / PICTURE_NAME
    write_atomically(picture, cv2.imencode(".png", seen.draw())[1].tobytes())
    told = {
        "folder": str(folder),
        "picture": str(picture),
        "found_out": found_out,
        "inference_ms": round(min(run[1] for run in runs), 2),
        "words": seen.words,
        **seen.fields,
    }
    click.echo(json.dumps(told)) if as_json else _show(told)


def _show(told: dict[str, Any]) -> None:
    from rich.table import Table

    from appliance.cli.plain import plain_console

    table = Table(box=None, pad_edge=False, collapse_padding=True, show_header=False)
    for key, value in told["found_out"].items():
        if isinstance(value, dict):
            table.add_row(key, value["value"], value["because"])
        elif key != "notes":
            table.add_row(key, str(value), "")
    console = plain_console()
    console.print(table)
    for note in told["found_out"].get("notes", ()):
        click.echo(f"  {note}")
    click.echo(f"\nSeen in {told['picture']}, {told['inference_ms']:.1f} ms:")
    seen = Table(box=None, pad_edge=False, collapse_padding=True, show_header=False)
    for one in told.get("detections", [])[:20]:
        seen.add_row(f"  {one['label']}", f"{one['score']:.2f}", " ".join(f"{value:.0f}" for value in one["box"]))
    if "detections" in told:
        console.print(seen)
    else:
        click.echo(f"  {told['words']}")
    click.echo(f"Look at the picture. Use the model: edgecam run --model {told['folder']}, or [model] use.")


def _frame(image: Any) -> "Frame":
    from datetime import UTC, datetime

    from appliance.core.frame import Frame, PixelLayout

    height, width = image.shape[:2]
    return Frame(image, PixelLayout.BGR, width, height, "sample", 0, datetime.now(UTC), 0)
