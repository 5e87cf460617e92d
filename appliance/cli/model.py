"""`edgecam model`: which models can be used, and whether one does here what it should."""

import json
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, get_args

import click

from appliance.cli.configured import load_configured
from appliance.cli.model_add import add_model
from appliance.cli.model_fleet import check_fleet, pin_model, rollback_model, show_history, update_model
from appliance.cli.model_get import get_model
from appliance.core.errors import ConfigError, ModelError
from appliance.core.manifest import MANIFEST_NAME, Precision

if TYPE_CHECKING:
    from pathlib import Path

    from appliance.config import Settings
    from appliance.inference.artifacts import LocatedModel
    from appliance.inference.folders import BrokenModel, FoundModel
    from appliance.inference.golden import GoldenVerdict

_TITLE = 30  # characters


@click.group()
def model() -> None:
    """Show the models that can be used, check one, add or get one; take those of a fleet."""


model.add_command(add_model)
model.add_command(get_model)
for command in (update_model, rollback_model, pin_model, show_history):
    model.add_command(command)


@model.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
@click.pass_context
def list_models(context: click.Context, *, as_json: bool) -> None:
    """Show the known models and whether their weights are here.

    Sizes and labels are those that come with the family; a file may have others.

    Exit status: 0 all are listed; 65 one at least is broken: what is wrong with it is told, with --json as its "error".
    """
    settings = load_configured()
    found, broken = _look(settings)
    models = [_summary(one) for one in found]
    _tell_lost(settings)
    if as_json:
        click.echo(json.dumps(models + [_summary_of_broken(one) for one in broken]))
    else:
        _show_models(models)
    how = "is broken" if as_json else "is broken and not listed"
    for one in broken:
        click.echo(f"edgecam: {one.folder.name} {how}: {one.why}", err=True)
    if broken:
        context.exit(ModelError.exit_code)


def _tell_lost(settings: "Settings") -> None:
    """Tell that the record of a fleet's releases was damaged, while none is in service."""
    from appliance.updates.store import glance, how_to_forget, put_aside

    folder = settings.device.state_dir
    if not settings.fleet.url or not (lost := put_aside(folder)):
        return
    if (now := glance(folder)) is None or now.active is None:
        click.echo(f"the fleet's releases: {lost}; {how_to_forget(folder)}", err=True)


def _show_models(models: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from appliance.cli.plain import plain_console

    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for column in ("model", "input", "labels", "licence", "weights", "what it is"):
        table.add_column(column, no_wrap=True)
    for one in models:
        size = f"{one['width']}x{one['height']}"
        weights = "here" if one["weights"] else "none"
        # as much of the title as a terminal of 80 columns has room for; `show` tells all
        title = textwrap.shorten(one["title"], _TITLE, placeholder="").rstrip(",")
        table.add_row(one["name"], size, str(len(one["labels"])), one["licence"], weights, title)
    plain_console().print(table)
    click.echo(
        "\nWhere there are no weights, export or download a file from the project that"
        "\n`edgecam model show NAME` names, and run it: edgecam run --model FILE.onnx",
        err=True,
    )


@model.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show_model(name: str, *, as_json: bool) -> None:
    """Show all that is known of the model NAME."""
    models, broken = _look(load_configured())
    found = {one.manifest.name: one for one in models}
    if name not in found:
        if why := next((one.why for one in broken if one.folder.name == name), ""):
            raise ModelError(why)
        raise click.BadParameter(
            f"no model is called {name!r}; known: {', '.join(sorted(found)) or 'none'}", param_hint="NAME"
        )
    summary = _summary(found[name])
    if as_json:
        click.echo(json.dumps(summary))
        return
    for key, value in summary.items():
        shown = ", ".join(value) if isinstance(value, list) else value
        if isinstance(value, dict):
            shown = "; ".join(f"{name} ({', '.join(members)})" for name, members in value.items())
        click.echo(f"{key:<16} {shown if shown not in (None, '') else '-'}")


@model.command("check")
@click.argument("name", required=False, metavar="[NAME|FOLDER]")
@click.option("--precision", type=click.Choice(get_args(Precision)), help="Which artifact; else the one in use.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def check_model(context: click.Context, name: str | None, *, precision: Precision | None, as_json: bool) -> None:
    """Run the model NAME on its golden frames: does it find here what it found where it was made?

    Without NAME: have the running daemon look at the fleet now.

    Exit status: 0 it does; 65 it does not, or the model or its golden frames are broken or missing; 78 there is no such
    model, or no weights for it. Of the fleet: 0 it was looked at; 69 the daemon does not answer; 70 it has no fleet.
    """
    if name is None:
        check_fleet(as_json=as_json)
        return
    import cv2

    from appliance.inference.artifacts import locate_model
    from appliance.inference.golden import check_golden
    from appliance.inference.opening import load_model

    settings = load_configured().model.model_copy(update={"use": name})
    located = locate_model(settings, precision)
    if not (located.path.parent / MANIFEST_NAME).is_file():
        raise ConfigError(f"{located.path} is a bare file; golden frames belong to a model: give its name or folder")
    cv2.setNumThreads(settings.threads)
    with load_model(located, threads=settings.threads) as opened:
        verdict = check_golden(opened, located.path.parent)
    if as_json:
        told = {"file": str(located.path), "sha256": located.sha256, "is_passed": verdict.is_passed}
        click.echo(json.dumps(told | asdict(verdict)))
    else:
        _show_verdict(located, verdict)
    if not verdict.is_passed:
        context.exit(ModelError.exit_code)


def _show_verdict(located: "LocatedModel", verdict: "GoldenVerdict") -> None:
    for deviation in verdict.deviations:
        click.echo(str(deviation))
    outcome = "passed" if verdict.is_passed else "NOT passed"
    missing = sum(deviation.what == "missing" for deviation in verdict.deviations)
    unexpected = len(verdict.deviations) - missing
    click.echo(
        f"{located.path.name} {located.sha256[:12]}: {outcome}; in {verdict.frames} golden frames "
        f"{verdict.expected - missing} of {verdict.expected} {verdict.of} found, {unexpected} unexpected, "
        f"at most {max(verdict.total_ms):.1f} ms a frame"
    )


def _look(settings: "Settings") -> "tuple[list[FoundModel], list[BrokenModel]]":
    from appliance.inference.folders import look_for_models

    return look_for_models(settings.model.directories)


def _summary_of_broken(broken: "BrokenModel") -> dict[str, Any]:
    return {"name": broken.folder.name, "folder": str(broken.folder), "error": broken.why}


def _summary(found: "FoundModel") -> dict[str, Any]:
    manifest = found.manifest
    weights: Path | None = found.weights
    return {
        "name": manifest.name,
        "version": manifest.version,
        "title": manifest.title,
        "task": manifest.task,
        "width": manifest.input.width,
        "height": manifest.input.height,
        "decoder": manifest.decoder.kind if manifest.task == "detect" else None,
        "min_score": manifest.min_score,
        "licence": manifest.licence,
        **{f"source_{key}": value for key, value in manifest.source.model_dump().items()},
        "folder": str(found.folder),
        "weights": str(weights) if weights else None,
        "sha256": found.artifact.sha256 if found.artifact else None,
        "labels": list(manifest.labels),
        "groups": {name: list(members) for name, members in manifest.vocabulary.groups.items()},
    }
