"""The commands that say who of a fleet runs which release."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from appliance.core.errors import ConfigError, ModelError
from appliance.workbench.publishing import rollouts
from appliance.workbench.publishing.checking import verify
from appliance.workbench.rollout import rollout
from tests.simulators.publishing import Fleet, write_model


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    fleet = Fleet(tmp_path)
    fleet.now = datetime.now(UTC)  # the commands go by the clock
    fleet.add(write_model(tmp_path / "1" / "mine", "1.0", (0.9,)))
    fleet.add(write_model(tmp_path / "2" / "mine", "2.0", (0.8,)), may_return_to=("1.0",))
    fleet.publish()
    return fleet


def run(fleet: Fleet, command: str, *arguments: object, reports: dict[str, Any] | None = None) -> Any:
    words = [command, str(fleet.repository.folder), "stable", *map(str, arguments), "--json"]
    done = CliRunner().invoke(rollout, words, input=json.dumps(reports), catch_exceptions=False)
    return json.loads(done.stdout)


def test_a_rollout_goes_from_its_start_to_a_return(fleet: Fleet) -> None:
    begun = run(fleet, "start", "mine@2.0", "--window", "01:00", "05:00", "--deny", "cam-7")["rollout"]
    assert (begun["share_ppm"], begun["state"], begun["window"]) == (10_000, "active", ["01:00", "05:00"])
    assert begun["deny"] != ["cam-7"]
    assert run(fleet, "step", "mine")["rollout"]["share_ppm"] == 100_000
    assert run(fleet, "step", "mine", "--to", 25)["rollout"]["share_ppm"] == 250_000
    assert run(fleet, "pause", "mine")["rollout"]["state"] == "paused"
    assert run(fleet, "pause", "mine", "--off")["rollout"]["state"] == "active"
    assert run(fleet, "halt", "mine")["rollout"]["state"] == "halted"
    back = run(fleet, "rollback", "mine", "--to", "1.0")["rollout"]
    assert (back["state"], back["rollback_to"]["path"]) == ("rollback", "models/mine/1.0/manifest.toml")
    assert [one["rollout"]["id"] for one in run(fleet, "show")] == [begun["id"]]


def test_a_channel_that_is_not_there_is_an_error_that_names_those_there_are(fleet: Fleet, tmp_path: Path) -> None:
    folder = str(fleet.repository.folder)
    for words in (
        ["show", folder, "stabel"],
        ["step", folder, "stabel", "mine"],
        ["start", folder, "stabel", "mine@1.0"],
    ):
        with pytest.raises(ConfigError, match=r"there is no channel stabel; known: stable$"):
            CliRunner().invoke(rollout, words, catch_exceptions=False)
    with pytest.raises(ConfigError, match="is no publisher's folder"):
        CliRunner().invoke(rollout, ["show", str(tmp_path / "none"), "stable"], catch_exceptions=False)
    assert run(fleet, "show") == []


def test_a_rollout_under_way_is_not_replaced_by_mistake(fleet: Fleet) -> None:
    run(fleet, "start", "mine@1.0")
    with pytest.raises(ConfigError, match="is under way at 1 %"):
        run(fleet, "start", "mine@2.0")
    assert run(fleet, "start", "mine@2.0", "--replace")["rollout"]["choose"][0]["path"].startswith("models/mine/2.0/")


def test_auto_widens_leaves_and_halts_by_the_reports_it_is_given(fleet: Fleet) -> None:
    begun = run(fleet, "start", "mine@2.0", "--soak", 0, "--least-reports", 5)
    told = {"schema": 1, "rollout": begun["rollout"]["id"], "taken": rollouts.moment(datetime.now(UTC))}
    release = begun["rollout"]["choose"][0]["sha256"]
    few = told | {"releases": {release: {"committed": 3}}}
    assert run(fleet, "auto", "mine", "--reports", "-", reports=few)["action"] == "hold"
    well = told | {"releases": {release: {"committed": 5}}}
    assert run(fleet, "auto", "mine", "--reports", "-", reports=well) == {
        "rollout": begun["rollout"]["id"],
        "action": "promote",
        "why": "5 devices are through at 1 %, and it is healthy",
        "share_ppm": 100_000,
        "is_pushed": False,
    }
    bad = told | {"releases": {release: {"committed": 5, "rolled_back": 3, "codes": {"E_BLIND": 3}}}}
    with pytest.raises(ModelError, match=r"3 of 8 devices failed .*\(E_BLIND 3\)"):
        run(fleet, "auto", "mine", "--reports", "-", reports=bad)
    assert run(fleet, "show")[0]["rollout"]["state"] == "halted"
    assert run(fleet, "auto", "mine", "--reports", "-", reports=bad)["why"] == "it is halted"


def test_a_halt_is_published_before_the_command_ends_though_it_fails(fleet: Fleet, tmp_path: Path) -> None:
    begun = run(fleet, "start", "mine@2.0")["rollout"]
    told = {"schema": 1, "rollout": begun["id"], "taken": "2099-01-01T00:00:00Z"}
    told |= {"releases": {begun["choose"][0]["sha256"]: {"committed": 1, "rolled_back": 9}}}
    with pytest.raises(ModelError, match="9 of 10 devices failed"):
        run(fleet, "auto", "mine", "--reports", "-", "--push", tmp_path / "www", reports=told)
    found = verify(str(tmp_path / "www"), fleet.root)
    assert found.rollouts == ("rollout/stable/mine.json halted 1 %",)


def test_a_run_of_auto_that_was_cut_short_is_made_good_by_the_next(fleet: Fleet, tmp_path: Path) -> None:
    begun = run(fleet, "start", "mine@2.0")["rollout"]
    running = rollouts.read(fleet.repository, "stable", "mine")
    halted = replace(running, rollout=rollouts.halted(running.rollout))
    rollouts.write(fleet.repository, halted, fleet.now)  # and nothing after it: no snapshot tells of it yet
    told = {"schema": 1, "rollout": begun["id"], "taken": "2099-01-01T00:00:00Z", "releases": {}}
    assert run(fleet, "auto", "mine", "--reports", "-", "--push", tmp_path / "www", reports=told)["action"] == "hold"
    assert verify(str(tmp_path / "www"), fleet.root).rollouts == ("rollout/stable/mine.json halted 1 %",)


def test_what_a_candidate_must_stand_can_be_stricter_for_one_rollout(fleet: Fleet, tmp_path: Path) -> None:
    file = tmp_path / "trial.toml"
    file.write_text("agreement_percent = 95\nactive_seconds = 7200\n", encoding="utf-8")
    trial = run(fleet, "start", "mine@2.0", "--trial", file)["rollout"]["trial"]
    assert (trial["agreement_percent"], trial["active_seconds"], trial["latency_percent"]) == (95, 7200, 125)
    file.write_text("agreement = 95\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="agreement: unknown entry"):
        run(fleet, "start", "mine@2.0", "--replace", "--trial", file)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (
            ("--window", "1", "25:00"),
            "window of the rollout is not accepted: '1'; accepted: two times, from 00:00 to 23:59",
        ),
        (
            ("--not-before", "tomorrow"),
            "not_before of the rollout is not accepted: 'tomorrow'; accepted: a time in UTC",
        ),
        (("--cohort", "a b"), "cohorts of the rollout is not accepted: 'a b'; accepted: names of"),
    ],
)
def test_what_a_rollout_does_not_take_is_told_with_what_it_does(fleet: Fleet, given: tuple[str, ...], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        run(fleet, "start", "mine@1.0", *given)


def test_reports_that_cannot_be_read_change_nothing(fleet: Fleet) -> None:
    run(fleet, "start", "mine@2.0")
    with pytest.raises(ConfigError, match=r"what `rollout collect` saves, or docs/schemas/fleet/reports.json"):
        run(fleet, "auto", "mine", "--reports", "-", reports={"schema": 2})
    assert run(fleet, "show")[0]["rollout"]["share_ppm"] == 10_000


def test_a_person_is_shown_what_two_cohorts_report_side_by_side(fleet: Fleet, tmp_path: Path) -> None:
    begun = run(fleet, "start", "mine@1.0:a", "mine@2.0:b")["rollout"]
    first, second = (one["sha256"] for one in begun["choose"])
    told = {"schema": 1, "rollout": begun["id"], "taken": "2099-01-01T00:00:00Z"}
    told |= {"releases": {first: {"committed": 40}, second: {"committed": 30, "rolled_back": 10}}}
    (tmp_path / "reports.json").write_text(json.dumps(told), encoding="utf-8")
    words = ["show", str(fleet.repository.folder), "stable", "--reports", str(tmp_path / "reports.json")]
    shown = CliRunner().invoke(rollout, words, catch_exceptions=False).stdout
    rows = [line.split("|")[1:-1] for line in shown.split("\n") if line.startswith(("| 1.0", "| 2.0"))]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["1.0", "40", "0", "0", "0", "0 %"],
        ["2.0", "30", "10", "0", "0", "25 %"],
    ]
