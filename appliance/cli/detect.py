"""`edgecam detect`: the model, once, over pictures, folders or clips, without a daemon."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.cli.configured import load_configured
from appliance.config import FileCameraSettings, ModelSettings
from appliance.core.command import NumberRange
from appliance.core.errors import ConfigError, StorageError, UnavailableError

if TYPE_CHECKING:
    from appliance.cli.seen import Seen
    from appliance.core.frame import Frame

READ_TIMEOUT = 30.0  # seconds; a file that gives nothing for so long is on a disk that is gone


@click.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="SOURCE…")
@click.option("--model", metavar="NAME|FILE|NAME=FILE", help="The model; else the one of the configuration.")
@click.option("--artifact", metavar="FILE|PRECISION", help="Which of its files; else the first that runs here.")
@click.option("--min-score", type=NumberRange(0.01, 1.0), help="Lowest score; else the model's own.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a frame, on one line.")
@click.option(
    "--draw", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Write annotated pictures."
)
@click.option("--every", type=click.IntRange(1, 1_000_000), default=1, help="Take only every Nth frame of a source.")
@click.option("--threads", type=click.IntRange(1, 64), help="CPU threads of one inference.")
@click.option("--every-class", is_flag=True, help="All classes of a place, as evaluations do, not only the best.")
@click.option("--masks", is_flag=True, help="With --json, of a segmentation network: its masks too, as COCO's RLE.")
@click.pass_context
def detect(
    ctx: click.Context,
    sources: tuple[Path, ...],
    *,
    model: str | None,
    artifact: str | None,
    min_score: float | None,
    as_json: bool,
    draw: Path | None,
    every: int,
    threads: int | None,
    every_class: bool,
    masks: bool,
) -> None:
    """Run the model once over pictures, folders of pictures, or clips.

    Prints a line for each frame: the objects that a detector finds, the labels that a classifier gives, or how much of
    the picture the labels of a segmentation network cover. A source that cannot be read is named on standard error and
    the others go on; the exit status is then 1.
    """
    import cv2

    from appliance.cli.seen import see
    from appliance.inference.ladder import open_best_model
    from appliance.inference.tuning import look_up

    settings = _settings(model, artifact, threads)
    cv2.setNumThreads(settings.threads)
    unreadable = 0
    tuned = look_up(settings, load_configured().device.state_dir)
    if tuned.why and tuned.state in {"refused", "stale"}:
        click.echo(f"edgecam: {tuned.why}", err=True)
    opened = open_best_model(settings, min_score=min_score, every_class=every_class, preferred=tuned.preference)
    for trouble in opened.running.troubles():
        click.echo(f"edgecam: {trouble}", err=True)
    _check_options(opened.manifest.task, every_class=every_class, masks=masks)
    with opened as model_in_use, _progress(sources) as bar:
        drawings = _Drawings(draw) if draw is not None else None
        for reading in _read(sources, every):
            if isinstance(reading, str):
                unreadable += 1
                click.echo(f"edgecam: {reading}", err=True)
                continue
            source, frame = reading
            seen = see(model_in_use, frame, masks=masks)
            took = model_in_use.last_inference_ms
            sys.stdout.write(
                (_record(source, frame, took, seen) if as_json else _line(source, frame, took, seen)) + "\n"
            )
            sys.stdout.flush()  # whoever reads from a pipe gets each frame when it is done
            if drawings is not None:
                drawings.write(source, frame, seen)
            if bar is not None:
                bar.update(bar.task_ids[0], advance=1)
    if unreadable:
        ctx.exit(1)


def _settings(model: str | None, artifact: str | None, threads: int | None) -> ModelSettings:
    settings = load_configured().model
    if model is not None:
        settings = settings.model_copy(update={"artifact": None})  # that was one of the configured model's
    asked = (("use", model), ("artifact", artifact), ("threads", threads))
    chosen = {key: value for key, value in asked if value is not None}
    return settings.model_copy(update=chosen)


def _read(sources: Sequence[Path], every: int) -> Iterator["tuple[Path, Frame] | str"]:
    """Give every Nth frame of each source with the file it is from, or a message where something cannot be read."""
    from appliance.cameras.file import FileCamera
    from appliance.core.clock import SystemClock

    for source in sources:
        camera = FileCamera("source", FileCameraSettings(kind="file", path=source, pace="fastest"), SystemClock())
        try:
            camera.open()
        except (ConfigError, UnavailableError) as error:
            yield _reason(error)
            continue
        try:
            yield from _frames(camera, every)
        finally:
            camera.close()


def _frames(camera: Any, every: int) -> Iterator["tuple[Path, Frame] | str"]:
    while True:
        try:
            frame = camera.read(READ_TIMEOUT)
        except ConfigError as error:
            yield _reason(error)  # the next read goes on behind the broken picture
            continue
        except UnavailableError as error:
            yield _reason(error)
            return
        if frame is None:
            return
        if frame.number % every == 0:
            yield camera.path, frame


def _reason(error: Exception) -> str:
    return str(error).removeprefix("[cameras.source] ")  # there is no such section: the source is no configured camera


def _check_options(task: str, *, every_class: bool, masks: bool) -> None:
    if every_class and task != "detect":
        raise click.UsageError(f"--every-class is for detectors; this model is for task {task!r}")
    if masks and task != "segment":
        raise click.UsageError(f"--masks is for segmentation networks; this model is for task {task!r}")


def _record(source: Path, frame: "Frame", inference_ms: float, seen: "Seen") -> str:
    record = {
        "source": str(source),
        "frame": frame.number,
        "width": frame.width,
        "height": frame.height,
        "inference_ms": round(inference_ms, 3),
        **seen.fields,
    }
    return json.dumps(record, ensure_ascii=False)


def _line(source: Path, frame: "Frame", inference_ms: float, seen: "Seen") -> str:
    return f"{source} [{frame.number}] {inference_ms:.1f} ms: {seen.words}"


@dataclass
class _Drawings:
    """Writes annotated pictures, none over another of the same run."""

    directory: Path
    names: dict[str, Path] = field(default_factory=dict)

    def write(self, source: Path, frame: "Frame", seen: "Seen") -> None:
        import cv2

        from appliance.core.files import write_atomically

        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot make the folder {self.directory}: {error.strerror}") from error
        _, content = cv2.imencode(".jpg", seen.draw())
        write_atomically(self.directory / f"{self._stem(source)}-{frame.number:06d}.jpg", content.tobytes())

    def _stem(self, source: Path) -> str:
        stem, at = source.stem, 1
        while self.names.setdefault(stem, source) != source:
            at += 1
            stem = f"{source.stem}~{at}"
        return stem


def _progress(sources: Sequence[Path]) -> AbstractContextManager[Any]:
    """Give a progress bar on standard error when a person looks at it."""
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from appliance.cameras.pictures import SUFFIXES, list_pictures

    # how many frames a clip has is known only at its end
    is_countable = all(source.is_dir() or source.suffix.lower() in SUFFIXES for source in sources)
    total = sum(len(list_pictures(source)) if source.is_dir() else 1 for source in sources) if is_countable else None
    columns = (TextColumn("frames"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # lines and bar share the terminal only when both are on it
    progress = Progress(*columns, console=Console(stderr=True), redirect_stdout=sys.stdout.isatty(), transient=True)
    progress.add_task("frames", total=total)
    return progress
