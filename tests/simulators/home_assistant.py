"""Home Assistant's view of a discovery payload: as its documentation has it, and by its own code where that is here."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

PYTHON = os.environ.get("EDGECAM_HOME_ASSISTANT_PYTHON") or (
    sys.executable if importlib.util.find_spec("homeassistant") else ""
)
needs_home_assistant = pytest.mark.skipif(
    not PYTHON, reason="Home Assistant is not here: EDGECAM_HOME_ASSISTANT_PYTHON=a Python that has it"
)
_SAYS = Path(__file__).with_name("home_assistant_says.py")

_NUMBER = {"type": "number"}
_TEXT = {"type": "string", "minLength": 1}
_TOPIC = {"type": "string", "minLength": 1, "pattern": "^[^#+]*$"}
_TEMPLATE = {"type": "string", "pattern": r"^\{[{%].*[}%]\}$"}
_AVAILABILITY = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "properties": {"topic": _TOPIC, "value_template": _TEMPLATE},
        "required": ["topic"],
        "additionalProperties": False,
    },
}
# https://www.home-assistant.io/integrations/mqtt/ and the pages of the platforms below it; keys we have use for
_COMMON = {
    "unique_id": _TEXT,
    "name": _TEXT,
    "state_topic": _TOPIC,
    "value_template": _TEMPLATE,
    "availability": _AVAILABILITY,
    "availability_mode": {"enum": ["all", "any", "latest"]},
    "entity_category": {"enum": ["diagnostic", "config"]},
    "json_attributes_topic": _TOPIC,
    "json_attributes_template": _TEMPLATE,
}
_COMMAND = {"command_topic": _TOPIC, "command_template": _TEMPLATE}
_EXPIRY = {"expire_after": {"type": "integer", "minimum": 1}}
_UNITS = {"°C", "MB", "ms", "%", "fps"}
_PLATFORMS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "binary_sensor": (
        {"device_class": {"enum": ["occupancy", "problem"]}, "payload_on": _TEXT, "payload_off": _TEXT, **_EXPIRY},
        ["state_topic"],
    ),
    "sensor": (
        {
            "device_class": {"enum": ["temperature", "data_size", "duration"]},
            "state_class": {"const": "measurement"},
            "unit_of_measurement": {"enum": sorted(_UNITS)},
            **_EXPIRY,
        },
        ["state_topic"],
    ),
    "event": (
        {"event_types": {"type": "array", "minItems": 1, "items": _TEXT}, "device_class": {"const": "motion"}},
        ["state_topic", "event_types"],
    ),
    "switch": (
        {**_COMMAND, "payload_on": _TEXT, "payload_off": _TEXT, "state_on": _TEXT, "state_off": _TEXT},
        ["command_topic"],
    ),
    "number": (
        {**_COMMAND, "min": _NUMBER, "max": _NUMBER, "step": _NUMBER, "mode": {"enum": ["box", "slider"]}},
        ["command_topic"],
    ),
    "button": (
        {**_COMMAND, "payload_press": {"type": "string"}, "device_class": {"enum": ["restart", "identify", "update"]}},
        ["command_topic"],
    ),
    "update": (
        {
            "command_topic": _TOPIC,
            "payload_install": _TEXT,
            "latest_version_topic": _TOPIC,
            "latest_version_template": _TEMPLATE,
            **dict.fromkeys(("title", "release_summary", "release_url", "entity_picture"), _TEXT),
            "device_class": {"const": "firmware"},
            "display_precision": {"type": "integer", "minimum": 0},
        },
        [],
    ),
    "image": ({"image_topic": _TOPIC, "content_type": {"const": "image/jpeg"}}, ["image_topic"]),
}


def _component(platform: str) -> dict[str, Any]:
    own, required = _PLATFORMS[platform]
    return {
        "if": {"properties": {"platform": {"const": platform}}, "minProperties": 2},
        "then": {
            "properties": {"platform": {}, **_COMMON, **own},
            "required": ["unique_id", *required],
            "additionalProperties": False,
        },
    }


SCHEMA = {
    "type": "object",
    "properties": {
        "device": {
            "type": "object",
            "properties": {
                "identifiers": {"type": "array", "minItems": 1, "items": _TEXT},
                **dict.fromkeys(("name", "manufacturer", "model", "hw_version", "sw_version"), _TEXT),
            },
            "required": ["identifiers"],
            "additionalProperties": False,
        },
        "origin": {
            "type": "object",
            "properties": {"name": _TEXT, "sw_version": _TEXT, "support_url": _TEXT},
            "required": ["name"],
            "additionalProperties": False,
        },
        "availability": _AVAILABILITY,
        "qos": {"enum": [0, 1, 2]},
        "components": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {"platform": {"enum": sorted(_PLATFORMS)}},
                "required": ["platform"],
                "allOf": [_component(platform) for platform in _PLATFORMS],
            },
        },
    },
    "required": ["device", "origin", "components"],
    "additionalProperties": False,
}


def refused(config: Mapping[str, Any]) -> list[str]:
    """Tell what of a discovery payload is not as the documentation says."""
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(SCHEMA).iter_errors(config)]


def own_words(config: Mapping[str, Any], messages: Mapping[str, str]) -> dict[str, Any]:
    """Give what Home Assistant's own code says: `version`, what it `refused`, and `states` that messages give."""
    done = subprocess.run(
        [PYTHON, "-c", _SAYS.read_text(encoding="utf-8")],
        input=json.dumps({"config": config, "messages": messages}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said
