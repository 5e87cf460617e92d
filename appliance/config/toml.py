"""Values and tables as TOML, which the standard library reads but does not write."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


def format_key(*steps: str) -> str:
    """Give a key path as a file would write it: ``cameras.door``."""
    return ".".join(step if _PLAIN_KEY.fullmatch(step) else format_value(step) for step in steps)


def format_value(value: Any) -> str:
    """Give a value of JSON's types, but null, in one line of TOML that is safe to show on a terminal."""
    match value:
        case str():
            # JSON's text is TOML's basic string, but for characters that TOML or a terminal would not take as they are
            return "".join(map(_visible, json.dumps(value, ensure_ascii=False)))
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case Mapping():
            inside = ", ".join(f"{format_key(key)} = {format_value(item)}" for key, item in value.items())
            return f"{{ {inside} }}"
        case _:
            return f"[{', '.join(format_value(item) for item in value)}]"


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    return f"\\u{ord(character):04x}" if ord(character) <= 0xFFFF else f"\\U{ord(character):08x}"  # noqa: PLR2004


def format_document(values: Mapping[str, Any], *steps: str) -> Iterator[str]:
    """Give the lines of a document, or of the tables below the key path `steps`; what has no value is a comment."""
    plain = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    if steps and (plain or not values):
        yield f"[{format_key(*steps)}]"
    for key, value in plain.items():
        yield f"# {format_key(key)} is not set" if value is None else f"{format_key(key)} = {format_value(value)}"
    if plain or not values:
        yield ""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from format_document(value, *steps, key)
