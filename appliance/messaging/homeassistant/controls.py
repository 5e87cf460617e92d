"""The entities by which Home Assistant commands a device: pure, in the words of its MQTT integration.

Its topics cannot change from one command to the next, so that none of them has an id.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from appliance.messaging import topics
from appliance.messaging.homeassistant.entities import Entity, Source
from appliance.messaging.homeassistant.subjects import CameraFacts
from appliance.messaging.orders import NO_ID
from appliance.messaging.payloads import encode

STEP: Final = 0.01


@dataclass(frozen=True, slots=True)
class Powers:
    """What may be commanded.

    Attributes:
        least_score: The lowest threshold, 0..1.
        has_pictures: Pictures may leave the device.
    """

    least_score: float
    has_pictures: bool


def device_controls(source: Source) -> Iterator[tuple[str, Entity]]:
    """Give what commands the device itself, by its keys."""
    yield (
        "restart",
        _control(source, "button", "restart", "Restart", "restart", payload_press="{}", device_class="restart"),
    )


def camera_controls(source: Source, camera: CameraFacts, powers: Powers) -> Iterator[tuple[str, Entity]]:
    """Give what commands a camera, by its keys."""
    name, state = camera.name, source.topic(topics.settings(camera.name))
    yield (
        f"{name}.detect",
        _control(
            source,
            "switch",
            f"{name}.detect",
            f"{name} detection",
            "detect",
            payload_on=_payload(camera=name, on=True),
            payload_off=_payload(camera=name, on=False),
            state_topic=state,
            value_template="{{ 'on' if value_json.detect else 'off' }}",
            state_on="on",
            state_off="off",
        ),
    )
    if camera.task != "segment":
        yield f"{name}.threshold", _threshold(source, name, state, powers.least_score)
    if powers.has_pictures:
        press = _payload(camera=name)
        key, title = f"{name}.snapshot", f"{name} snapshot"
        yield key, _control(source, "button", key, title, "snapshot", payload_press=press)
        picture = {"image_topic": source.topic(topics.snapshot(name)), "content_type": "image/jpeg"}
        unique_id = f"edgecam.{source.device}.{name}.picture"
        yield f"{name}.picture", {"platform": "image", "unique_id": unique_id, "name": f"{name} picture", **picture}


def _threshold(source: Source, name: str, state: str, least: float) -> Entity:
    return _control(
        source,
        "number",
        f"{name}.threshold",
        f"{name} threshold",
        "threshold",
        command_template=f'{{"camera":"{name}","min_score":{{{{ value }}}}}}',
        state_topic=state,
        value_template="{{ value_json.min_score }}",
        min=least,
        max=1.0,
        step=STEP,
        mode="slider",
    )


def _control(source: Source, platform: str, key: str, name: str, command: str, **more: Any) -> Entity:
    head = {"platform": platform, "unique_id": f"edgecam.{source.device}.{key}", "name": name}
    topic = source.topic(f"{topics.CMD}/{command}/{NO_ID}")
    return {**head, "command_topic": topic, "entity_category": "config", **more}


def _payload(**fields: Any) -> str:
    return encode(fields).decode()
