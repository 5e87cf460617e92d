"""Plug-ins by name: a dictionary of ``"module:Class"`` strings, imported only when chosen."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from appliance.core.errors import ConfigError, UnsupportedError


def load(known: Mapping[str, str], kind: str, where: str) -> Any:
    """Import and give what `kind` stands for in `known`.

    Args:
        known: ``{"file": "appliance.cameras.file:FileCamera"}``.
        kind: The name that was asked for.
        where: Where it was asked for, for the message: ``[cameras.door] kind``.

    Raises:
        ConfigError: Nothing is known by that name.
        UnsupportedError: Its module needs a library that is not installed here.
    """
    if kind not in known:
        raise ConfigError(f"{where} is {kind!r}; known: {', '.join(sorted(known))}")
    module, _, name = known[kind].partition(":")
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        raise UnsupportedError(f"{where} {kind!r} needs a library that is missing here: {error}") from error
