"""`edgecam model check`, `update`, `rollback`, `pin`, `history`: models from the fleet, through the daemon."""

import json
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import click

from appliance.cli.client import Daemon
from appliance.core.errors import ModelError, UnavailableError

CHECK_WITHIN: Final = 330.0  # seconds; a little more than the daemon gives a check
UPDATE_WITHIN: Final = 12 * 3600.0  # a trial alone may take hours
_LOOK: Final = 0.5  # seconds between two looks
_AGAIN: Final = 5  # looks in a row without an answer: the daemon may be starting again

Tell = Callable[[dict[str, Any]], None]


@click.command("update")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def update_model(*, as_json: bool) -> None:
    """Take what the fleet has for this device now, and follow it to its end. Ctrl-C only ends the following.

    Exit status: 0 it is in service, or there is nothing to do; 65 it was refused; 69 it waits, or the daemon does not
    answer; 70 the daemon has no fleet.
    """
    daemon = Daemon()
    before = daemon.model()
    number = daemon.ask("update")
    with _progress() as tell:
        after = _follow(daemon, lambda now: _is_over(now, before, number), UPDATE_WITHIN, tell)
    _show(after, before, as_json=as_json)


@click.command("rollback")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def rollback_model(*, as_json: bool) -> None:
    """Leave the release that is tried, or in service, for the one before it; this device does not take it again.

    Exit status: 0 it is done; 69 the daemon does not answer; 70 the daemon has no fleet.
    """
    daemon = Daemon()
    number = daemon.ask("rollback")
    after = _follow(daemon, lambda now: now["heard"] >= number and now["stage"] == "idle", CHECK_WITHIN, _silent)
    if as_json:
        click.echo(json.dumps(after))
    else:
        click.echo(f"in service: {_in_service(after)}")


@click.command("pin")
@click.option("--off", is_flag=True, help="Take what the fleet offers again.")
def pin_model(*, off: bool) -> None:
    """Take nothing else than what is in service, whatever the fleet offers.

    Exit status: 0 it is done; 69 the daemon does not answer; 70 the daemon has no fleet.
    """
    daemon = Daemon()
    number = daemon.ask("unpin" if off else "pin")
    after = _follow(daemon, lambda now: now["heard"] >= number, CHECK_WITHIN, _silent)
    click.echo(f"{'free' if off else 'pinned'}; in service: {_in_service(after)}")


@click.command("history")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show_history(*, as_json: bool) -> None:
    """Show what came of releases from the fleet, newest first, and what was refused before it was brought."""
    now = Daemon().model()
    if as_json:
        click.echo(json.dumps(now))
        return
    click.echo(f"in service: {_in_service(now)}; before it: {_named(now['previous'])}; stage: {now['stage']}")
    if now["code"] and all(now["why"] != one["why"] for one in now["past"]):
        code = f" ({now['code']})"
        click.echo(f"refused: {now['why'].removesuffix(code)}{code}")
    if now["lost"]:
        click.echo(f"forgotten: {now['lost']}; remove that file once you have seen to the disk")
    for one in now["past"]:
        why = f": {one['why']} ({one['code']})" if one["code"] else ""
        click.echo(f"{one['time']}  {_named(one['release'])}  {one['outcome'].replace('_', ' ')}{why}")


def check_fleet(*, as_json: bool) -> None:
    """Have the daemon look at the fleet now, and tell what it found."""
    daemon = Daemon()
    before = daemon.model()
    number = daemon.ask("check")

    def is_checked(now: dict[str, Any]) -> bool:
        return bool(now["heard"] >= number and (now["checks"] > before["checks"] or now["why"] != before["why"]))

    after = _follow(daemon, is_checked, CHECK_WITHIN, _silent)
    if as_json:
        click.echo(json.dumps(after))
        return
    found = f"{_named(after['candidate'])}: {after['stage']}" if after["candidate"] else after["why"]
    click.echo(f"in service: {_in_service(after)}; {found or 'nothing new'}")


def _is_over(now: dict[str, Any], before: dict[str, Any], number: int) -> bool:
    if now["heard"] < number or now["stage"] != "idle":
        return False
    return bool(now["past"] != before["past"] or now["checks"] > before["checks"] or now["why"] != before["why"])


def _show(after: dict[str, Any], before: dict[str, Any], *, as_json: bool) -> None:
    last = after["past"][0] if after["past"] and after["past"] != before["past"] else None
    if as_json:
        click.echo(json.dumps(after))
    elif last is not None and last["outcome"] == "committed":
        click.echo(f"in service: {_in_service(after)}")
    elif last is None:
        click.echo(f"in service: {_in_service(after)}; {after['why'] or 'nothing new'}")
    if last is not None and last["outcome"] == "rolled_back":
        raise ModelError(
            f"{_named(last['release'])} was refused: {last['why']} ({last['code']}); in service: "
            f"{_in_service(after)}. It is not tried again; the fleet's owner has to publish another one"
        )


def _follow(daemon: Daemon, is_over: Callable[[dict[str, Any]], bool], within: float, tell: Tell) -> dict[str, Any]:
    """Look again and again until a question is answered with yes; give the last look."""
    deadline = time.monotonic() + within
    silent = 0
    while time.monotonic() < deadline:
        try:
            now = daemon.model()
            silent = 0
        except UnavailableError:
            silent += 1
            if silent > _AGAIN:
                raise
        else:
            tell(now)
            if is_over(now):
                return now
        time.sleep(_LOOK)
    raise UnavailableError(f"nothing came of it within {within:.0f} s; look again: edgecam model history")


def _progress() -> "AbstractContextManager[Tell]":
    """Give what shows the stage and the bytes on a terminal; elsewhere nothing is shown."""
    if not sys.stderr.isatty():
        return nullcontext(_silent)
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), console=Console(stderr=True), transient=True
    )
    task = bar.add_task("asking", total=None)

    def tell(now: dict[str, Any]) -> None:
        done = now["progress"] or {"done": 0, "whole": None}
        bar.update(task, description=now["stage"], completed=done["done"], total=done["whole"])

    class _Shown:
        def __enter__(self) -> Tell:
            bar.start()
            return tell

        def __exit__(self, *_: object) -> None:
            bar.stop()

    return _Shown()


def _silent(_: dict[str, Any]) -> None:
    """Show nothing."""


def _named(release: dict[str, Any] | None) -> str:
    return f"{release['name']} {release['version']}" if release else "the factory model"


def _in_service(now: dict[str, Any]) -> str:
    """Tell what looks at frames, and why it is not the active release where it is not."""
    if now["withheld"] is None:
        return _named(now["active"])
    return f"{_named(None)}, for {now['withheld']['why']} ({now['withheld']['code']})"
