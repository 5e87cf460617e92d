"""edgecam-workbench rollout collect and compare: what devices report of rollouts, and two releases side by side."""

import json
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from appliance.core.command import NumberRange
from appliance.core.errors import ConfigError, UnavailableError
from appliance.workbench.broker_options import CommandT, messaging_settings, noted_interrupts, with_account
from appliance.workbench.publish import FOLDER
from appliance.workbench.publishing.extras import loaded

if TYPE_CHECKING:
    from appliance.updates.formats import Rollout
    from appliance.workbench.collecting.arms import Arm
    from appliance.workbench.collecting.book import Book
    from appliance.workbench.collecting.devices import Device
    from appliance.workbench.collecting.intervals import Estimate
    from appliance.workbench.listening import Listening
    from appliance.workbench.publishing.promotion import Reports

TOPICS: Final = ("edgecam/+/model", "edgecam/+/model/events", "edgecam/+/health")
KEEP_EVERY: Final = 2.0
"""Seconds between two writes of what came."""

REPORTS: Final = click.Path(dir_okay=False, allow_dash=True, path_type=Path)
"""What `read_told` takes."""

_MOST_REPORTS: Final = 1 << 20
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="One JSON object.")
_PER_CENT: Final = 100.0
_SHOWN: Final = {
    "objects_per_hour": ("objects/h", 1.0, 1),
    "p50_ms": ("p50 ms", 1.0, 1),
    "p95_ms": ("p95 ms", 1.0, 1),
    "fps": ("fps", 1.0, 1),
    "temperature_c": ("°C", 1.0, 1),
    "agreement": ("agreement %", _PER_CENT, 1),
}


