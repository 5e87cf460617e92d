"""One run of a recipe: folder, signals, progress, checkpoints, the exported model and its report."""

import contextlib
import json
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import click
import cv2
import torch

from appliance.config import ModelSettings
from appliance.core.errors import ConfigError, StorageError, UnsupportedError
from appliance.core.files import write_atomically
from appliance.workbench.recipe import Recipe
from appliance.workbench.training.checkpoints import (
    CHECKPOINT_NAME,
    read_checkpoint,
    write_checkpoint,
)
from appliance.workbench.training.corpus import Corpus, read_corpus
from appliance.workbench.training.export import export
from appliance.workbench.training.lessons import Lessons
from appliance.workbench.training.loop import Training, Watch
from appliance.workbench.training.network import Network, count
from appliance.workbench.training.teacher import learn_from
from appliance.workbench.training.validation import Validation


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a run.

    Attributes:
        name: Of the model.
        is_done: All steps were taken.
        step: Steps done, in this run and those that it went on from.
        iterations: Steps of the schedule.
        parameters: Of the network.
        multiply_adds: Of its convolutions, for one picture of the recipe's size.
        pictures: That were learned from.
        curve: See `Training.curve`.
        figures: Of the last evaluation: those of `evaluate`, and AP50 of each label; 0..1, -1 where there is nothing.
        model: Folder of the exported model, once all steps are taken.
    """

    name: str
    is_done: bool
    step: int
    iterations: int
    parameters: int
    multiply_adds: int
    pictures: int
    curve: list[dict[str, Any]]
    figures: dict[str, float]
    model: str | None

    def as_values(self) -> dict[str, Any]:
        """Give plain values, as for JSON."""
        return asdict(self)


def run(
    recipe: Recipe,
    *,
    data: Path,
    device: str,
    folder: Path,
    resume: bool,
    threads: int,
    teacher: ModelSettings | None = None,
    start: Path | None = None,
    until: int | None = None,
) -> Report:
    """Train, or go on training.

    Args:
        recipe: What to do.
        data: Folder of the corpus.
        device: ``cpu`` or ``cuda``.
        folder: Of the run; made if it is not there.
        resume: Go on from the folder's checkpoint.
        threads: CPU threads.
        teacher: The detector that the recipe learns from.
        start: Folder of a run, or exported file, of the same network, with whose weights this one begins.
        until: Stop after this step, as if told to.

    Raises:
        ConfigError: The corpus, the teacher or the checkpoint cannot be used, or there is a run already and `resume`
            was not asked.
        UnsupportedError: There is no such device, or pycocotools is missing.
        StorageError: The folder cannot be written to.
        ModelError: The loss is no number any more.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UnsupportedError("PyTorch finds no CUDA device here; use --device cpu")
    _prepare(folder, resume=resume)
    cv2.setNumThreads(threads)
    torch.set_num_threads(threads)
    validation = Validation(data, folder / "val", recipe.labels)
    _say(f"reading {data}")
    corpus = read_corpus(data, recipe.data, recipe.labels).to(torch.device(device))
    lessons = _learn_from(teacher, recipe, data, folder)
    training = Training(recipe, corpus, compiled=device == "cuda", lessons=lessons)
    if start and not resume:
        _say(f"beginning with {start}")
        if left := training.start_from(start):
            _say(f"other labels: {', '.join(left)} begin anew")
    if resume:
        training.restore(read_checkpoint(folder, recipe.digest()))
        _say(f"going on after step {training.step}")
    stop = threading.Event()
    with _stopped_by_signals(stop), _progress(recipe, training.step) as progress:

        def step(done: int) -> None:
            progress(done)
            if done == until:
                stop.set()

        watch = Watch(
            step=step,
            point=lambda point: _tell(folder, training.curve, point),
            checkpoint=lambda checkpoint: write_checkpoint(folder, checkpoint),
            evaluate=lambda network, step: _evaluate(
                network, step, recipe, folder, validation=validation, threads=threads
            ),
        )
        is_done = training.run(watch, stop)
    return _report(recipe, training, corpus, folder, is_done=is_done)


def _learn_from(teacher: ModelSettings | None, recipe: Recipe, data: Path, folder: Path) -> Lessons | None:
    if recipe.distillation is None and teacher is None:
        return None
    if recipe.distillation is None or teacher is None:
        lacking = "the recipe has no [distillation]" if teacher else "give the recipe's teacher"
        raise ConfigError(f"--teacher and [distillation] of the recipe belong together: {lacking}")
    _say(f"teacher {teacher.use}")
    return learn_from(
        teacher, data, recipe=recipe.data, distillation=recipe.distillation, labels=recipe.labels, folder=folder
    )


def _prepare(folder: Path, *, resume: bool) -> None:
    if not resume and (folder / CHECKPOINT_NAME).exists():
        raise ConfigError(f"{folder} holds a run already; go on with --resume, or give another --run")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make {folder}: {error.strerror}") from error


def _evaluate(
    network: Network, step: int, recipe: Recipe, folder: Path, *, validation: Validation, threads: int
) -> dict[str, float]:
    model = export(network, recipe, folder, {"step": str(step), "recipe": recipe.digest()})
    accuracy = validation.measure(model, threads=threads)
    figures = {name: round(value, 4) for name, value in accuracy.figures.items()}
    figures |= {label: round(one.ap50, 4) for label, one in accuracy.labels.items()}
    return figures


def _tell(folder: Path, curve: list[dict[str, Any]], point: dict[str, Any]) -> None:
    write_atomically(folder / "curve.json", (json.dumps(curve, indent=1) + "\n").encode())
    told = f"step {point['step']}: loss {point['loss']:.4f}, {point['pictures_a_second']:g} pictures/s"
    if figures := point.get("figures"):
        told += f", AP {figures['ap'] * 100:.1f}, AP50 {figures['ap50'] * 100:.1f}"
    _say(told)


def _report(recipe: Recipe, training: Training, corpus: Corpus, folder: Path, *, is_done: bool) -> Report:
    parameters, steps = count(training.average, recipe.size)
    figures: dict[str, float] = next((point["figures"] for point in reversed(training.curve) if "figures" in point), {})
    report = Report(
        name=recipe.name,
        is_done=is_done,
        step=training.step,
        iterations=recipe.schedule.iterations,
        parameters=parameters,
        multiply_adds=steps,
        pictures=len(corpus),
        curve=training.curve,
        figures=figures,
        model=str(folder / recipe.name) if is_done else None,
    )
    write_atomically(folder / "report.json", (json.dumps(report.as_values(), indent=1) + "\n").encode())
    return report


@contextlib.contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Let SIGTERM and SIGINT end the run after its present step."""

    def ask(_: int, __: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _progress(recipe: Recipe, done: int) -> Iterator[Any]:
    """Show a bar on standard error when a person looks at it; give what is told each step."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("steps", total=recipe.schedule.iterations, completed=done)
        yield lambda step: bar.update(task, completed=step)


def _say(text: str) -> None:
    click.echo(text, err=True)
