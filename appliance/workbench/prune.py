"""The command that makes a trained model smaller and writes the smallest that is still good enough."""

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.core.command import NumberRange
from appliance.core.errors import ModelError, UnsupportedError
from appliance.workbench.evaluate import percent
from appliance.workbench.recipe import Recipe, read_recipe
from appliance.workbench.table import markdown
from appliance.workbench.train import STOPPED

if TYPE_CHECKING:
    from appliance.workbench.training.prune_run import Report

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--data",
    required=True,
    type=_FOLDER,
    help="Folder with train.json and val.json (COCO) and their tar shards or images/.",
)
@click.option("--from", "trained", required=True, type=_FOLDER, help="Folder of the run that trained RECIPE.")
@click.option("--max-drop", type=NumberRange(0.0, 100.0), help="AP that may be lost.  [default: the recipe's]")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="What computes.")
@click.option(
    "--run", "folder", type=click.Path(path_type=Path), help="Folder of the run.  [default: runs/NAME-pruned]"
)
@click.option("--resume", is_flag=True, help="Go on with what the run's folder holds.")
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="CPU threads.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object at the end.")
@click.pass_context
def prune(
    context: click.Context,
    /,
    *,
    recipe: Path,
    trained: Path,
    max_drop: float | None,
    folder: Path | None,
    as_json: bool,
    **choices: Any,
) -> None:
    """Prune the trained model of RECIPE, a recipe.toml with [prune]; write the smallest that is good enough, or none.

    Channels go, in several shares; what is left learns on and is measured. A run that is stopped (SIGTERM, Ctrl-C)
    ends with status 75 and goes on with --resume.
    """
    chosen = read_recipe(recipe)
    report = _run(
        chosen, trained=trained, max_drop=max_drop, folder=folder or Path("runs") / f"{chosen.name}-pruned", **choices
    )
    if as_json:
        click.echo(json.dumps(report.as_values()))
    else:
        _show(report)
    if not report.is_done:
        context.exit(STOPPED)
    if report.chosen is None:
        raise _refusal(report)


def _run(recipe: Recipe, *, max_drop: float | None, **arguments: Any) -> "Report":
    try:
        importlib.import_module("torch")
    except ImportError as error:
        raise UnsupportedError(f"PyTorch is missing ({error}); do: pip install 'edgecam[train]'") from error
    from appliance.workbench.training.prune_run import prune_network
    from appliance.workbench.training.pruning import Order

    if max_drop is None:
        max_drop = recipe.prune.max_drop if recipe.prune is not None else 0.0
    return prune_network(Order(recipe=recipe, max_drop=max_drop / 100, **arguments))


def _show(report: "Report") -> None:
    if not report.is_done:
        click.echo("stopped; go on with --resume")
        return
    rows = [
        (
            point.name + (" *" if at == report.chosen else ""),
            f"{point.multiply_adds / 1e6:.1f}",
            f"{point.parameters / 1e6:.3f}",
            str(point.size),
            percent(point.ap),
            percent(point.ap50),
            f"{point.cpu_ms:.2f}",
            f"{point.ratio:.2f}",
        )
        for at, point in enumerate(report.points)
    ]
    columns = ("network", "M multiply-adds", "M parameters", "bytes", "AP", "AP50", "CPU ms", "of as trained")
    click.echo(markdown(columns, rows))
    click.echo(f"\ncurve: {report.chart}")
    if report.model is not None:
        click.echo(f"* smallest within {report.max_drop * 100:g} AP; model: {report.model}")


def _refusal(report: "Report") -> ModelError:
    best = max((point for point in report.points if point.share), key=lambda point: point.ap)
    reference = (report.reference or 0.0) * 100
    return ModelError(
        f"{report.name} cannot be pruned within {report.max_drop * 100:g} AP: whole it has AP {reference:.1f}, the "
        f"best pruned one, {best.name}, {best.ap * 100:.1f}; no model was written, and none of an earlier choice is "
        "left in its place. Try smaller prune.shares, a larger --max-drop, both with --resume, or more "
        "prune.iterations in another --run"
    )
