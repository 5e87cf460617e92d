"""What commands ask of a worker of updates that really runs."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.daemon.control import Control
from appliance.messaging.orders import Order
from appliance.updates.updater import Updater
from tests.simulators.fleet import Fleet, served
from tests.simulators.fleet_site import NOW, Site
from tests.unit.daemon.test_control import POWERS


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    fleet = Fleet(tmp_path / "fleet", NOW)
    with served(fleet.folder) as web:
        yield Site(tmp_path, fleet, web)


def answers(site: Site, *orders: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Command one after the other, from a thread of its own as in the daemon."""
    found: list[dict[str, Any]] = []

    def command(updater: Updater) -> None:
        control = Control({}, publish=lambda _: None, powers=replace(POWERS, fleet=updater), least_score=0.1)
        for name, fields in orders:
            found.append(dict(control.perform(Order(name, "1", fields), threading.Event()).result))

    site.run(lambda _: len(found) == len(orders), first=3600.0, on_built=command)
    return found


def test_a_check_is_answered_with_what_the_fleet_has(site: Site) -> None:
    site.publish(2, trial={"active_seconds": 600})
    before, (answer,) = site.store.read(), answers(site, ("fleet-check", {}))
    assert before.timestamp == 0
    assert answer["done"]
    assert answer["candidate"]["version"] == "2"


def test_an_update_is_begun_though_its_start_is_spread_over_a_day(site: Site) -> None:
    site.publish(2, jitter_seconds=86_400)
    (answer,) = answers(site, ("model-update", {}))
    assert answer["done"]
    site.run(lambda facts: facts["stage"] == "idle" and facts["last"], first=3600.0, on_built=update)
    assert [one["outcome"] for one in site.ended] == ["committed"]


def update(updater: Updater) -> None:
    Control({}, publish=lambda _: None, powers=replace(POWERS, fleet=updater), least_score=0.1).perform(
        Order("model-update", "2", {}), threading.Event()
    )


def test_a_pinned_device_takes_nothing_until_it_is_let_go_of(site: Site) -> None:
    site.publish(2, trial={"active_seconds": 600})
    pinned, looked, free, taken = answers(
        site, ("model-pin", {"on": True}), ("fleet-check", {}), ("model-pin", {"on": False}), ("fleet-check", {})
    )
    assert (pinned["done"], pinned["pinned"], free["pinned"]) == (True, True, False)
    assert (looked["candidate"], looked["why"].partition(":")[0]) == (None, "the owner has pinned the model")
    assert taken["candidate"]["version"] == "2"


def test_what_was_taken_back_is_not_taken_again(site: Site) -> None:
    site.publish(2)
    site.run(lambda facts: facts["active"])
    back, looked = answers(site, ("model-rollback", {}), ("fleet-check", {}))
    assert (back["done"], back["active"]) == (True, None)
    assert site.ended[-1]["code"] == "E_OWNER"
    assert (looked["active"], looked["candidate"]) == (None, None)
    assert "not tried again" in looked["why"]


def test_without_anything_before_it_the_factory_model_stays_and_the_answer_says_so(site: Site) -> None:
    (answer,) = answers(site, ("model-rollback", {}))
    assert (answer["active"], answer["why"]) == (None, "the factory model is in service: there is none before it")