def of_rollout(command: CommandT) -> CommandT:
    """Give a command the arguments that name a rollout: `folder`, `channel` and `name`."""
    for argument in (click.argument("name"), click.argument("channel"), click.argument("folder", type=FOLDER)):
        command = argument(command)
    return command


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of devices: added up by somebody else, or collected here.

    Attributes:
        reports: Of one rollout; None: `devices` has all.
        devices: All that were heard of.
        taken: Until when, UTC.
        listened: Seconds without a break until then.
    """

    reports: "Reports | None"
    devices: "tuple[Device, ...]" = ()
    taken: str = ""
    listened: int = 0

    def is_of(self, rollout: "Rollout") -> bool:
        """Tell whether it says something of a rollout."""
        return self.reports is None or self.reports.rollout == rollout.id

    def of(self, rollout: "Rollout") -> "Reports":
        """Give what devices report of a rollout; reports of another one are left to whoever judges them."""
        from appliance.workbench.collecting.summing import reports_of

        return self.reports or reports_of(rollout, self.devices, self.taken, self.listened)


def read_told(file: Path) -> Told:
    """Read what a fleet's devices report: what `collect` has saved, or reports that were added up already.

    Raises:
        ConfigError: It is not there, or of no such format.
    """
    from appliance.workbench.collecting.book import MOST_LINE, Head, is_book, lines_of, read_book
    from appliance.workbench.collecting.devices import NEVER

    try:
        with ExitStack() as stack:
            source = sys.stdin.buffer if str(file) == "-" else stack.enter_context(file.open("rb"))
            first = source.readline(MOST_LINE)
            if is_book(first):
                devices, head = read_book((first, *lines_of(source)), str(file))
                head = head or Head(taken=NEVER)
                return Told(None, devices.all(), head.taken, head.listened)
            return Told(_reports(first + source.read(_MOST_REPORTS), file))
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror or error}") from error


def _reports(content: bytes, file: Path) -> "Reports":
    from pydantic import ValidationError

    from appliance.core.mistakes import explain
    from appliance.workbench.publishing.promotion import Reports

    try:
        return Reports.model_validate_json(content)
    except ValidationError as error:
        raise ConfigError(
            f"{explain(error, file)}\n  accepted: what `rollout collect` saves, or docs/schemas/fleet/reports.json"
        ) from error


@click.command()
@click.option("--broker", default="mqtt://127.0.0.1:1883", show_default=True, help="Where to listen.")
@with_account
@click.option(
    "--save",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep what is known of each device there, and begin with what is in it.",
)
@click.option("--seconds", type=NumberRange(0.1), help="Listen so long; else until Ctrl-C.")
@click.option("--name", help="Client id, kept by the broker for a day: the next run of this name goes on.")
@_JSON
def collect(
    *,
    broker: str,
    username: str | None,
    password_file: Path | None,
    ca_file: Path | None,
    save: Path,
    seconds: float | None,
    name: str | None,
    as_json: bool,
) -> None:
    """Collect what devices report of models, for `rollout auto`, `show` and `compare`.

    It may be ended and begun again at any time. At most 100,000 devices are kept; others are counted.

    Exit status: 0 devices were heard of; 69 none was, or there is no broker; 74 the file cannot be written.
    """
    with loaded():
        from appliance.workbench.collecting.book import Book
        from appliance.workbench.listening import Listening
    settings = messaging_settings(broker, username, password_file, ca_file)
    book = Book(save)
    own = f"edgecam-collect-{socket.gethostname()}-{os.getpid()}"
    listening = Listening(
        settings,
        name=name or own,
        topics=TOPICS,
        take=lambda topic, payload: book.devices.take(topic, payload, datetime.now(UTC)),
    )
    with listening, noted_interrupts() as is_interrupted:
        begin = time.monotonic()
        _listen(listening, book, lambda: is_interrupted() or (seconds or 1e18) < time.monotonic() - begin)
        if name is None:
            listening.forget()
    _tell_collected(book, listening, as_json=as_json)


def _listen(listening: "Listening", book: "Book", is_over: Callable[[], bool]) -> None:
    begun = time.monotonic()
    due, reconnects = begun + KEEP_EVERY, 0
    is_shown = sys.stderr.isatty()

    def keep() -> None:
        nonlocal begun, reconnects
        if listening.reconnects != reconnects:
            begun, reconnects = time.monotonic(), listening.reconnects
        if not listening.trouble:  # what is not heard now must not look as if it had been
            book.keep(_now(), int(time.monotonic() - begun))

    def look() -> bool:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + KEEP_EVERY
            keep()
            if is_shown:
                trouble = f"; {listening.trouble}" if listening.trouble else ""
                told = f"{len(book.devices)} devices, {book.devices.messages} messages{trouble}"
                click.echo(f"\r\033[K{told[:110]}; Ctrl-C ends", nl=False, err=True)
        return is_over()

    listening.listen(look)
    if is_shown:
        click.echo("\r\033[K", nl=False, err=True)
    keep()


def _tell_collected(book: "Book", listening: "Listening", *, as_json: bool) -> None:
    devices = book.devices
    told = {
        "devices": len(devices),
        "messages": devices.messages,
        "unreadable": devices.unreadable,
        "left_out": devices.left_out,
        "reconnects": listening.reconnects,
        "forgotten": listening.forgotten,
    }
    if as_json:
        click.echo(json.dumps(told))
    else:
        click.echo(", ".join(f"{count} {name.replace('_', ' ')}" for name, count in told.items()))
    if not len(devices):
        raise UnavailableError(
            f"no device was heard of on {', '.join(TOPICS)}; have they [fleet] url, and may this account read there?"
        )


@click.command()
@of_rollout
@click.option(
    "--reports",
    required=True,
    type=REPORTS,
    help="What `rollout collect` has saved; -: standard input.",
)
@_JSON
def compare(folder: Path, channel: str, name: str, *, reports: Path, as_json: bool) -> None:
    """Set the releases of a rollout side by side: two models for two cohorts, as their devices report them.

    Each figure is a mean over devices with its 95 % interval; a device counts from ten minutes on.
    """
    with loaded():
        from appliance.workbench.collecting.arms import apart, arms_of
        from appliance.workbench.publishing import rollouts
        from appliance.workbench.publishing.repository import Repository
    rollout = rollouts.read(Repository(folder), channel, name).rollout
    told = read_told(reports)
    if told.reports is not None:
        raise ConfigError(f"{reports} has counts only; releases are compared by what `rollout collect` has saved")
    arms = arms_of(rollout, told.devices, told.taken)
    between = [(arms[0], other, apart(arms[0], other)) for other in arms[1:]]
    if as_json:
        differences = [
            {"of": other.sha256, "to": first.sha256, **{key: asdict(one) for key, one in found.items()}}
            for first, other, found in between
        ]
        told_arms = [_values(arm) for arm in arms]
        click.echo(
            json.dumps({"rollout": rollout.id, "taken": told.taken, "releases": told_arms, "differences": differences})
        )
        return
    _show_arms(arms)
    for first, other, found in between:
        _show_apart(first, other, found)


def _values(arm: "Arm") -> dict[str, Any]:
    told = {"version": arm.version, "sha256": arm.sha256, "cohorts": list(arm.cohorts), "hours": round(arm.hours, 2)}
    figures = {name: asdict(one) for name, one in arm.figures.items()}
    return {**told, "counts": arm.counts.model_dump(), "failed": asdict(arm.failed), **figures}


def _show_arms(arms: "list[Arm]") -> None:
    from appliance.workbench.table import markdown

    rows = []
    for arm in arms:
        counts = arm.counts
        share = _shown(arm.failed, _PER_CENT, 1)
        rows.append(
            (
                arm.version,
                ", ".join(arm.cohorts) or "any",
                f"{counts.committed} of {counts.done + counts.trying}",
                f"{counts.failed}; {share} %",
                f"{arm.hours:.1f}",
                *(_shown(arm.figures[name], factor, digits) for name, (_, factor, digits) in _SHOWN.items()),
            )
        )
    columns = ("release", "cohorts", "committed", "failed", "hours", *(title for title, _, _ in _SHOWN.values()))
    click.echo(markdown(columns, rows))


def _show_apart(first: "Arm", other: "Arm", found: "dict[str, Estimate]") -> None:
    click.echo(f"\n{other.version} against {first.version}:")
    for name, (title, factor, digits) in _SHOWN.items():
        one = found[name]
        if one.value is None:
            continue
        is_told = one.low is not None and one.high is not None
        verdict = "too few devices to tell"
        if is_told and one.low is not None and one.high is not None:
            verdict = "it may be chance" if one.low <= 0.0 <= one.high else "more than chance"
        click.echo(f"  {title}: {one.value * factor:+.{digits}f} {_between(one, factor, digits)}: {verdict}")


def _shown(one: "Estimate", factor: float, digits: int) -> str:
    if one.value is None:
        return "-"
    return f"{one.value * factor:.{digits}f} {_between(one, factor, digits)} n={one.devices}"


def _between(one: "Estimate", factor: float, digits: int) -> str:
    if one.low is None or one.high is None:
        return "(?)"
    return f"({one.low * factor:.{digits}f} to {one.high * factor:.{digits}f})"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
