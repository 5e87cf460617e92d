"""The questions of `edgecam setup`, each with what is so now as its default; what stays is not said again."""

from typing import TYPE_CHECKING, Any

import click

from appliance.cli.setup_asking import Asking, Said, whoever_asks
from appliance.cli.setup_broker import ask_broker
from appliance.cli.setup_camera import ask_camera, first_camera
from appliance.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from appliance.cameras.discover import Found
    from appliance.provisioning import Places

_HOSTNAME, _UTC = "edgecam", "UTC"


def ask(asking: Asking, find: "Callable[[], Sequence[Found]]", *, is_quiet: bool) -> dict[str, Any]:
    """Ask what the device is to be and give the answers as a setup file would say them.

    Args:
        asking: Who asks.
        find: Finds the cameras that are attached, the best first.
        is_quiet: Ask nothing: all stays as it is, and the first camera that is attached is taken where none is named.

    Raises:
        ConfigError: The configuration that is there is not accepted, and no answer mends that.
        UnavailableError: Only others may look at it.
    """
    current = _current(asking.places)
    cameras = current.get("cameras", {})
    if is_quiet:
        return {} if cameras else first_camera(find())
    click.echo("Enter keeps what stands in [brackets].", err=True)
    values = _name_and_zone(asking)
    values |= _login(asking)
    values |= _wifi(asking)
    values |= ask_broker(asking, current.get("messaging", {}))
    if not cameras:
        return values | ask_camera(asking, find())
    click.echo(f"Cameras stay as they are: {', '.join(cameras)}; [cameras] in edgecam.toml changes them.", err=True)
    return values


def _current(places: "Places") -> dict[str, Any]:
    from appliance.config import parse_settings
    from appliance.provisioning.configuration import read_current

    current = read_current(places.configuration)
    try:
        parse_settings(current, str(places.configuration))
    except ConfigError as error:
        # told now: at the end all answers would be lost
        raise ConfigError(f"correct what is there first, then set up: {error}") from error
    return current


def _name_and_zone(asking: Asking) -> dict[str, Any]:
    """Give name and time zone where they are to change; what is there stays even where no setup could say it."""
    host, zone = _hostname(asking.places), _zone(asking.places)
    name = asking.answer("Name in the network", "hostname", lambda text: {"hostname": text}, host or _HOSTNAME)
    place = asking.answer("Time zone", "time_zone", lambda text: {"time_zone": text}, zone)
    return {**({"hostname": name} if name != host else {}), **({"time_zone": place} if place != zone else {})}


def _login(asking: Asking) -> dict[str, Any]:
    from appliance.provisioning.asked import SshSetup

    question = "Public SSH key to log in with, the line of a .pub file (empty: leave as it is)"
    key = asking.answer(question, "ssh.keys", lambda text: {"ssh": {"keys": [text]}})
    if not key:
        return {}

    def said(user: str) -> dict[str, Any]:
        return {"ssh": {"user": user, "keys": [key]}}

    caller = whoever_asks()
    default = caller if caller and not asking.mistakes(said(caller), "ssh.user") else SshSetup().user
    question = "Account that it opens; from then on nobody logs in over SSH by password"
    return said(asking.answer(question, "ssh.user", said, default))


def _wifi(asking: Asking) -> dict[str, Any]:
    asked: dict[str, Any] = {"country": "GB"}  # until it is known

    def said(setting: str) -> Said:
        return lambda text: {"wifi": {**asked, setting: text}}

    if not (name := asking.answer("Wi-Fi network (empty: leave as it is)", "wifi.ssid", said("ssid"))):
        return {}
    asked["ssid"] = name
    by_country = said("country")
    question = "Country of use, two letters"
    country = asking.answer(question, "wifi.country", lambda text: by_country(text.upper()), None)
    asked["country"] = country.upper()
    question = "Wi-Fi password, 8 to 63 characters (empty: an open network)"
    password = asking.answer(question, "wifi.password", said("password"), is_hidden=True)
    return {"wifi": {**asked, **({"password": password} if password else {})}}


def _hostname(places: "Places") -> str:
    path = places.at("/etc/hostname")
    return path.read_text(encoding="ascii", errors="ignore").strip() if path.exists() else ""


def _zone(places: "Places") -> str:
    """Give the time zone; empty: it cannot be told."""
    link = places.at("/etc/localtime")
    if link.is_symlink():
        return str(link.readlink()).partition("zoneinfo/")[2]
    return "" if link.exists() else _UTC  # localtime(5): without the file it is UTC
