"""A whole daemon that speaks to Home Assistant, as Frigate and in ONVIF's words, against a real broker."""

import json
from pathlib import Path
from typing import Any

from paho.mqtt import publish

from tests.simulators import compatible, home_assistant
from tests.simulators.broker import Mosquitto
from tests.simulators.schemas import mistakes_on_the_wire
from tests.simulators.subscriber import Subscriber
from tests.system.hall import NEEDS, hall
from tests.system.process import EdgecamProcess, wait_for

pytestmark = NEEDS
MESSAGING = """detections_interval = 0.2
[messaging.homeassistant]
enabled = HOME
[messaging.frigate]
enabled = true
prefix = "site/frigate"
[messaging.onvif]
enabled = true"""
LABELS = 'labels = ["person", "vehicle"]'
DISCOVERY = "homeassistant/device/edgecam-test/config"


def config(broker: Mosquitto, *, home: bool) -> str:
    return hall(broker, MESSAGING.replace("HOME", str(home).lower()), LABELS)


def last(subscriber: Subscriber, topic: str) -> Any:
    found = subscriber.at(topic)
    return json.loads(found[-1]) if found and found[-1] else None


def test_other_systems_get_what_their_documentation_says_and_ours_stays_as_it_is(
    tmp_path: Path, broker: Mosquitto
) -> None:
    objects, frames = (f"test/onvif-mj/VideoAnalytics/hall/{module}" for module in ("Objects", "Detections"))
    with (
        Subscriber(broker.port, pattern="#") as subscriber,
        EdgecamProcess(tmp_path, config=config(broker, home=True)) as edgecam,
    ):
        wait_for(lambda: subscriber.at(DISCOVERY), within=30, what="discovery")
        wait_for(lambda: subscriber.at("edgecam/test/hall/counts"), within=30, what="counts")
        first = json.loads(subscriber.at(DISCOVERY)[0])["components"]
        assert "hall.floor.label.person.occupied" in first, "named by the configuration"
        assert "hall._.label.person.occupied" not in first, "not seen yet"
        wait_for(
            lambda: "hall._.label.person.occupied" in last(subscriber, DISCOVERY)["components"], 30, "a person seen"
        )
        wait_for(lambda: len(subscriber.at("site/frigate/events")) >= 6, 60, "Frigate's events")
        wait_for(lambda: subscriber.at(objects) and subscriber.at(frames), 30, "ONVIF's metadata")
        wait_for(lambda: len(subscriber.bodies("test/health")) > 2, 30, "health")
        publish.single("homeassistant/status", b"online", 1, hostname="127.0.0.1", port=broker.port)
        edgecam.wait_for_status(lambda now: now["messaging"]["received"] == 1, 10, "Home Assistant's birth is heard")
        assert edgecam.peak_memory_mb() <= 140.0
        assert edgecam.stop() == 0
    told = last(subscriber, DISCOVERY)
    assert home_assistant.refused(told) == []
    came = {topic for topic, _, _ in subscriber.messages}
    assert {entity["state_topic"] for entity in told["components"].values()} <= came
    events = [json.loads(payload) for payload in subscriber.at("site/frigate/events")]
    assert [one for body in events for one in compatible.refused(compatible.FRIGATE_EVENT, body)] == []
    assert events[0]["type"] == "new"
    metadata = [json.loads(payload) for topic in (objects, frames) for payload in subscriber.at(topic)]
    assert [one for body in metadata for one in compatible.refused(compatible.ONVIF_METADATA, body)] == []
    ours = [message for message in subscriber.messages if message[0].startswith("edgecam/")]
    assert mistakes_on_the_wire(ours) == []
    assert "Traceback" not in edgecam.errors()


def test_what_home_assistant_was_told_is_taken_back_when_it_is_switched_off(tmp_path: Path, broker: Mosquitto) -> None:
    with EdgecamProcess(tmp_path, config=config(broker, home=True)) as edgecam:
        with Subscriber(broker.port, pattern="#") as subscriber:
            wait_for(lambda: last(subscriber, DISCOVERY), within=30, what="discovery")
        assert edgecam.stop() == 0
    with EdgecamProcess(tmp_path, config=config(broker, home=False)) as edgecam:
        with Subscriber(broker.port, "second", pattern="#") as subscriber:
            wait_for(lambda: subscriber.at("edgecam/test/info"), within=30, what="it runs")
            wait_for(lambda: subscriber.at(DISCOVERY)[-1:] == [b""], within=10, what="the empty message")
        wait_for(lambda: not (edgecam.state_dir / "homeassistant.json").exists(), within=20, what="nothing is kept")
        assert edgecam.stop() == 0
    with Subscriber(broker.port, "late", pattern="#") as subscriber:
        wait_for(lambda: subscriber.at("edgecam/test/info"), within=10, what="what is retained")
        assert subscriber.at(DISCOVERY) == []
