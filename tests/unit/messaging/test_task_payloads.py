import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from appliance.core.clock import ClockQuality
from appliance.core.events import LabelChange
from appliance.core.frame import Frame, PixelLayout
from appliance.core.message import Message
from appliance.core.results import Classifications, Segmentation
from appliance.core.rle import Rle, decode_mask
from appliance.messaging import payloads
from appliance.messaging.payloads import Identity, ModelInfo, Origin
from appliance.messaging.task_payloads import (
    MOST_MASK_BYTES,
    change_message,
    classification_message,
    masks_message,
    segmentation_message,
)
from tests.simulators.schemas import mistakes

MODEL = ModelInfo("mobilenet", "1.0", "ab" * 32)
ORIGIN = Origin(1_769_860_800_123_999_999, 42, ClockQuality.SYNCED, "b007")
IMAGE = np.zeros((4, 8, 3), np.uint8)
FRAME = Frame(IMAGE, PixelLayout.BGR, 640, 480, "door", 17, datetime(2026, 1, 31, 12, 0, 0, 123456, UTC), 42)
LABELS = ("nothing", "cat", "dog")
WANTED = np.array([False, True, True])
CHANGE = LabelChange("door", "cat", 1, 0.87654321, "dog", 3.14159, 640, 480, 1_769_860_800_123_456_000, 42)
ENVELOPE = ["v", "boot", "time", "mono_ns", "clock", "camera", "model"]
OF_FRAME = ["frame", "width", "height", "inference_ms"]


def rendered(message: Message) -> dict[str, Any]:
    identity = Identity("0123456789abcdef", 5) if message.durable else None
    fields: dict[str, Any] = json.loads(payloads.render("dev", message, ORIGIN, identity))
    return fields


def masks(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> Message:
    return masks_message(FRAME, Segmentation(pixels), WANTED, labels=LABELS, model=MODEL, inference_ms=9.87654)


def test_a_change_is_durable_and_says_what_is_shown_now_and_was_before() -> None:
    message = change_message(CHANGE, MODEL)
    assert (message.topic, message.durable, message.qos, message.time_ns) == ("door/changes", True, 1, CHANGE.time_ns)
    fields = rendered(message)
    own = ["label", "class_id", "score", "before", "lasted", "width", "height"]
    assert list(fields) == ["v", "id", "gen", "seq", *ENVELOPE[1:], *own]
    assert (fields["score"], fields["lasted"]) == (0.8765, 3.142)
    assert mistakes("changes", fields) == []
    nothing = replace(CHANGE, label=None, class_id=None, score=0.0)
    assert mistakes("changes", rendered(change_message(nothing, MODEL))) == []


def test_a_classification_is_retained_state_with_the_best_labels() -> None:
    found = Classifications(np.array([0.9, 0.05], np.float32), np.array([1, 2], np.int32))
    message = classification_message(FRAME, "cat", found, labels=LABELS, model=MODEL, inference_ms=9.87654)
    assert (message.topic, message.durable, message.retain, message.qos) == ("door/classification", False, True, 1)
    fields = rendered(message)
    assert list(fields) == [*ENVELOPE, *OF_FRAME, "label", "labels"]
    assert fields["labels"][0] == {"label": "cat", "class_id": 1, "score": 0.9}
    assert mistakes("classification", fields) == []


def test_a_segmentation_is_retained_state_with_shares() -> None:
    message = segmentation_message(FRAME, {"cat": 0.25}, {"mat": {"cat": 1.0}}, model=MODEL, inference_ms=9.87654)
    assert (message.topic, message.retain, message.qos) == ("door/segmentation", True, 1)
    fields = rendered(message)
    assert list(fields) == [*ENVELOPE, *OF_FRAME, "shares", "zones"]
    assert (fields["shares"], fields["zones"]) == ({"cat": 0.25}, {"mat": {"cat": 1.0}})
    assert mistakes("segmentation", fields) == []


def test_masks_can_be_read_again_the_largest_first_and_without_the_background() -> None:
    pixels = np.zeros((6, 8), np.uint8)
    pixels[0, :2], pixels[2:, 3:] = 1, 2
    message = masks(pixels)
    assert (message.topic, message.retain, message.qos) == ("door/masks", False, 0)
    fields = rendered(message)
    assert list(fields) == [*ENVELOPE, *OF_FRAME, "size", "masks", "left_out"]
    assert [(one["label"], one["share"]) for one in fields["masks"]] == [("dog", 0.4167), ("cat", 0.0417)]
    for one in fields["masks"]:
        assert (decode_mask(Rle(*fields["size"], one["counts"])) == (pixels == one["class_id"])).all()
    assert fields["left_out"] == []
    assert mistakes("masks", fields) == []


def test_masks_that_a_message_has_no_room_for_are_named() -> None:
    noise = np.random.default_rng(1).integers(0, 2, (640, 640)).astype(np.uint8)
    noise[:4, :4] = 2
    message = masks(noise)
    assert message.body["left_out"] == ["cat"]
    assert [one["label"] for one in message.body["masks"]] == ["dog"]
    assert len(payloads.encode(message.body)) < MOST_MASK_BYTES + 2000


def test_no_payload_can_grow_over_what_the_outbox_and_the_broker_take() -> None:
    # every fourth difference is 44, whose first five bits the alphabet writes as a backslash, and JSON as two
    runs = np.cumsum(np.tile([44, 0, -44, 0], 640 * 640 // 90)) + 1
    pixels = np.repeat(np.arange(len(runs)) % 2, runs)[: 640 * 640]
    backslashes = np.zeros(640 * 640, np.uint8)
    backslashes[: len(pixels)] = pixels
    message = masks(backslashes.reshape(640, 640).T)
    assert message.body["masks"][0]["counts"].count("\\") > 4000
    assert len(payloads.encode(message.body)) < MOST_MASK_BYTES + 2000
    names = [f"{number:03}" + "x" * 97 for number in range(20)]
    shares = dict.fromkeys(names, 0.1234)
    zones = {f"{number:032}": shares for number in range(32)}
    body = segmentation_message(FRAME, shares, zones, model=MODEL, inference_ms=1.0).body
    assert len(payloads.encode(body)) < 128 << 10


@pytest.mark.parametrize(
    ("field", "value"), [("score", 1.5), ("label", 3), ("v", 2), ("clock", "fast"), ("seq", 0), ("colour", "red")]
)
def test_the_schema_refuses_what_is_no_change(field: str, value: object) -> None:
    assert len(mistakes("changes", rendered(change_message(CHANGE, MODEL)) | {field: value})) == 1
