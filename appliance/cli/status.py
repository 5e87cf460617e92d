"""`edgecam status`: the running daemon on one screen."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.cli.client import Daemon

if TYPE_CHECKING:
    from rich.table import Table

FAILED = 3  # exit status; 2 is click's for a mistake on the command line
_STYLES = {
    "ok": "green",
    "online": "green",
    "degraded": "yellow",
    "stalled": "yellow",
    "failed": "red",
    "offline": "red",
}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--socket", type=click.Path(path_type=Path), help="The daemon's socket.")
def status(*, as_json: bool, socket: Path | None) -> int:
    """Show cameras, rates, latency, model, broker, outbox, clock and temperature: what is wrong and what to do.

    Exit status: 0 all is well, 1 degraded, 3 failed, 69 no daemon answers; 2 is a mistake on the command line.
    """
    state = Daemon(socket).status()
    if as_json:
        click.echo(json.dumps(state))
    else:
        _show(state)
    return {"ok": 0, "degraded": 1}.get(state["state"], FAILED)


def _show(state: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    colour = _STYLES.get(state["state"], "white")
    uptime = _lasting(state["uptime_s"])
    console.print(
        f"[bold]{state['device']}[/]  edgecam {state['version']}  up {uptime}  [{colour}]{state['state']}[/]\n"
    )
    console.print(_cameras(state["cameras"]))
    console.print()
    console.print(_facts(state))
    for finding in state["findings"]:
        if finding["state"] == "ok":
            continue
        console.print(
            f"\n[{_STYLES[finding['state']]}]{finding['component']}[/] for {_lasting(finding['for_s'])}: ", end=""
        )
        console.print(finding["what"], markup=False)
        if finding["fix"]:
            console.print(f"  -> {finding['fix']}", markup=False)


def _cameras(cameras: dict[str, Any]) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    sees = "objects" if all("objects" in camera for camera in cameras.values()) else "sees"
    for column in ("camera", "state", "fps", "size", sees, "inference p50/p95", "latency p50/p95", "dropped"):
        table.add_column(column)
    for name, camera in cameras.items():
        colour = _STYLES.get(camera["state"], "white")
        table.add_row(
            name,
            f"[{colour}]{camera['state']}[/]",
            f"{camera['fps']:.1f}",
            f"{camera['width']}x{camera['height']}",
            _sight(camera),
            "{p50:.1f} / {p95:.1f} ms".format(**camera["inference_ms"]),
            "{p50:.0f} / {p95:.0f} ms".format(**camera["latency_ms"]),
            str(camera["frames_dropped"]),
        )
    return table


def _sight(camera: dict[str, Any]) -> str:
    """Give what a camera's model sees in a few words, whatever its task; as markup."""
    from rich.markup import escape

    if not camera["looking"]:
        return "not looking"
    if "objects" in camera:
        return str(camera["objects"])
    if "label" in camera:
        return f"{escape(camera['label'])} {camera['score']:.2f}" if camera["label"] else "nothing sure"
    largest = list(camera["shares"].items())[:3]
    return ", ".join(f"{escape(label)} {share:.0%}" for label, share in largest if share) or "nothing"


def _facts(state: dict[str, Any]) -> "Table":
    from rich.markup import escape
    from rich.table import Table

    model, machine, clock = state["model"], state["machine"], state["clock"]
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("model", f"{model['name']} {model['version']}  {model['digest'][:12]}")
    table.add_row("runs on", _placements(model))
    for one in model["refused"]:
        if one["is_expected"]:  # what is not is among the findings
            table.add_row("passed over", escape(f"{one['file']}  {one['why']}"))
        elif "retry_in_s" in one:
            times = "once" if one["failures"] == 1 else f"{one['failures']} times"
            table.add_row("tried again", escape(f"{one['file']}  in {_lasting(one['retry_in_s'])}, failed {times}"))
    if state["tuning"]["state"] != "none":
        table.add_row("tuned", escape(_tuning(state["tuning"])))
    table.add_row("broker", _broker(state["messaging"]))
    if state["messaging"]["broker"] != "none":
        table.add_row("outbox", _outbox(state["messaging"]))
    table.add_row("clock", f"{clock['quality']}  {clock['time'][:19]}Z")
    temperature = machine["temperature_c"]
    slowed = ", ".join(machine["throttled"] or ())
    table.add_row(
        "machine",
        f"{'' if temperature is None else f'{temperature:.0f} °C  '}"
        f"memory {machine['memory_mb']:.0f} MB  disk free {machine['disk_free_mb']:.0f} MB  load {machine['load']:.1f}"
        f"{'  ' + slowed if slowed else ''}",
    )
    return table


def _placements(model: dict[str, Any]) -> str:
    parts = (
        one["name"] if one["nodes"] is None else f"{one['name']} ({one['nodes']} nodes)" for one in model["providers"]
    )
    if not model["in_service"]:
        return f"[red]nothing[/]; last {model['file']}"
    apart = ", in a process of its own" if model["isolated"] else ""
    return f"{', '.join(parts)}  {model['file']}{apart}"


def _tuning(tuning: dict[str, Any]) -> str:
    if tuning["state"] not in {"used", "overridden"}:
        return f"{tuning['state']}: {tuning['why']}"
    latency, made = tuning["figures"]["latency_ms"], tuning["made"][:10]
    measured = f"by {tuning['objective']}: {latency:.1f} ms a frame, measured {made}"
    return f"{measured}; {tuning['why']}" if tuning["why"] else measured


def _broker(figures: dict[str, Any]) -> str:
    if figures["broker"] == "none":
        return f"none: messages stay here ({figures['published']} published)"
    link = f"[green]connected[/] ({figures['protocol']})" if figures["connected"] else "[yellow]not connected[/]"
    return f"{figures['broker']}  {link}"


def _outbox(figures: dict[str, Any]) -> str:
    oldest = f", oldest {_lasting(figures['oldest_age_s'])}" if figures["rows"] else ""
    return (
        f"{figures['rows']} waiting ({figures['bytes'] / 1e6:.1f} MB{oldest})"
        f"  {figures['acknowledged']} delivered  {figures['evicted']} evicted"
    )


def _lasting(seconds: float) -> str:
    """Give a duration as ``3 d 4 h``, ``12 min`` or ``5 s``."""
    for unit, name, smaller, smaller_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if seconds >= unit:
            return f"{int(seconds // unit)} {name} {int(seconds % unit // smaller)} {smaller_name}"
    return f"{int(seconds // 60)} min" if seconds >= 60 else f"{int(seconds)} s"  # noqa: PLR2004 - seconds in a minute
