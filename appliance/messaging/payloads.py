"""What messages say: pure builders, and the envelope around every payload."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from appliance.core.clock import ClockQuality
from appliance.core.events import Event
from appliance.core.frame import Frame
from appliance.core.message import Message, Priority
from appliance.core.results import Detections
from appliance.messaging import topics

if TYPE_CHECKING:
    from appliance.messaging.contract import device, sights, words

SCHEMA_VERSION: Final = 1
"""`v` of every payload. Fields are only ever added within a version."""

RESERVED: Final = frozenset(
    {"v", "id", "gen", "seq", "boot", "time", "mono_ns", "clock", "camera", "replay", "queued_s"}
    | {"time_source", "time_error_ms", "time_after", "time_before"}
)
"""The envelope's own fields. `model` stands with them in the documentation, and comes with the body."""

MOST_ID_BYTES: Final = 128
"""A device's name has up to 64 letters, digits, - and _; generation and number come to less than the rest."""

_NS_IN_MS: Final = 1_000_000
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which model a message speaks for.

    Attributes:
        name: Its name: ``yolox-nano``.
        version: Its manifest's version.
        digest: SHA-256 of its file, hexadecimal.
    """

    name: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class Identity:
    """The number that makes a durable message unique and countable.

    Attributes:
        gen: Generation: 16 hexadecimal digits, new for every new outbox.
        seq: Sequence number within the generation, from 1.
    """

    gen: str
    seq: int


@dataclass(frozen=True, slots=True)
class Origin:
    """When, and in which boot, a message came about.

    Attributes:
        time_ns: UTC, nanoseconds since 1970.
        mono_ns: CLOCK_BOOTTIME, nanoseconds.
        clock: How far UTC could be trusted then.
        boot: The kernel's id of the boot.
        source: ``corrected``: UTC was not known then, and was counted back later; empty: it was known.
        error_ms: By how much UTC may be off, milliseconds; None: nobody counted it.
    """

    time_ns: int
    mono_ns: int
    clock: ClockQuality
    boot: str
    source: str = ""
    error_ms: int | None = None


def envelope(device: str, origin: Origin, identity: Identity | None = None, camera: str = "") -> dict[str, Any]:
    """Give the fields that stand before a payload's own; those without a value are left out.

    Args:
        device: The device's name.
        origin: When it came about.
        identity: The number of a durable message; None for others, which are not counted.
        camera: The camera it speaks of; empty for the device itself.
    """
    fields: dict[str, Any] = {"v": SCHEMA_VERSION}
    if identity is not None:
        fields["id"] = f"{device}/{identity.gen}/{identity.seq}"
        fields["gen"] = identity.gen
        fields["seq"] = identity.seq
    fields["boot"] = origin.boot
    fields["time"] = utc_text(origin.time_ns)
    fields["mono_ns"] = origin.mono_ns
    fields["clock"] = origin.clock.value
    if origin.source:
        fields["time_source"] = origin.source
    if origin.error_ms is not None:
        fields["time_error_ms"] = origin.error_ms
    if camera:
        fields["camera"] = camera
    return fields


def render(device: str, message: Message, origin: Origin, identity: Identity | None = None) -> bytes:
    """Give the payload of a message: its envelope, then its own fields; for another system its own fields alone.

    Raises:
        ValueError: It has a field that belongs to the envelope, or cannot be JSON: the builder of the message is wrong.
    """
    if topics.is_foreign(message.topic):
        return encode(message.body) if message.body else b""
    fields = envelope(device, origin, identity, message.camera)
    if twice := RESERVED & message.body.keys():
        raise ValueError(f"{message.topic} has fields that belong to the envelope: {', '.join(sorted(twice))}")
    shift_ns = origin.time_ns - message.time_ns if message.time_ns else 0
    return encode({**fields, **_shifted(message.body, shift_ns)})


def _shifted(body: Mapping[str, Any], shift_ns: int) -> Mapping[str, Any]:
    """Give a body whose `start_time` goes with the time of its envelope, where that is not the builder's."""
    start = body.get("start_time")
    if abs(shift_ns) < _NS_IN_MS or not isinstance(start, str):
        return body
    return {**body, "start_time": utc_text(parse_utc(start) + shift_ns)}


