"""What happened in view of one camera: the life of an object, or another label of the whole picture."""

from dataclasses import dataclass
from enum import StrEnum


class EventType(StrEnum):
    """Where in its life the object is. Each object has one start and one end, and updates between."""

    START = "start"
    UPDATE = "update"
    END = "end"


class Change(StrEnum):
    """Why an update was sent."""

    ZONE_ENTERED = "zone_entered"
    ZONE_LEFT = "zone_left"
    LINE_CROSSED = "line_crossed"
    DWELL = "dwell"
    STATIONARY = "stationary"
    MOVING = "moving"
    BETTER_SCORE = "better_score"
    RELABELLED = "relabelled"


@dataclass(frozen=True, slots=True)
class Crossing:
    """An object's passage over a line.

    Attributes:
        line: The line's name in the configuration.
        direction: ``in`` when it went from the left to the right of the line as drawn from its first point to
            its last, else ``out``.
    """

    line: str
    direction: str


@dataclass(frozen=True, slots=True)
class Event:
    """One moment in the life of one object.

    Attributes:
        type: start, update or end.
        camera: Name of the camera.
        object_id: The same in all events of this object, and never used again, restarts included.
        label: The class most often seen for it, weighted by score, within the group most often seen.
        class_id: Index of `label` in the model's labels.
        score: Score in this frame, 0..1; at the end, the last one seen.
        best_score: Highest score so far, 0..1.
        box: xyxy in pixels of the source frame, (x1, y1, x2, y2).
        width: Width of the source frame in pixels.
        height: Height of the source frame in pixels.
        time_ns: UTC of this moment, nanoseconds since 1970.
        mono_ns: CLOCK_BOOTTIME of this moment, nanoseconds.
        start_time_ns: UTC at which the object was first seen, nanoseconds since 1970.
        duration: Seconds between first and last sight.
        changes: Why an update was sent; empty for start and end.
        zones: Zones it is in now.
        entered_zones: Every zone it was in so far, in order of entry.
        dwell: Seconds in each zone it is in now, in the order of `zones`.
        crossings: Lines crossed since the previous event.
        stationary: It has not moved for as long as the configuration asks.
        direction: Degrees clockwise from up in the picture, 0..360, of the way from its first sight to now; None
            when it has moved less than half its own size.
        group: The group that `label` is in, if any: ``vehicle``.
    """

    type: EventType
    camera: str
    object_id: str
    label: str
    class_id: int
    score: float
    best_score: float
    box: tuple[float, float, float, float]
    width: int
    height: int
    time_ns: int
    mono_ns: int
    start_time_ns: int
    duration: float
    changes: tuple[Change, ...] = ()
    zones: tuple[str, ...] = ()
    entered_zones: tuple[str, ...] = ()
    dwell: tuple[float, ...] = ()
    crossings: tuple[Crossing, ...] = ()
    stationary: bool = False
    direction: float | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class LabelChange:
    """What a camera's picture as a whole shows has become another.

    Attributes:
        camera: Name of the camera.
        label: What it shows now; None: nothing that the model is sure of, or the camera shows nothing.
        class_id: Index of `label` in the model's labels; None likewise.
        score: The calmed score of `label`, 0..1; 0 where there is none.
        before: What it showed before; None likewise.
        lasted: Seconds for which it showed `before`.
        width: Width of the source frame in pixels.
        height: Height of the source frame in pixels.
        time_ns: UTC of this moment, nanoseconds since 1970.
        mono_ns: CLOCK_BOOTTIME of this moment, nanoseconds.
    """

    camera: str
    label: str | None
    class_id: int | None
    score: float
    before: str | None
    lasted: float
    width: int
    height: int
    time_ns: int
    mono_ns: int
