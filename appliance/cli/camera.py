"""`edgecam camera`: which cameras are there."""

import json
from dataclasses import asdict

import click


@click.group()
def camera() -> None:
    """Show the cameras that are attached."""


@camera.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
def list_cameras(*, as_json: bool) -> None:
    """Show what is attached and what can be opened, as --camera takes it."""
    from appliance.cameras.discover import find_cameras

    found = find_cameras()
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found]))
        return
    from rich.table import Table

    from appliance.cli.plain import plain_console

    table = Table(box=None, pad_edge=False)
    for column in ("camera", "kind", "what it is", "usable"):
        table.add_column(column)
    for one in found:
        table.add_row(one.address, one.kind, one.title, "yes" if one.is_usable else f"no: {one.why}")
    plain_console().print(table)
    click.echo("\nTry one: edgecam run --camera CAMERA --broker none", err=True)
