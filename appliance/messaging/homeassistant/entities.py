"""The entities that Home Assistant shows of a device: pure, in the words of its MQTT integration.

See https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload for what each key means.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from appliance.messaging import topics
from appliance.messaging.homeassistant.subjects import CameraFacts, Subject
from appliance.messaging.orders import NO_ID

Entity = dict[str, Any]
MISSED_HEALTH: Final = 3  # `health` messages that may fail to come before their figures count as unknown
_ONLINE: Final = "{{ 'online' if value_json.state == 'online' else 'offline' }}"
_LATE: Final = "value_json.replay | default(false)"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a device's entities come from.

    Attributes:
        device: The device's name in topics.
        health_interval: Seconds between two `health` messages.
    """

    device: str
    health_interval: float

    def topic(self, below: str) -> str:
        """Give a topic of the device on the broker."""
        return topics.full(self.device, below)

    def entity(self, platform: str, key: str, name: str, below: str, template: str, **more: Any) -> Entity:
        """Give an entity whose state is in a topic of the device."""
        state = {"state_topic": self.topic(below), "value_template": template}
        return {"platform": platform, "unique_id": self.unique(key), "name": name, **state, **more}

    def unique(self, key: str) -> str:
        """Give the id of an entity by its key."""
        return f"edgecam.{self.device}.{key}"

    def button(self, key: str, name: str, **more: Any) -> Entity:
        """Give a button, but for what it commands."""
        return {"platform": "button", "unique_id": self.unique(key), "name": name, **more}

    def command(self, name: str, fields: str) -> Entity:
        """Give the keys by which an entity commands; without an id, so that each press is a command of its own.

        Args:
            name: The command's.
            fields: Its fields, as an expression.
        """
        topic = self.topic(f"{topics.CMD}/{name}/{NO_ID}")
        return {"command_topic": topic, "command_template": f"{{{{ {fields} | to_json }}}}"}

    def figure(self, key: str, name: str, template: str, **more: Any) -> Entity:
        """Give a sensor whose state is a figure of `health`."""
        return self.entity(
            "sensor",
            key,
            name,
            topics.HEALTH,
            template,
            expire_after=max(10, round(MISSED_HEALTH * self.health_interval)),
            entity_category="diagnostic",
            **more,
        )

    def while_online(self, camera: str) -> Entity:
        """Give the keys by which an entity is available only while its camera gives pictures."""
        own = {"topic": self.topic(topics.AVAILABILITY)}
        of_camera = {"topic": self.topic(topics.status(camera)), "value_template": _ONLINE}
        return {"availability": [own, of_camera], "availability_mode": "all"}


def of_device(source: Source) -> Iterator[tuple[str, Entity]]:
    """Give the entities of the device itself, by their keys."""
    degree = {"device_class": "temperature", "unit_of_measurement": "°C", "state_class": "measurement"}
    megabytes = {"device_class": "data_size", "unit_of_measurement": "MB", "state_class": "measurement"}
    yield (
        "problem",
        source.entity(
            "binary_sensor",
            "problem",
            "Problem",
            topics.HEALTH,
            "{{ 'OFF' if value_json.state == 'ok' else 'ON' }}",
            device_class="problem",
            entity_category="diagnostic",
            json_attributes_topic=source.topic(topics.HEALTH),
            json_attributes_template=(
                "{{ {'state': value_json.state, "
                "'findings': value_json.findings | rejectattr('state', 'eq', 'ok') | list} | to_json }}"
            ),
        ),
    )
    yield "temperature", source.figure("temperature", "Temperature", "{{ value_json.machine.temperature_c }}", **degree)
    yield "disk_free", source.figure("disk_free", "Disk free", "{{ value_json.machine.disk_free_mb }}", **megabytes)
    yield (
        "waiting",
        source.figure("waiting", "Messages waiting", "{{ value_json.messaging.rows }}", state_class="measurement"),
    )
    yield (
        "model",
        source.entity(
            "sensor", "model", "Model", topics.INFO, "{{ value_json.model.name }}", entity_category="diagnostic"
        ),
    )


def of_camera(source: Source, camera: CameraFacts) -> Iterator[tuple[str, Entity]]:
    """Give the entities of a camera that are there whatever it sees, by their keys."""
    name, figures = camera.name, f"value_json.cameras['{camera.name}']"
    yield (
        f"{name}.problem",
        source.entity(
            "binary_sensor",
            f"{name}.problem",
            f"{name} problem",
            topics.status(name),
            "{{ 'OFF' if value_json.state == 'online' else 'ON' }}",
            device_class="problem",
            entity_category="diagnostic",
            json_attributes_topic=source.topic(topics.status(name)),
            json_attributes_template="{{ {'state': value_json.state, 'why': value_json.why} | to_json }}",
        ),
    )
    yield (
        f"{name}.fps",
        source.figure(
            f"{name}.fps",
            f"{name} frame rate",
            f"{{{{ {figures}.fps }}}}",
            unit_of_measurement="fps",
            state_class="measurement",
        ),
    )
    yield (
        f"{name}.latency",
        source.figure(
            f"{name}.latency",
            f"{name} latency",
            f"{{{{ {figures}.latency_ms.p50 }}}}",
            device_class="duration",
            unit_of_measurement="ms",
            state_class="measurement",
        ),
    )
    if camera.task == "detect":
        yield f"{name}.events", _events(source, name)
    if camera.task == "classify":
        yield f"{name}.changes", _changes(source, name)
        yield (
            f"{name}.shows",
            source.entity(
                "sensor",
                f"{name}.shows",
                f"{name} shows",
                topics.classification(name),
                "{{ value_json.label or 'nothing' }}",
                **source.while_online(name),
            ),
        )


