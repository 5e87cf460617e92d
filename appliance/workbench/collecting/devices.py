"""What is known of each device, message by message. Pure: no files, no clocks."""

from datetime import UTC, datetime
from typing import Annotated, Final, Literal, TypeVar

from pydantic import Field

from appliance.core.part import Part
from appliance.updates.formats import Moment, Sha256, Word
from appliance.updates.state import Compared
from appliance.workbench.collecting.messages import (
    Counter,
    Event,
    Figure,
    Health,
    Models,
    Nanoseconds,
    Outcome,
    Stamped,
)

NEVER: Final = "1970-01-01T00:00:00Z"
FACTORY: Final = "factory"
"""Stands for the model that devices' configuration names, where a release's SHA-256 would stand."""

MOST_DEVICES: Final = 100_000
MOST_RELEASES: Final = 16  # of one device; the oldest go first
MOST_BYTES: Final = 128 << 10  # of a message, as devices send them
_NS: Final = 1e9

ValueT = TypeVar("ValueT")


class End(Part):
    """What came of a release on a device.

    Attributes:
        rollout: Which rollout it followed.
        outcome: What.
        code: Why it was rolled back.
        ended: When, by the device's clock.
        compared: What it found beside the model before it.
    """

    rollout: Word | Literal[""]
    outcome: Literal["committed", "rolled_back"]
    code: Word | None = None
    ended: Moment
    compared: Compared | None = None


class Run(Part):
    """How a device did with a release in service, as far as its `health` was heard.

    Attributes:
        seconds: Over which frames and objects were counted.
        frames: That the model saw.
        objects: That were reported.
        readings: `health` messages that the sums below are of.
        p50_ms: Sum of the medians of an inference, of the slowest camera.
        p95_ms: Likewise, of the 95th percentiles.
        warm: Readings with a temperature.
        temperature_c: Sum of those.
    """

    seconds: Figure = 0.0
    frames: Counter = 0
    objects: Counter = 0
    readings: Counter = 0
    p50_ms: Figure = 0.0
    p95_ms: Figure = 0.0
    warm: Counter = 0
    temperature_c: Annotated[float, Field(allow_inf_nan=False)] = 0.0


class Reading(Part):
    """Counters of the last `health`, from which the next one's are counted.

    Attributes:
        boot: In which it was.
        mono_ns: When, on the device's clock that never steps.
        uptime_s: Of the daemon.
        frames: So far.
        objects: So far.
    """

    boot: Annotated[str, Field(max_length=64)]
    mono_ns: Nanoseconds
    uptime_s: Figure
    frames: Counter
    objects: Counter