def encode(fields: Mapping[str, Any]) -> bytes:
    """Give compact JSON in UTF-8.

    Raises:
        ValueError: A number is not finite, or a value is no JSON type: the builder of the message is wrong.
    """
    try:
        return _ENCODER.encode(fields).encode()
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def encode_late(payload: bytes, queued: float | None) -> bytes:
    """Mark an encoded payload as sent late.

    Args:
        payload: What `encode` gave for an object with fields.
        queued: Seconds between queueing and sending; None when no clock can tell.
    """
    late: dict[str, Any] = {"replay": True}
    if queued is not None:
        late["queued_s"] = round(queued, 1)
    return payload[:-1] + b"," + encode(late)[1:]


def id_of(payload: bytes) -> str:
    """Give the `id` of a durable message's encoded payload; empty when it has none."""
    begin = payload.find(b'"id":"', 0, 32)  # it stands behind the version; see `envelope`
    end = payload.find(b'"', begin + 6, begin + 6 + MOST_ID_BYTES) if begin >= 0 else -1
    return payload[begin + 6 : end].decode(errors="replace") if end >= 0 else ""


def utc_text(time_ns: int) -> str:
    """Give UTC as RFC 3339 with milliseconds: ``2026-01-31T12:00:00.000Z``."""
    # whole milliseconds, cut off rather than rounded: a time must not lie after what it tells of
    milliseconds = time_ns // 1_000_000
    return f"{_seconds_text(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


@lru_cache(maxsize=16)  # this is done for every message, and many come within a second
def _seconds_text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def parse_utc(text: str) -> int:
    """Give the nanoseconds since 1970 of what `utc_text` gave."""
    return nanoseconds(datetime.fromisoformat(text))


def nanoseconds(moment: datetime) -> int:
    """Give UTC in whole nanoseconds since 1970, without the rounding of a float."""
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000


def model_told(model: ModelInfo) -> "words.Model":
    """Give what messages say of a model."""
    return {"name": model.name, "version": model.version, "digest": model.digest}


def event_message(event: Event, model: ModelInfo) -> Message:
    """Give the durable message for one moment in the life of an object."""
    body: sights.Event = {
        "model": model_told(model),
        "type": event.type.value,
        "object_id": event.object_id,
        "label": event.label,
        "group": event.group,
        "class_id": event.class_id,
        "score": round(event.score, 4),
        "best_score": round(event.best_score, 4),
        **_place(event.box, event.width, event.height),
        "width": event.width,
        "height": event.height,
        "start_time": utc_text(event.start_time_ns),
        "duration": round(event.duration, 3),
        "changes": [change.value for change in event.changes],
        "zones": list(event.zones),
        "entered_zones": list(event.entered_zones),
        "dwell": {zone: round(seconds, 3) for zone, seconds in zip(event.zones, event.dwell, strict=False)},
        "crossings": [{"line": one.line, "direction": one.direction} for one in event.crossings],
        "stationary": event.stationary,
        "direction": None if event.direction is None else round(event.direction, 1),
    }
    return Message(
        topic=topics.events(event.camera),
        body=body,
        durable=True,
        qos=1,
        priority=Priority.EVENT,
        camera=event.camera,
        time_ns=event.time_ns,
        mono_ns=event.mono_ns,
    )


