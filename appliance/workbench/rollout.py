"""edgecam-workbench rollout: who of a fleet runs which release, and how it goes on."""

import json
import secrets
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from appliance.core.command import NumberRange
from appliance.core.errors import ConfigError, ModelError
from appliance.workbench.publish import FOLDER, name_and_version
from appliance.workbench.publishing.extras import loaded
from appliance.workbench.rollout_reports import REPORTS, collect, compare, of_rollout, read_told

if TYPE_CHECKING:
    from collections.abc import Callable

    from appliance.updates.formats import Rollout
    from appliance.workbench.publishing.promotion import Decision, Reports
    from appliance.workbench.publishing.repository import Repository
    from appliance.workbench.publishing.rollouts import Running

_JSON: Final = click.option("--json", "as_json", is_flag=True, help="One JSON object.")
_PERCENT: Final = NumberRange(0.0, 100.0)
_PER_CENT: Final = 10_000  # millionths


@click.group()
def rollout() -> None:
    """Say who of a fleet runs which release; see docs/fleet.md. Each change is signed with the online key."""


rollout.add_command(collect)
rollout.add_command(compare)


@rollout.command()
@click.argument("folder", type=FOLDER)
@click.argument("channel")
@click.argument("releases", nargs=-1, required=True, metavar="NAME@VERSION[:COHORT,…]…")
@click.option("--share", type=_PERCENT, default=1.0, show_default=True, help="Of the devices, per cent.")
@click.option("--cohort", "cohorts", multiple=True, help="Only devices of this; may be repeated.")
@click.option("--allow", multiple=True, metavar="DEVICE_ID", help="In whatever the share; may be repeated.")
@click.option("--deny", multiple=True, metavar="DEVICE_ID", help="Out whatever else; may be repeated.")
@click.option("--window", nargs=2, metavar="HH:MM HH:MM", help="Local times between which devices start.")
@click.option("--not-before", metavar="UTC", help="Nobody starts earlier: 2026-12-01T02:00:00Z")
@click.option("--metered", type=click.Choice(["none", "deltas", "all"]), default="deltas", show_default=True)
@click.option(
    "--jitter", type=click.IntRange(0, 720), default=6, show_default=True, help="Hours that starts are spread over."
)
@click.option("--soak", type=NumberRange(0.0, 720.0), default=24.0, show_default=True, help="Hours at each share.")
@click.option("--least-reports", type=click.IntRange(1), default=20, show_default=True, help="Before `auto` widens it.")
@click.option("--most-failed", type=_PERCENT, default=2.0, show_default=True, help="Per cent, before `auto` halts it.")
@click.option(
    "--trial",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML: what a candidate must stand, where it is not the default; see docs/fleet.md.",
)
@click.option("--replace", "is_replaced", is_flag=True, help="Though another one is under way.")
@_JSON
def start(
    folder: Path,
    channel: str,
    releases: tuple[str, ...],
    *,
    share: float,
    jitter: int,
    soak: float,
    least_reports: int,
    most_failed: float,
    trial: Path | None,
    is_replaced: bool,
    as_json: bool,
    **choices: Any,
) -> None:
    """Begin a rollout of RELEASES in CHANNEL: a device takes the first that it has all for.

    Two releases for two cohorts (mine@2.0:a mine@2.1:b) can be compared.
    """
    with loaded():
        from appliance.workbench.publishing import rollouts
        from appliance.workbench.publishing.repository import Repository
    repository, now = Repository(folder), _now()
    choices["window"] = choices["window"] or None
    if trial is not None:
        choices["trial"] = rollouts.read_trial(trial)
    order = rollouts.Order(
        [_release(one) for one in releases], share_ppm=_ppm(share), jitter_seconds=jitter * 3600, **choices
    )
    plan = rollouts.Plan(
        since=rollouts.moment(now),
        soak_seconds=round(soak * 3600),
        least_reports=least_reports,
        most_failed_ppm=_ppm(most_failed),
    )
    with repository.locked():
        begun = rollouts.begin(order, rollouts.published_models(repository), secrets.token_hex(8), now)
        for other in rollouts.read_all(repository, channel):
            is_under_way = other.rollout.state in {"active", "paused"} and rollouts.next_share(other) is not None
            if other.rollout.name == begun.name and is_under_way and not is_replaced:
                raise ConfigError(
                    f"rollout {other.rollout.id} is under way at {rollouts.percent(other.rollout.share_ppm)}; finish "
                    "or halt it, or begin this one in its place: --replace"
                )
        _write(repository, rollouts.Running(channel, begun, plan), now, as_json=as_json)


