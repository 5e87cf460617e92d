"""What a whole daemon with a detector really publishes is what its schemas and its table of topics say."""

import json
from pathlib import Path

from appliance.messaging.contract.channels import CHANNELS
from tests.simulators.broker import Mosquitto
from tests.simulators.schemas import channel_of, mistakes_on_the_wire
from tests.simulators.subscriber import Subscriber
from tests.system.hall import NEEDS, hall
from tests.system.process import EdgecamProcess, wait_for

pytestmark = NEEDS
MESSAGING = "commands = true\npictures = true"
MORE = """[cameras.hall.lines.middle]
points = [[0.5, 0.0], [0.5, 1.0]]
[cameras.spare]
enabled = false
kind = "synthetic"
"""
EXPECTED = {"availability", "info", "health", "status", "counts", "detections", "events"}
EXPECTED |= {"settings", "snapshot", "audit", "result"}
COMMANDS = {
    "threshold/a": b'{"camera":"hall","min_score":0.5}',
    "detect/-": b'{"camera":"hall","on":true}',
    "detect/b": b'{"camera":"nowhere","on":true}',
    "restart/c": b'{"what":1}',
    "replay/d": b'{"from":1,"to":2}',
    "snapshot/e": b'{"camera":"hall"}',
    "threshold/a ": b"",
}


def test_every_message_fits_its_schema_and_what_is_retained_is_there_for_who_comes_later(
    tmp_path: Path, broker: Mosquitto
) -> None:
    config = hall(broker, MESSAGING, MORE)
    with Subscriber(broker.port) as subscriber, EdgecamProcess(tmp_path, config=config) as edgecam:
        wait_for(lambda: len(subscriber.bodies("/health")) > 2, within=60, what="three health messages")
        wait_for(lambda: {"update", "end"} <= {e["type"] for e in subscriber.bodies("/events")}, 60, "whole lives")
        for command, payload in COMMANDS.items():
            subscriber.publish(f"edgecam/test/cmd/{command}", payload)
        wait_for(lambda: len(subscriber.bodies("/result")) >= 6, 20, "answers")
        wait_for(lambda: any(topic.endswith("/snapshot") for topic, _, _ in subscriber.messages), 10, "a picture")
        wait_for(lambda: subscriber.bodies("/health")[-1]["messaging"]["commands"]["unreadable"], 10, "what it counts")
        assert edgecam.stop() == 0
        wait_for(lambda: subscriber.bodies("/availability")[-1:] == ["offline"], 5, "the farewell")
        with Subscriber(broker.port, "late") as late:
            retained = {channel.name for channel in CHANNELS if channel.retain} & EXPECTED
            wait_for(lambda: {channel_of(topic) for topic, _, _ in late.messages} >= retained, 5, "what is retained")
            assert {channel_of(topic) for topic, _, _ in late.messages} == retained
            assert all(is_retained for _, _, is_retained in late.messages)
    messages = [one for one in subscriber.messages if "/cmd/" not in one[0] or one[0].endswith("/result")]
    assert mistakes_on_the_wire(messages) == []
    came = [(channel_of(topic), payload) for topic, payload, _ in messages]
    assert {name for name, _ in came} == EXPECTED
    durable = {channel.name for channel in CHANNELS if channel.durable}
    numbered = {name for name, payload in came if payload[:1] == b"{" and "seq" in json.loads(payload)}
    assert numbered == durable & EXPECTED
