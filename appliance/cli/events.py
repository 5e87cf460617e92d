"""`edgecam events`: what happened in front of the cameras."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from appliance.cli.client import Daemon

_COLOURS = {"start": "green", "update": "cyan", "end": "bright_black"}


@click.command()
@click.option("--follow", "-f", is_flag=True, help="Wait for more, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--socket", type=click.Path(path_type=Path), help="The daemon's socket.")
def events(*, follow: bool, as_json: bool, socket: Path | None) -> None:
    """Show what happened in front of the cameras: the newest thousand events, oldest first.

    Exit status: 0 all were shown, or the followed daemon has stopped; 69 no daemon answers, or it broke off.
    """
    seen = 0
    for event in Daemon(socket).events(follow=follow):
        seen += 1
        if as_json:
            click.echo(json.dumps(event))
        else:
            click.secho(_line(event), fg=_COLOURS.get(event.get("type", "update")))
    if follow:
        click.echo("edgecam: the daemon has stopped; nothing more will come", err=True)
    elif not seen and not as_json:
        click.echo("Nothing has happened yet. Watch with: edgecam events --follow", err=True)


def _line(event: dict[str, Any]) -> str:
    when = datetime.fromisoformat(event["time"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if "before" in event:  # a classifier's
        shown = f"shows {event['label']} {event['score']:.2f}" if event["label"] else "shows nothing it is sure of"
        before = f"  after {event['lasted']:.1f} s of {event['before']}" if event["before"] else ""
        return f"{when}  {event['camera']:<12} {shown}{before}"
    what = ", ".join(change.replace("_", " ") for change in event["changes"]) or event["type"]
    zones = f"  in {', '.join(event['zones'])}" if event["zones"] else ""
    lasted = f"  after {event['duration']:.1f} s" if event["type"] == "end" else ""
    who = f"{event['camera']:<12} {event['label']:<10} {what:<14} {event['score']:.2f}"
    return f"{when}  {who}{zones}{lasted}  {event['object_id']}"
