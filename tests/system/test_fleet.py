"""A running daemon brings a release from the fleet, tries it, and puts it in service between two frames."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.shared_data import needs
from tests.simulators.bad_models import released
from tests.simulators.broker import Mosquitto
from tests.simulators.fleet import Fleet, Web
from tests.simulators.schemas import mistakes_on_the_wire
from tests.simulators.subscriber import Subscriber
from tests.system.fleet_device import FOOTAGE, daemon, ended, publish, seen_by, waiting
from tests.system.process import wait_for

pytestmark = [needs(FOOTAGE), pytest.mark.timeout(600)]


def test_a_release_is_brought_tried_and_committed_while_frames_go_on_and_stays_after_a_restart(
    tmp_path: Path, fleet: Fleet, web: Web, broker: Mosquitto
) -> None:
    with Subscriber(broker.port) as subscriber, daemon(tmp_path, fleet, web, broker) as edgecam:
        wait_for(lambda: seen_by(subscriber, "0.2.0"), 40, "the factory model")
        publish(fleet, released(tmp_path / "v9", "9"), 9)
        committed = ended(subscriber, "9", 200)
        assert (committed["outcome"], committed["code"]) == ("committed", None)
        wait_for(lambda: seen_by(subscriber, "9"), 10, "messages that name the new version")
        status = edgecam.status()
        assert status["model"]["version"] == "9"
        assert status["cameras"]["street"]["frames_unseen"] == 0
        stages = [one["stage"] for one in subscriber.bodies("/model")]
        order = ["planned", "downloading", "verifying", "staged", "inspecting", "smoke", "shadow", "trial", "idle"]
        assert list(dict.fromkeys(stages[stages.index("planned") :])) == order
        frames = [one["frame"] for one in subscriber.bodies("/detections")]
        assert frames == sorted(frames)
        assert edgecam.stop() == 0
        edgecam.start()
        edgecam.wait_for_status(lambda now: now["model"]["version"] == "9", 40, "the release again")


def commanded(subscriber: Subscriber, name: str, **fields: Any) -> dict[str, Any]:
    """Command the device, and give its answer."""
    subscriber.publish(f"edgecam/test/cmd/{name}/1", json.dumps(fields).encode())
    told: dict[str, Any] = wait_for(lambda: subscriber.bodies(f"cmd/{name}/1/result"), 90, f"an answer to {name}")[-1]
    return told


def test_a_hint_has_the_fleet_asked_and_commands_have_its_release_taken_and_taken_back(
    tmp_path: Path, fleet: Fleet, web: Web, broker: Mosquitto
) -> None:
    with Subscriber(broker.port) as subscriber, daemon(tmp_path, fleet, web, broker, waiting()) as edgecam:
        wait_for(lambda: seen_by(subscriber, "0.2.0"), 60, "the factory model")
        publish(fleet, released(tmp_path / "v9", "9"), 9, shadow_frames=0)
        subscriber.publish("fleet/hint", b'{"timestamp": 1}', retain=True)
        wait_for(lambda: subscriber.bodies("/model")[-1]["stage"] == "planned", 60, "a plan, long before it is time")
        assert subscriber.bodies("/model")[-1]["candidate"]["version"] == "9"
        begun = commanded(subscriber, "model-update")
        assert (begun["ok"], begun["result"]["done"], begun["result"]["candidate"]["version"]) == (True, True, "9")
        assert ended(subscriber, "9", 200)["outcome"] == "committed"
        assert commanded(subscriber, "model-pin", on=True)["result"]["pinned"] is True
        assert commanded(subscriber, "model-rollback")["ok"]
        wait_for(lambda: subscriber.bodies("/model/events")[-1]["code"] == "E_OWNER", 60, "the owner's own doing")
        wait_for(lambda: subscriber.bodies("/detections")[-1]["model"]["version"] == "0.2.0", 60, "the factory model")
        assert commanded(subscriber, "fleet-check")["result"]["why"].startswith("the owner has pinned the model")
        done = ["model-update", "model-pin", "model-rollback", "fleet-check"]
        wait_for(lambda: [one["command"] for one in subscriber.bodies("/audit") if one["ok"]] == done, 20, "records")
        assert edgecam.stop() == 0
    assert mistakes_on_the_wire(subscriber.messages) == []
