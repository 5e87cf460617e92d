import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from appliance.core.clock import ClockQuality
from appliance.core.events import Change, Crossing, Event, EventType
from appliance.core.frame import Frame, PixelLayout
from appliance.core.message import Message, Priority
from appliance.core.results import Detections
from appliance.messaging import payloads, topics
from appliance.messaging.payloads import Identity, ModelInfo, Origin
from tests.simulators.schemas import mistakes

MODEL = ModelInfo("yolox-nano", "1.0", "ab" * 32)
ORIGIN = Origin(1_769_860_800_123_999_999, 42, ClockQuality.SYNCED, "b007")
EVENT = Event(
    type=EventType.UPDATE,
    camera="door",
    object_id="a1b2c3-7",
    label="person",
    class_id=0,
    score=0.87654321,
    best_score=0.91,
    box=(10.04, 20.06, 110.0, 220.0),
    width=640,
    height=480,
    time_ns=1_769_860_800_123_999_999,
    mono_ns=42,
    start_time_ns=1_769_860_799_000_000_000,
    duration=1.1239,
    changes=(Change.ZONE_ENTERED,),
    zones=("porch",),
    entered_zones=("street", "porch"),
    dwell=(0.5,),
    crossings=(Crossing("gate", "in"),),
    stationary=False,
    direction=91.26,
)


def rendered(message: Message, identity: Identity | None = None) -> dict[str, object]:
    fields = json.loads(payloads.render("dev", message, ORIGIN, identity))
    assert isinstance(fields, dict)
    return fields


def frame() -> Frame:
    return Frame(
        image=np.zeros((480, 640, 3), np.uint8),
        layout=PixelLayout.BGR,
        width=640,
        height=480,
        camera="door",
        number=17,
        time=datetime(2026, 1, 31, 12, 0, 0, 123456, UTC),
        mono_ns=42,
    )


def test_field_names_and_their_order_are_frozen() -> None:
    envelope = ["v", "id", "gen", "seq", "boot", "time", "mono_ns", "clock", "camera", "model"]
    own = ["type", "object_id", "label", "group", "class_id", "score", "best_score", "box", "box_n", "width"]
    own += [
        "height",
        "start_time",
        "duration",
        "changes",
        "zones",
        "entered_zones",
        "dwell",
        "crossings",
        "stationary",
        "direction",
    ]
    fields = rendered(payloads.event_message(EVENT, MODEL), Identity("0123456789abcdef", 5))
    assert list(fields) == envelope + own
    assert mistakes("events", fields) == []
    assert fields["model"] == {"name": "yolox-nano", "version": "1.0", "digest": "ab" * 32}
    assert fields["crossings"] == [{"line": "gate", "direction": "in"}]
    assert (fields["id"], fields["gen"], fields["seq"]) == ("dev/0123456789abcdef/5", "0123456789abcdef", 5)
    assert fields["time"] == "2026-01-31T12:00:00.123Z"
    assert fields["clock"] == "synced"


def test_other_payloads_have_frozen_field_names_too() -> None:
    head = ["v", "boot", "time", "mono_ns", "clock"]
    found = Detections(np.array([[1, 2, 3, 4]], np.float32), np.array([0.5], np.float32), np.array([1], np.int32))
    detections = rendered(payloads.detections_message(frame(), found, ["person", "car"], MODEL, 12.345))
    assert list(detections) == [*head, "camera", "model", "frame", "width", "height", "inference_ms", "detections"]
    assert detections["detections"] == [
        {
            "label": "car",
            "class_id": 1,
            "score": 0.5,
            "box": [1.0, 2.0, 3.0, 4.0],
            "box_n": [0.0016, 0.0042, 0.0047, 0.0083],
        }
    ]
    assert list(rendered(payloads.status_message("door", "stalled", "no frame"))) == [*head, "camera", "state", "why"]
    counts = rendered(
        payloads.counts_message("door", {"car": 1}, {"gate": {}}, {"vehicle": 1}, {"gate": {"vehicle": 0}})
    )
    assert list(counts) == [*head, "camera", "counts", "zones", "groups", "zone_groups"]
    assert (counts["groups"], counts["zone_groups"]) == ({"vehicle": 1}, {"gate": {"vehicle": 0}})
    assert list(payloads.gap_body(3, 1, 9, [(1, 2), (9, 9)], "rows")) == ["from", "to", "count", "reason", "ranges"]
    assert [*mistakes("detections", detections), *mistakes("counts", counts)] == []
    late = json.loads(payloads.encode_late(b'{"v":1}', 7.26))
    assert late == {"v": 1, "replay": True, "queued_s": 7.3}
    assert json.loads(payloads.encode_late(b'{"v":1}', None)) == {"v": 1, "replay": True}


def test_an_event_tells_the_group_of_its_label_or_that_there_is_none() -> None:
    truck = replace(EVENT, label="truck", group="vehicle")
    assert [rendered(payloads.event_message(event, MODEL))["group"] for event in (EVENT, truck)] == [None, "vehicle"]


def test_boxes_are_rounded_in_pixels_and_normalised() -> None:
    fields = rendered(payloads.event_message(EVENT, MODEL))
    assert fields["box"] == [10.0, 20.1, 110.0, 220.0]
    assert fields["box_n"] == [0.0157, 0.0418, 0.1719, 0.4583]
    assert fields["score"] == 0.8765


def test_topics_retain_and_quality_of_service_are_as_documented() -> None:
    found = Detections.empty()
    table = [
        (payloads.event_message(EVENT, MODEL), "door/events", True, False, 1, Priority.EVENT),
        (
            payloads.detections_message(frame(), found, [], MODEL, 1.0),
            "door/detections",
            False,
            False,
            0,
            Priority.DETAIL,
        ),
        (payloads.status_message("door", "online"), "door/status", False, True, 1, Priority.EVENT),
        (payloads.counts_message("door", {}, {}, {}, {}), "door/counts", False, True, 1, Priority.EVENT),
        (payloads.health_message({}), "health", False, True, 1, Priority.EVENT),
        (payloads.info_message({}), "info", False, True, 1, Priority.EVENT),
    ]
    for message, topic, durable, retain, qos, priority in table:
        got = (message.topic, message.durable, message.retain, message.qos, message.priority)
        assert got == (topic, durable, retain, qos, priority)
    assert topics.full("dev", topics.events("door")) == "edgecam/dev/door/events"


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_refused(number: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        payloads.render("dev", Message("health", {"x": number}), ORIGIN)


def test_values_that_are_no_json_and_fields_of_the_envelope_are_refused() -> None:
    with pytest.raises(ValueError, match="not JSON serializable"):
        payloads.render("dev", Message("health", {"x": np.float32(1)}), ORIGIN)
    with pytest.raises(ValueError, match="belong to the envelope: clock"):
        payloads.render("dev", Message("health", {"clock": {}}), ORIGIN)


def test_payloads_are_compact_utf8() -> None:
    payload = payloads.render("dev", Message("health", {"why": "Tür offen"}), ORIGIN)
    assert '"why":"Tür offen"'.encode() in payload
    assert b" " not in payload.replace("Tür offen".encode(), b"")


def test_nanoseconds_are_exact_where_a_float_is_not() -> None:
    moment = datetime(2026, 1, 31, 12, 0, 0, 123457, UTC)
    assert payloads.nanoseconds(moment) == 1_769_860_800_123_457_000
    assert payloads.nanoseconds(moment.astimezone(timezone(timedelta(hours=2)))) == 1_769_860_800_123_457_000
    assert payloads.utc_text(1_769_860_800_999_999_999) == "2026-01-31T12:00:00.999Z"
