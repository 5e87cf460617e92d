"""Checks a value against one of the project's JSON Schemas: as much of draft 2020-12 as those use, and no more."""

import json
from pathlib import Path
from typing import Any

SCHEMAS = Path(__file__).resolve().parents[2] / "docs" / "schemas"
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_KNOWN = {"$schema", "title", "description", "type", "const", "enum", "minimum", "maximum", "maxLength", "properties"}
_KNOWN |= {"required", "maxProperties", "additionalProperties", "items", "minItems", "maxItems"}


def mistakes(name: str, value: Any) -> list[str]:
    """Tell what of a payload is not as ``docs/schemas/NAME.json`` says; a field that it does not name is one too."""
    return _mistakes(json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8")), value, name)


def _mistakes(schema: dict[str, Any], value: Any, at: str) -> list[str]:
    assert schema.keys() <= _KNOWN, f"{at}: this checker does not know {schema.keys() - _KNOWN}"
    types = schema.get("type", [])
    accepted = [kind for one in ([types] if isinstance(types, str) else types) for kind in _TYPES[one]]
    if accepted and (type(value) not in accepted):
        return [f"{at} is {value!r}"]
    found = []
    if "const" in schema and value != schema["const"]:
        found.append(f"{at} is {value!r}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at} is {value!r}")
    if isinstance(value, int | float) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        found.append(f"{at} is {value}")
    if isinstance(value, str) and len(value) > schema.get("maxLength", len(value)):
        found.append(f"{at} has {len(value)} characters")
    if isinstance(value, dict):
        found += _in_object(schema, value, at)
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            found.append(f"{at} has {len(value)} items")
        found += [one for place, item in enumerate(value) for one in _mistakes(schema["items"], item, f"{at}[{place}]")]
    return found


def _in_object(schema: dict[str, Any], value: dict[str, Any], at: str) -> list[str]:
    named, others = schema.get("properties", {}), schema.get("additionalProperties")
    found = [f"{at} lacks {name}" for name in schema.get("required", []) if name not in value]
    if len(value) > schema.get("maxProperties", len(value)):
        found.append(f"{at} has {len(value)} fields")
    for name, content in value.items():
        part = named.get(name, others)
        found += [f"{at} has {name}"] if part is None else _mistakes(part, content, f"{at}.{name}")
    return found
