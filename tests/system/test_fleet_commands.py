"""A hint and commands to a running daemon, over a real broker, about releases of a real fleet."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.shared_data import needs
from tests.simulators.broker import Mosquitto
from tests.simulators.schemas import mistakes_on_the_wire
from tests.simulators.subscriber import Subscriber
from tests.system.process import wait_for

pytest.importorskip("tuf", reason="needs tuf: make setup")

from tests.simulators.fleet import Fleet, served
from tests.system.fleet_waiting import FACTORY, FOOTAGE, HINT, VERSION, daemon, publish

pytestmark = [needs(FOOTAGE), pytest.mark.timeout(600)]


def commanded(subscriber: Subscriber, name: str, **fields: Any) -> dict[str, Any]:
    """Command the device, and give its answer."""
    subscriber.publish(f"edgecam/test/cmd/{name}/1", json.dumps(fields).encode())
    told: dict[str, Any] = wait_for(lambda: subscriber.bodies(f"cmd/{name}/1/result"), 90, f"an answer to {name}")[-1]
    return told


def sees_with(subscriber: Subscriber, version: str) -> bool:
    return any(one["model"]["version"] == version for one in subscriber.bodies("/detections")[-1:])


def test_a_hint_has_the_fleet_asked_and_commands_have_its_release_taken_and_taken_back(
    tmp_path: Path, broker: Mosquitto
) -> None:
    fleet = Fleet(tmp_path / "fleet")
    with (
        served(fleet.folder) as web,
        Subscriber(broker.port) as subscriber,
        daemon(tmp_path, fleet, web, broker) as edgecam,
    ):
        wait_for(lambda: sees_with(subscriber, FACTORY), 90, "the factory model")
        publish(tmp_path, fleet)
        subscriber.publish(HINT, b'{"timestamp": 1}', retain=True)
        wait_for(lambda: subscriber.bodies("/model")[-1]["stage"] == "planned", 90, "a plan, long before it is time")
        assert subscriber.bodies("/model")[-1]["candidate"]["version"] == VERSION
        begun = commanded(subscriber, "model-update")
        assert (begun["ok"], begun["result"]["done"], begun["result"]["candidate"]["version"]) == (True, True, VERSION)
        ended = wait_for(lambda: subscriber.bodies("/model/events"), 200, "what came of it")[0]
        assert (ended["outcome"], ended["why"]) == ("committed", "")
        assert commanded(subscriber, "model-pin", on=True)["result"]["pinned"] is True
        assert commanded(subscriber, "model-rollback")["ok"]
        wait_for(lambda: subscriber.bodies("/model/events")[-1]["code"] == "E_OWNER", 60, "the owner's own doing")
        wait_for(lambda: sees_with(subscriber, FACTORY), 60, "the factory model again")
        assert commanded(subscriber, "fleet-check")["result"]["why"].startswith("the owner has pinned the model")
        done = ["model-update", "model-pin", "model-rollback", "fleet-check"]
        wait_for(lambda: [one["command"] for one in subscriber.bodies("/audit") if one["ok"]] == done, 20, "records")
        assert edgecam.stop() == 0
    assert mistakes_on_the_wire(subscriber.messages) == []
