"""What the card's file only repeats while something else was asked over SSH since: that stays as it was said."""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from appliance.core.errors import ConfigError
from appliance.provisioning import configuration
from appliance.provisioning.asked import Setup
from appliance.provisioning.configuration import read_current
from appliance.provisioning.secrets import at, places
from appliance.provisioning.system import Places
from appliance.provisioning.wireless import joined


@dataclass(frozen=True, slots=True)
class Before:
    """What is known of the card's file as it was carried out last.

    Attributes:
        marks: Of its sections and of the files that it names, as `marks_of` gives them.
        said: The sections that were asked over SSH since.
    """

    marks: Mapping[str, str] = field(default_factory=dict)
    said: Collection[str] = ()


def digest(text: str) -> str:
    """Give by what a text is known again."""
    return hashlib.sha256(text.encode()).hexdigest()


def marks_of(setup: Setup, files: Mapping[str, str]) -> dict[str, str]:
    """Give by what the sections of a setup file, and the files that it names, are known again.

    Args:
        setup: What it asks; no secret is part of it.
        files: Contents of files by key path.
    """
    sections = {name: digest(json.dumps(value, sort_keys=True)) for name, value in _told(setup).items()}
    return sections | {path: digest(content) for path, content in files.items()}


def repeated(setup: Setup, given: Collection[str], files: Mapping[str, str], before: Before) -> frozenset[str]:
    """Give the sections that say what they said, while something else was asked over SSH since.

    Args:
        setup: What the file asks.
        given: Key paths of the secrets and private files that it brings: their sections are said anew.
        files: Digests of the files beside it by key path; a section is said anew with another file, too.
        before: The file before.
    """
    told = marks_of(setup, {})
    changed = [*given, *(path for path, mark in files.items() if before.marks.get(path) != mark)]
    same = {name for name in told if name in before.said and before.marks.get(name) == told[name]}
    return frozenset(same - {path.partition(".")[0] for path in changed})


def strangers(asked: Setup, given: Collection[str], pending: Setup | None, machine: Places) -> Iterator[str]:
    """Tell of passwords that are taken for moved, and that were given for another address than is asked.

    Args:
        asked: The sections whose passwords may be others than the file's own of before.
        given: Key paths of the secrets that the file brings.
        pending: What was asked before, if that is not done yet.
        machine: Whose passwords they are.
    """
    values = _told(asked)
    for place in places(values):
        path, wanted = ".".join(place), _address(values, place)
        known = (_address(_told(pending), place) if pending else "") or _configured(place, machine)
        if path not in given and known not in ("", wanted):
            yield f"{path}: the one on this device was given for {known}, not {wanted}; write the password here again"


def _told(setup: Setup) -> dict[str, Any]:
    return setup.model_dump(mode="json", exclude_unset=True)


def _address(values: Mapping[str, Any], place: tuple[str, ...]) -> str:
    """Give for what a setup has a password; empty: it has none."""
    section = at(values, place[:-1])
    if not isinstance(section, Mapping) or section.get("password") is None:
        return ""
    return str(section["ssid"]) if place[0] == "wifi" else _host(section.get("url"))


def _configured(place: tuple[str, ...], machine: Places) -> str:
    """Give for what the device has a password; empty: that cannot be told."""
    if place[0] == "wifi":
        return joined(machine)
    try:
        current = read_current(machine.configuration)
    except ConfigError:
        return ""  # its own step fails and tells it
    if place[0] == "broker":
        is_ours = at(current, ("messaging", "password")) == {"credential": configuration.CREDENTIAL}
        return _host(at(current, ("messaging", "broker"))) if is_ours else ""
    return _host(at(current, (*place[:-1], "url"))) if at(current, (*place, "file")) else ""


def _host(url: object) -> str:
    try:
        return urlsplit(str(url or "")).hostname or ""
    except ValueError:
        return ""
