"""What is published for other systems: which messages, under which topics, in their formats."""

import json
import re
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from appliance.core.clock import ClockQuality
from appliance.core.events import Change, Event, EventType
from appliance.core.frame import Frame, PixelLayout
from appliance.core.message import Message
from appliance.core.results import Detections
from appliance.messaging import frigate, payloads, topics
from appliance.messaging.frigate import FrigateEvents
from appliance.messaging.onvif import OnvifMetadata
from appliance.messaging.payloads import ModelInfo, Origin, detections_message, event_message, status_message
from appliance.messaging.relay import Relay
from tests.simulators.compatible import FRIGATE_EVENT, ONVIF_METADATA, refused

DOCUMENTATION = Path(__file__).resolve().parents[3] / "docs" / "mqtt.md"
MODEL = ModelInfo("yolox-nano", "1.0", "ab" * 32)
START_NS, NOW_NS = 1_769_860_799_250_000_000, 1_769_860_801_500_000_000
EVENT = Event(
    type=EventType.START,
    camera="door",
    object_id="door-a1b2c3-7",
    label="car",
    class_id=2,
    score=0.75,
    best_score=0.875,
    box=(10.0, 20.0, 110.0, 220.0),
    width=640,
    height=480,
    time_ns=NOW_NS,
    mono_ns=42,
    start_time_ns=START_NS,
    duration=2.25,
    zones=("porch",),
    entered_zones=("street", "porch"),
    dwell=(0.5,),
    group="vehicle",
)
IMAGE = np.zeros((480, 640, 3), np.uint8)
FRAME = Frame(IMAGE, PixelLayout.BGR, 640, 480, "door", 17, datetime(2026, 1, 31, 12, 0, 1, 500000, UTC), 42)


def told(*events: Event) -> list[Message]:
    output = FrigateEvents("frigate")
    return [extra for event in events for extra in output.notice(event_message(event, MODEL))]


def rendered(message: Message) -> bytes:
    return payloads.render("dev", message, Origin(NOW_NS, 42, ClockQuality.SYNCED, "b007"))


def test_a_message_for_another_system_has_its_topic_and_format_and_no_envelope() -> None:
    (message,) = told(EVENT)
    assert (message.topic, topics.is_foreign(message.topic)) == ("/frigate/events", True)
    assert (message.durable, message.retain, message.qos) == (False, False, 0)
    assert json.loads(rendered(message)) == message.body
    assert rendered(Message("/homeassistant/device/x/config", {}, retain=True)) == b""


def test_the_life_of_an_object_is_told_as_frigate_tells_it() -> None:
    moved = replace(EVENT, type=EventType.UPDATE, changes=(Change.MOVING,), score=0.5)
    still = replace(EVENT, type=EventType.UPDATE, changes=(Change.STATIONARY,), stationary=True)
    bodies = [message.body for message in told(EVENT, moved, still, replace(EVENT, type=EventType.END))]
    assert [refused(FRIGATE_EVENT, json.loads(json.dumps(dict(body)))) for body in bodies] == [[]] * 4
    assert [body["type"] for body in bodies] == ["new", "update", "update", "end"]
    assert [one["before"] for one in bodies[1:]] == [one["after"] for one in bodies[:-1]]
    assert len({body["after"]["id"] for body in bodies}) == 1
    after = bodies[0]["after"]
    assert (after["start_time"], after["frame_time"], after["end_time"]) == (1769860799.25, 1769860801.5, None)
    assert (after["box"], after["area"], after["ratio"]) == ([10, 20, 110, 220], 20000, 0.5)
    assert (after["current_zones"], after["entered_zones"]) == (["porch"], ["street", "porch"])
    assert [body["after"]["position_changes"] for body in bodies] == [0, 1, 1, 1]
    assert [body["after"]["active"] for body in bodies] == [True, True, False, True]
    assert bodies[-1]["after"]["end_time"] == 1769860801.5


def test_the_fields_that_are_always_the_same_are_those_that_the_documentation_lists() -> None:
    rows = re.findall(r"(?m)^\| ((?:`\w+`(?:, )?)+) \| (`null`|`false`|0|empty) \|$", DOCUMENTATION.read_text())
    documented = {name: value for names, value in rows for name in re.findall(r"\w+", names)}
    values = {"`null`": [None], "`false`": [False], "0": [0], "empty": [{}, []]}
    busy = replace(EVENT, type=EventType.END, changes=(Change.MOVING,), stationary=True, score=0.1, direction=90.0)
    first, second = (message.body["after"] for message in told(EVENT, busy))
    same = {name for name in first if first[name] == second[name] and not first[name]}
    assert same == documented.keys()
    assert all(first[name] in values[value] for name, value in documented.items())