def detections_message(
    frame: Frame, detections: Detections, labels: Sequence[str], model: ModelInfo, inference_ms: float
) -> Message:
    """Give the message that says what one frame shows; not durable.

    Args:
        frame: Where it was seen; only its number, sizes and times are read.
        detections: What was seen.
        labels: The model's labels by class id.
        model: The model that saw it.
        inference_ms: How long the model ran, in milliseconds.
    """
    found = zip(detections.class_ids.tolist(), detections.scores.tolist(), detections.boxes.tolist(), strict=True)
    body: sights.Detections = {
        "model": model_told(model),
        "frame": frame.number,
        "width": frame.width,
        "height": frame.height,
        "inference_ms": round(inference_ms, 2),
        "detections": [
            {
                "label": labels[class_id],
                "class_id": class_id,
                "score": round(score, 4),
                **_place(box, frame.width, frame.height),
            }
            for class_id, score, box in found
        ],
    }
    return Message(
        topic=topics.detections(frame.camera),
        body=body,
        camera=frame.camera,
        priority=Priority.DETAIL,
        time_ns=nanoseconds(frame.time),
        mono_ns=frame.mono_ns,
    )


def status_message(camera: str, state: str, why: str = "") -> Message:
    """Give the retained message that says how a camera is.

    Args:
        camera: The camera's name.
        state: ``online``, ``stalled``, ``offline`` or ``disabled``.
        why: One line; empty when all is well.
    """
    body: sights.Status = {"state": state, "why": why}
    return Message(topics.status(camera), body, retain=True, qos=1, camera=camera)


def settings_message(camera: str, *, detect: bool, min_score: float | None) -> Message:
    """Give the retained message that says what commands can change of a camera, as it is now.

    Args:
        camera: The camera's name.
        detect: The model is run on its frames.
        min_score: Lowest score of what is told; None: the model's task has none.
    """
    body: sights.Settings = {"detect": detect, "min_score": min_score}
    return Message(topics.settings(camera), body, retain=True, qos=1, camera=camera)


def counts_message(
    camera: str,
    counts: Mapping[str, int],
    zone_counts: Mapping[str, Mapping[str, int]],
    group_counts: Mapping[str, int],
    zone_group_counts: Mapping[str, Mapping[str, int]],
) -> Message:
    """Give the retained message that says how many objects are in view.

    Args:
        camera: The camera's name.
        counts: How many per label.
        zone_counts: How many per zone and label.
        group_counts: How many per group of labels.
        zone_group_counts: How many per zone and group.
    """
    body: sights.Counts = {
        "counts": dict(counts),
        "zones": {zone: dict(inside) for zone, inside in zone_counts.items()},
        "groups": dict(group_counts),
        "zone_groups": {zone: dict(inside) for zone, inside in zone_group_counts.items()},
    }
    return Message(topics.counts(camera), body, retain=True, qos=1, camera=camera)


def health_message(figures: Mapping[str, Any]) -> Message:
    """Give the retained message with the device's figures."""
    return Message(topics.HEALTH, dict(figures), retain=True, qos=1)


def info_message(facts: Mapping[str, Any]) -> Message:
    """Give the retained message that says what this device is: hardware, application, model, capabilities."""
    return Message(topics.INFO, dict(facts), retain=True, qos=1)


def gap_body(
    count: int,
    first: int,
    last: int,
    ranges: Sequence[tuple[int, int]],
    reason: str,
    *,
    uncounted_s: float | None = None,
) -> "device.Gap":
    """Give the body of a gap record: numbers of this generation that will never arrive.

    Args:
        count: How many.
        first: The lowest of them.
        last: The highest of them.
        ranges: Exactly which, first and last of each run; empty when there were too many runs to keep.
        reason: Why: ``rows``, ``bytes``, ``age``, ``inlet``, ``invalid``, ``too_large``, ``corrupt``, ``restart``,
            ``refused``.
        uncounted_s: Messages without a number may be lost as well: what came in within so many seconds.
    """
    body: device.Gap = {"from": first, "to": last, "count": count, "reason": reason}
    if ranges:
        body["ranges"] = [list(run) for run in ranges]
    if uncounted_s is not None:
        body["uncounted_s"] = uncounted_s
    return body


def _place(box: Sequence[float], width: int, height: int) -> "words.Place":
    x1, y1, x2, y2 = box
    return {
        "box": [round(x1, 1), round(y1, 1), round(x2, 1), round(y2, 1)],
        "box_n": [round(x1 / width, 4), round(y1 / height, 4), round(x2 / width, 4), round(y2 / height, 4)],
    }