def commanded(source: Source, camera: CameraFacts, *, has_pictures: bool) -> Iterator[tuple[str, Entity]]:
    """Give the entities by which a camera is commanded, by their keys."""
    name, below = camera.name, topics.settings(camera.name)
    yield (
        f"{name}.detect",
        source.entity(
            "switch",
            f"{name}.detect",
            f"{name} detection",
            below,
            "{{ 'ON' if value_json.detect else 'OFF' }}",
            **source.command("detect", f"{{'camera': '{name}', 'on': value == 'ON'}}"),
        ),
    )
    if camera.least_score is not None:
        yield (
            f"{name}.threshold",
            source.entity(
                "number",
                f"{name}.threshold",
                f"{name} threshold",
                below,
                "{{ value_json.min_score }}",
                min=camera.least_score,
                max=1.0,
                step=0.01,
                mode="box",
                entity_category="config",
                **source.command("threshold", f"{{'camera': '{name}', 'min_score': value}}"),
            ),
        )
    if has_pictures:
        yield (
            f"{name}.snapshot",
            {
                **source.button(f"{name}.snapshot", f"{name} snapshot"),
                **source.command("snapshot", f"{{'camera': '{name}'}}"),
            },
        )
        yield (
            f"{name}.picture",
            {
                "platform": "image",
                "unique_id": source.unique(f"{name}.picture"),
                "name": f"{name} picture",
                "image_topic": source.topic(topics.snapshot(name)),
                "content_type": "image/jpeg",
            },
        )


def device_commanded(source: Source, *, can_restart: bool) -> Iterator[tuple[str, Entity]]:
    """Give the buttons of the device, by their keys."""
    if can_restart:
        yield (
            "restart",
            {
                **source.button("restart", "Restart", device_class="restart", entity_category="config"),
                **source.command("restart", "{}"),
            },
        )
    yield (
        "model_check",
        {
            **source.button("model_check", "Check model", entity_category="diagnostic"),
            **source.command("model-check", "{}"),
        },
    )


def of_subject(source: Source, task: str, subject: Subject) -> Iterator[tuple[str, Entity]]:
    """Give the entities of something that is counted or measured, by their keys: none where the task has none."""
    if task == "detect":
        yield from _counted(source, subject)
    if task == "segment" and subject.kind == "label":
        yield f"{subject.key}.share", _share(source, subject)


def _counted(source: Source, subject: Subject) -> Iterator[tuple[str, Entity]]:
    what = f" {subject.name}" if subject.name else ""
    amount = _amount(subject)
    below, while_online = topics.counts(subject.camera), source.while_online(subject.camera)
    yield (
        f"{subject.key}.occupied",
        source.entity(
            "binary_sensor",
            f"{subject.key}.occupied",
            f"{subject.place}{what or ' occupied'}",
            below,
            f"{{{{ 'ON' if {amount} else 'OFF' }}}}",
            device_class="occupancy",
            **while_online,
        ),
    )
    yield (
        f"{subject.key}.count",
        source.entity(
            "sensor",
            f"{subject.key}.count",
            f"{subject.place}{what} count",
            below,
            f"{{{{ {amount} }}}}",
            state_class="measurement",
            **while_online,
        ),
    )


def _amount(subject: Subject) -> str:
    """Give the expression for how many there are; labels come from outside, so they are written as literals."""
    by_zone, whole = ("zone_groups", "groups") if subject.kind == "group" else ("zones", "counts")
    found = f"value_json.{by_zone}.get({subject.zone!a}, {{}})" if subject.zone else f"value_json.{whole}"
    return f"({found}.values() | sum)" if subject.kind == "any" else f"{found}.get({subject.name!a}, 0)"


def _share(source: Source, subject: Subject) -> Entity:
    found = f"value_json.zones.get({subject.zone!a}, {{}})" if subject.zone else "value_json.shares"
    return source.entity(
        "sensor",
        f"{subject.key}.share",
        f"{subject.place} {subject.name}",
        topics.segmentation(subject.camera),
        f"{{{{ ({found}.get({subject.name!a}, 0) * 100) | round(1) }}}}",
        unit_of_measurement="%",
        state_class="measurement",
        **source.while_online(subject.camera),
    )


def _events(source: Source, camera: str) -> Entity:
    told = ("label", "group", "object_id", "score", "duration", "zones", "entered_zones", "changes", "crossings")
    return source.entity(
        "event",
        f"{camera}.events",
        f"{camera} event",
        topics.events(camera),
        _fired("value_json.type", (*told, "stationary", "direction", "time")),
        event_types=["start", "update", "end"],
    )


def _changes(source: Source, camera: str) -> Entity:
    return source.entity(
        "event",
        f"{camera}.changes",
        f"{camera} change",
        topics.changes(camera),
        _fired("'change'", ("label", "before", "score", "lasted", "time")),
        event_types=["change"],
    )


def _fired(event_type: str, fields: Sequence[str]) -> str:
    """Give the template of an event; what was delivered late says nothing of the present, and fires none."""
    told = ", ".join(f"'{field}': value_json.{field}" for field in fields)
    return f"{{% if not {_LATE} %}}{{{{ {{'event_type': {event_type}, {told}}} | to_json }}}}{{% endif %}}"
