"""JSON Schemas (draft 2020-12), made from the types that builders are checked against.

Objects are open: a field that a schema does not name is one of a later release, and a subscriber passes over it.
"""

import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal, NotRequired, Required, Union, get_args, get_origin, get_type_hints
from typing import is_typeddict as is_table

from appliance.messaging.contract.channels import Channel
from appliance.messaging.contract.words import Envelope, Late, Numbered, OfCamera
from appliance.messaging.orders import Field

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_SIMPLE: Final[Mapping[Any, str]] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    types.NoneType: "null",
}


def schema_of(channel: Channel) -> dict[str, Any]:
    """Give the schema of a topic's payload, for a channel that has one.

    Raises:
        TypeError: A type of it has no JSON Schema.
    """
    head = {"$schema": DIALECT, "title": channel.address.replace("{", "<").replace("}", ">")}
    head["description"] = channel.summary
    if channel.fields is not None:
        # closed: a command with a field that is not known is refused
        told = {name: _field(one) for name, one in channel.fields.items()}
        needed = [name for name, one in channel.fields.items() if one.is_needed]
        return {**head, "type": "object", "properties": told, "required": needed, "additionalProperties": False}
    if channel.body is None:
        return {**head, "type": "string", "enum": list(channel.texts)}
    if channel.is_taken:
        return {**head, **_table(channel.body)}
    parts: list[type] = [Envelope]
    if channel.is_of_camera:
        parts.append(OfCamera)
    parts += [Numbered, channel.body, Late] if channel.durable else [channel.body]
    tables = [_table(part) for part in parts]
    properties = {name: inner for table in tables for name, inner in table["properties"].items()}
    required = [name for table in tables for name in table.get("required", ())]
    return {**head, "type": "object", "properties": properties, "required": required}


def fields_of(schema: Mapping[str, Any], at: str = "") -> list[str]:
    """Give the paths of all fields that a schema names, in its order: ``detections[].box``, ``zones.*``."""
    found = []
    for name, inner in schema.get("properties", {}).items():
        path = f"{at}.{name}" if at else name
        found += [path, *fields_of(inner, path)]
    if isinstance(schema.get("items"), Mapping):
        found += fields_of(schema["items"], f"{at}[]")
    if isinstance(schema.get("additionalProperties"), Mapping):
        found += fields_of(schema["additionalProperties"], f"{at}.*")
    return found


def _field(field: Field) -> dict[str, Any]:
    words = {"description": f"{field.accepts[0].upper()}{field.accepts[1:]}."}
    if field.pattern is not None:
        return {"type": "string", "pattern": f"^{field.pattern.pattern}$", **words}
    if field.most < field.least:
        return {"type": "boolean", **words}
    return {"type": "integer" if field.is_whole else "number", "minimum": field.least, "maximum": field.most, **words}


def _table(shape: type) -> dict[str, Any]:
    # of classes as well as their bases: get_type_hints knows the order in which they were written
    hints = get_type_hints(shape, include_extras=True)
    required: frozenset[str] = shape.__required_keys__  # type: ignore[attr-defined]  # of every TypedDict
    properties = {name: _schema(hint) for name, hint in hints.items()}
    table: dict[str, Any] = {"type": "object", "properties": properties}
    if told := [name for name in hints if name in required]:
        table["required"] = told
    return table


def _schema(hint: Any) -> dict[str, Any]:
    origin = get_origin(hint)
    if origin in _MADE_OF:
        return _MADE_OF[origin](get_args(hint))
    if is_table(hint):
        return _table(hint)
    if hint is object:
        return {}
    if hint in _SIMPLE:
        return {"type": _SIMPLE[hint]}
    raise TypeError(f"no JSON Schema for {hint!r}")


def _words(values: tuple[Any, ...]) -> dict[str, Any]:
    return {"const": values[0]} if len(values) == 1 else {"enum": list(values)}


def _annotated(arguments: tuple[Any, ...]) -> dict[str, Any]:
    told = _schema(arguments[0])
    for extra in arguments[1:]:
        words = {"description": extra} if isinstance(extra, str) else dict(extra)
        if "description" in told and "description" in words:
            words["description"] = f"{words['description']} {told['description']}"
        told |= words
    return told


def _union(arguments: tuple[Any, ...]) -> dict[str, Any]:
    """Give the schema of a type or null, or of several simple types."""
    schemas = [_schema(argument) for argument in arguments if argument is not types.NoneType]
    null = ["null"] if types.NoneType in arguments else []
    return {**(schemas[0] if len(schemas) == 1 else {}), "type": [schema["type"] for schema in schemas] + null}


_MADE_OF: Final[Mapping[Any, Callable[[tuple[Any, ...]], dict[str, Any]]]] = {
    Required: lambda arguments: _schema(arguments[0]),
    NotRequired: lambda arguments: _schema(arguments[0]),
    Annotated: _annotated,
    Literal: _words,
    Union: _union,
    types.UnionType: _union,
    list: lambda arguments: {"type": "array", "items": _schema(arguments[0])},
    dict: lambda arguments: {"type": "object", "additionalProperties": _schema(arguments[1])},
}
