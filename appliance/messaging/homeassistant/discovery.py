"""The discovery payload of a device: its entities, within a bound, and those that are no more."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from appliance.messaging.homeassistant.entities import (
    Entity,
    Source,
    commanded,
    device_commanded,
    of_camera,
    of_device,
    of_subject,
)
from appliance.messaging.homeassistant.models import models_commanded, of_models
from appliance.messaging.homeassistant.subjects import CameraFacts, Subject
from appliance.messaging.payloads import encode

MOST_BYTES: Final = 120_000  # AWS IoT Core takes 128 KB; others take more
MOST_GONE: Final = 64  # entities that Home Assistant is told to forget
_GONE_BYTES: Final = 200  # of each: names of cameras and zones have 32 characters, those of labels are cut to 50


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What discovery needs to know of a device.

    Attributes:
        device: Its name in topics.
        hardware: What it is.
        app: Version of Edgecam.
        cameras: Those that are in use.
        health_interval: Seconds between two `health` messages.
        has_commands: It obeys commands.
        has_pictures: It sends a picture when it is commanded to.
        can_restart: It restarts when it is commanded to.
        has_fleet: It takes models from a fleet.
    """

    device: str
    hardware: str
    app: str
    cameras: Sequence[CameraFacts]
    health_interval: float
    has_commands: bool = False
    has_pictures: bool = False
    can_restart: bool = False
    has_fleet: bool = False


@dataclass(frozen=True, slots=True)
class Discovery:
    """What is told to Home Assistant.

    Attributes:
        payload: As it is published.
        platforms: Of each entity by its key.
        left_out: How many entities found no room.
    """

    payload: Mapping[str, Any]
    platforms: Mapping[str, str]
    left_out: int


def discover(facts: DeviceFacts, seen: Iterable[Subject], before: Mapping[str, str]) -> Discovery:
    """Give what Home Assistant is to be told.

    Args:
        facts: Of the device.
        seen: What was seen so far, beside what the configuration names.
        before: The platforms of all entities that it was told of and not yet told to forget, by their keys.
    """
    head: dict[str, Any] = {
        "device": {
            "identifiers": [f"edgecam.{facts.device}"],
            "name": facts.device,
            "manufacturer": "Edgecam",
            "model": facts.hardware,
            "sw_version": facts.app,
        },
        "origin": {"name": "Edgecam", "sw_version": facts.app},
        "availability": [{"topic": Source(facts.device, 0.0).topic("availability")}],
        "qos": 1,
    }
    room = MOST_BYTES - len(encode(head)) - _GONE_BYTES * MOST_GONE
    components: dict[str, Entity] = {}
    left_out = 0
    for key, entity in _entities(facts, seen):
        size = len(encode({key: entity}))
        if key in components:
            continue
        if size > room:
            left_out += 1
            continue
        room -= size
        components[key] = entity
    # a platform and nothing else: forget it
    gone = {key: {"platform": platform} for key, platform in before.items() if key not in components}
    told = components | dict(list(gone.items())[-MOST_GONE:])
    platforms = {key: entity["platform"] for key, entity in components.items()}
    return Discovery({**head, "components": told}, platforms, left_out)


def _entities(facts: DeviceFacts, seen: Iterable[Subject]) -> Iterator[tuple[str, Entity]]:
    """Give all there are, those first that would be missed most."""
    source = Source(facts.device, facts.health_interval)
    yield from of_device(source)
    if facts.has_fleet:
        yield from models_commanded(source) if facts.has_commands else of_models(source)
    for camera in facts.cameras:
        yield from of_camera(source, camera)
    if facts.has_commands:
        yield from device_commanded(source, can_restart=facts.can_restart)
        for camera in facts.cameras:
            yield from commanded(source, camera, has_pictures=facts.has_pictures)
    by_name = {camera.name: camera for camera in facts.cameras}
    named = chain.from_iterable(camera.configured() for camera in facts.cameras)
    for subject in chain(sorted(named, key=_rank), sorted(seen)):
        place = by_name.get(subject.camera)
        if place is not None and (not subject.zone or subject.zone in place.zones):
            yield from of_subject(source, place.task, subject)


def _rank(subject: Subject) -> tuple[bool, bool]:
    """Give the order in which subjects of several cameras are told: all of each camera, then its zones and labels."""
    return bool(subject.zone), subject.kind != "any"
