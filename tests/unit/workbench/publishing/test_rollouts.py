"""Rollouts: who runs which release, and what their changes may be."""

import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from appliance.core.errors import ConfigError, ModelError
from appliance.updates.formats import Rollout
from appliance.updates.rollout import Whom, is_given, is_meant
from appliance.workbench.publishing.adding import find_release
from appliance.workbench.publishing.checking import verify
from appliance.workbench.publishing.promotion import Counts, Reports, judge
from appliance.workbench.publishing.rollouts import (
    Order,
    Plan,
    Running,
    begin,
    halted,
    moment,
    paused,
    published_models,
    read,
    rolled_back,
    widened,
    write,
)
from tests.simulators.publishing import START, Fleet, write_model

IDS = [f"cam-{number}" for number in range(20_000)]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    folder = tmp_path_factory.mktemp("fleet")
    fleet = Fleet(folder, ("stable", "beta"))
    fleet.add(write_model(folder / "1" / "mine", "1.0", (0.9,)))
    fleet.add(write_model(folder / "2" / "mine", "2.0", (0.8,)), may_return_to=("1.0",))
    fleet.add(write_model(folder / "3" / "mine", "2.1", (0.7,)))
    fleet.publish()
    return fleet


def started(fleet: Fleet, *releases: tuple[str, tuple[str, ...]], share: int = 10_000) -> Running:
    order = Order([("mine", version, cohorts) for version, cohorts in releases or (("2.0", ()),)], share_ppm=share)
    rollout = begin(order, published_models(fleet.repository), "salt", fleet.now)
    return write(fleet.repository, Running("stable", rollout, Plan(since=moment(fleet.now))), fleet.now)


def reports(running: Running, **counts: int) -> Reports:
    told = {running.rollout.choose[0].sha256: Counts.model_validate(counts)}
    return Reports(schema=1, rollout=running.rollout.id, taken=moment(START + timedelta(days=2)), releases=told)


def test_a_device_reads_what_was_written_and_verify_finds_it_whole(fleet: Fleet, tmp_path: Path) -> None:
    running = started(fleet)
    fleet.refresh()
    with fleet.device(tmp_path / "device") as trust:
        trust.refresh()
        target = trust.find("rollout/stable/mine.json")
    assert target is not None
    content = fleet.repository.read_file(target.path, target.digest)
    assert Rollout.model_validate_json(content) == running.rollout
    assert read(fleet.repository, "stable", "mine") == running
    assert verify(str(fleet.published), fleet.root, lambda: fleet.now).rollouts == (
        "rollout/stable/mine.json active 1 %",
    )


def test_a_rollout_that_names_what_nobody_has_signed_is_found_by_verify(fleet: Fleet) -> None:
    running = started(fleet)
    forged = running.rollout.choose[0].model_copy(update={"sha256": "0" * 64})
    write(
        fleet.repository, replace(running, rollout=running.rollout.model_copy(update={"choose": (forged,)})), fleet.now
    )
    fleet.refresh()
    with pytest.raises(ModelError, match="another digest than was signed offline"):
        verify(str(fleet.published), fleet.root, lambda: fleet.now)
    started(fleet)
    fleet.refresh()


def test_widening_leaves_no_device_out_that_was_in(fleet: Fleet) -> None:
    running = started(fleet)
    before: set[str] = set()
    for share in (10_000, 100_000, 500_000, 1_000_000):
        inside = {one for one in IDS if is_meant(running.rollout, Whom(one))}
        assert before <= inside
        assert abs(len(inside) / len(IDS) - share / 1_000_000) < 0.01
        before = inside
        if share < 1_000_000:
            running = replace(running, rollout=widened(running, None))
    with pytest.raises(ConfigError, match="is for all devices already"):
        widened(running, None)


def test_a_share_is_never_made_smaller(fleet: Fleet) -> None:
    with pytest.raises(ConfigError, match=r"is at 1 %, and only ever widened"):
        widened(started(fleet), 5_000)


def test_what_is_paused_goes_on_and_what_is_halted_does_not(fleet: Fleet) -> None:
    rollout = started(fleet).rollout
    assert paused(paused(rollout, is_paused=True), is_paused=False) == rollout
    over = halted(rollout)
    for change in (
        lambda: paused(over, is_paused=False),
        lambda: widened(Running("stable", over, Plan(since=moment(START))), None),
    ):
        with pytest.raises(ConfigError, match=r"is halted and cannot be .*begin another one"):
            change()


def test_devices_return_only_to_what_was_signed_as_one_to_return_to(fleet: Fleet) -> None:
    models = published_models(fleet.repository)
    back = rolled_back(started(fleet).rollout, "1.0", models)
    assert back.state == "rollback"
    assert back.rollback_to is not None
    assert back.rollback_to.sha256 == find_release(models, "mine", "1.0").sha256
    with pytest.raises(ConfigError, match=r"2.1 is not signed as one that may be left for 1.0"):
        rolled_back(started(fleet, ("2.1", ())).rollout, "1.0", models)


def test_only_published_releases_of_one_model_are_rolled_out(fleet: Fleet) -> None:
    models = published_models(fleet.repository)
    with pytest.raises(ConfigError, match=r"no release 9.0 of mine; known: 1.0, 2.0, 2.1"):
        begin(Order([("mine", "9.0", ())]), models, "salt", START)
    with pytest.raises(ConfigError, match="is of one model, not of mine, other"):
        begin(Order([("mine", "1.0", ()), ("other", "1.0", ())]), models, "salt", START)
    with pytest.raises(ConfigError, match=r"not_before of the rollout is not accepted"):
        begin(Order([("mine", "1.0", ())], not_before="tomorrow"), models, "salt", START)
    with pytest.raises(ConfigError, match=r"not_before of the rollout is not accepted"):
        begin(Order([("mine", "1.0", ())], not_before="2026-13-01T00:00:00Z"), models, "salt", START)
    with pytest.raises(ConfigError, match="there is no channel nightly; known: stable, beta"):
        write(fleet.repository, replace(started(fleet), channel="nightly"), fleet.now)


