"""From edgecam-setup.toml to what is asked, with every mistake told at once."""

import difflib
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.config import Settings, explain_toml, not_accepted, parse_table
from appliance.core.errors import ConfigError
from appliance.core.files import read_bounded
from appliance.provisioning import secrets
from appliance.provisioning.asked import Setup, is_file_name, is_zone_name
from appliance.provisioning.configuration import merged, read_current
from appliance.provisioning.repeated import Before, digest, marks_of, repeated
from appliance.provisioning.system import Places

MOST_BYTES = 64 << 10  # of the setup file, and of each file beside it
_FILES = {("broker", "ca_file"), ("broker", "cert_file"), ("broker", "key_file"), ("fleet", "root_file")}
_PRIVATE = ("broker", "key_file")
_WIDE = (b"\xff\xfe", b"\xfe\xff")  # the byte order marks of UTF-16
_FORMS = {
    "{\\rtf": "it is rich text, as TextEdit and WordPad save it; save it as plain text",
    "<": "it is a web page; bring the file itself, as plain text",
}
_ADVICE = {
    "wifi": "a device joins one network, so leave one of them out",
    "ssh": 'there is one account: put all keys into one list, keys = ["…", "…"]',
    "broker": "a device has one broker, so leave one of them out",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a setup file asks.

    Attributes:
        setup: Without secrets.
        secrets: Passwords by key path, ``wifi.password``.
        files: Contents of the files beside it by key path, ``broker.ca_file``.
        redacted: The text without secrets.
        text: The text as it was read.
        private_file: The name of the file beside it that is secret, too; empty: there is none.
        marks: By what its sections and files are known again, also those that it only repeats and `setup` lacks.
    """

    setup: Setup
    secrets: Mapping[str, str] = field(repr=False)
    files: Mapping[str, str] = field(repr=False)
    redacted: str
    text: str = field(repr=False)
    private_file: str = ""
    marks: Mapping[str, str] = field(default_factory=dict)


def read_text(path: Path) -> str:
    """Read a file of bounded size.

    Raises:
        ConfigError: It is missing, too large, or no text.
    """
    try:
        content = read_bounded(path, MOST_BYTES, ConfigError, "the right file")
    except ConfigError as error:
        if isinstance(error.__cause__, IsADirectoryError):
            raise ConfigError(f"{path} is a folder; accepted: a text file of this name") from error
        raise
    if content.startswith(_WIDE):
        raise ConfigError(f'{path} is saved as UTF-16, which Notepad calls "Unicode"; save it as UTF-8')
    if (zero := content.find(b"\0")) >= 0:
        raise ConfigError(f"{path}: byte {zero} is zero, so it is no plain text, or damaged; save it again as UTF-8")
    try:
        # also as Macs of old ended lines: TOML knows no such end
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}: byte {error.start} is not UTF-8 (in line {line}); save it as plain text in UTF-8, which some "
            "editors do only if asked"
        ) from error


def read_setup(path: Path, places: Places, is_kept: Callable[[str], bool], *, before: Before | None = None) -> Asked:
    """Read and check a setup file.

    Args:
        path: The file; files that it names lie beside it.
        places: The machine that it is for: its time zones and its configuration.
        is_kept: Whether the secret or file of a key path is on the device already.
        before: What of it is nothing new; None: all of it counts.

    Raises:
        ConfigError: It cannot be read, or is not accepted: all mistakes in one message.
    """
    text = read_text(path)
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        why = next((why for begin, why in _FORMS.items() if text.lstrip().startswith(begin)), "")
        raise ConfigError(f"{path.name} is no valid TOML: {why or explain_toml(error, text, _ADVICE)}") from error
    return check_setup(values, text, path, places, is_kept, before=before)


def without_secrets(text: str) -> str:
    """Give the text of a setup file as it is left once its secrets have been moved.

    Raises:
        ConfigError: It is no TOML.
    """
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError("the setup file is no valid TOML") from error
    return secrets.redact(text, *secrets.without(values))


def check_setup(
    values: Mapping[str, Any],
    text: str,
    path: Path,
    places: Places,
    is_kept: Callable[[str], bool],
    *,
    before: Before | None = None,
) -> Asked:
    """Check what is asked; as `read_setup`, for values that were read or answered already."""
    rest, found = secrets.without(values)
    lines = secrets.mistakes(found)
    setup = None
    try:
        setup = parse_table(Setup, _with_files(rest), path.name)
    except ConfigError as error:
        lines += [line.strip() for line in str(error).splitlines()[1:]]
    stays = _staying(setup, found, dict(_digests(rest, path.parent)), before) if before is not None else frozenset()
    anew = {name: value for name, value in rest.items() if name not in stays}
    beside: dict[str, str] = {}
    lines += [*_unknown_zone(rest, places), *_unknown_country(rest, places)]
    lines += [*_not_kept(anew, found, is_kept), *_unknown_fleet(rest)]
    lines += _read_beside(anew, path.parent, is_kept, beside)
    if lines or setup is None:
        raise ConfigError(not_accepted(path.name, lines))
    asked = parse_table(Setup, _with_files(anew), path.name) if stays else setup
    if lines := _not_for_the_daemon(asked, places):
        raise ConfigError(not_accepted(path.name, lines))
    private = str(secrets.at(rest, _PRIVATE) or "") if ".".join(_PRIVATE) in beside else ""
    told = {".".join(place): secret for place, secret in found.items()}
    old = {name: mark for name, mark in before.marks.items() if name.partition(".")[0] in stays} if before else {}
    marks = {**marks_of(setup, beside), **old}
    return Asked(asked, told, beside, secrets.redact(text, rest, found), text, private, marks)


def _staying(
    setup: Setup | None, found: Mapping[tuple[str, ...], str], files: Mapping[str, str], before: Before
) -> frozenset[str]:
    """Give the sections that stay as they were asked over SSH; what a mistake may hide of them is told once it is gone.

    Args:
        setup: What the file asks; None: it has mistakes.
        found: The secrets in it.
        files: Digests of the files beside it.
        before: The file before.
    """
    if setup is None:
        return frozenset(before.said) & before.marks.keys()
    given = [".".join(place) for place in (*found, *([_PRIVATE] if ".".join(_PRIVATE) in files else ()))]
    return repeated(setup, given, files, before)


def _digests(values: Mapping[str, Any], folder: Path) -> Iterator[tuple[str, str]]:
    """Give by what the files beside a setup file are known again; one that cannot be read is told when it is."""
    for place in sorted(_FILES):
        name = secrets.at(values, place)
        if isinstance(name, str) and is_file_name(name) and (folder / name).exists():
            try:
                yield ".".join(place), digest(read_text(folder / name))
            except ConfigError:
                yield ".".join(place), ""


def camera_secret(name: str) -> str:
    """Give where a camera's password is kept."""
    return f"/etc/edgecam/secrets/camera-{name}"


def _with_files(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give the values with the place of each camera's password, as the daemon's configuration has it."""
    rest, _ = secrets.without(values)
    for place in secrets.places(rest):
        if place[0] == "cameras" and secrets.at(rest, place) == secrets.MOVED:
            secrets.at(rest, place[:-1])["password"] = {"file": camera_secret(place[1])}
    return rest


def _unknown_zone(values: Mapping[str, Any], places: Places) -> Iterator[str]:
    zone, folder = values.get("time_zone"), places.at("/usr/share/zoneinfo")
    if not isinstance(zone, str) or not is_zone_name(zone) or (folder / zone).is_file() or not folder.is_dir():
        return
    known = [str(path.relative_to(folder)) for path in folder.glob("[A-Z]*/**/*") if path.is_file()]
    near = difflib.get_close_matches(zone, known, n=1, cutoff=0.6)
    hint = (
        f"did you mean {near[0]}?" if near else "accepted: a name such as Europe/London; `timedatectl list-timezones`"
    )
    yield f"time_zone: no such time zone; {hint}"


def _unknown_country(values: Mapping[str, Any], places: Places) -> Iterator[str]:
    """Tell of a country that is none: a radio that is given one stays off, and says nothing."""
    country, table = secrets.at(values, ("wifi", "country")), places.at("/usr/share/zoneinfo/iso3166.tab")
    if not isinstance(country, str) or not re.fullmatch("[A-Z]{2}", country) or not table.is_file():
        return  # told already, or not known here
    with table.open(encoding="utf-8", errors="replace") as file:
        codes = {line[:2] for line in file.read(MOST_BYTES).splitlines() if not line.startswith("#")}
    if country not in codes:
        britain = "; Britain is GB" if country == "UK" else ""
        yield f'wifi.country: "{country}" is no country of ISO 3166{britain}; accepted: its two letters, such as "GB"'


def _not_kept(
    values: Mapping[str, Any], found: Mapping[tuple[str, ...], str], is_kept: Callable[[str], bool]
) -> Iterator[str]:
    for place in secrets.places(values):
        path = ".".join(place)
        if place not in found and secrets.at(values, place) == secrets.MOVED and not is_kept(path):
            yield (
                f"{path}: is not on this device: it was moved to another one, or removed when what it was for was "
                "replaced; write the password here again"
            )


def _unknown_fleet(values: Mapping[str, Any]) -> Iterator[str]:
    if "fleet" in values and "fleet" not in Settings.model_fields:
        yield "fleet: this version of Edgecam has no fleet; take the section out"


def _read_beside(
    values: Mapping[str, Any], folder: Path, is_kept: Callable[[str], bool], read: dict[str, str]
) -> Iterator[str]:
    """Read the files beside the setup file into `read`, and tell which cannot be."""
    for place in sorted(_FILES):
        name, path = secrets.at(values, place), ".".join(place)
        if not isinstance(name, str) or not is_file_name(name):
            continue  # told already
        if not (folder / name).exists() and is_kept(path):
            continue
        try:
            read[path] = read_text(folder / name)
        except ConfigError as error:
            yield f"{path}: {error}; it has to lie beside the setup file"
            continue
        if why := _not_what_is_meant(place, name, read[path]):
            yield f"{path}: {why}"


def _not_what_is_meant(place: tuple[str, ...], name: str, content: str) -> str:
    """Tell what is wrong with a file beside the setup file; empty: nothing that can be seen."""
    if place[0] == "fleet":
        return (
            "" if _is_signed(content) else f"{name} is no root of trust; accepted: the root.json of the fleet's owner"
        )
    if "-----BEGIN " not in content:
        return f"{name} is no PEM file: it has no line -----BEGIN …"
    if "ENCRYPTED" in content:
        return f"{name} is locked with a passphrase, which nobody types on a device; do: openssl pkey -in {name} -out …"
    is_private = "PRIVATE KEY-----" in content
    if place == _PRIVATE and not is_private:
        return f"{name} holds no private key; accepted: PEM with a line -----BEGIN … PRIVATE KEY-----"
    if place != _PRIVATE and is_private:
        return f"{name} holds a private key, and others may read what goes here; accepted: certificates alone"
    return ""


def _is_signed(content: str) -> bool:
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(told, dict) and "signed" in told


def _not_for_the_daemon(setup: Setup, places: Places) -> list[str]:
    """Tell what the daemon would refuse of the configuration that this makes."""
    try:
        current = read_current(places.configuration)
        parse_table(Settings, current, "edgecam.toml")
    except ConfigError:
        current = {}  # its own step fails then and tells it; network and login are not to wait for another file
    try:
        parse_table(Settings, merged(current, setup, setup.device_id or "to-be-made"), "edgecam.toml")
    except ConfigError as error:
        return [f"would not be accepted with the configuration that is there: {error}"]
    return []
