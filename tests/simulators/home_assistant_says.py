"""Run by a Python that has Home Assistant: what its own MQTT integration makes of a discovery payload.

Reads ``{"config": …, "messages": {topic: payload}}`` from stdin. Prints its version, what it refuses, the state that
each entity's template gives for the message of its topic, and what it would publish for a value of its own. Needs
nothing of ours: Home Assistant wants another Python.
"""

import asyncio
import importlib
import json
import sys
import tempfile
from typing import Any

import voluptuous as vol
from homeassistant.components.mqtt.discovery import _merge_common_device_options
from homeassistant.components.mqtt.models import MqttCommandTemplate
from homeassistant.components.mqtt.schemas import DEVICE_DISCOVERY_SCHEMA
from homeassistant.const import __version__
from homeassistant.core import HomeAssistant


def accepted(config: dict[str, Any], refused: list[str]) -> dict[str, dict[str, Any]]:
    """Give the entities as the schemas of their platforms leave them; note what those do not accept."""
    try:
        DEVICE_DISCOVERY_SCHEMA(config)
    except vol.Invalid as error:
        refused.append(str(error))
        return {}
    entities = {}
    for key, component in config["components"].items():
        own = dict(component)
        platform = importlib.import_module(f"homeassistant.components.mqtt.{own.pop('platform')}")
        if not own:
            continue  # a platform alone: forget it
        own |= {"device": config["device"], "origin": config["origin"]}
        _merge_common_device_options(own, config)
        try:
            entities[key] = platform.DISCOVERY_SCHEMA(own)
        except vol.Invalid as error:
            refused.append(f"{key}: {error}")
            continue
        # a key that it does not know is dropped without a word
        refused += [f"{key}: {name} is not known" for name in own.keys() - entities[key].keys()]
    return entities


def said_of_an_update(key: str, text: str) -> list[str]:
    """Tell what of an update's state is not accepted."""
    from homeassistant.components.mqtt.update import MQTT_JSON_UPDATE_SCHEMA

    try:
        MQTT_JSON_UPDATE_SCHEMA(json.loads(text))
    except (vol.Invalid, ValueError) as error:
        return [f"{key}: {text}: {error}"]
    return []


async def judged(config: dict[str, Any], messages: dict[str, str]) -> dict[str, Any]:
    """Give what Home Assistant makes of it."""
    hass = HomeAssistant(tempfile.mkdtemp())  # its templates ask for one
    refused: list[str] = []
    entities = accepted(config, refused)
    states = {
        key: entity["value_template"].async_render_with_possible_json_value(messages[entity["state_topic"]], "error")
        for key, entity in entities.items()
        if "value_template" in entity and entity["state_topic"] in messages
    }
    values = {"switch": "ON", "number": 0.25, "button": "PRESS"}
    commands = {
        key: MqttCommandTemplate(entities[key]["command_template"]).async_render(values[component["platform"]])
        for key, component in config["components"].items()
        if "command_template" in entities.get(key, {})
    }
    # what is installed is said in a payload of its own, and what an update says of itself has a schema
    commands |= {key: entity["payload_install"] for key, entity in entities.items() if "payload_install" in entity}
    for key, component in config["components"].items():
        if component["platform"] == "update" and key in states:
            refused += said_of_an_update(key, states[key])
    await hass.async_stop(force=True)
    return {"version": __version__, "refused": refused, "states": states, "commands": commands}


if __name__ == "__main__":
    given = json.load(sys.stdin)
    print(json.dumps(asyncio.run(judged(given["config"], given["messages"]))))
