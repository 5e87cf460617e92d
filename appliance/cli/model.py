"""`edgecam model`: which models can be used."""

import json
from typing import TYPE_CHECKING, Any

import click

from appliance.cli.configured import load_configured

if TYPE_CHECKING:
    from pathlib import Path


@click.group()
def model() -> None:
    """Show the models that can be used."""


@model.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
def list_models(*, as_json: bool) -> None:
    """Show the known models and whether their weights are here.

    Sizes and labels are those that come with the family; a file may have others.
    """
    models = [_summary(found) for found in _find()]
    if as_json:
        click.echo(json.dumps(models))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for column in ("model", "input", "labels", "licence", "weights", "what it is"):
        table.add_column(column, no_wrap=True)
    for one in models:
        size = f"{one['width']}x{one['height']}"
        weights = "here" if one["weights"] else "none"
        table.add_row(one["name"], size, str(len(one["labels"])), one["licence"], weights, one["title"])
    Console().print(table)
    click.echo(
        "\nWhere there are no weights, export or download an .onnx file from the project that"
        "\n`edgecam model show NAME` names, and run it: edgecam run --model FILE.onnx",
        err=True,
    )


@model.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show_model(name: str, *, as_json: bool) -> None:
    """Show all that is known of the model NAME."""
    found = {one.manifest.name: one for one in _find()}
    if name not in found:
        raise click.BadParameter(
            f"no model is called {name!r}; known: {', '.join(sorted(found)) or 'none'}", param_hint="NAME"
        )
    summary = _summary(found[name])
    if as_json:
        click.echo(json.dumps(summary))
        return
    for key, value in summary.items():
        shown = ", ".join(value) if isinstance(value, list) else value
        click.echo(f"{key:<16} {shown if shown not in (None, '') else '-'}")


def _find() -> Any:
    from appliance.inference.artifacts import find_models

    return find_models(load_configured().model.directories)


def _summary(found: Any) -> dict[str, Any]:
    manifest = found.manifest
    weights: Path | None = found.weights
    return {
        "name": manifest.name,
        "version": manifest.version,
        "title": manifest.title,
        "task": manifest.task,
        "width": manifest.input.width,
        "height": manifest.input.height,
        "decoder": manifest.decoder.kind,
        "min_score": manifest.decoder.min_score,
        "licence": manifest.licence,
        **{f"source_{key}": value for key, value in manifest.source.model_dump().items()},
        "folder": str(found.folder),
        "weights": str(weights) if weights else None,
        "sha256": found.artifact.sha256 if found.artifact else None,
        "labels": list(manifest.labels),
    }
