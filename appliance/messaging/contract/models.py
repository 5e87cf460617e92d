"""What messages of models from the fleet carry behind the envelope."""

from typing import Annotated, TypedDict

from appliance.messaging.contract.words import Count, open_words

_CODES = open_words(
    "E_ROLLBACK",
    "E_FREEZE",
    "E_EXPIRED",
    "E_BADSIG",
    "E_INVALID",
    "E_HASH",
    "E_ENDLESS",
    "E_MISSING",
    "E_COUNTER",
    "E_LICENCE",
    "E_UNSUPPORTED",
    "E_CONTRACT",
    "E_INSPECTION",
    "E_GOLDEN",
    "E_CRASH",
    "E_HANG",
    "E_MEMORY",
    "E_DISK",
    "E_LATENCY",
    "E_FRAME_RATE",
    "E_NUMBERS",
    "E_BLIND",
    "E_FLOOD",
    "E_DISAGREEMENT",
    "E_THROTTLED",
    "E_HALTED",
    "E_POWER",
    "E_LOOP",
    "E_STARTS",
    "E_OWNER",
    "E_NETWORK",
    "E_SERVER",
    "E_SLOW",
    "E_PORTAL",
    "E_CERTIFICATE",
)
Outcome = Annotated[str, open_words("committed", "rolled_back")]
Reason = Annotated[str | None, _CODES, "Why something was refused, or could not be had; null: neither."]
Second = Annotated[str, {"pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"}, "UTC, by the device's clock."]


class Release(TypedDict):
    """A version of a model that the fleet's owner has signed."""

    sha256: Annotated[str, "Of its manifest."]
    name: Annotated[str, "Of the model."]
    version: Annotated[str, "Of the model."]
    counter: Annotated[int, {"minimum": 1}, "Rises with each release of a model."]


class Progress(TypedDict):
    """How far the bringing of a release is."""

    done: Annotated[Count, "Bytes that are here."]
    whole: Annotated[Count, "Bytes that there will be."]


class Named(TypedDict):
    """A model that the device came with."""

    name: str
    version: str


class Past(TypedDict):
    """What came of an update."""

    release: Release
    rollout: Annotated[str, "Which rollout it followed; empty: the owner's own doing."]
    outcome: Outcome
    code: Reason
    why: Annotated[str, "The same, for people."]
    time: Second


class Models(TypedDict):
    """Which releases are here, and how far an update is."""

    stage: Annotated[
        str,
        open_words("idle", "planned", "downloading", "verifying", "staged", "inspecting", "smoke", "shadow", "trial"),
    ]
    active: Annotated[Release | None, "In service; null: the factory model."]
    previous: Annotated[Release | None, "In service before it."]
    candidate: Annotated[Release | None, "Under way."]
    factory: Annotated[Named | None, "The model that the configuration names; null: that shows once it is loaded."]
    rollout: Annotated[str | None, "Which rollout the candidate follows."]
    progress: Annotated[Progress | None, "While a release is brought."]
    pinned: Annotated[bool, "The owner wants nothing else than what is in service."]
    why: Annotated[str, "What was the matter last; empty: nothing."]
    code: Reason
    last: Annotated[Past | None, "What came of the update before."]


class Ended(TypedDict):
    """An update that came to an end."""

    release: Release
    rollout: Annotated[str, "Which rollout it followed; empty: the owner's own doing."]
    outcome: Outcome
    code: Reason
    why: Annotated[str, "The same, for people."]
    ended: Second
