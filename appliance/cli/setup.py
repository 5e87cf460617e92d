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

    Exit status: 0 done, 1 a step failed and is tried again at the next boot, 69 it may not be done now (by whom is not
    root, or while another does it), 74 what is done cannot be stored, 78 what is asked or configured is not accepted.
    """
    from appliance.provisioning import LocalSystem, Places, Provisioner

    if boot and (file is not None or dry_run or yes):
        raise click.UsageError("--boot goes by the boot partition's file and asks nothing: only --json goes with it")
    if as_json and not (yes or dry_run or boot):
        raise click.UsageError("with --json nothing is asked: say --yes, or --dry-run")
    places = Places()
    provisioner = Provisioner(places, LocalSystem())
    if not dry_run and os.geteuid() != 0:
        raise UnavailableError("setting up changes the system; do: sudo edgecam setup")
    if boot:
        ctx.exit(set_up_at_boot(provisioner, as_json=as_json))
    asked = _asked(file, places, provisioner, is_quiet=yes or as_json)
    if dry_run:
        _preview(asked, as_json=as_json)
        return
    ctx.exit(set_up(asked, file, places, provisioner, is_agreed=yes, as_json=as_json))


def set_up_at_boot(provisioner: "Provisioner", *, as_json: bool) -> int:
    """Do what is to be done at a boot, show how it went, and give the exit status.

    Args:
        provisioner: Does it.
        as_json: Show one JSON object, also where there was nothing to do.

    Raises:
        ConfigError: What was stored cannot be made sense of.
        StorageError: The plan cannot be read or written.
        UnavailableError: Another one is at it.
    """
    report = provisioner.at_boot(_say)
    if report is None:
        click.echo(json.dumps({"v": 1, "verdict": "nothing to do"}) if as_json else "nothing to set up")
        return 0
    _show(report, as_json=as_json)
    return _VERDICTS[report.verdict]


def set_up(
    asked: "Asked", file: Path | None, places: "Places", provisioner: "Provisioner", *, is_agreed: bool, as_json: bool
) -> int:
    """Do what is asked, if whoever asks agrees to it, show how it went, and give the exit status.

    Args:
        asked: It.
        file: The file that asks it; None: answers.
        places: The machine's files.
        provisioner: Does it.
        is_agreed: Nobody is asked any more.
        as_json: Show one JSON object, and no step while it is done.

    Raises:
        ConfigError: The plan before is damaged, or nobody is there to agree.
        StorageError: The plan cannot be read or written.
        UnavailableError: Another one is at it.
    """
    from appliance.cli.setup_asking import answers_path

    if not is_agreed:
        _agree(asked)
    report = provisioner.carry_out(asked, file or answers_path(places), _count if not as_json else lambda *_: None)
    click.echo("", nl=not as_json, err=True)
    _show(report, as_json=as_json)
    if file is not None and file.resolve() != places.setup_file.resolve():
        _tell_what_is_left(asked, file)
    return _VERDICTS[report.verdict]


def _agree(asked: "Asked") -> None:
    click.echo(f"\n{_shown(asked)}\n", err=True)
    with answered("whether to set the device up so", "to agree to it without being asked: --yes"):
        if not click.confirm("Set the device up so?", default=True, err=True):
            click.echo("nothing was changed", err=True)
            raise click.Abort


def _tell_what_is_left(asked: "Asked", file: Path) -> None:
    """Tell of the secrets that lie outside the card's setup file, where nothing of an owner's is removed."""
    if asked.secrets:
        click.echo(f"{file} still has the passwords in it: remove it", err=True)
    if asked.private_file:
        key = file.parent / asked.private_file
        click.echo(f"{key} is still there: the device has its private key now, so remove this copy", err=True)


def _asked(file: Path | None, places: "Places", provisioner: "Provisioner", *, is_quiet: bool) -> "Asked":
    from appliance.cameras.discover import find_cameras
    from appliance.cli.setup_asking import Asking, answers_path
    from appliance.cli.setup_questions import ask
    from appliance.provisioning import check_setup, read_setup

    if file is not None:
        return read_setup(file, places, provisioner.is_kept)
    with answered("what the device is to be", "give a file, --file FILE, or leave all as it is: --yes"):
        values = ask(Asking(places, provisioner.is_kept), find_cameras, is_quiet=is_quiet)
    return check_setup(values, "", answers_path(places), places, provisioner.is_kept)


def _say(step: str, outcome: "Outcome") -> None:
    click.echo(f"{step}: {outcome.state}{': ' if outcome.said else ''}{outcome.said}", err=True)


def _count(step: str, _: "Outcome") -> None:
    """Show how far it is; how each step ended stands in the report, which follows at once."""
    click.echo(f"{step} … ", nl=False, err=True)


def _show(report: "Report", *, as_json: bool) -> None:
    click.echo(json.dumps(report.as_json()) if as_json else report.as_text(), nl=as_json)


def _preview(asked: "Asked", *, as_json: bool) -> None:
    if as_json:
        wanted = asked.setup.model_dump(mode="json", exclude_unset=True)
        click.echo(json.dumps({"asked": wanted, "secrets": sorted(asked.secrets), "files": sorted(asked.files)}))
        return
    click.echo(_shown(asked))


def _shown(asked: "Asked") -> str:
    """Give what is asked as a setup file would say it, without secrets."""
    from appliance.config.toml import format_document

    wanted = asked.setup.model_dump(mode="json", exclude_unset=True)
    if not wanted:
        return "Nothing is to change; what is missing, such as an id and keys, is made."
    told = "\n".join(format_document(wanted)).rstrip("\n")
    moved = f"\n\nPasswords that would be moved: {', '.join(sorted(asked.secrets))}" if asked.secrets else ""
    return told + moved
