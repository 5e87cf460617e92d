"""What is kept of models from the fleet: in service, before that, under way, refused. Pure."""

from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from appliance.core.part import Part
from appliance.updates.formats import Moment, Name, Sha256, Trial, Version, Word
from appliance.updates.refusals import Code

MOST_STEPS: Final = 32  # of one update; one that does all it can takes 9
MOST_BLOCKED: Final = 256
MOST_PAST: Final = 50
MOST_NAMES: Final = 64


class Stage(StrEnum):
    """Where an update stands."""

    IDLE = "idle"
    CHECKING = "checking"
    PLANNED = "planned"
    DOWNLOADING = "downloading"
    VERIFYING = "verifying"
    STAGED = "staged"
    INSPECTING = "inspecting"
    SMOKE = "smoke"
    SHADOW = "shadow"
    TRIAL = "trial"
    COMMITTED = "committed"
    ROLLED_BACK = "rolled_back"


KEPT: Final = frozenset(Stage) - {Stage.IDLE, Stage.CHECKING, Stage.COMMITTED, Stage.ROLLED_BACK}
"""Stages that are kept: `idle` and `checking` change nothing, and an end stands in the history."""

Why = Annotated[str, Field(max_length=500)]
Boot = Annotated[str, Field(pattern=r"^[0-9a-f]{0,32}$")]
Figure = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class Held(Part):
    """A release that is here, or on its way.

    Attributes:
        sha256: Of its manifest; the name of its folder.
        name: Of the model.
        version: Of the model.
        counter: Of the release.
    """

    sha256: Sha256
    name: Name
    version: Version
    counter: Annotated[int, Field(ge=1)]


class Compared(Part):
    """What a candidate found in the same live frames as the model in service.

    Objects are counted; of classifiers labels of frames that they are sure of (the best, or each where labels may apply
    together), of segmentation networks thousandths of a picture that labels cover.

    Attributes:
        frames: That both saw.
        active: Objects that the model in service found.
        candidate: Objects that the candidate found.
        both: Objects that both found.
    """

    frames: Annotated[int, Field(ge=0)]
    active: Annotated[int, Field(ge=0)]
    candidate: Annotated[int, Field(ge=0)]
    both: Annotated[int, Field(ge=0)]


class Reference(Part):
    """How the model before a candidate did: what that one is judged by, though the daemon was started again meanwhile.

    Attributes:
        latency_ms: As of `judging.Vitals`, to a tenth; so are the others.
        fps: Likewise.
        memory_mb: Likewise.
        is_throttled: Likewise.
        idle: Likewise.
        setup: Likewise.
    """

    latency_ms: Figure = 0.0
    fps: Figure = 0.0
    memory_mb: Figure = 0.0
    is_throttled: bool = False
    idle: Annotated[frozenset[Annotated[str, Field(max_length=64)]], Field(max_length=64)] = frozenset()
    setup: Annotated[str, Field(max_length=64)] = ""


class Update(Part):
    """An update under way.

    Attributes:
        release: The candidate.
        rollout: Which rollout it follows.
        stage: Where it stands.
        is_return: It goes back to an older release, as the fleet says.
        trial: What the candidate must stand.
        steps: Stages so far.
        halves: Of attempts that were cut short.
        crashes: Of the daemon while the candidate was tried.
        boot: In which an attempt has begun; empty: none has.
        compared: What it found beside the model in service; None: it has not come so far.
        before: How the model did that was in service before the trial; None: likewise.
    """

    release: Held
    rollout: Word
    stage: Stage = Stage.PLANNED
    is_return: bool = False
    trial: Trial = Trial()
    steps: Annotated[int, Field(ge=0, le=MOST_STEPS)] = 0
    halves: Annotated[int, Field(ge=0)] = 0
    crashes: Annotated[int, Field(ge=0)] = 0
    boot: Boot = ""
    compared: Compared | None = None
    before: Reference | None = None


class Blocked(Part):
    """A release that is not taken again.

    Attributes:
        sha256: Of its manifest.
        code: Why, for reports.
    """

    sha256: Sha256
    code: Code


class Past(Part):
    """What came of an update.

    Attributes:
        release: Which.
        rollout: Which rollout it followed; empty: the owner's own doing.
        outcome: What.
        code: Why it was rolled back, for reports; None: it was not.
        why: Likewise, for people.
        time: When, as the device's clock said.
        compared: What it found beside the model in service; None: it did not come so far.
    """

    release: Held
    rollout: Word | Literal[""] = ""
    outcome: Literal["committed", "rolled_back"]
    code: Code | None = None
    why: Why = ""
    time: Moment
    compared: Compared | None = None


class Floor(Part):
    """Below what no release of a model is taken.

    Attributes:
        counter: The highest that was committed.
        security: The highest security floor that was seen; no return goes below it.
    """

    counter: Annotated[int, Field(ge=0)] = 0
    security: Annotated[int, Field(ge=0)] = 0


class State(Part):
    """All that is kept about models from the fleet.

    Attributes:
        schema_version: Of this format; `schema` in the file.
        active: In service; None: the factory model, which the configuration names.
        previous: In service before it.
        update: Under way; None: idle.
        blocked: What is not taken again; the oldest go first.
        past: What came of updates; likewise.
        floors: By name of the model.
        is_pinned: The owner wants nothing else than what is in service.
        starts: Halves of starts with the active release, in a row, that did not get as far as working.
        started: In which boot the last of them was; empty: in none.
        issued: Latest time that the fleet has signed.
        timestamp: Version of the fleet's timestamp that was seen last.
        unchanged: Seconds of checks since that version was new, as far as a device without a clock can tell.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    active: Held | None = None
    previous: Held | None = None
    update: Update | None = None
    blocked: Annotated[tuple[Blocked, ...], Field(max_length=MOST_BLOCKED)] = ()
    past: Annotated[tuple[Past, ...], Field(max_length=MOST_PAST)] = ()
    floors: dict[Name, Floor] = Field(default_factory=dict, max_length=MOST_NAMES)
    is_pinned: bool = False
    starts: Annotated[int, Field(ge=0)] = 0
    started: Boot = ""
    issued: Moment | None = None
    timestamp: Annotated[int, Field(ge=0)] = 0
    unchanged: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _an_end_is_not_kept(self) -> Self:
        if self.update is not None and self.update.stage not in KEPT:
            raise ValueError(f"update.stage: {self.update.stage} is not kept")
        return self

    @property
    def stage(self) -> Stage:
        """Where the update under way stands."""
        return Stage.IDLE if self.update is None else self.update.stage

    @property
    def in_service(self) -> Held | None:
        """What is to be loaded now: the candidate on trial, else the active release; None: the factory model."""
        if self.update is not None and self.update.stage is Stage.TRIAL:
            return self.update.release
        return self.active

    @property
    def kept(self) -> frozenset[str]:
        """Which releases must stay on disk, by their manifest's SHA-256."""
        held = (self.active, self.previous, self.update.release if self.update else None)
        return frozenset(one.sha256 for one in held if one is not None)

    def is_blocked(self, sha256: str) -> bool:
        """Tell whether a release is not taken again."""
        return any(one.sha256 == sha256 for one in self.blocked)

    def floor(self, name: str) -> Floor:
        """Give below what no release of a model is taken."""
        return self.floors.get(name, Floor())
