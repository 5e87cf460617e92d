"""Secrets in edgecam-setup.toml: found, checked, and taken out of its text."""

import copy
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from appliance.config.toml import format_document, format_value

MOVED = {"moved": True}
_LONGEST = 512  # characters
_PASSPHRASE = re.compile(r"[ -~]{8,63}|[0-9A-Fa-f]{64}")  # IEEE 802.11-2020, annex J.4: ASCII, or the key itself
SHORTEST = 6  # characters of a secret that stands elsewhere by no chance
# the texts of a TOML document, and its remarks: a "#" within a text begins none (toml.io/en/v1.0.0, "String")
_PART = re.compile(r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|#[^\n]*', re.DOTALL)
_TEXT = r'"(?:\\.|[^"\\])*"|\'[^\']*\''
# behind a colon one word, which nothing follows but another remark, a bracket or a dash: a sentence stays
_WORD = rf"\S[^\s#(]{{0,{_LONGEST}}}+[ \t]*+(?:$|[#(]|(?<=[ \t])[-\u2013\u2014])"
_GIVEN = re.compile(
    rf"(?i)(?P<key>\b(?:password|passwd|passphrase|psk)[\"']?[ \t]*(?:=|:(?=[ \t]*(?:[\"']|{_WORD})))[ \t]*)"
    rf"(?P<value>(?:{_TEXT})(?=[ \t]*(?:$|[#,}}]))|\{{[ \t]*moved[ \t]*=[ \t]*true[ \t]*\}}|[^\n]*)"
)
_NO_PASSWORDS = ("", "{ moved = true }", "its password")  # the last one is an example's
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
    """Give the values with `MOVED` in place of every secret, and the secrets by their places.

    One that is no text, such as digits without quotation marks, is given as empty: no message may show it.
    """
    rest, secrets = copy.deepcopy(dict(values)), {}
    for place in places(values):
        secret = at(values, place)
        if not isinstance(secret, Mapping):
            secrets[place] = secret if isinstance(secret, str) else ""
            at(rest, place[:-1])[place[-1]] = dict(MOVED)
    return rest, secrets


def mistakes(secrets: Mapping[tuple[str, ...], str]) -> list[str]:
    """Tell which secrets cannot be meant, without showing any."""
    told = []
    for place, secret in secrets.items():
        path = ".".join(place)
        if not secret or len(secret) > _LONGEST or not secret.isprintable():
            why = "is no text in quotation marks, empty, too long or has characters that cannot be typed"
            told.append(f"{path}: {why}; accepted: 1 to {_LONGEST} characters")
        elif place == ("wifi", "password") and not _PASSPHRASE.fullmatch(secret):
            told.append(f"{path}: has {len(secret)} characters; accepted: 8 to 63 plain ones, or 64 hexadecimal digits")
    return told


def redact(text: str, values: Mapping[str, Any], secrets: Mapping[tuple[str, ...], str]) -> str:
    """Give the file's text with ``{ moved = true }`` in place of each secret, and no password in its remarks.

    Remarks and order stay, unless a secret is written so that its line cannot be found, or is so short that taking it
    out of remarks would spoil them: then the whole is written anew from its values.

    Args:
        text: The file.
        values: What it says, without secrets.
        secrets: The secrets by their places.
    """
    if not secrets and not _spoken(text, ()):
        return text
    told = format_value(MOVED)
    found = text
    for secret in secrets.values():
        written = re.escape(format_value(secret)) + "|" + re.escape(f"'{secret}'")
        found = re.sub(rf"(?m)^(\s*password\s*=\s*)(?:{written})", lambda line: line[1] + told, found)
    long = [secret for secret in secrets.values() if len(secret) >= SHORTEST]
    found = _PART.sub(lambda part: _cleaned(part[0], long) if part[0].startswith("#") else part[0], found)
    try:
        is_whole = tomllib.loads(found) == values
    except ValueError:
        is_whole = False
    is_clean = not any(secret in remark for secret in secrets.values() for _, remark in _remarks(found))
    return found if is_whole and is_clean else _anew(values)


def in_settings(values: Any, secrets: Collection[str]) -> bool:
    """Tell whether a secret stands in any text of these values, as part of an address or a second time."""
    if isinstance(values, str):
        return any(secret in values for secret in secrets if len(secret) >= SHORTEST)
    parts = values.values() if isinstance(values, Mapping) else values if isinstance(values, list | tuple) else ()
    return any(in_settings(part, secrets) for part in parts)


def in_remarks(text: str) -> list[int]:
    """Give the lines of a setup file whose remarks have a password in them: the file's own, or one out of use.

    Args:
        text: Of the file; what is no TOML has no remarks.
    """
    try:
        _, secrets = without(tomllib.loads(text))
    except (ValueError, RecursionError):
        return []
    return _spoken(text, secrets.values())


def _spoken(text: str, secrets: Collection[str]) -> list[int]:
    known = [secret for secret in secrets if secret]
    return [line for line, remark in _remarks(text) if _cleaned(remark, known) != remark]


def _remarks(text: str) -> Iterator[tuple[int, str]]:
    for part in _PART.finditer(text):
        if part[0].startswith("#"):
            yield text.count("\n", 0, part.start()) + 1, part[0]


def _cleaned(remark: str, secrets: Collection[str]) -> str:
    """Give a remark without passwords that stand where a setting would have them, and without any that is known."""
    remark = _GIVEN.sub(_emptied, remark)
    for secret in secrets:
        remark = remark.replace(secret, "\N{HORIZONTAL ELLIPSIS}")
    return remark


def _emptied(found: re.Match[str]) -> str:
    return found[0] if found["value"].strip(" \t\"'") in _NO_PASSWORDS else f'{found["key"]}""'


def _anew(values: Mapping[str, Any]) -> str:
    return _REWRITTEN + "\n".join(format_document(values)) + "\n"