@rollout.command()
@of_rollout
@click.option("--to", type=_PERCENT, help="Of the devices, per cent.  [default: the next of 1, 10, 50, 100]")
@_JSON
def step(folder: Path, channel: str, name: str, *, to: float | None, as_json: bool) -> None:
    """Widen a rollout. Whoever was in stays in."""
    with loaded():
        from appliance.workbench.publishing import rollouts
    share = None if to is None else _ppm(to)
    _change(folder, channel, name, lambda running, _: rollouts.widened(running, share), as_json=as_json)


@rollout.command()
@of_rollout
@click.option("--off", is_flag=True, help="Go on.")
@_JSON
def pause(folder: Path, channel: str, name: str, *, off: bool, as_json: bool) -> None:
    """Let nobody start any more; who has begun goes on."""
    with loaded():
        from appliance.workbench.publishing import rollouts
    _change(
        folder, channel, name, lambda running, _: rollouts.paused(running.rollout, is_paused=not off), as_json=as_json
    )


@rollout.command()
@of_rollout
@_JSON
def halt(folder: Path, channel: str, name: str, *, as_json: bool) -> None:
    """Let whoever has not committed give up too. There is no way on: a better release is rolled out anew."""
    with loaded():
        from appliance.workbench.publishing import rollouts
    _change(folder, channel, name, lambda running, _: rollouts.halted(running.rollout), as_json=as_json)


@rollout.command()
@of_rollout
@click.option("--to", required=True, metavar="VERSION", help="That was signed offline as one to return to.")
@_JSON
def rollback(folder: Path, channel: str, name: str, *, to: str, as_json: bool) -> None:
    """Let whoever has committed return to an older release."""
    with loaded():
        from appliance.workbench.publishing import rollouts

    def change(running: "Running", repository: "Repository") -> "Rollout":
        return rollouts.rolled_back(running.rollout, to, rollouts.published_models(repository))

    _change(folder, channel, name, change, as_json=as_json)


@rollout.command()
@of_rollout
@click.option(
    "--reports",
    required=True,
    type=REPORTS,
    help="What `rollout collect` has saved, or JSON of that format; -: standard input.",
)
@click.option("--push", "target", metavar="FOLDER|s3://BUCKET", help="Publish there at once, also what was halted.")
@click.option("--endpoint", help="Of an object store that is not Amazon's: https://HOST")
@_JSON
def auto(
    folder: Path, channel: str, name: str, *, reports: Path, target: str | None, endpoint: str | None, as_json: bool
) -> None:
    """Widen a rollout while what its devices report is healthy, halt it where it is not, else leave it.

    Remembers nothing: run it by any timer. It refreshes in any case, so that a run that was cut short is made good by
    the next. The exit status is 65 where it was halted now.
    """
    with loaded():
        from appliance.workbench.publishing import promotion, pushing, refreshing, rollouts
        from appliance.workbench.publishing.repository import Repository
        from appliance.workbench.publishing.stores import open_store
    repository, now, told = Repository(folder), _now(), read_told(reports)
    store = open_store(target, endpoint) if target is not None else None
    with repository.locked():
        running = rollouts.read(repository, channel, name)
        decision = promotion.judge(running, told.of(running.rollout), now)
        if decision.action == "promote":
            rollouts.write(repository, replace(running, rollout=rollouts.widened(running, decision.share_ppm)), now)
        elif decision.action == "halt":
            rollouts.write(repository, replace(running, rollout=rollouts.halted(running.rollout)), now)
        refreshing.refresh(repository, now)
        if store is not None:
            pushing.push(repository, store)
    _tell_decision(running, decision, as_json=as_json, is_pushed=store is not None)


