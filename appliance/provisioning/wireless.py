"""Joins a wireless network through NetworkManager."""

import re
import uuid
from typing import TYPE_CHECKING

from appliance.core.errors import ConfigError, UnavailableError, UnsupportedError
from appliance.provisioning.asked import WifiSetup
from appliance.provisioning.system import Places, place_file

if TYPE_CHECKING:
    from appliance.provisioning.steps import Task

WIFI_PASSWORD = "/var/lib/edgecam-setup/wifi-password"  # noqa: S105 - where it lies
CONNECTION = "/etc/NetworkManager/system-connections/edgecam.nmconnection"
_COUNTRY_TOOL = "raspi-config"


def join_network(task: "Task") -> str:
    """Write the connection, which NetworkManager tries for ever, and switch the radio on; waits for no network."""
    wifi = task.setup.wifi
    if wifi is None:
        return "stays as it is"
    if not task.places.at("/etc/NetworkManager").is_dir():
        raise UnsupportedError("NetworkManager is not installed: join the network by the system's own means")
    password = None
    if wifi.password is not None:
        try:
            password = task.places.at(WIFI_PASSWORD).read_text(encoding="utf-8").rstrip("\n")
        except OSError as error:
            raise ConfigError("wifi.password is not on the device; write it into the setup file again") from error
    place_file(task.places.at(CONNECTION), keyfile(wifi, password).encode(), 0o600)
    if password is None:
        task.places.at(WIFI_PASSWORD).unlink(missing_ok=True)  # of the network before
    notes = [_set_country(task, wifi.country)]
    if task.system.has("rfkill"):
        task.system.run("rfkill", "unblock", "wifi")
    if task.system.has("nmcli"):
        try:
            task.system.run("nmcli", "radio", "wifi", "on")
            task.system.run("nmcli", "connection", "reload")
        except UnavailableError:
            notes.append("NetworkManager does not run yet and takes it at its start")
    return "; ".join([f"joins {wifi.ssid}", *filter(None, notes)])


def keyfile(wifi: WifiSetup, password: str | None) -> str:
    """Give the connection as NetworkManager's keyfile (nm-settings-keyfile(5)).

    The name is written as bytes and the password escaped as GLib does: both may hold what would end a line's value.
    """
    # the same for the same network: writing it again must not make a second connection
    number = uuid.uuid5(uuid.NAMESPACE_URL, f"edgecam:{wifi.ssid}")
    lines = ["[connection]", "id=edgecam", f"uuid={number}", "type=wifi", "autoconnect-retries=0", ""]
    name = "".join(f"{byte};" for byte in wifi.ssid.encode())
    lines += ["[wifi]", "mode=infrastructure", f"ssid={name}", *(["hidden=true"] if wifi.hidden else []), ""]
    if password is not None:
        lines += ["[wifi-security]", "key-mgmt=wpa-psk", f"psk={_escaped(password)}", ""]
    return "\n".join([*lines, "[ipv4]", "method=auto", "", "[ipv6]", "method=auto", ""])


def joined(places: Places) -> str:
    """Give the name of the network that the connection is for; empty: it has no password, or cannot be read."""
    try:
        text = places.at(CONNECTION).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    lines = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    name = lines.get("ssid", "")
    try:
        # NetworkManager writes it as text, where it writes the file anew
        is_bytes = re.fullmatch(r"(\d{1,3};)+", name)
        name = bytes(map(int, name.split(";")[:-1])).decode() if is_bytes else _meant(name)
    except ValueError:
        return ""  # somebody has written another one there
    return name if "psk" in lines else ""


def _meant(text: str) -> str:
    """Give what a text of a key file says: the other way round than `_escaped`, and for lists."""
    return re.sub(r"\\(.)", lambda found: " " if found[1] == "s" else found[1], text)


def _escaped(text: str) -> str:
    escaped = text.replace("\\", "\\\\")
    spaces = len(escaped) - len(escaped.lstrip(" "))
    return "\\s" * spaces + escaped[spaces:]


def _set_country(task: "Task", country: str) -> str:
    """Allow the country's channels; without it the radio of a Raspberry Pi stays off."""
    if task.system.has(_COUNTRY_TOOL):
        task.system.run(_COUNTRY_TOOL, "nonint", "do_wifi_country", country)
        return ""
    if task.system.has("iw"):
        task.system.run("iw", "reg", "set", country)
        return ""
    return "the country could not be set: neither raspi-config nor iw is here"