class Device(Part):
    """What is known of a device.

    Attributes:
        schema_version: Of this format; `schema` in the file.
        device: Its id.
        heard: When it last sent something, as far as can be told.
        candidate: The release that it is at; None: none.
        rollout: Which rollout that follows.
        in_service: The release that looks at frames, or `FACTORY`; None: not known yet.
        ends: What came of releases.
        runs: How it did with them.
        reading: Its last counters, of what is in service.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    device: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    heard: Moment
    candidate: Sha256 | None = None
    rollout: Word | None = None
    in_service: Sha256 | Literal["factory"] | None = None
    ends: dict[Sha256, End] = Field(default_factory=dict, max_length=MOST_RELEASES)
    runs: dict[Sha256 | Literal["factory"], Run] = Field(default_factory=dict, max_length=MOST_RELEASES)
    reading: Reading | None = None


class Devices:
    """All devices that were heard of.

    Attributes:
        messages: That counted.
        unreadable: That are not as documented.
        left_out: Of devices beyond the bound.
        changed: Ids of those of which something new is known since `changed` was last emptied.
    """

    def __init__(self) -> None:
        self.messages = self.unreadable = self.left_out = 0
        self.changed: set[str] = set()
        self._devices: dict[str, Device] = {}

    def __len__(self) -> int:
        return len(self._devices)

    def __getitem__(self, device: str) -> Device:
        return self._devices[device]

    def all(self) -> tuple[Device, ...]:
        """Give them in the order in which they were first heard of."""
        return tuple(self._devices.values())

    def put(self, device: Device) -> None:
        """Take in what a file says of a device."""
        if device.device in self._devices or len(self._devices) < MOST_DEVICES:
            self._devices[device.device] = device
        else:
            self.left_out += 1

    def take(self, topic: str, payload: bytes, now: datetime) -> None:
        """Take in a message.

        Args:
            topic: ``edgecam/DEVICE/model``, ``…/model/events`` or ``…/health``; others are passed over.
            payload: What it says.
            now: UTC, of the collector.
        """
        _, _, rest = topic.partition("edgecam/")
        name, _, kind = rest.partition("/")
        if kind not in {"model", "model/events", "health"}:
            return
        if len(payload) > MOST_BYTES:
            self.unreadable += 1
            return
        try:
            device = self._devices.get(name) or Device(device=name, heard=NEVER)
            after = _after(device, kind, payload, now)
        except ValueError:  # pydantic's among them
            self.unreadable += 1
            return
        if name not in self._devices and len(self._devices) >= MOST_DEVICES:
            self.left_out += 1
            return
        self.messages += 1
        if after != device or name not in self._devices:
            self._devices[name] = after
            self.changed.add(name)


def _after(device: Device, kind: str, payload: bytes, now: datetime) -> Device:
    if kind == "model":
        models = Models.model_validate_json(payload)
        return _heard(_of_models(device, models), models, now, is_retained=True)
    if kind == "health":
        health = Health.model_validate_json(payload)
        after = _of_health(device, health)
        return _heard(after, health, now, is_retained=after.reading == device.reading)
    event = Event.model_validate_json(payload)
    return _heard(_ended(device, event), event, now)


def _heard(device: Device, stamp: Stamped, now: datetime, *, is_retained: bool = False) -> Device:
    """Note when a device spoke: retained messages may be old, and a clock that was never synchronised tells nothing."""
    said = now
    if stamp.clock != "unsynced":
        said = min(now, datetime.fromisoformat(stamp.time).astimezone(UTC))
    elif is_retained and device.heard != NEVER:
        return device
    return device.model_copy(update={"heard": max(device.heard, text_of(said))})


def _of_models(device: Device, models: Models) -> Device:
    in_service = models.in_service or FACTORY
    candidate = None if models.candidate is None else models.candidate.sha256
    changed = {"candidate": candidate, "rollout": models.rollout, "in_service": in_service}
    if in_service != device.in_service:
        changed["reading"] = None  # what was counted before was counted of another model
    after = device.model_copy(update=changed)
    return after if models.last is None else _ended(after, models.last)


def _ended(device: Device, told: Outcome | Event) -> Device:
    sha256 = told.release.sha256
    before = device.ends.get(sha256)
    if before is not None and told.ended < before.ended:
        return device
    # a release that is given up later is so by the device itself; it still counts for the rollout that brought it
    rollout = told.rollout or (before.rollout if before is not None else "")
    compared = told.compared or (before.compared if before is not None else None)
    end = End(rollout=rollout, outcome=told.outcome, code=told.code, ended=told.ended, compared=compared)
    return device.model_copy(update={"ends": _bounded(device.ends, sha256, end)})


def _of_health(device: Device, health: Health) -> Device:
    cameras = health.cameras.values()
    reading = Reading(
        boot=health.boot,
        mono_ns=health.mono_ns,
        uptime_s=health.uptime_s,
        frames=sum(one.frames_processed for one in cameras),
        objects=sum(one.objects_begun for one in cameras),
    )
    before, release = device.reading, device.in_service
    if release is None or (before is not None and not _follows(reading, before)):
        is_older = before is not None and (before.boot, before.mono_ns) == (reading.boot, reading.mono_ns)
        return device if is_older else device.model_copy(update={"reading": reading})
    if before is None:
        return device.model_copy(update={"reading": reading})
    run, temperature = device.runs.get(release, Run()), health.machine.temperature_c
    after = Run(
        seconds=run.seconds + (reading.mono_ns - before.mono_ns) / _NS,
        frames=run.frames + reading.frames - before.frames,
        objects=run.objects + reading.objects - before.objects,
        readings=run.readings + 1,
        p50_ms=run.p50_ms + max((one.inference_ms.p50 for one in cameras), default=0.0),
        p95_ms=run.p95_ms + max((one.inference_ms.p95 for one in cameras), default=0.0),
        warm=run.warm + (temperature is not None),
        temperature_c=run.temperature_c + (temperature or 0.0),
    )
    return device.model_copy(update={"reading": reading, "runs": _bounded(device.runs, release, after)})


def _follows(reading: Reading, before: Reading) -> bool:
    """Tell whether counters went on from the ones before: in the same run of the daemon, and later."""
    return (
        reading.boot == before.boot
        and reading.mono_ns > before.mono_ns
        and reading.uptime_s >= before.uptime_s
        and reading.frames >= before.frames
        and reading.objects >= before.objects
    )


def _bounded(kept: dict[str, ValueT], key: str, value: ValueT) -> dict[str, ValueT]:
    others = {name: one for name, one in kept.items() if name != key}
    return dict(list({**others, key: value}.items())[-MOST_RELEASES:])


def text_of(moment: datetime) -> str:
    """Give UTC as files have it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
