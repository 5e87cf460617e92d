"""The daemon's configuration, as setting up leaves it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.config import read_toml
from appliance.config.toml import format_document
from appliance.core.errors import ConfigError, UnavailableError
from appliance.provisioning.asked import BrokerSetup, Setup

CA, CERTIFICATE, KEY, REQUEST, FLEET_ROOT = (
    "/etc/edgecam/tls/ca.pem",
    "/etc/edgecam/tls/device.pem",
    "/etc/edgecam/tls/device.key",
    "/etc/edgecam/tls/device.csr",
    "/etc/edgecam/fleet-root.json",
)
CREDENTIAL = "broker-password"  # LoadCredential= of the unit
_HEAD = """\
# Written by `edgecam setup`; the file before it is beside it, with the ending .before-setup. Yours to change.
# Every setting, with its default, limits and meaning: edgecam config default
# After a change: sudo systemctl reload edgecam
"""


def read_current(path: Path) -> dict[str, Any]:
    """Give what is configured; nothing where there is no file.

    Raises:
        ConfigError: It is no TOML.
        UnavailableError: Only others may look at it.
    """
    try:
        if not path.exists():
            return {}
        path.open("rb").close()
    except PermissionError as error:
        raise UnavailableError(
            f"{path} may be read by root and by members of the group edgecam alone; do: sudo edgecam setup …"
        ) from error
    except OSError:
        pass  # said by what reads it
    return read_toml(path)


def merged(current: Mapping[str, Any], setup: Setup, device_id: str) -> dict[str, Any]:
    """Give the configuration with what is asked; all else stays, but cameras take the place of those before.

    Args:
        current: What is configured, as `read_current` gives it.
        setup: What is asked.
        device_id: The device's id.

    Raises:
        ConfigError: What is configured has something else where a table should be.
    """
    values = dict(current)
    values["device"] = {**_table(values, "device"), "id": device_id}
    if setup.broker is not None:
        values["messaging"] = _messaging(_table(values, "messaging"), setup.broker)
    if setup.cameras:
        values["cameras"] = setup.model_dump(mode="json", exclude_unset=True, include={"cameras"})["cameras"]
    if setup.fleet is not None:
        values["fleet"] = {**_table(values, "fleet"), "url": setup.fleet.url, "root": FLEET_ROOT}
    return values


def document(values: Mapping[str, Any]) -> bytes:
    """Give the configuration as a file."""
    return (_HEAD + "\n" + "\n".join(format_document(values)).rstrip("\n") + "\n").encode()


def _table(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = values.get(name, {})
    if not isinstance(table, Mapping):
        raise ConfigError(f"{name} is no table; accepted: [{name}] on a line of its own, its settings below")
    return table


def _messaging(current: Mapping[str, Any], broker: BrokerSetup) -> dict[str, Any]:
    """Give the section; whom one was to the broker before is not whom one is to this one."""
    values = {
        key: value for key, value in current.items() if key not in ("username", "password", "username_from", "tls")
    }
    values["broker"] = broker.url
    if broker.username is not None:
        values["username"] = broker.username
    if broker.password is not None:
        values["password"] = {"credential": CREDENTIAL}
    tls = {key: value for key, value in _table(current, "tls").items() if not key.endswith("_file")}
    if broker.ca_file is not None:
        tls["ca_file"] = CA
    if broker.cert_file is not None:
        tls |= {"cert_file": CERTIFICATE, "key_file": KEY}
    return values | ({"tls": tls} if tls else {})
