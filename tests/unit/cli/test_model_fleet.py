"""The commands for models from a fleet, with a real worker behind a real socket."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from appliance.cli import model_fleet
from appliance.cli.model import model
from appliance.diagnostics.feed import Feed
from appliance.diagnostics.server import Server
from appliance.updates.refusals import Code, RefusedError
from appliance.updates.store import STATE_NAME
from appliance.updates.updater import Updater
from appliance.updates.wishes import Wish
from tests.simulators.fleet import Fleet, served
from tests.system.process import wait_for
from tests.unit.updates.test_updater import NOW, Site


class Running(Site):
    """A site whose worker runs behind a socket while commands are given."""

    def command(self, *arguments: str, once: Callable[[Mapping[str, Any]], object] | None = None) -> Result:
        """Give a command to a worker, where it is told so after that one has looked at the fleet and found this."""
        results: list[Result] = []
        server = Server(self.folder / "edgecam.sock", dict, Feed())
        stop, threads = threading.Event(), list[threading.Thread]()

        def served_by(updater: Updater) -> None:
            server.routes["GET /v1/model"] = updater.history
            for wish in Wish:
                server.routes[f"POST /v1/model/{wish}"] = lambda wish=wish: {"number": updater.wishes.ask(wish)}
            server.open()
            threads.extend(
                [threading.Thread(target=server.run, args=(stop,)), threading.Thread(target=ask, args=(updater,))]
            )
            for thread in threads:
                thread.start()

        def ask(updater: Updater) -> None:
            if once is not None:
                wait_for(lambda: once(updater.facts()), 30, "what the command is about")
            results.append(CliRunner().invoke(model, list(arguments)))

        def is_answered(_: Mapping[str, Any]) -> bool:
            return bool(results)

        try:
            self.run(is_answered, first=3600.0 if once is None else 0.0, on_built=served_by)
        finally:
            stop.set()
            for thread in threads:
                thread.join(20)
        return results[0]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setenv("EDGECAM_SOCKET", str(tmp_path / "edgecam.sock"))
    monkeypatch.setattr(model_fleet, "_LOOK", 0.05)
    fleet = Fleet(tmp_path / "fleet", NOW)
    with served(fleet.folder) as web:
        yield Running(tmp_path, fleet, web)


def test_the_fleet_is_looked_at_when_asked(site: Running) -> None:
    result = site.command("check")
    assert result.exit_code == 0, result.output
    assert "in service: the factory model; the fleet has no rollout" in result.output


def test_an_update_is_followed_to_its_end(site: Running) -> None:
    site.publish(2)
    result = site.command("update")
    assert result.exit_code == 0, result.output
    assert "in service: persons 2" in result.output
    assert "persons 2 is in service" in site.command("update").output


def test_a_release_that_was_refused_is_an_error_with_its_reason(site: Running) -> None:
    site.publish(2)
    site.rest.faults["smoke"] = RefusedError(Code.GOLDEN, "it is blind")
    result = site.command("update")
    assert result.exit_code != 0
    assert "it is blind" in str(result.exception)


def test_what_is_in_service_can_be_left_and_is_not_taken_again(site: Running) -> None:
    site.publish(2)
    site.command("update")
    assert "in service: the factory model" in site.command("rollback").output
    assert site.rest.in_service[-1] is None
    assert "E_OWNER" in site.command("update").output
    assert "there is none before it" in json.loads(site.command("rollback", "--json").output)["why"]


def test_a_pinned_model_stays_until_it_is_let_go(site: Running) -> None:
    site.publish(2)
    assert "pinned; in service: the factory model" in site.command("pin").output
    assert "pinned" in site.command("update").output
    assert "free" in site.command("pin", "--off").output
    assert "in service: persons 2" in site.command("update").output


def test_the_history_tells_what_came_of_releases(site: Running) -> None:
    site.publish(2)
    site.rest.faults["inspect"] = RefusedError(Code.INSPECTION, "it loops")
    site.command("update")
    site.publish(3)
    site.command("update")
    lines = site.command("history").output.splitlines()
    assert lines[0] == "in service: persons 3; before it: the factory model; stage: idle"
    assert lines[1].endswith("persons 3  committed")
    assert lines[2].endswith("persons 2  rolled back: it loops (E_INSPECTION)")


def test_the_history_tells_that_what_was_known_is_forgotten(site: Running) -> None:
    site.store.folder.mkdir(parents=True)
    (site.store.folder / STATE_NAME).write_bytes(b"{")
    lines = site.command("history").output.splitlines()
    assert lines[1].startswith("forgotten: ")
    assert f"{STATE_NAME}.broken" in lines[1]


def test_the_history_tells_what_is_refused_before_it_is_brought(site: Running) -> None:
    site.publish(3)
    site.command("update")
    site.publish(2)
    history = site.command("history", once=lambda facts: facts["code"] == Code.COUNTER).output.splitlines()
    assert history[1] == "refused: persons 2 has counter 2, and none below 3 is taken (E_COUNTER)"


@pytest.mark.parametrize("command", [["check"], ["update"], ["rollback"], ["pin"], ["history"]])
def test_a_daemon_without_a_fleet_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("EDGECAM_SOCKET", str(tmp_path / "edgecam.sock"))
    server, stop = Server(tmp_path / "edgecam.sock", dict, Feed()), threading.Event()
    server.open()
    thread = threading.Thread(target=server.run, args=(stop,))
    thread.start()
    try:
        result = CliRunner().invoke(model, command)
    finally:
        stop.set()
        thread.join(10)
    assert result.exit_code != 0
    assert "[fleet] url and root" in str(result.exception) + result.output


def test_what_is_withheld_is_not_said_to_be_in_service(site: Running) -> None:
    site.publish(2, licence={"spdx": "MIT", "expires": "2026-12-20"})
    site.command("update")
    site.clock.time = datetime(2026, 12, 21, tzinfo=UTC)
    shown = site.command("history").output.splitlines()[0]
    assert shown.startswith(
        "in service: the factory model, for persons 2 may not be run: its licence ended on 2026-12-20"
    )
    assert "(E_LICENCE)" in shown
