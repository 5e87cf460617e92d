"""The command that trains a model from a recipe; PyTorch is loaded when it runs."""

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic import ValidationError

from appliance.config import ModelSettings
from appliance.core.errors import ConfigError, UnsupportedError
from appliance.workbench.recipe import Recipe, read_recipe

if TYPE_CHECKING:
    from appliance.workbench.training.run import Report

STOPPED = 75  # exit status: not done, go on with --resume; EX_TEMPFAIL of sysexits.h


@click.command()
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with train.json and val.json (COCO) and their tar shards or images/.",
)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="What computes.")
@click.option("--run", "folder", type=click.Path(path_type=Path), help="Folder of the run.  [default: runs/NAME]")
@click.option(
    "--teacher", help="Model to learn from, where the recipe has [distillation]: as [model] use of the device."
)
@click.option(
    "--from",
    "start",
    type=click.Path(exists=True, path_type=Path),
    help="Begin with the weights of the run in this folder, or of this exported .onnx file.",
)
@click.option("--resume", is_flag=True, help="Go on from the run's checkpoint.")
@click.option("--iterations", type=click.IntRange(1), help="So many steps in place of the recipe's.")
@click.option("--until", type=click.IntRange(1), help="Stop after this step, short of the schedule's end.")
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="CPU threads.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object at the end.")
@click.pass_context
def train(
    context: click.Context,
    *,
    recipe: Path,
    data: Path,
    device: str,
    folder: Path | None,
    teacher: str | None,
    start: Path | None,
    resume: bool,
    iterations: int | None,
    until: int | None,
    threads: int,
    as_json: bool,
) -> None:
    """Train the model of RECIPE, a recipe.toml; write it with its manifest into the run's folder.

    With [quantize_aware] in the recipe it then learns to be in 8 bits, in quantize-aware/ of the run's folder.

    A run that is stopped (SIGTERM, Ctrl-C) keeps a checkpoint and ends with status 75.
    """
    chosen = read_recipe(recipe)
    if iterations is not None:
        chosen = chosen.with_iterations(iterations)
    report = _run(
        chosen,
        data=data,
        device=device,
        folder=folder or Path("runs") / chosen.name,
        teacher=None if teacher is None else _settings_of(teacher, threads),
        start=start,
        resume=resume,
        threads=threads,
        until=until,
    )
    if as_json:
        click.echo(json.dumps(report.as_values()))
    else:
        _show(report)
    is_as_told = until is not None and until <= chosen.schedule.iterations and report.step >= until
    if not report.is_done and not is_as_told:
        context.exit(STOPPED)


def _settings_of(teacher: str, threads: int) -> ModelSettings:
    try:
        return ModelSettings(use=teacher, threads=threads)
    except ValidationError as error:
        raise ConfigError(f"--teacher: {error.errors()[0]['msg']}") from error


def _run(recipe: Recipe, **arguments: Any) -> "Report":
    try:
        importlib.import_module("torch")
    except ImportError as error:
        raise UnsupportedError(f"PyTorch is missing ({error}); do: pip install 'edgecam[train]'") from error
    from appliance.workbench.training.run import run

    return run(recipe, **arguments)


def _show(report: "Report") -> None:
    click.echo(
        f"{report.name}: {report.step} of {report.iterations} steps, {report.parameters / 1e6:.2f} M parameters, "
        f"{report.multiply_adds / 1e6:.0f} M multiply-adds"
    )
    if report.curve:
        last = report.curve[-1]
        click.echo(f"loss {last['loss']:.3f} (scores {last['loss_scores']:.3f}, boxes {last['loss_boxes']:.3f})")
    for label, value in report.figures.items():
        click.echo(f"{label:<16} {'-' if value < 0 else f'{value * 100:.1f}'}")
    click.echo(f"model: {report.model}" if report.is_done else "stopped; go on with --resume")
