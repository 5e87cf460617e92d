"""The questions of `edgecam setup`, each with what is so now as its default."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from appliance.core.errors import ConfigError

if TYPE_CHECKING:
    from appliance.provisioning import Places

_BROKER = "mqtt://127.0.0.1:1883"


def ask(places: "Places", *, is_quiet: bool) -> dict[str, Any]:
    """Ask what the device is to be and give the answers as a setup file would say them.

    Args:
        places: Where what is so now is looked up.
        is_quiet: Ask nothing: all stays as it is, and the first camera that is attached is taken where none is named.
    """
    current = _current(places)
    if is_quiet:
        return {} if current.get("cameras") else {"cameras": _first_camera()}
    click.echo("Enter keeps what stands in [brackets].", err=True)
    values: dict[str, Any] = {"hostname": _answer("hostname", "Name in the network", _hostname(places))}
    values["time_zone"] = _answer("time_zone", "Time zone", _zone(places))
    if key := click.prompt("Public SSH key to log in with (line of a .pub file)", default="", err=True):
        values["ssh"] = {"keys": [key]}
    values |= _wifi()
    values |= _broker(current.get("messaging", {}))
    if not current.get("cameras"):
        values["cameras"] = _camera()
    return values


def _current(places: "Places") -> dict[str, Any]:
    from appliance.provisioning.configuration import read_current

    return read_current(places.configuration)


def _answer(setting: str, question: str, default: str) -> str:
    """Ask until the setting accepts the answer."""

    def check(text: str) -> str:
        from appliance.config import parse_table
        from appliance.provisioning import Setup

        try:
            parse_table(Setup, {setting: text}, "")
        except ConfigError as error:
            raise click.BadParameter(str(error).splitlines()[-1].strip()) from error
        return text

    answer: str = click.prompt(question, default=default, value_proc=check, err=True)
    return answer


def _wifi() -> dict[str, Any]:
    if not (name := click.prompt("Wi-Fi network (empty: leave as it is)", default="", err=True)):
        return {}
    wifi: dict[str, Any] = {"ssid": name, "country": click.prompt("Country of use, two letters", err=True).upper()}
    if password := click.prompt("Wi-Fi password (empty: an open network)", default="", hide_input=True, err=True):
        wifi["password"] = password
    return {"wifi": wifi}


def _broker(current: Mapping[str, Any]) -> dict[str, Any]:
    """Give what is asked of the broker; nothing where all stays."""
    there = {"url": current.get("broker", _BROKER), "username": current.get("username", "")}
    broker = {"url": click.prompt("Broker", default=there["url"], err=True)}
    name = click.prompt("User name at the broker (empty: none)", default=there["username"], err=True)
    password = ""
    if name:
        kept = "the one that is there" if current.get("password") else "none"
        password = click.prompt(f"Password at the broker (empty: {kept})", default="", hide_input=True, err=True)
    if not password and {**broker, "username": name} == there and current.get("broker"):
        return {}
    if name:
        broker["username"] = name
    if password:
        broker["password"] = password
    return {"broker": broker}


def _camera() -> dict[str, Any]:
    from appliance.cameras.discover import find_cameras

    found = [one for one in find_cameras() if one.is_usable]
    for number, one in enumerate(found, 1):
        click.echo(f"  {number}  {one.address}  {one.title}", err=True)
    chosen = click.prompt("Camera", type=click.IntRange(1, len(found)), default=1, err=True)
    name = click.prompt("Its name in topics", default="door", err=True)
    return {name: _section(found[chosen - 1].kind, found[chosen - 1].address)}


def _first_camera() -> dict[str, Any]:
    """Give the camera that is attached; a drawn street is none."""
    from appliance.cameras.discover import find_cameras

    attached = [one for one in find_cameras() if one.is_usable and one.kind != "synthetic"]
    return {"door": _section(attached[0].kind, attached[0].address)} if attached else {}


def _section(kind: str, address: str) -> dict[str, Any]:
    section: dict[str, Any] = {"kind": kind}
    if kind == "v4l2":
        section["device"] = address
    if (place := re.fullmatch(r"picamera2:(\d+)", address)) is not None:
        section["index"] = int(place[1])
    return section


def _hostname(places: "Places") -> str:
    path = places.at("/etc/hostname")
    return path.read_text(encoding="ascii", errors="ignore").strip() if path.exists() else "edgecam"


def _zone(places: "Places") -> str:
    link = places.at("/etc/localtime")
    return str(link.readlink()).partition("zoneinfo/")[2] or "UTC" if link.is_symlink() else "UTC"
