"""One run of a recipe: folder, signals, progress, checkpoints, the exported model and its report."""

import contextlib
import json
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any, Final, cast

import click
import cv2
import torch
from torch import nn

from appliance.config import ModelSettings
from appliance.core.errors import ConfigError, UnsupportedError
from appliance.core.files import make_folder, write_atomically
from appliance.core.manifest import MANIFEST_NAME
from appliance.workbench.ranges import write_ranges
from appliance.workbench.recipe import QuantizeAwareRecipe, Recipe
from appliance.workbench.training.aware import QuantizeAware
from appliance.workbench.training.checkpoints import (
    CHECKPOINT_NAME,
    Checkpoint,
    digest_weights,
    read_checkpoint,
    write_checkpoint,
)
from appliance.workbench.training.corpus import Corpus, read_corpus
from appliance.workbench.training.export import export, fp32_name, to_manifest
from appliance.workbench.training.lessons import Lessons
from appliance.workbench.training.loop import Training, Watch
from appliance.workbench.training.network import Network, count
from appliance.workbench.training.teacher import learn_from
from appliance.workbench.training.validation import Validation

AWARE_FOLDER: Final = "quantize-aware"  # in the run's: what comes of learning to be in 8 bits


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
            After learning to be in 8 bits also int8_ap and int8_ap50, with all nodes in 8 bits.
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
    """Train, or go on training; then let the network learn to be in 8 bits, where the recipe says so.

    Args:
        recipe: What to do.
        data: Folder of the corpus.
        device: ``cpu`` or ``cuda``.
        folder: Of the run; made if it is not there.
        resume: Go on from the folder's checkpoint.
        threads: CPU threads.
        teacher: The detector that the recipe learns from.
        start: Folder of a run, or exported file, of the same network, with whose weights this one begins.
        until: Stop after this step, or at once when it was taken, as if told to; one of learning to be in 8 bits cannot
            be named.

    Raises:
        ConfigError: The corpus, the teacher or the checkpoint cannot be used, or there is a run already and `resume`
            was not asked.
        UnsupportedError: There is no such device, or pycocotools or onnx is missing.
        StorageError: The folder cannot be written to.
        ModelError: The loss is no number any more.
    """
    _check(recipe, device)
    _prepare(folder, resume=resume)
    _check_teacher(teacher, recipe)
    plain = recipe.without_quantization()
    kept = read_checkpoint(folder, plain.digest()) if resume else None
    cv2.setNumThreads(threads)
    torch.set_num_threads(threads)
    stop = threading.Event()
    with stopped_by_signals(stop):
        _say(f"reading {data}")
        validation = Validation(data, folder / "val", recipe.labels)
        corpus = read_corpus(data, recipe.data, recipe.labels).to(torch.device(device))
        lessons = _learn_from(teacher, recipe, data, folder, pictures=len(corpus), stop=stop)
        means = _Means(corpus, lessons, validation, threads, stop)
        training = Training(plain, corpus, compiled=device == "cuda", lessons=lessons)
        _begin(training, start, kept)
        report = _learn(plain, training, means, folder, until)
        if not report.is_done or recipe.quantize_aware is None:
            return report
        if stop.is_set():
            return replace(report, is_done=False)
        trained = cast("Network", training.average)
        return _learn_8_bits(plain, recipe.quantize_aware, trained, means, folder / AWARE_FOLDER)


@dataclass(frozen=True, slots=True)
class _Means:
    """What all parts of a run have in common."""

    corpus: Corpus
    lessons: Lessons | None
    validation: Validation
    threads: int
    stop: threading.Event


def _check(recipe: Recipe, device: str) -> None:
    if recipe.quantize_aware is not None and find_spec("onnx") is None:
        raise UnsupportedError("[quantize_aware] needs onnx; do: pip install 'edgecam[train]'")
    if device == "cuda" and not torch.cuda.is_available():
        raise UnsupportedError("PyTorch finds no CUDA device here; use --device cpu")


def _begin(training: Training, start: Path | None, kept: Checkpoint | None) -> None:
    """Restore what was kept; else begin with the weights of `start`, if any."""
    if kept is not None:
        training.restore(kept)
        _say(f"going on after step {training.step}")
    elif start is not None:
        _say(f"beginning with {start}")
        if left := training.start_from(start):
            _say(f"other labels: {', '.join(left)} begin anew")


def _learn(recipe: Recipe, training: Training, means: _Means, folder: Path, until: int | None) -> Report:
    def evaluate(network: nn.Module, step: int) -> dict[str, float]:
        trained = cast("Network", network)
        return export_and_measure(trained, step, recipe, folder, validation=means.validation, threads=means.threads)

    is_done = _take_steps(recipe, training, folder, evaluate, stop=means.stop, until=until)
    return _report(recipe, training, means.corpus, folder, is_done=is_done)


