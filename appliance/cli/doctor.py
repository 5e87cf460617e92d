"""`edgecam doctor`: looks at everything once, and says what to do."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from appliance import __version__
from appliance.core.checkup import CheckState, Outcome, worst

WARNING, FAILED = 1, 3  # exit statuses, as of `edgecam status`; 2 is click's for a mistake on the command line
_COLOURS: Final = {
    CheckState.OK: "green",
    CheckState.SKIPPED: "bright_black",
    CheckState.WARNING: "yellow",
    CheckState.FAILED: "red",
}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with stable ids.")
@click.option("--config", type=click.Path(path_type=Path), help="Another configuration than the one in place.")
@click.option("--socket", type=click.Path(path_type=Path), help="The daemon's socket.")
def doctor(*, as_json: bool, config: Path | None, socket: Path | None) -> int:
    """Look at unit, configuration, cameras, model, broker, clock, disk, heat, memory and outbox; say what to do.

    Works whether the daemon runs or not. Without root it skips what others may not read, and says so. It changes
    nothing; at the broker it publishes one empty message on edgecam/DEVICE/doctor, unless the daemon is connected.

    Exit status: 0 all is well, 1 there are warnings, 3 something failed; 2 is a mistake on the command line.
    """
    outcomes = look(config, socket)
    state = worst(outcomes)
    if as_json:
        click.echo(json.dumps(as_told(outcomes)))
    else:
        _show(outcomes)
    return {CheckState.WARNING: WARNING, CheckState.FAILED: FAILED}.get(state, 0)


def look(config: Path | None, socket: Path | None) -> list[Outcome]:
    """Look at everything, with a line of progress where a person watches; takes seconds, bounded by the checks' times.

    Args:
        config: The configuration's file; None: the usual place.
        socket: The daemon's socket; None: where the configuration has it.
    """
    from appliance.cli.checks import checks_of, credentials_at_hand
    from appliance.cli.situation import find_situation
    from appliance.diagnostics.doctor.examination import examine

    with progress() as tell:
        tell(["systemd", "the daemon"])
        situation = find_situation(config, socket)
        with credentials_at_hand(situation):
            return examine(checks_of(situation), tell)


def as_told(outcomes: Sequence[Outcome]) -> dict[str, object]:
    """Give outcomes as JSON types: whose they are, the state of all, and each check's."""
    return {"version": __version__, "state": worst(outcomes).value, "checks": [asdict(outcome) for outcome in outcomes]}


def _show(outcomes: Sequence[Outcome]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in ("check", "state"):
        table.add_column(column, no_wrap=True)
    table.add_column("seen, and what to do", overflow="fold")
    for outcome in outcomes:
        colour = _COLOURS[outcome.state]
        said = Text(outcome.seen)
        if outcome.fix:
            said.append(f"\n-> {outcome.fix}")
        table.add_row(Text(outcome.id), Text(outcome.state.value, style=colour), said)
    Console(highlight=False).print(table)
    counts = {state: sum(outcome.state is state for outcome in outcomes) for state in CheckState}
    told = ", ".join(f"{count} {state.value}" for state, count in counts.items() if count)
    click.echo(f"\n{told}")


@contextmanager
def progress() -> Iterator[Callable[[Sequence[str]], None]]:
    """Give what tells for what is waited, on standard error; silent where nobody looks."""
    from rich.console import Console

    with Console(stderr=True).status("looking") as status:
        yield lambda names: status.update(f"looking at {', '.join(names[:4])}{' …' if len(names) > 4 else ''}")  # noqa: PLR2004 - fits a line
