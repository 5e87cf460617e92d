"""What of devices' messages counts for rollouts: checked, for anybody on the broker may have written them."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from appliance.updates.formats import Moment, Sha256, Word
from appliance.updates.state import Compared

Figure = Annotated[float, Field(ge=0.0, le=1e9, allow_inf_nan=False)]
Counter = Annotated[int, Field(ge=0, le=1 << 53)]
Nanoseconds = Annotated[int, Field(ge=0, lt=1 << 63)]


class Heard(BaseModel):
    """A part of a message; what is not known is passed over, as newer devices may say more."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)


class Named(Heard):
    """A release."""

    sha256: Sha256


class Stamped(Heard):
    """What every message says of its time.

    Attributes:
        boot: The kernel's id of the boot.
        time: UTC, as the device has it.
        mono_ns: The same on a clock that never steps.
        clock: How far `time` can be trusted.
    """

    boot: Annotated[str, Field(max_length=64)]
    time: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?Z$")]
    mono_ns: Nanoseconds
    clock: Annotated[str, Field(max_length=32)]


class Outcome(Heard):
    """What came of an update; `model` says it as `last`, `model/events` by itself."""

    release: Named
    rollout: Word | Literal[""]
    outcome: Literal["committed", "rolled_back"]
    code: Word | None = None
    ended: Annotated[Moment, Field(validation_alias="time")]
    compared: Compared | None = None


class Event(Stamped):
    """A `model/events` message; see `Outcome`."""

    release: Named
    rollout: Word | Literal[""]
    outcome: Literal["committed", "rolled_back"]
    code: Word | None = None
    ended: Moment
    compared: Compared | None = None


class Models(Stamped):
    """A `model` message."""

    stage: Word
    active: Named | None
    candidate: Named | None
    rollout: Word | None
    last: Outcome | None
    withheld: dict[str, str] | None = None

    @property
    def in_service(self) -> str | None:
        """SHA-256 of the manifest of what looks at frames; None: the factory model."""
        held = self.candidate if self.stage == "trial" else self.active if self.withheld is None else None
        return None if held is None else held.sha256


class Percentiles(Heard):
    """Of the last half minute."""

    p50: Figure
    p95: Figure


class Camera(Heard):
    """How a camera does; one without a detector has no objects."""

    frames_processed: Counter
    objects_begun: Counter = 0
    inference_ms: Percentiles


class Machine(Heard):
    """The machine's readings."""

    temperature_c: Annotated[float, Field(ge=-100.0, le=300.0)] | None = None


class Health(Stamped):
    """A `health` message."""

    uptime_s: Figure
    cameras: Annotated[dict[str, Camera], Field(max_length=64)]
    machine: Machine
