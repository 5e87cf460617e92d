"""The questions of `edgecam setup`, each with what is so now as its default."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
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
    values: dict[str, Any] = {
        "hostname": _answer(
            places, "Name in the network", "hostname", lambda text: {"hostname": text}, _hostname(places)
        ),
        "time_zone": _answer(places, "Time zone", "time_zone", lambda text: {"time_zone": text}, _zone(places)),
    }
    question = "Public SSH key to log in with (line of a .pub file)"
    if key := _answer(places, question, "ssh.keys", lambda text: {"ssh": {"keys": [text]}}):
        values["ssh"] = {"keys": [key]}
    values |= _wifi(places)
    values |= _broker(places, current.get("messaging", {}))
    if not current.get("cameras"):
        values["cameras"] = _camera(places)
    return values


def _current(places: "Places") -> dict[str, Any]:
    from appliance.provisioning.configuration import read_current

    return read_current(places.configuration)


def _answer(
    places: "Places",
    question: str,
    setting: str,
    said: Callable[[str], dict[str, Any]],
    default: str | None = "",
    *,
    is_hidden: bool = False,
) -> str:
    """Ask until the setting accepts the answer; an empty one is taken.

    Args:
        places: The machine that it is for.
        question: What is asked.
        setting: Its key path, with which a mistake of its own begins.
        said: What a setup file would say, of the answer.
        default: What Enter answers; None: it asks again.
        is_hidden: It is not shown while it is typed.
    """

    def check(text: str) -> str:
        from appliance.provisioning import check_setup

        if text in ("", default):
            return text  # what is so already, or nothing
        try:
            check_setup(said(text), "", Path("the answers"), places, lambda _: True)
        except ConfigError as error:
            told = [line.strip() for line in str(error).splitlines()]
            # what else is wrong no answer to this question mends
            if own := [line for line in told if line.startswith(setting)]:
                raise click.BadParameter(own[0]) from error
        return text

    answer: str = click.prompt(
        question, default=default, value_proc=check, hide_input=is_hidden, show_default=bool(default), err=True
    )
    return answer


def _wifi(places: "Places") -> dict[str, Any]:
    asked: dict[str, Any] = {"country": "GB"}  # until it is known

    def said(setting: str) -> Callable[[str], dict[str, Any]]:
        return lambda text: {"wifi": {**asked, setting: text}}

    if not (name := _answer(places, "Wi-Fi network (empty: leave as it is)", "wifi.ssid", said("ssid"))):
        return {}
    asked["ssid"] = name
    by_country = said("country")
    question = "Country of use, two letters"
    country = _answer(places, question, "wifi.country", lambda text: by_country(text.upper()), None)
    asked["country"] = country.upper()
    question = "Wi-Fi password, 8 to 63 characters (empty: an open network)"
    password = _answer(places, question, "wifi.password", said("password"), is_hidden=True)
    return {"wifi": {**asked, **({"password": password} if password else {})}}


def _broker(places: "Places", current: Mapping[str, Any]) -> dict[str, Any]:
    """Give what is asked of the broker; nothing where all stays."""
    there = {"url": current.get("broker", _BROKER), "username": current.get("username", "")}
    url = _answer(places, "Broker", "broker.url", lambda text: {"broker": {"url": text}}, there["url"])
    broker = {"url": url}
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


def _camera(places: "Places") -> dict[str, Any]:
    from appliance.cameras.discover import find_cameras

    found = [one for one in find_cameras() if one.is_usable]
    for number, one in enumerate(found, 1):
        click.echo(f"  {number}  {one.address}  {one.title}", err=True)
    chosen = click.prompt("Camera", type=click.IntRange(1, len(found)), default=1, err=True)
    section = _section(found[chosen - 1].kind, found[chosen - 1].address)
    name = _answer(places, "Its name in topics", "cameras.", lambda text: {"cameras": {text: section}}, "door")
    return {name: section}


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
