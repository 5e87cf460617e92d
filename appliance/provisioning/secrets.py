"""Secrets in edgecam-setup.toml: found, checked, and taken out of its text."""

import copy
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from appliance.config.toml import format_document, format_value

MOVED = {"moved": True}
_LONGEST = 512  # characters
_PASSPHRASE = re.compile(r"[ -~]{8,63}|[0-9A-Fa-f]{64}")  # IEEE 802.11-2020, annex J.4: ASCII, or the key itself
_REWRITTEN = "# Written again by Edgecam: passwords were moved to the device, and remarks went with them.\n"


def places(values: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Give the key paths that may hold a secret, of those that are there."""
    found: list[tuple[str, ...]] = [("wifi", "password"), ("broker", "password")]
    cameras = values.get("cameras")
    if isinstance(cameras, Mapping):
        found += [("cameras", str(name), "password") for name in cameras]
    return [place for place in found if at(values, place) is not None]


def at(values: Mapping[str, Any], place: Sequence[str]) -> Any:
    """Give what stands at a key path; None where there is nothing."""
    value: Any = values
    for step in place:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def without(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[tuple[str, ...], str]]:
    """Give the values with `MOVED` in place of every text that is a secret, and the secrets by their places."""
    rest, secrets = copy.deepcopy(dict(values)), {}
    for place in places(values):
        secret = at(values, place)
        if isinstance(secret, str):
            secrets[place] = secret
            at(rest, place[:-1])[place[-1]] = dict(MOVED)
    return rest, secrets


def mistakes(secrets: Mapping[tuple[str, ...], str]) -> list[str]:
    """Tell which secrets cannot be meant, without showing any."""
    told = []
    for place, secret in secrets.items():
        path = ".".join(place)
        if not secret or len(secret) > _LONGEST or not secret.isprintable():
            told.append(f"{path}: is empty, too long or has characters that cannot be typed; accepted: 1 to {_LONGEST}")
        elif place == ("wifi", "password") and not _PASSPHRASE.fullmatch(secret):
            told.append(f"{path}: has {len(secret)} characters; accepted: 8 to 63 plain ones, or 64 hexadecimal digits")
    return told


def redact(text: str, values: Mapping[str, Any], secrets: Mapping[tuple[str, ...], str]) -> str:
    """Give the file's text with ``{ moved = true }`` in place of each secret.

    Remarks and order stay, unless a secret is written so that its line cannot be found, or stands a second time in
    the text: then the whole is written anew from its values.

    Args:
        text: The file.
        values: What it says, without secrets.
        secrets: The secrets by their places.
    """
    if not secrets:
        return text
    told = format_value(MOVED)
    found = text
    for secret in secrets.values():
        written = re.escape(format_value(secret)) + "|" + re.escape(f"'{secret}'")
        found = re.sub(rf"(?m)^(\s*password\s*=\s*)(?:{written})", lambda line: line[1] + told, found)
    try:
        is_whole = tomllib.loads(found) == values
    except ValueError:
        is_whole = False
    is_clean = not any(secret in found for secret in secrets.values())
    return found if is_whole and is_clean else _anew(values)


def _anew(values: Mapping[str, Any]) -> str:
    return _REWRITTEN + "\n".join(format_document(values)) + "\n"
