"""`edgecam report`: a file for those who help, without secrets."""

import json
import os
import platform
import re
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from appliance import __version__
from appliance.core.errors import ConfigError, StorageError, UnavailableError

if TYPE_CHECKING:
    from appliance.cli.situation import Situation
    from appliance.config import Secret, Settings
    from appliance.core.checkup import Outcome
    from appliance.diagnostics.report.bundle import Member
    from appliance.diagnostics.report.scrubbing import Scrubber

JOURNAL_LINES: Final = 1000
KERNEL_LINES: Final = 200
FAILURES_BYTES: Final = 256 << 10
_ADDRESSES: Final = ("broker", "url")


@click.command()
@click.option("--output", "-o", type=click.Path(path_type=Path), help="The file; else one named by device and time.")
@click.option("--config", type=click.Path(path_type=Path), help="Another configuration than the one in place.")
@click.option("--socket", "place", type=click.Path(path_type=Path), help="The daemon's socket.")
def report(*, output: Path | None, config: Path | None, place: Path | None) -> None:
    """Write a .tar.gz for those who help: what `edgecam doctor` sees, status, configuration, versions, logs.

    Passwords, keys, tokens and user names that it knows or that look like one are taken out, and what is in it is
    listed first: look through it before you send it on. Without root it lacks what others may not read.

    Exit status: 0 it is written, 74 it cannot be.
    """
    from appliance.cli.checks import checks_of, credentials_at_hand
    from appliance.cli.doctor import progress
    from appliance.cli.situation import find_situation
    from appliance.diagnostics.doctor.examination import examine
    from appliance.diagnostics.report.bundle import write_report
    from appliance.diagnostics.report.scrubbing import Scrubber

    if output is not None and output.exists():
        raise click.BadParameter(f"{output} is there already; give another name", param_hint="--output")
    with progress() as tell:
        tell(["systemd", "the daemon"])
        situation = find_situation(config, place)
        with credentials_at_hand(situation):
            outcomes = examine(checks_of(situation), tell)
            scrubber = Scrubber(_secrets(situation.settings), _user_names(situation.settings))
        tell(["the journal"])
        members = list(_members(situation, outcomes, scrubber))
    click.echo("in the report:")
    for member in members:
        click.echo(f"  {member.name:<20} {len(member.data):>9,} bytes  {member.what}")
    path = output or Path(_name(situation))
    try:
        size = write_report(path, members, asked_by())
    except StorageError:
        size = write_report(path, members)  # a FAT has no owners: there it stays root's
    click.echo(f"{path}: {size:,} bytes; look through it before you send it on: tar xzf {path}")


def asked_by() -> tuple[int, int] | None:
    """Give the numbers of the user and group that sudo runs this for; None: it is nobody else's."""
    given = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if os.geteuid() != 0 or not all(re.fullmatch("[0-9]{1,10}", number) for number in given):
        return None
    return int(given[0]), int(given[1])


def _members(situation: "Situation", outcomes: "list[Outcome]", scrubber: "Scrubber") -> "Iterator[Member]":
    """Give the report's files, the most important first."""
    from appliance.cli.doctor import as_told
    from appliance.diagnostics.doctor.programs import answer_of
    from appliance.diagnostics.doctor.unit import UNIT
    from appliance.diagnostics.report.bundle import Member

    def told(name: str, what: str, value: Any) -> Member:
        return Member(name, what, json.dumps(scrubber.value(value), indent=1, ensure_ascii=False) + "\n")

    yield told("doctor.json", "what edgecam doctor sees", as_told(outcomes))
    yield told("status.json", "what the daemon says of itself", situation.status or {"silence": situation.silence})
    yield told("configuration.json", "the settings in effect, the defaults included", _configuration(situation))
    yield told("machine.json", "board, kernel, Python, versions", _machine())
    if situation.unit is not None:
        yield told("unit.json", "what systemd says of the unit", dict(situation.unit.properties))
    options = ("--no-pager", "--quiet", "--output=short-iso-precise")
    asked = {
        "journal.txt": ("the service's last log lines", (f"--unit={UNIT}", f"--lines={JOURNAL_LINES}")),
        "kernel.txt": ("the kernel's warnings", ("--dmesg", "--priority=warning", f"--lines={KERNEL_LINES}")),
    }
    for name, (what, arguments) in asked.items():
        try:
            text = answer_of("journalctl", *options, *arguments)
        except UnavailableError as error:
            text = f"{error}\n"
        yield Member(name, what, scrubber.text(text))
    if failures := _failures(situation):
        yield Member("failures.jsonl", "why the daemon failed before", scrubber.text(failures))


def _configuration(situation: "Situation") -> dict[str, Any]:
    """Give the settings in effect; an address only as messages may show it. Of one that is refused only why."""
    from appliance.config import public_address

    if situation.settings is None:
        return {"file": str(situation.config), "refused": str(situation.mistake)}

    def public(value: Any, name: str) -> Any:
        if isinstance(value, dict):
            return {key: public(item, key) for key, item in value.items()}
        return public_address(value) if isinstance(value, str) and name in _ADDRESSES else value

    values: dict[str, Any] = public(situation.settings.model_dump(mode="json"), "")
    return {"file": str(situation.config) if situation.has_file else "none: these are the defaults", **values}


def _machine() -> dict[str, Any]:
    from appliance.core.machine import hardware_name

    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        system = "not known"
    versions = {str(each.metadata["Name"]): each.version for each in distributions() if each.metadata["Name"]}
    return {
        "edgecam": __version__,
        "board": hardware_name(),
        "system": system,
        "kernel": " ".join(platform.uname()[2:5]),
        "python": sys.version,
        "packages": dict(sorted(versions.items())),
    }


def _failures(situation: "Situation") -> str:
    """Give the end of what the unit wrote down about its failures; empty: nothing, or nothing that may be read."""
    if situation.settings is None:
        return ""
    path = situation.settings.device.state_dir / "failures.jsonl"
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - FAILURES_BYTES))
            return file.read(FAILURES_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _secrets(settings: "Settings | None") -> Iterator[str]:
    """Give the secrets that this user may read, so that each is hidden wherever it stands."""
    if settings is None:
        return
    messaging = settings.messaging
    given: list[Secret | None] = [messaging.password, messaging.username_from]
    given += [getattr(camera, "password", None) for camera in settings.cameras.values()]
    for secret in given:
        if secret is not None:
            try:
                yield secret.read("")
            except ConfigError:
                continue  # what this user cannot read is not in what this user collects, or is found by its looks


def _user_names(settings: "Settings | None") -> set[str]:
    """Give the user names to hide; one that is also what a device, a camera or the service is called stays."""
    if settings is None:
        return set()
    given = {settings.messaging.username, *(getattr(one, "username", None) for one in settings.cameras.values())}
    return {name for name in given if name} - {settings.device.resolved_id(), *settings.cameras, "edgecam"}


def _name(situation: "Situation") -> str:
    device = situation.settings.device.resolved_id() if situation.settings is not None else socket.gethostname()
    return f"edgecam-report-{device}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar.gz"
