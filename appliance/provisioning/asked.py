"""What an owner can ask of a new device in edgecam-setup.toml; no secret is ever part of it."""

import base64
import binascii
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator

from appliance.config import AnyCamera, CameraName, Section, Url, setting

_KEY_KINDS = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
_FILE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_BROKER = r"^mqtts?://([^/\s:?#]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?/?$"
_LONGEST_NETWORK_NAME = 32  # bytes; IEEE 802.11, section 9.4.2.2


def _public_key(line: str) -> str:
    """Accept one line of a .pub file, without options: those could run commands."""
    if "PRIVATE KEY" in line:
        raise ValueError(
            "is a private key: take it off the card; accepted: the one line of the file that ends with .pub"
        )
    if "\n" in line.strip():
        raise ValueError("has more than one line; accepted: the one line of a .pub file, each key in quotation marks")
    kind, _, rest = line.strip().partition(" ")
    body, _, comment = rest.strip().partition(" ")
    try:
        told = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        told = b""
    # RFC 4253, section 6.6: the kind stands in the key itself, too
    if kind not in _KEY_KINDS or not told.startswith(len(kind).to_bytes(4, "big") + kind.encode()):
        raise ValueError("is no public key; accepted: the one line of a .pub file, such as `ssh-ed25519 AAAAC3… name`")
    return " ".join(filter(None, [kind, body, "".join(filter(str.isprintable, comment))[:100]]))


def _network_name(name: str) -> str:
    if not 1 <= len(name.encode()) <= _LONGEST_NETWORK_NAME:
        raise ValueError(f"has {len(name.encode())} bytes; accepted: 1 to {_LONGEST_NETWORK_NAME}")
    return name


def _country(code: str) -> str:
    if not re.fullmatch("[A-Z]{2}", code):
        # what is longer may be another line's value, the password for one, and is not shown
        given = f'is "{code}"' if re.fullmatch("[A-Za-z]{2}", code) else f"has {len(code)} characters"
        raise ValueError(f'{given}; accepted: two capital letters such as "GB" (ISO 3166)')
    return code


def is_zone_name(name: str) -> bool:
    """Tell whether it can be the name of a time zone, and no other path."""
    return re.fullmatch(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2}", name) is not None


def is_file_name(name: str) -> bool:
    """Tell whether it can be the name of a file beside the setup file, and no path elsewhere."""
    return re.fullmatch(_FILE_NAME, name) is not None


def _time_zone(name: str) -> str:
    if not is_zone_name(name):
        raise ValueError("is no time zone; accepted: a name such as Europe/London or UTC")
    return name


def _without_account(url: Any) -> Any:
    if isinstance(url, str) and "@" in url:
        raise ValueError("carries a user name or password; they go into `username` and `password` below it")
    return url


BrokerUrl = Annotated[Url, BeforeValidator(_without_account)]
PublicKey = Annotated[str, AfterValidator(_public_key)]
Country = Annotated[str, AfterValidator(_country)]
NetworkName = Annotated[str, AfterValidator(_network_name)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]


class Moved(Section):
    """Stands where a secret stood, once it has been moved to the device."""

    moved: Literal[True] = setting(..., "The secret is on the device; write a new one here to change it.")


def _password(what: str) -> Moved | None:
    kept: Moved | None = setting(None, what, accepts="text in quotes, or { moved = true } for the one that is there")
    return kept


class WifiSetup(Section):
    """The wireless network to join."""

    ssid: NetworkName = setting(..., "The network's name.", accepts="text of 1 to 32 bytes in quotes")
    password: Moved | None = _password("Password; none: an open network.")
    country: Country = setting(
        ...,
        "Where the device is: which channels may be used.",
        accepts='two capital letters such as "GB" (ISO 3166)',
    )
    hidden: bool = setting(False, "The network does not tell its name.")


class SshSetup(Section):
    """Who may log in, by key alone."""

    user: str = setting(
        "admin",
        "The account; made where it is not there.",
        accepts="1 to 32 of a-z, 0-9, - and _, the first a letter",
        pattern=r"^[a-z][a-z0-9_-]{0,31}$",
    )
    keys: tuple[PublicKey, ...] = setting(
        (), "Public keys, each the one line of a .pub file.", accepts="a list of up to 32 public keys", max_length=32
    )


def _file(what: str) -> str | None:
    named: str | None = setting(None, what, accepts="the name of a file beside this one", pattern=_FILE_NAME)
    return named


class BrokerSetup(Section):
    """Where messages go."""

    url: BrokerUrl = setting(
        ...,
        "The broker.",
        accepts="mqtt://HOST[:PORT] or mqtts://HOST[:PORT], and nothing behind it",
        pattern=_BROKER,
        max_length=512,
    )
    username: str | None = setting(None, "User name.", max_length=255)
    password: Moved | None = _password("Password.")
    ca_file: str | None = _file("Certificate authorities, PEM; none: the system's own.")
    cert_file: str | None = _file("This device's certificate, PEM.")
    key_file: str | None = _file("Its private key, PEM; none: the key that was made on the device.")


class FleetSetup(Section):
    """Where models come from."""

    url: str = setting(
        ...,
        "Where the fleet's files lie.",
        accepts="https://HOST/PATH",
        pattern=r"^https://[^/\s@]+(/\S*)?$",
        max_length=1024,
    )
    root_file: str = setting(
        ...,
        "The fleet's root of trust.",
        accepts="the name of a file beside this one",
        pattern=_FILE_NAME,
    )


class Setup(Section):
    """All that can be asked; what is left out stays as it is."""

    hostname: str | None = setting(
        None,
        "The machine's name in the network.",
        accepts="1 to 63 of a-z, 0-9 and -, not at either end",
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
    )
    time_zone: TimeZone | None = setting(None, "The time zone.", accepts="a name such as Europe/London")
    device_id: str | None = setting(
        None,
        "Its name in topics; none: made here, never the same twice.",
        accepts="1 to 64 letters, digits, - and _",
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
    )
    wifi: WifiSetup | None = setting(None)
    ssh: SshSetup | None = setting(None)
    broker: BrokerSetup | None = setting(None)
    cameras: dict[CameraName, AnyCamera] = setting(
        {}, "The cameras by name, as in edgecam.toml; a password may stand here as text.", max_length=16
    )
    fleet: FleetSetup | None = setting(None)