@rollout.command()
@click.argument("folder", type=FOLDER)
@click.argument("channel")
@click.option(
    "--reports",
    type=REPORTS,
    help="As for `auto`; -: standard input.",
)
@_JSON
def show(folder: Path, channel: str, *, reports: Path | None, as_json: bool) -> None:
    """Show the rollouts of CHANNEL, and what their devices report of each release."""
    with loaded():
        from appliance.workbench.publishing import rollouts
        from appliance.workbench.publishing.repository import Repository
    running = rollouts.read_all(Repository(folder), channel)
    told = read_told(reports) if reports is not None else None
    if as_json:
        click.echo(json.dumps([_values(one) for one in running]))
        return
    for one in running:
        _show(one, told.of(one.rollout) if told is not None and told.is_of(one.rollout) else None)
    if not running:
        click.echo(f"there is no rollout in channel {channel}")


def _tell_decision(running: "Running", decision: "Decision", *, as_json: bool, is_pushed: bool) -> None:
    from appliance.workbench.publishing.rollouts import percent

    name = running.rollout.id
    shown = f"rollout {name}: {decision.action} at {percent(decision.share_ppm)}: {decision.why}"
    if as_json:
        click.echo(json.dumps({"rollout": name, **asdict(decision), "is_pushed": is_pushed}))
    elif decision.action != "halt":
        click.echo(shown)
    if decision.action == "halt":
        raise ModelError(shown if is_pushed else f"{shown}; devices see it after: edgecam-workbench publish push")


def _change(
    folder: Path, channel: str, name: str, change: "Callable[[Running, Repository], Rollout]", *, as_json: bool
) -> None:
    from appliance.workbench.publishing import rollouts
    from appliance.workbench.publishing.repository import Repository

    repository, now = Repository(folder), _now()
    with repository.locked():
        running = rollouts.read(repository, channel, name)
        _write(repository, replace(running, rollout=change(running, repository)), now, as_json=as_json)


def _write(repository: "Repository", running: "Running", now: datetime, *, as_json: bool) -> None:
    """Sign a rollout and what says that it is there."""
    from appliance.workbench.publishing import refreshing, rollouts

    written = rollouts.write(repository, running, now)
    refreshing.refresh(repository, now)
    if as_json:
        click.echo(json.dumps(_values(written)))
        return
    _show(written, None)
    click.echo("devices see it after: edgecam-workbench publish push FOLDER TARGET")


def _values(running: "Running") -> dict[str, Any]:
    told = running.rollout.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"channel": running.channel, "rollout": told, "plan": running.plan.model_dump(mode="json")}


def _show(running: "Running", reports: "Reports | None") -> None:
    from appliance.workbench.publishing.promotion import Counts
    from appliance.workbench.publishing.rollouts import percent
    from appliance.workbench.table import markdown

    one = running.rollout
    click.echo(f"{one.name}: rollout {one.id} is {one.state} at {percent(one.share_ppm)} since {running.plan.since}")
    for selection in one.choose:
        click.echo(f"  {selection.path}{' for ' + ', '.join(selection.cohorts) if selection.cohorts else ''}")
    if one.rollback_to is not None:
        click.echo(f"  back to {one.rollback_to.path}")
    if reports is None:
        return
    rows = []
    for selection in one.choose:
        counts = reports.releases.get(selection.sha256, Counts())
        figures = (counts.committed, counts.rolled_back, counts.silent, counts.trying)
        rows.append((selection.path.split("/")[2], *map(str, figures), percent(counts.failed_ppm)))
    click.echo(markdown(("release", "committed", "rolled back", "silent", "trying", "failed"), rows))


def _release(text: str) -> tuple[str, str, tuple[str, ...]]:
    release, _, cohorts = text.partition(":")
    name, version = name_and_version(release)
    return name, version, tuple(filter(None, cohorts.split(",")))


def _ppm(share: float) -> int:
    return round(share * _PER_CENT)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
