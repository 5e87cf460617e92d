"""The AsyncAPI 3 document of what a device publishes and takes, made from the same table as the schemas."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from appliance.messaging import topics
from appliance.messaging.contract.channels import CHANNELS, Channel

VERSION: Final = "3.0.0"
_BINDING: Final = "0.2.0"  # of https://github.com/asyncapi/bindings/tree/master/mqtt
_PARAMETERS: Final = {
    "device": {"description": "`[device] id` of the configuration, or else the host's name."},
    "camera": {"description": "The camera's name in the configuration."},
    "command": {"description": "The command's name."},
    "id": {"description": "Its sender's, 1 to 64 letters, digits, `.`, `_`, `:` and `-`; `-` alone: none."},
}
_DESCRIPTION: Final = (
    "What a device says, and the commands it takes. What a subscriber must do to miss nothing stands in mqtt.md. "
    "Fields may be added within a schema version; none is renamed or removed."
)


def document(app: str) -> dict[str, Any]:
    """Give the document; payloads are references to ``./schemas/NAME.json``.

    Args:
        app: Version of Edgecam.
    """
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "Edgecam",
            "version": app,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {channel.name: _channel(channel) for channel in CHANNELS},
        "operations": {f"{_action(channel)}_{channel.name}": _operation(channel) for channel in CHANNELS},
        "components": {"messages": {channel.name: _message(channel) for channel in CHANNELS}},
    }


def to_yaml(value: Any, indent: int = 0) -> Iterator[str]:
    """Give the lines of a value in YAML: mappings in blocks, everything else as JSON, which YAML is a superset of."""
    for name, inner in value.items():
        head = f"{' ' * indent}{name}:"
        if isinstance(inner, Mapping) and inner:
            yield head
            yield from to_yaml(inner, indent + 2)
        else:
            yield f"{head} {json.dumps(inner, ensure_ascii=False)}"


def _channel(channel: Channel) -> dict[str, Any]:
    address = topics.full("{device}", channel.address)
    return {
        "address": address,
        "summary": channel.summary,
        "parameters": {name: told for name, told in _PARAMETERS.items() if f"{{{name}}}" in address},
        "messages": {channel.name: _reference("components", "messages", channel.name)},
    }


def _operation(channel: Channel) -> dict[str, Any]:
    told = {
        "action": _action(channel),
        "channel": _reference("channels", channel.name),
        "messages": [_reference("channels", channel.name, "messages", channel.name)],
        "bindings": {"mqtt": {"qos": channel.qos, "retain": channel.retain, "bindingVersion": _BINDING}},
    }
    if channel.fields is not None:
        told["reply"] = {"channel": _reference("channels", "result")}
    return told


def _action(channel: Channel) -> str:
    return "receive" if channel.is_taken else "send"


def _message(channel: Channel) -> dict[str, Any]:
    told: dict[str, Any] = {"name": channel.name, "summary": channel.summary, "contentType": channel.media}
    if channel.has_schema:
        # their keywords are those of draft-07 too, which is what AsyncAPI takes a schema for that says nothing else
        told["payload"] = {"$ref": f"./schemas/{channel.name}.json"}
    return told


def _reference(*steps: str) -> dict[str, str]:
    return {"$ref": "/".join(["#", *steps])}