def _learn_8_bits(recipe: Recipe, aware: QuantizeAwareRecipe, trained: Network, means: _Means, folder: Path) -> Report:
    """Let a trained network learn to be in 8 bits, or go on with that; the checkpoint in `folder` tells."""
    make_folder(folder)
    recipe = recipe.for_quantization(aware)
    begun_with = digest_weights(trained.state_dict())
    network = QuantizeAware(trained, observe=round(aware.iterations * aware.observe), smoothing=aware.smoothing)
    training = Training(recipe, means.corpus, network=network, lessons=means.lessons, begun_with=begun_with)
    if (folder / CHECKPOINT_NAME).exists():
        kept = read_checkpoint(folder, recipe.digest())
        if kept.begun_with != begun_with:
            raise ConfigError(
                f"{folder / CHECKPOINT_NAME} belongs to another network than was trained here; move {folder} away, "
                "then --resume begins with learning to be in 8 bits"
            )
        training.restore(kept)
    _say(f"learning to be in 8 bits: {training.step} of {aware.iterations} steps are done")
    validation, threads = means.validation, means.threads

    def evaluate(average: nn.Module, step: int) -> dict[str, float]:
        learned = cast("QuantizeAware", average)
        figures = export_and_measure(learned.network, step, recipe, folder, validation=validation, threads=threads)
        model = folder / recipe.name / fp32_name(recipe)
        write_ranges(model, learned.ranges())
        return figures | _evaluate_in_8_bits(model, learned.ranges(), recipe, validation=validation, threads=threads)

    is_done = _take_steps(recipe, training, folder, evaluate, stop=means.stop)
    return _report(recipe, training, means.corpus, folder, is_done=is_done)


def _take_steps(
    recipe: Recipe,
    training: Training,
    folder: Path,
    evaluate: Callable[[nn.Module, int], dict[str, float]],
    *,
    stop: threading.Event,
    until: int | None = None,
) -> bool:
    """Take the steps that are left, until there are none or `stop` is set; give whether there are none."""

    def look_at(done: int) -> None:
        if until is not None and done >= until:
            stop.set()

    look_at(training.step)
    with show_steps(recipe, training.step) as progress:

        def step(done: int) -> None:
            progress(done)
            look_at(done)

        watch = Watch(
            step=step,
            point=lambda point: tell(folder, training.curve, point),
            checkpoint=lambda checkpoint: write_checkpoint(folder, checkpoint),
            evaluate=evaluate,
        )
        is_done = training.run(watch, stop)
    if not (folder / CHECKPOINT_NAME).exists():  # stopped before the first step: --resume goes on all the same
        write_checkpoint(folder, training.checkpoint())
    return is_done


def _check_teacher(teacher: ModelSettings | None, recipe: Recipe) -> None:
    if (recipe.distillation is None) != (teacher is None):
        lacking = "the recipe has no [distillation]" if teacher else "give the recipe's teacher"
        raise ConfigError(f"--teacher and [distillation] of the recipe belong together: {lacking}")


def _learn_from(
    teacher: ModelSettings | None, recipe: Recipe, data: Path, folder: Path, *, pictures: int, stop: threading.Event
) -> Lessons | None:
    if recipe.distillation is None or teacher is None:
        return None
    _say(f"teacher {teacher.use}")
    return learn_from(
        teacher,
        data,
        recipe=recipe.data,
        distillation=recipe.distillation,
        labels=recipe.labels,
        folder=folder,
        pictures=pictures,
        stop=stop,
    )


def _prepare(folder: Path, *, resume: bool) -> None:
    if not resume and (folder / CHECKPOINT_NAME).exists():
        raise ConfigError(f"{folder} holds a run already; go on with --resume, or give another --run")
    make_folder(folder)


def export_and_measure(
    network: Network, step: int, recipe: Recipe, folder: Path, *, validation: Validation, threads: int
) -> dict[str, float]:
    """Export a network into a run's folder, and give its figures there: as `Report.figures`, rounded."""
    model = export(network, recipe, folder, {"step": str(step), "recipe": recipe.digest()})
    accuracy = validation.measure(model, threads=threads)
    figures = {name: round(value, 4) for name, value in accuracy.figures.items()}
    figures |= {label: round(one.ap50, 4) for label, one in accuracy.labels.items()}
    return figures


def _evaluate_in_8_bits(
    model: Path, ranges: Mapping[str, tuple[float, float]], recipe: Recipe, *, validation: Validation, threads: int
) -> dict[str, float]:
    """Measure an exported file with all that can be in 8 bits in 8 bits; the 8-bit file itself is not kept."""
    from appliance.workbench.quantizer import Quantizer  # ONNX is loaded only where something is quantized

    quantizer = Quantizer(model.read_bytes(), str(model))
    quantizer.take_ranges(ranges)
    content = quantizer.variant()
    with tempfile.TemporaryDirectory(prefix="edgecam-aware-") as place:
        folder = Path(place) / recipe.name
        folder.mkdir()
        write_atomically(folder / model.name, content)
        write_atomically(folder / MANIFEST_NAME, to_manifest(recipe, model.name, content).encode())
        accuracy = validation.measure(folder, threads=threads)
    return {f"int8_{name}": round(accuracy.figures[name], 4) for name in ("ap", "ap50")}


def tell(folder: Path, curve: list[dict[str, Any]], point: dict[str, Any]) -> None:
    """Write the curve into a run's folder, and its newest point to standard error."""
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
def stopped_by_signals(stop: threading.Event) -> Iterator[None]:
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
def show_steps(recipe: Recipe, done: int) -> Iterator[Any]:
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
