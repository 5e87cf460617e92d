"""Who this device is: an id and a key that are made here, and whether the card they are on was copied."""

import base64
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from appliance.core.errors import StorageError
from appliance.core.files import make_folder, write_atomically
from appliance.provisioning.system import Places

_MOST = 64 << 10  # bytes
_SERIALS = (
    "/proc/device-tree/serial-number",  # Raspberry Pi, Jetson
    "/sys/class/dmi/id/product_uuid",  # a PC; root alone reads it
)
_NO_SERIALS = ("", "0", "0000000000000000")  # what boards tell that have none


@dataclass(frozen=True, slots=True)
class Hardware:
    """By what a machine is known again.

    Attributes:
        serial: Of the board; empty where it tells none.
        machine_id: Of the system on the card, /etc/machine-id.
    """

    serial: str
    machine_id: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the device is.

    Attributes:
        device_id: Its id.
        hardware: On which it became so.
        declined: The id that a copied setup file asks for, and that the machine it was copied from has; empty: none.
    """

    device_id: str
    hardware: Hardware
    declined: str = ""


def is_another_machine(then: Hardware, now: Hardware) -> bool:
    """Tell whether an identity was made on another machine: its card was copied, or put into another board."""
    if then.serial and now.serial:
        return then.serial != now.serial
    return then.machine_id != now.machine_id


def new_id(name: str, random: bytes) -> str:
    """Give an id that no other device has: a readable name and 40 random bits.

    Args:
        name: Such as the host's name; counts up to its first character that an id cannot have.
        random: Five random bytes.
    """
    tail = base64.b32encode(random[:5]).decode("ascii").lower()
    readable = re.split(r"[^A-Za-z0-9_-]", name, maxsplit=1)[0]  # no topic takes the dot of door.lan
    return f"{readable[:55].strip('-') or 'edgecam'}-{tail}"


def read_hardware(places: Places) -> Hardware:
    """Read by what this machine is known; never raises for what it does not tell."""
    serial = next((told for path in _SERIALS if (told := _read(places.at(path))) not in _NO_SERIALS), "")
    return Hardware(serial, _read(places.at("/etc/machine-id")))


def load_identity(path: Path) -> Identity | None:
    """Give the identity that was stored; None: none was, or it cannot be read.

    Raises:
        StorageError: The disk does not answer.
    """
    try:
        with path.open("rb") as file:
            told = json.loads(file.read(_MOST))
        hardware = Hardware(str(told["serial"]), str(told["machine_id"]))
        return Identity(str(told["device_id"]), hardware, str(told.get("declined", "")))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def store_identity(path: Path, identity: Identity) -> None:
    """Store the identity.

    Raises:
        StorageError: It cannot be written.
    """
    make_folder(path.parent)
    told = {"device_id": identity.device_id, **asdict(identity.hardware), "declined": identity.declined}
    write_atomically(path, json.dumps(told).encode() + b"\n", 0o600)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(256).decode("ascii", "replace").strip("\0 \n").lower()
    except OSError:
        return ""
