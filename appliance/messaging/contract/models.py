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
    "E_KEY",
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


class Compared(TypedDict):
    """What a candidate found in the same live frames as the model that was in service.

    Objects are counted; of classifiers labels of frames that they are sure of (the best, or each where labels may apply
    together), of segmentation networks thousandths of a picture that labels cover.
    """

    frames: Annotated[Count, "That both saw."]
    active: Annotated[Count, "Objects that the model in service found."]
    candidate: Annotated[Count, "Objects that the candidate found."]
    both: Annotated[Count, "Objects that both found, with one label and at one place."]


class Licence(TypedDict):
    """How long the active release may be run."""

    expires: Annotated[str, {"format": "date"}, "The last day."]
    days: Annotated[int, "That are left; below 0: it is over."]


class Withheld(TypedDict):
    """Why the active release is not in service; the model that the configuration names is, meanwhile."""

    code: Annotated[str, open_words("E_LICENCE", "E_KEY")]
    why: Annotated[str, "The same, for people."]


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
    compared: Annotated[Compared | None, "null: it did not come so far."]


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
    licence: Annotated[Licence | None, "Of the active release; null: it does not end."]
    withheld: Annotated[Withheld | None, "null: what is active is in service."]


class Ended(TypedDict):
    """An update that came to an end."""

    release: Release
    rollout: Annotated[str, "Which rollout it followed; empty: the owner's own doing."]
    outcome: Outcome
    code: Reason
    why: Annotated[str, "The same, for people."]
    ended: Second
    compared: Annotated[Compared | None, "null: it did not come so far."]
