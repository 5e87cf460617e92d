"""What messages of a camera carry behind the envelope."""

from typing import Annotated, TypedDict

from appliance.messaging.contract.words import (
    MOST_ZONES,
    Count,
    Milliseconds,
    Model,
    PerLabel,
    PerZone,
    Place,
    Score,
    Seconds,
    Share,
    Size,
    Time,
    open_words,
)

_CHANGES = open_words(
    "zone_entered", "zone_left", "line_crossed", "dwell", "stationary", "moving", "better_score", "relabelled"
)
Shares = Annotated[
    dict[str, Share], {"maxProperties": 20}, "By label, the largest first; what was seen once stays, at 0."
]


class Crossing(TypedDict):
    """A way over a line."""

    line: str
    direction: Annotated[str, {"enum": ["in", "out"]}, "in: from left to right as seen along the line."]


class Event(Place, Size):
    """A moment in the life of an object."""

    model: Model
    type: Annotated[str, {"enum": ["start", "update", "end"]}, "Each object has one start and one end."]
    object_id: Annotated[str, "The same in all events of the object, and never used again."]
    label: Annotated[str, "What it was most seen as."]
    group: Annotated[str | None, "What the label counts as."]
    class_id: Count
    score: Annotated[Score, "In this frame; at the end, the last one seen."]
    best_score: Score
    start_time: Annotated[Time, "UTC at which it was first seen."]
    duration: Annotated[Seconds, "Seconds since then."]
    changes: Annotated[list[Annotated[str, _CHANGES]], "Why an update was sent."]
    zones: Annotated[list[str], "Those it is in now."]
    entered_zones: Annotated[list[str], "Every one it was in so far."]
    dwell: Annotated[dict[str, Seconds], "Seconds in each zone that it is in now."]
    crossings: Annotated[list[Crossing], "Since the event before."]
    stationary: bool
    direction: Annotated[float | None, {"minimum": 0, "maximum": 360}, "Degrees clockwise from up."]


class Detection(Place):
    """One object in one frame."""

    label: str
    class_id: Count
    score: Score


class OfFrame(Size):
    """What messages of one frame begin with."""

    model: Model
    frame: Annotated[Count, "The frame's number."]
    inference_ms: Milliseconds


class Detections(OfFrame):
    """What a detector saw in one frame."""

    detections: Annotated[list[Detection], {"maxItems": 1000}]


class Counts(TypedDict):
    """How many objects are in view."""

    counts: Annotated[PerLabel, "Per label; what was seen once stays, at 0."]
    zones: Annotated[PerZone, "Per zone and label."]
    groups: Annotated[PerLabel, "Per group of labels."]
    zone_groups: Annotated[PerZone, "Per zone and group."]


class Status(TypedDict):
    """How a camera is."""

    state: Annotated[str, open_words("online", "stalled", "offline", "disabled")]
    why: Annotated[str, "One line; empty when all is well."]


class Settings(TypedDict):
    """What commands can change of a camera."""

    detect: Annotated[bool, "The model is run on its frames."]
    min_score: Annotated[float | None, {"minimum": 0, "maximum": 1}, "Lowest score; null: the task has none."]


class Change(Size):
    """A camera's picture as a whole shows something else now."""

    model: Model
    label: Annotated[str | None, "What it shows now; null: nothing that the model is sure of."]
    class_id: Annotated[int | None, {"minimum": 0}]
    score: Score
    before: Annotated[str | None, "What it showed before."]
    lasted: Annotated[Seconds, "Seconds for which it showed that."]


class Ranked(TypedDict):
    """A label with its score."""

    label: str
    class_id: Count
    score: Score


class Classification(OfFrame):
    """What a camera's picture shows as a whole."""

    label: Annotated[str | None, "What it shows, by the last change."]
    labels: Annotated[list[Ranked], {"maxItems": 20}, "The best labels of the calmed scores."]


class Segmentation(OfFrame):
    """How much of the picture, and of each zone, the labels cover."""

    shares: Shares
    zones: Annotated[dict[str, Shares], {"maxProperties": MOST_ZONES}, "The same for each zone."]


class Mask(TypedDict):
    """Which pixels one label covers."""

    label: str
    class_id: Count
    share: Share
    counts: Annotated[str, {"maxLength": 65536}, "COCO's compressed run-length encoding."]


class Masks(OfFrame):
    """Which pixels of a frame the labels cover, where the owner asks for it."""

    size: Annotated[
        list[Annotated[int, {"minimum": 1, "maximum": 640}]],
        {"minItems": 2, "maxItems": 2},
        "Rows and columns of the masks.",
    ]
    masks: Annotated[list[Mask], {"maxItems": 256}, "The largest first."]
    left_out: Annotated[list[str], {"maxItems": 256}, "Labels whose masks the message had no room for."]
