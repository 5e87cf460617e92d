"""Run by a Python that has Home Assistant: what its own MQTT integration makes of a discovery payload.

Reads ``{"config": …, "messages": {topic: payload}}`` from stdin. Prints its version, what it refuses, and the state
that each entity's template gives for the message of its topic. Needs nothing of ours: Home Assistant wants another
Python.
"""

import asyncio
import importlib
import json
import sys
import tempfile
from typing import Any

import voluptuous as vol
from homeassistant.components.mqtt.discovery import _merge_common_device_options
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


async def judged(config: dict[str, Any], messages: dict[str, str]) -> dict[str, Any]:
    """Give what Home Assistant makes of it."""
    hass = HomeAssistant(tempfile.mkdtemp())  # its templates ask for one
    refused: list[str] = []
    states = {
        key: entity["value_template"].async_render_with_possible_json_value(messages[entity["state_topic"]], "error")
        for key, entity in accepted(config, refused).items()
        if "value_template" in entity and entity["state_topic"] in messages
    }
    await hass.async_stop(force=True)
    return {"version": __version__, "refused": refused, "states": states}


if __name__ == "__main__":
    given = json.load(sys.stdin)
    print(json.dumps(asyncio.run(judged(given["config"], given["messages"]))))
