"""`edgecam logs`: what the service wrote to the journal."""

import os
import re
import subprocess
from typing import Final

import click

from appliance.core.errors import UnavailableError
from appliance.diagnostics.journal import LEVELS, MOST_LINE_BYTES, journal_command, parse_entry

NEWEST: Final = 200  # lines that are shown where nothing else is asked for
_COLOURS: Final = {3: "red", 4: "yellow", 5: "yellow"}
_SPAN: Final = re.compile(r"\s*\d+\s*[a-zA-Z]+\s*")


@click.command()
@click.option("--follow", "-f", is_flag=True, help="Wait for more, until Ctrl-C.")
@click.option("--since", help='From when on: "10min", "2h", "2026-11-22 20:00", "yesterday".')
@click.option("--level", type=click.Choice(list(LEVELS)), default="debug", help="Only from this one on.")
@click.option("--lines", "-n", type=click.IntRange(1, 100_000), help=f"How many; else {NEWEST}, with --since all.")
def logs(*, follow: bool, since: str | None, level: str, lines: int | None) -> None:
    """Show what the service wrote to the journal, oldest first, systemd's own words about it included.

    Exit status: 0 it was shown; 69 there is no journal here, or it cannot be read.
    """
    shown = _show(journal_command(lines=_lines(lines, since), since=_since(since), level=level, is_followed=follow))
    if not shown:
        _explain_nothing()


def _show(command: list[str]) -> int:
    """Show what a journalctl gives, and tell how many entries that were."""
    shown = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as journal:  # noqa: S603 - ours
        try:
            while journal.stdout is not None and (line := journal.stdout.readline(MOST_LINE_BYTES)):
                if (entry := parse_entry(line)) is not None:
                    shown += 1
                    click.secho(str(entry), fg=_COLOURS.get(max(entry.priority, 3)))
            complaint = journal.stderr.read(2000) if journal.stderr is not None else b""
        except BaseException:
            journal.terminate()
            raise
    if journal.returncode != 0:
        raise UnavailableError(f"journalctl: {_last(complaint)}")
    return shown


def _explain_nothing() -> None:
    if os.geteuid() != 0:
        click.echo("edgecam: nothing, or nothing that this user may read; sudo edgecam logs shows all", err=True)
    else:
        click.echo("edgecam: nothing was written; systemctl status edgecam tells whether it ever ran", err=True)


def _lines(given: int | None, since: str | None) -> int | None:
    """Give how many of the newest are asked for; None: all."""
    return NEWEST if given is None and since is None else given


def _since(given: str | None) -> str | None:
    """Take a span of time, such as ``10min``, as one that has just passed."""
    return f"{given.strip()} ago" if given is not None and _SPAN.fullmatch(given) else given


def _last(complaint: bytes) -> str:
    lines = complaint.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it failed"
