"""`edgecam config`: check, show or print the configuration."""

import json
from pathlib import Path

import click

from appliance.cli.configured import is_there_or_hidden
from appliance.config import DEFAULT_PATH, Settings, check_labels, load_settings
from appliance.core.errors import ConfigError, ModelError

_FILE = click.argument("file", type=click.Path(path_type=Path), required=False)


@click.group()
def config() -> None:
    """Check, show or print the configuration."""


@config.command()
@_FILE
def check(file: Path | None) -> None:
    """Check FILE (/etc/edgecam/edgecam.toml when none is named); tell all that is not accepted at once.

    Labels are checked too where the model's manifest is here; where not, it says so. Those of a bare file are known
    once it runs.

    Exit status: 0 it is good, 78 it is not.
    """
    path = file or DEFAULT_PATH
    settings = load_settings(path)
    labels = _check_labels(settings)
    cameras = ", ".join(f"{name} ({camera.kind})" for name, camera in settings.cameras.items())
    click.echo(f"{path} is good")
    click.echo(f"  cameras  {cameras or 'none'}")
    click.echo(f"  model    {settings.model.use}")
    click.echo(f"  labels   {labels}")
    click.echo(f"  broker   {settings.messaging.broker}")


@config.command()
@_FILE
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show(file: Path | None, *, as_json: bool) -> None:
    """Show what is in effect with FILE: its settings and the defaults of all others; of secrets where they are kept."""
    from appliance.config.toml import format_document

    path = file or DEFAULT_PATH
    is_there = file is not None or is_there_or_hidden(path)
    settings = load_settings(path) if is_there else Settings()
    if not is_there:
        click.echo(f"{path} is not there; these are the defaults", err=True)
    values = settings.model_dump(mode="json")
    click.echo(json.dumps(values) if as_json else "\n".join(format_document(values)).rstrip("\n"))


@config.command("default")
def print_default() -> None:
    """Print a configuration with every setting, its default, limits and meaning, to start from."""
    from appliance.cli.reference import default_toml

    click.echo(default_toml(), nl=False)


def _check_labels(settings: Settings) -> str:
    """Check the labels as the daemon will, and tell with which model; or tell why they cannot be checked here."""
    from appliance.inference.artifacts import manifest_named

    try:
        manifest = manifest_named(settings.model)
    except (ConfigError, ModelError) as error:
        return f"NOT CHECKED: {'; '.join(line.strip() for line in str(error).splitlines())}"
    if manifest is None:
        return "not checked: those of a bare file are known once it runs"
    check_labels(settings, manifest.vocabulary)
    return f"known to {manifest.name} {manifest.version}"