def test_two_cohorts_are_given_two_releases_and_others_none(fleet: Fleet) -> None:
    rollout = started(fleet, ("2.0", ("a",)), ("2.1", ("b",)), share=1_000_000).rollout
    given = {
        cohort: [one.path.split("/")[2] for one in rollout.choose if is_given(one, Whom("cam-1", (cohort,)))]
        for cohort in ("a", "b", "c")
    }
    assert given == {"a": ["2.0"], "b": ["2.1"], "c": []}


def test_other_salts_begin_with_other_devices(fleet: Fleet) -> None:
    rollout = started(fleet, share=100_000).rollout
    other = rollout.model_copy(update={"salt": "another"})
    first, second = ({one for one in IDS if is_meant(each, Whom(one))} for each in (rollout, other))
    assert len(first & second) / len(IDS) == pytest.approx(0.01, abs=0.005)


def test_a_healthy_rollout_is_widened_step_by_step_to_all_and_then_left(fleet: Fleet) -> None:
    running, now, shares = started(fleet), START, []
    for _ in range(5):
        now += timedelta(days=1)
        told = reports(running, committed=500, rolled_back=5).model_copy(update={"taken": moment(now)})
        decision = judge(running, told, now)
        if decision.action == "promote":
            rollout = widened(running, decision.share_ppm)
            running = Running("stable", rollout, running.plan.model_copy(update={"since": moment(now)}))
        shares.append((decision.action, decision.share_ppm))
    assert shares == [("promote", 100_000), ("promote", 500_000), ("promote", 1_000_000), *[("hold", 1_000_000)] * 2]


@pytest.mark.parametrize(
    ("counts", "later", "action", "why"),
    [
        ({"committed": 500}, timedelta(hours=23), "hold", "for another 1.0 h"),
        ({"committed": 19}, timedelta(days=2), "hold", "only 19 of 20 devices"),
        ({"committed": 80, "trying": 20}, timedelta(days=2), "hold", "20 devices are not through"),
        ({"committed": 98, "rolled_back": 2}, timedelta(days=2), "promote", "100 devices are through"),
        ({"committed": 97, "rolled_back": 3}, timedelta(days=2), "halt", "3 of 100 devices failed"),
        ({"committed": 90, "silent": 10}, timedelta(hours=1), "halt", "10 of 100 devices failed"),
        ({"committed": 1, "rolled_back": 1}, timedelta(days=2), "hold", "only 2 of 20"),
        ({"rolled_back": 2}, timedelta(minutes=1), "halt", "2 of 2 devices failed"),
    ],
)
def test_what_is_done_follows_from_the_reports(
    fleet: Fleet, counts: dict[str, int], later: timedelta, action: str, why: str
) -> None:
    told = reports(started(fleet), **counts).model_copy(update={"taken": moment(START + later)})
    decision = judge(started(fleet), told, START + later)
    assert decision.action == action
    assert why in decision.why


def test_one_bad_release_of_two_halts_both(fleet: Fleet) -> None:
    running = started(fleet, ("2.0", ("a",)), ("2.1", ("b",)))
    good, bad = (one.sha256 for one in running.rollout.choose)
    told = {good: Counts(committed=990), bad: Counts(committed=5, rolled_back=5, codes={"E_BLIND": 5})}
    all_told = Reports(schema=1, rollout=running.rollout.id, taken=moment(START), releases=told)
    decision = judge(running, all_told, START + timedelta(days=2))
    assert decision.action == "halt"
    assert f"5 of 10 devices failed with release {bad[:12]} (E_BLIND 5)" in decision.why


def test_nothing_is_widened_by_reports_from_before_the_last_change_to_come_or_of_another_rollout(fleet: Fleet) -> None:
    running = started(fleet)
    old = reports(running, committed=500).model_copy(update={"taken": moment(START - timedelta(hours=1))})
    assert "before the last change" in judge(running, old, START + timedelta(days=2)).why
    ahead = reports(running, committed=500)
    assert "still to come" in judge(running, ahead, START + timedelta(days=2) - timedelta(minutes=6)).why
    assert judge(running, ahead, START + timedelta(days=2) - timedelta(minutes=4)).action == "promote"
    other = old.model_copy(update={"rollout": "other"})
    with pytest.raises(ConfigError, match="these are reports of rollout other"):
        judge(running, other, START)


def test_a_bad_release_stops_at_the_canaries(fleet: Fleet) -> None:
    """A fleet of 20,000 whose devices fail with 30 % chance: `auto`, run every hour, halts within the first share."""
    running, chance, now = started(fleet), random.Random(3), START
    inside = [one for one in IDS if is_meant(running.rollout, Whom(one))]
    outcome: Counter[str] = Counter()
    while running.rollout.state == "active":
        now += timedelta(hours=1)
        for _ in range(10):
            outcome["rolled_back" if chance.random() < 0.3 else "committed"] += 1
        told = reports(running, **outcome).model_copy(update={"taken": moment(now)})
        if judge(running, told, now).action == "halt":
            running = replace(running, rollout=halted(running.rollout))
    assert sum(outcome.values()) <= 20
    assert running.rollout.share_ppm == 10_000
    assert len(inside) < 300


def test_reports_are_counts_and_nothing_else() -> None:
    for wrong in ({"committed": -1}, {"committed": 1.5}, {"commited": 1}):
        with pytest.raises(ValidationError):
            Counts.model_validate(wrong)
