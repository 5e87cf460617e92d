"""The entities of models from a fleet: which is here, what is coming, and what may be commanded.

See https://www.home-assistant.io/integrations/update.mqtt/ for what an update says of itself.
"""

from collections.abc import Iterator
from typing import Any, Final

from appliance.messaging import topics
from appliance.messaging.homeassistant.entities import Entity, Source
from appliance.messaging.orders import NO_ID

_MOST_SUMMARY: Final = 255  # characters; https://developers.home-assistant.io/docs/core/entity/update
_HERE: Final = "(value_json.active or value_json.factory or {})"
_NEXT: Final = f"(value_json.candidate or {_HERE})"
# one that is planned waits for its moment, and an update that is in progress could not be installed
_UPDATE: Final = (
    f"{{{{ {{'installed_version': {_HERE}.get('version', 'factory'), "
    f"'latest_version': {_NEXT}.get('version', 'factory'), "
    f"'title': {_NEXT}.get('name', 'model'), "
    f"'release_summary': value_json.why[:{_MOST_SUMMARY}], "
    "'in_progress': value_json.stage not in ['idle', 'planned'], "
    "'update_percentage': (100 * value_json.progress.done / value_json.progress.whole) | round(1) "
    "if value_json.stage == 'downloading' and value_json.progress and value_json.progress.whole else none"
    "} | to_json }}"
)
_DETAILS: Final = ("stage", "rollout", "why", "code", "pinned", "previous", "last")


def of_models(source: Source) -> Iterator[tuple[str, Entity]]:
    """Give the entity that shows which release is here and how far the next one is, by its key."""
    yield "model_update", _update(source, entity_category="diagnostic")


def models_commanded(source: Source) -> Iterator[tuple[str, Entity]]:
    """Give the same as something that can be installed, and what else can be commanded, by their keys."""
    topic = source.topic(f"{topics.CMD}/model-update/{NO_ID}")
    yield "model_update", _update(source, entity_category="config", command_topic=topic, payload_install="{}")
    yield (
        "model_pinned",
        source.entity(
            "switch",
            "model_pinned",
            "Model pinned",
            topics.MODEL,
            "{{ 'ON' if value_json.pinned else 'OFF' }}",
            entity_category="config",
            **source.command("model-pin", "{'on': value == 'ON'}"),
        ),
    )
    yield (
        "model_rollback",
        {
            **source.button("model_rollback", "Roll model back", entity_category="config"),
            **source.command("model-rollback", "{}"),
        },
    )
    yield (
        "fleet_check",
        {
            **source.button("fleet_check", "Check for models", entity_category="diagnostic"),
            **source.command("fleet-check", "{}"),
        },
    )


def _update(source: Source, **more: Any) -> Entity:
    details = ", ".join(f"'{name}': value_json.{name}" for name in _DETAILS)
    return source.entity(
        "update",
        "model_update",
        "Model",
        topics.MODEL,
        _UPDATE,
        json_attributes_topic=source.topic(topics.MODEL),
        json_attributes_template=f"{{{{ {{{details}}} | to_json }}}}",
        **more,
    )
