"""The small types that payloads are made of, each with its limits.

What stands behind a type in `Annotated` is for the schema: a text describes, a dictionary has JSON Schema's keywords.
`open_words` is for lists of words that may grow within a schema version; `Literal` is for those that may not.
"""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

MOST_ZONES = 32  # as the configuration takes them


def open_words(*known: str) -> dict[str, Any]:
    """Give the keywords for a word out of a list that may grow: a subscriber passes over what it does not know."""
    return {"examples": list(known), "description": "Others may be added."}


Count = Annotated[int, {"minimum": 0}]
Score = Annotated[float, {"minimum": 0, "maximum": 1}]
Share = Annotated[float, {"minimum": 0, "maximum": 1}]
Seconds = Annotated[float, {"minimum": 0}]
Milliseconds = Annotated[float, {"minimum": 0}]
Four = Annotated[list[float], {"minItems": 4, "maxItems": 4}]
PerLabel = dict[str, Count]
PerZone = Annotated[dict[str, PerLabel], {"maxProperties": MOST_ZONES}]
Time = Annotated[str, {"format": "date-time"}]


class Envelope(TypedDict):
    """What stands before the fields of every payload."""

    v: Annotated[Literal[1], "Schema version."]
    boot: Annotated[str, "The kernel's id of the boot."]
    time: Annotated[Time, "UTC of what happened, RFC 3339, milliseconds."]
    mono_ns: Annotated[Count, "The same moment on CLOCK_BOOTTIME, nanoseconds."]
    clock: Annotated[Literal["synced", "holdover", "unsynced"], "How far `time` can be trusted."]
    time_source: NotRequired[Annotated[str, open_words("corrected"), "How `time` came to be known, if not at once."]]
    time_error_ms: NotRequired[Annotated[Count, "By how much `time` may be off."]]


class Numbered(TypedDict):
    """What stands there too in durable messages."""

    id: Annotated[str, "The same in every resend: drop what you have seen."]
    gen: Annotated[str, "Generation: new for every new outbox."]
    time_after: NotRequired[Annotated[Time, "It was after this: `time` itself is not known."]]
    time_before: NotRequired[Annotated[Time, "It was before this: `time` itself is not known."]]
    seq: Annotated[int, {"minimum": 1}, "Number within the generation, without holes but those that a gap names."]


class Late(TypedDict, total=False):
    """What stands at the end of durable messages that are sent late."""

    replay: Annotated[Literal[True], "It is sent more than some seconds after it was queued."]
    queued_s: Annotated[Seconds, "Seconds it waited; missing where no clock can tell."]


class OfCamera(TypedDict):
    """What stands there too in messages of a camera."""

    camera: Annotated[str, "The camera's name."]


class Model(TypedDict):
    """Which model a message speaks for."""

    name: str
    version: str
    digest: Annotated[str, "SHA-256 of its file."]


class Place(TypedDict):
    """Where something is in the picture."""

    box: Annotated[Four, "x1, y1, x2, y2 in pixels of the source frame."]
    box_n: Annotated[Four, "The same divided by width and height."]


class Size(TypedDict):
    """How large the picture is."""

    width: Annotated[Count, "Of the source frame, pixels."]
    height: Annotated[Count, "Of the source frame, pixels."]
