"""Checks a value against one of the project's published JSON Schemas, more strictly than a subscriber should."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError

from appliance.messaging.contract.channels import CHANNELS

SCHEMAS = Path(__file__).resolve().parents[2] / "docs" / "schemas"
# jsonschema checks this one only where yet another package is installed
_FORMATS = FormatChecker(())
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_FORMATS.checks("date-time")(lambda value: not isinstance(value, str) or _TIME.fullmatch(value) is not None)


def published(name: str) -> dict[str, Any]:
    """Give ``docs/schemas/NAME.json``."""
    schema: dict[str, Any] = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    return schema


def mistakes(name: str, value: Any) -> list[str]:
    """Tell what of a payload is not as ``docs/schemas/NAME.json`` says.

    A field that it does not name is one too, and so is a word that it does not name where words may be added.
    """
    validator = Draft202012Validator(_closed(published(name)), format_checker=_FORMATS)
    return [told for error in validator.iter_errors(value) for told in _told(name, error)]


def channel_of(topic: str) -> str:
    """Give the name of the channel that a topic on the broker is of; empty: of none."""
    below = "/".join(topic.split("/")[2:])
    for channel in CHANNELS:
        if re.fullmatch(re.sub(r"{\w+}", "[^/]+", channel.address), below):
            return channel.name
    return ""


def mistakes_on_the_wire(messages: Iterable[tuple[str, bytes, bool]]) -> list[str]:
    """Tell what of messages as they came from a broker is not as published: topics that nobody knows, too."""
    found = []
    for topic, payload, _ in messages:
        name = channel_of(topic)
        if name == "snapshot":
            found += [] if payload.startswith(b"\xff\xd8") else [f"{topic} has no JPEG"]
            continue
        text = payload.decode()
        value = json.loads(text or "{}") if not text or text.startswith("{") else text
        found += mistakes(name, value) if name else [f"{topic} is no channel"]
    return found


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    closed: dict[str, Any] = {}
    for key, inner in schema.items():
        if key == "properties":
            closed[key] = {name: _closed(one) for name, one in inner.items()}
            closed["additionalProperties"] = False
        else:
            closed[key] = _closed(inner) if key in {"items", "additionalProperties"} and inner is not False else inner
    if "examples" in schema:
        closed["enum"] = [*schema["examples"], *([None] if "null" in schema["type"] else [])]
    return closed


def _told(name: str, error: ValidationError) -> list[str]:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
    at = name + "".join(steps)
    if error.validator == "required":
        return [f"{at} lacks {error.message.split(chr(39))[1]}"]
    if error.validator == "additionalProperties":
        return [f"{at} has {field}" for field in error.instance.keys() - error.schema["properties"].keys()]
    if error.validator in {"minItems", "maxItems"}:
        return [f"{at} has {len(error.instance)} items"]
    return [f"{at} is {error.instance!r}"]
