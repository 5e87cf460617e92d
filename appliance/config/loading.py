"""From edgecam.toml to typed settings, with every error told at once."""

import difflib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from appliance.config.declarations import Declaration, locate
from appliance.config.declare import Section, public_address
from appliance.config.mistakes import explain_toml
from appliance.config.settings import Settings
from appliance.config.toml import format_value
from appliance.core.errors import ConfigError

Table = TypeVar("Table", bound=Section)
MOST_CONFIG_BYTES = 1 << 20  # bounded before it is parsed: a configuration is some kilobytes
_MOST_LINES = 50  # a file of another kind that happens to be TOML must not fill the screen
_MOST_SHOWN = 60  # characters of a value
_ADDRESSES = ("broker", "url")
_SECRETIVE = re.compile(r"pass|secret|token|key|credential", re.IGNORECASE)


def load_settings(path: Path) -> Settings:
    """Read and check a configuration file.

    Raises:
        ConfigError: The file is missing, no TOML, or has settings that are not accepted: all of them in one
            message, a line each with its key path.
    """
    return parse_settings(read_toml(path), str(path))


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file of bounded size.

    Raises:
        ConfigError: It is missing, too large, or no TOML.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_CONFIG_BYTES + 1)
        if len(content) > MOST_CONFIG_BYTES:
            raise ConfigError(f"{path} is larger than {MOST_CONFIG_BYTES} bytes; is it a configuration?")
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(
            f"cannot read the configuration {path}: {error.strerror}; `edgecam config default` prints one to start from"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is no valid TOML: byte {error.start} is not UTF-8; is it a configuration?"
        ) from error
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is one; so is what an endless number gives
        raise ConfigError(f"{path} is no valid TOML: {explain_toml(error, text)}") from error


def parse_settings(values: Mapping[str, Any], where: str) -> Settings:
    """Check values that were read from `where`. Types are strict: true is no number and "4" is none either.

    Raises:
        ConfigError: As for `load_settings`.
    """
    return parse_table(Settings, values, where)


def parse_table(table: type[Table], values: Mapping[str, Any], where: str) -> Table:
    """Check the values of a file of another kind, as strictly and with the same words.

    Raises:
        ConfigError: As for `load_settings`.
    """
    try:
        # As JSON, because only there strict types still take a list for a tuple and text for a path.
        return table.model_validate_json(json.dumps(values, default=_as_json), strict=True)
    except ValidationError as error:
        root = Declaration.of_type(table)
        lines = [_explain(root, detail) for detail in error.errors(include_url=False)]
        raise ConfigError(not_accepted(where, lines)) from error


def not_accepted(where: str, lines: Sequence[str]) -> str:
    """Give the message for settings that are not accepted, a line each with its key path."""
    count = f"{len(lines)} setting{'s are' if len(lines) > 1 else ' is'} not accepted"
    shown = [*lines]
    if len(shown) > _MOST_LINES:
        shown[_MOST_LINES:] = [f"… and {len(shown) - _MOST_LINES} more"]
    return "\n  ".join([f"{where}: {count}:", *shown])


def _as_json(value: Any) -> Any:
    # No setting is a date; as a table of one it is refused wherever it stands, with its place.
    return str(value) if isinstance(value, Path) else {"date": str(value)}


def _explain(root: Declaration, detail: ErrorDetails) -> str:
    """Give one error as ``cameras.door.fps: is 0; accepted: a number above 0 and up to 240 frames per second``."""
    path, declared, around = locate(root, detail["loc"])
    match detail["type"]:
        case "json_invalid":  # a lone surrogate: Python's mark for a byte of the command line that is no text
            return "a value holds bytes that are not UTF-8"
        case "extra_forbidden":
            said = f"unknown setting; {_suggest(str(detail['loc'][-1]), around)}"
        case "missing":
            said = f"is required: {declared.accepted() if declared else 'see `edgecam config default`'}"
        case "union_tag_not_found" | "union_tag_invalid":
            path += ".kind"
            said = _explain_kind(detail["input"], declared)
        case "value_error":
            said = detail["msg"].removeprefix("Value error, ")
        case "too_short" | "too_long":
            said = f"has {len(detail['input'])} items; accepted: {declared.accepted() if declared else detail['msg']}"
        case "model_type" | "dict_type" if isinstance(detail["input"], str):
            # what stands where a table should may be all that somebody knows of it, the password included
            said = f"is text; accepted: {declared.accepted() if declared else detail['msg']}"
        case _:
            said = f"is {_show(path, detail['input'])}; accepted: {declared.accepted() if declared else detail['msg']}"
    return f"{path or '(top level)'}: {said}"


def _explain_kind(given: Any, declared: Declaration | None) -> str:
    kind = given.get("kind") if isinstance(given, Mapping) else None
    known = ", ".join(declared.kinds) if declared else "see `edgecam config default`"
    return f"{'is required' if kind is None else 'is ' + _show('kind', kind)}; known: {known}"


def _suggest(key: str, around: Declaration | None) -> str:
    known = [name for name, _ in around.settings()] if around else []
    if near := difflib.get_close_matches(key.casefold(), known, n=1, cutoff=0.6):
        return f"did you mean {near[0]}?"
    return f"known here: {', '.join(known)}" if known else "`edgecam config default` lists all"


def _show(path: str, value: Any) -> str:
    """Give a value as the file would write it, cut, and never a secret."""
    if isinstance(value, dict) and value.keys() == {"date"}:
        return "a date"
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    key = path.rpartition(".")[2]
    if isinstance(value, str) and _SECRETIVE.search(key):
        return "text that is not shown"
    if isinstance(value, str) and ("//" in value or key in _ADDRESSES):
        value = public_address(value)
    text = "nothing" if value is None else format_value(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}… ({len(text)} characters)"
