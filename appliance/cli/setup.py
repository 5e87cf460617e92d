"""`edgecam setup`: says what this device is to be: by a file, by questions, or at a boot by the file on the card."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance.core.command import answered
from appliance.core.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from appliance.provisioning import Asked, Outcome, Places, Provisioner, Report

NOT_DONE = 1  # exit status
_VERDICTS = {"done": 0, "not done": NOT_DONE, "refused": ConfigError.exit_code}


@click.command()
@click.option("--file", type=click.Path(path_type=Path), help="A setup file in place of questions.")
@click.option("--dry-run", is_flag=True, help="Check and show only; nothing is changed.")
@click.option("--yes", is_flag=True, help="Ask nothing: the file as it is, or the defaults.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--boot", is_flag=True, help="As at a boot: by the boot partition's file, if that is new.")
@click.pass_context
def setup(ctx: click.Context, file: Path | None, *, dry_run: bool, yes: bool, as_json: bool, boot: bool) -> None:
    """Set this device up: name, time zone, Wi-Fi, who may log in, broker, cameras; whatever is left out stays.

    The same file can lie as edgecam-setup.toml on the boot partition of a card: it is carried out at the next boot, the
    passwords are moved out of it, and edgecam-setup-report.txt beside it tells how it went.

    Exit status: 0 done, 1 a step failed and is tried again at the next boot, 78 the file is not accepted.
    """
    from appliance.provisioning import LocalSystem, Places, Provisioner

    if as_json and not (yes or dry_run or boot):
        raise click.UsageError("with --json nothing is asked: say --yes, or --dry-run")
    places = Places()
    provisioner = Provisioner(places, LocalSystem())
    if not dry_run and os.geteuid() != 0:
        raise UnavailableError("setting up changes the system; do: sudo edgecam setup")
    if boot:
        report = provisioner.at_boot(_say)
        if report is None:
            click.echo("nothing to set up")
            return
        _show(report, as_json=as_json)
        ctx.exit(_VERDICTS[report.verdict])
    asked = _asked(file, places, provisioner, is_quiet=yes)
    if dry_run:
        _preview(asked, as_json=as_json)
        return
    if not yes:
        with answered("whether to set the device up so", "to agree to it without being asked: --yes"):
            click.confirm("Set the device up so?", default=True, abort=True, err=True)
    report = provisioner.carry_out(asked, file or Path("the answers"), _say if not as_json else lambda *_: None)
    _show(report, as_json=as_json)
    if file is not None and asked.secrets and file.resolve() != places.setup_file.resolve():
        click.echo(f"{file} still has the passwords in it: remove it", err=True)
    ctx.exit(_VERDICTS[report.verdict])


def _asked(file: Path | None, places: "Places", provisioner: "Provisioner", *, is_quiet: bool) -> "Asked":
    from appliance.cli.setup_questions import ask
    from appliance.provisioning import check_setup, read_setup

    if file is not None:
        return read_setup(file, places, provisioner.is_kept)
    with answered("what the device is to be", "give a file, --file FILE, or leave all as it is: --yes"):
        values = ask(places, is_quiet=is_quiet)
    return check_setup(values, "", Path("the answers"), places, provisioner.is_kept)


def _say(step: str, outcome: "Outcome") -> None:
    click.echo(f"{step}: {outcome.state}{': ' if outcome.said else ''}{outcome.said}", err=True)


def _show(report: "Report", *, as_json: bool) -> None:
    click.echo(json.dumps(report.as_json()) if as_json else report.as_text(), nl=as_json)


def _preview(asked: "Asked", *, as_json: bool) -> None:
    from appliance.config.toml import format_document

    wanted = asked.setup.model_dump(mode="json", exclude_unset=True)
    secrets = sorted(asked.secrets)
    if as_json:
        click.echo(json.dumps({"asked": wanted, "secrets": secrets, "files": sorted(asked.files)}))
        return
    click.echo("\n".join(format_document(wanted)).rstrip("\n"))
    if secrets:
        click.echo(f"\nPasswords that would be moved: {', '.join(secrets)}")
