"""What a broker's refusal means, in plain words, and what the owner can do. Codes: MQTT 5, section 2.4."""

import socket
import ssl
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Reason:
    """One way in which a connection or a message is refused.

    Attributes:
        what: What the broker said.
        fix: What the owner can do.
        is_lasting: Trying again soon will not help.
    """

    what: str
    fix: str
    is_lasting: bool = False


_CREDENTIALS: Final = "check [messaging] username and password, and the broker's own list of users"

_CONNECT: Final = {
    0x84: Reason("the broker speaks neither MQTT 5 nor 3.1.1", "use another broker", is_lasting=True),
    0x85: Reason("the broker does not accept the client id", "check what the broker allows", is_lasting=True),
    0x86: Reason("user name or password is wrong", _CREDENTIALS, is_lasting=True),
    0x87: Reason(
        "user name or password is wrong, or this device is not allowed to connect", _CREDENTIALS, is_lasting=True
    ),
    0x88: Reason("the broker says that it is not available", "look at the broker's log"),
    0x89: Reason("the broker is busy", "look at the broker's load"),
    0x8A: Reason("the broker has banned this device", "lift the ban at the broker", is_lasting=True),
    0x8C: Reason("the broker wants another way of authentication", _CREDENTIALS, is_lasting=True),
    0x8E: Reason(
        "another client connected with this device's name",
        "give each device its own [device] id; was the SD card copied?",
    ),
    0x8B: Reason("the broker is shutting down", ""),
    0x8D: Reason("the broker heard nothing from us for too long", "check the network, or raise [messaging] keepalive"),
    0x95: Reason("a message was too large for the broker", "raise the broker's largest packet size"),
    0x97: Reason("a quota of the broker is used up", "raise the quota at the broker"),
    0x98: Reason("the broker's administrator ended the connection", "ask who runs the broker"),
    0x9A: Reason("the broker keeps no retained messages", "allow retained messages at the broker", is_lasting=True),
    0x9B: Reason("the broker does not offer QoS 1", "allow QoS 1 at the broker", is_lasting=True),
    0x9C: Reason("the broker sends us to another server", "set [messaging] broker to that server", is_lasting=True),
    0x9D: Reason("the broker has moved to another server", "set [messaging] broker to that server", is_lasting=True),
    0x9F: Reason("the broker says that we connect too often", "wait"),
}
_PUBLISH: Final = {
    0x87: Reason("not allowed to publish", "give this device the right to write below {root}/ at the broker"),
    0x90: Reason("the topic's name is not accepted", "allow topics below {root}/ at the broker"),
    0x95: Reason("larger than the broker takes", "raise the broker's largest message size"),
    0x97: Reason("a quota of the broker is used up", "raise the quota at the broker"),
    0x9A: _CONNECT[0x9A],
    0x99: Reason("the broker does not accept the format", "check the broker's rules for payloads"),
}


def of_connection(code: int) -> Reason:
    """Give what a CONNACK or DISCONNECT code says."""
    return _CONNECT.get(code) or Reason(f"the broker refused or ended the connection, code {code:#04x}", "see its log")


def of_publish(code: int, root: str) -> Reason:
    """Give what a PUBACK code from 0x80 on says; `root` is what the device's topics begin with."""
    reason = _PUBLISH.get(code) or Reason(f"refused with code {code:#04x}", "look at the broker's log")
    return Reason(reason.what, reason.fix.format(root=root), reason.is_lasting)


def of_failure(error: OSError | ValueError) -> Reason:
    """Give what it means that no connection came about."""
    where = "correct [messaging] broker"
    if isinstance(error, ssl.SSLCertVerificationError):
        return Reason(
            f"its certificate is not trusted: {error.verify_message}", "check [messaging.tls] ca_file, and the clock"
        )
    if isinstance(error, ssl.SSLError):
        return Reason(f"no TLS: {error}", "check that mqtts:// is right and the port is the broker's TLS port")
    if isinstance(error, socket.gaierror):
        return Reason(f"its name is not known: {error.strerror}", f"check the name server, or {where}")
    if isinstance(error, TimeoutError):
        return Reason("no answer", f"check network and firewall, or {where}")
    if isinstance(error, ConnectionRefusedError):
        return Reason("connection refused", f"start the broker, or {where}")
    return Reason(getattr(error, "strerror", None) or str(error), f"check the network, or {where}")