def test_two_objects_that_began_together_have_ids_of_their_own() -> None:
    bodies = [message.body for message in told(EVENT, replace(EVENT, object_id="door-a1b2c3-8"))]
    assert len({body["after"]["id"] for body in bodies}) == 2


def test_objects_whose_end_never_came_are_forgotten_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frigate, "MOST_OBJECTS", 2)
    output = FrigateEvents("x")
    for number in range(9):
        output.notice(event_message(replace(EVENT, object_id=f"door-{number}"), MODEL))
    assert len(output._before) == 2


@pytest.mark.parametrize("label", ["person", "car", "dog", "motorcycle", "umbrella"])
def test_onvif_metadata_is_as_the_specification_says(label: str) -> None:
    found = Detections(np.array([[1, 2, 3, 4]], np.float32), np.array([0.5], np.float32), np.array([0], np.int32))
    output = OnvifMetadata("gate-1")
    (seen,) = output.notice(detections_message(FRAME, found, [label], MODEL, 12.3))
    (begun,) = output.notice(event_message(replace(EVENT, label=label), MODEL))
    (ended,) = output.notice(event_message(replace(EVENT, label=label, type=EventType.END), MODEL))
    for message in (seen, begun, ended):
        assert refused(ONVIF_METADATA, json.loads(json.dumps(dict(message.body)))) == []
    assert seen.topic == "/gate-1/onvif-mj/VideoAnalytics/door/Detections"
    assert begun.topic == "/gate-1/onvif-mj/VideoAnalytics/door/Objects"
    (frame,), (last,) = begun.body["Frame"], ended.body["Frame"]
    assert frame["@UtcTime"] == "2026-01-31T12:00:01.500Z"
    assert "@ObjectId" not in seen.body["Frame"][0]["Object"][0]
    assert last["ObjectTree"]["Delete"][0]["@ObjectId"] == frame["Object"][0]["@ObjectId"]
    assert frame["Object"][0]["@UUID"] == "door-a1b2c3-7"


def test_onvif_coordinates_are_those_of_the_picture_from_minus_one_to_one_with_y_up() -> None:
    (message,) = OnvifMetadata("x").notice(event_message(replace(EVENT, box=(0.0, 0.0, 320.0, 480.0)), MODEL))
    (frame,) = message.body["Frame"]
    move, scale = frame["Transformation"]["Translate"], frame["Transformation"]["Scale"]
    box = frame["Object"][0]["Appearance"]["Shape"]["BoundingBox"]
    across = [box[side] * scale["@x"] + move["@x"] for side in ("@left", "@right")]
    up = [box[side] * scale["@y"] + move["@y"] for side in ("@top", "@bottom")]
    assert (across, up) == ([-1.0, 0.0], [1.0, -1.0])


def test_labels_are_told_in_onvif_s_words_and_in_the_model_s_own() -> None:
    output = OnvifMetadata("x")
    words = {}
    for label in ("person", "car", "umbrella"):
        (message,) = output.notice(event_message(replace(EVENT, label=label), MODEL))
        appearance = message.body["Frame"][0]["Object"][0]["Appearance"]
        words[label] = [one["#text"] for one in appearance["Class"]["Type"]], appearance.get("VehicleInfo")
    assert words["person"] == (["Human", "person"], None)
    assert words["car"] == (["Vehicle", "car"], {"Type": {"@Likelihood": 0.75, "#text": "Car"}})
    assert words["umbrella"] == (["umbrella"], None)


def test_an_empty_picture_is_a_frame_without_objects_and_other_messages_are_not_told() -> None:
    output = OnvifMetadata("x")
    (message,) = output.notice(detections_message(FRAME, Detections.empty(), [], MODEL, 1.0))
    assert "Object" not in message.body["Frame"][0]
    assert output.notice(status_message("door", "online")) == ()
    assert FrigateEvents("x").notice(status_message("door", "online")) == ()


def test_a_relay_passes_every_message_on_first_and_then_what_outputs_make_of_it() -> None:
    published: list[Message] = []
    relay = Relay(published.append, [FrigateEvents("frigate"), OnvifMetadata("gate-1")])
    event, status = event_message(EVENT, MODEL), status_message("door", "online")
    threads = [threading.Thread(target=relay.publish, args=(one,)) for one in (event, status)]
    for thread in threads:
        thread.start()
        thread.join()
    expected = ["door/events", "/frigate/events", "/gate-1/onvif-mj/VideoAnalytics/door/Objects", "door/status"]
    assert [message.topic for message in published] == expected
    assert published[0] is event
