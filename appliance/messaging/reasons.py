"""What a broker's refusal means, in plain words, what the owner can do, and how soon it may be tried again.

Codes: MQTT 5, section 2.4.
"""

import errno
import socket
import ssl
from dataclasses import dataclass
from enum import Enum
from typing import Final

REFUSED: Final = 0x80  # from here on reason codes are failures
MOST_REFERENCE: Final = 100  # characters of what a broker says of another server


class Pace(Enum):
    """How soon a connection may be tried again; see `manners`."""

    QUICK = "the network between us failed, for this device alone as far as it knows"
    FLEET = "the broker went away, for all its devices at once"
    BUSY = "the broker asks for less"
    TAKEN = "another client has this device's name"
    LASTING = "somebody has to change something first"
    BANNED = "the broker does not want to hear from this device"


@dataclass(frozen=True, slots=True)
class Reason:
    """One way in which a connection or a message is refused.

    Attributes:
        what: What the broker said.
        fix: What the owner can do.
        pace: How soon to try again.
        is_about_papers: User name, password or a certificate is at fault, or may be.
    """

    what: str
    fix: str
    pace: Pace = Pace.QUICK
    is_about_papers: bool = False

    @property
    def is_unsupported(self) -> bool:
        """The broker does not know this version of MQTT."""
        return self.what == UNSUPPORTED.what

    @property
    def is_lasting(self) -> bool:
        """Trying again soon will not help."""
        return self.pace in {Pace.LASTING, Pace.BANNED}


_CREDENTIALS: Final = "check [messaging] username and password, and the broker's own list of users"
_MOVED: Final = "set [messaging] broker to that server"
_OURS: Final = "update Edgecam; if that does not help, report it with the broker's name and version"

_CONNECT: Final = {
    # of MQTT 3.1.1, section 3.2.2.3
    0x01: Reason("the broker speaks neither MQTT 5 nor 3.1.1", "use another broker", Pace.LASTING),
    0x81: Reason("the broker could not read what was sent", _OURS),
    0x82: Reason("the broker says that the rules of MQTT were broken", _OURS),
    0x84: Reason("the broker speaks neither MQTT 5 nor 3.1.1", "use another broker", Pace.LASTING),
    0x85: Reason("the broker does not accept the client id", "check what the broker allows", Pace.LASTING),
    0x86: Reason("user name or password is wrong", _CREDENTIALS, Pace.LASTING, is_about_papers=True),
    0x87: Reason(
        "user name or password is wrong, or this device is not allowed to connect",
        _CREDENTIALS,
        Pace.LASTING,
        is_about_papers=True,
    ),
    0x88: Reason("the broker says that it is not available", "look at the broker's log", Pace.FLEET),
    0x89: Reason("the broker is busy", "look at the broker's load", Pace.BUSY),
    0x8A: Reason("the broker has banned this device", "lift the ban at the broker", Pace.BANNED),
    0x8B: Reason("the broker is shutting down", "", Pace.FLEET),
    0x8C: Reason("the broker wants another way of authentication", _CREDENTIALS, Pace.LASTING, is_about_papers=True),
    0x8D: Reason("the broker heard nothing from us for too long", "check the network, or raise [messaging] keepalive"),
    0x8E: Reason(
        "another client connected with this device's name",
        "give each device its own [device] id; was the SD card copied?",
        Pace.TAKEN,
    ),
    0x90: Reason("a topic's name was not accepted", "allow topics below edgecam/ at the broker"),
    0x93: Reason("the broker says that it was sent too many messages at once", "lower [messaging] inflight"),
    0x94: Reason("the broker did not know a topic's alias", _OURS),
    0x95: Reason("a message was too large for the broker", "raise the broker's largest packet size"),
    0x96: Reason("the broker says that messages come too fast", "lower [messaging] replay_rate", Pace.BUSY),
    0x97: Reason("a quota of the broker is used up", "raise the quota at the broker", Pace.BUSY),
    0x98: Reason("the broker's administrator ended the connection", "ask who runs the broker", Pace.LASTING),
    0x99: Reason("the broker does not accept a message's format", "check the broker's rules for payloads"),
    0x9A: Reason("the broker keeps no retained messages", "allow retained messages at the broker", Pace.LASTING),
    0x9B: Reason("the broker does not offer QoS 1", "allow QoS 1 at the broker", Pace.LASTING),
    0x9C: Reason("the broker sends us to another server for now", _MOVED, Pace.LASTING),
    0x9D: Reason("the broker has moved to another server", _MOVED, Pace.LASTING),
    0x9F: Reason("the broker says that we connect too often", "wait", Pace.BUSY),
    0xA0: Reason("the broker allows a connection for a limited time only", "", Pace.QUICK),
}
UNSUPPORTED: Final = _CONNECT[0x84]
DROPPED_OVER: Final = 0x1FF  # no code of MQTT: the broker ended the connection over a message without a word
ALIAS_INVALID: Final = 0x94
_PUBLISH: Final = {
    0x87: Reason("not allowed to publish", "give this device the right to write below {root}/ at the broker"),
    0x90: Reason("the topic's name is not accepted", "allow topics below {root}/ at the broker"),
    0x95: Reason("larger than the broker takes", "raise the broker's largest message size"),
    0x97: Reason("a quota of the broker is used up", "raise the quota at the broker"),
    0x9A: _CONNECT[0x9A],
    0x99: Reason("the broker does not accept the format", "check the broker's rules for payloads"),
    DROPPED_OVER: Reason(
        "the broker drops the connection over one of them", "look at the broker's log, and at its limits for a message"
    ),
}
_SUBSCRIBE: Final = {
    0x87: Reason("not allowed to subscribe", "give this device the right to read {pattern} at the broker"),
    0x97: Reason("a quota of the broker is used up", "raise the quota at the broker"),
}
_AUTHORITY: Final = "set [messaging.tls] ca_file to the authority that signed it, and check the clock"
_UNTRUSTED: Final = {
    # X509_V_ERR_… of OpenSSL's x509_vfy.h
    9: Reason("its certificate is not valid yet", "set this device's clock", Pace.BUSY),
    10: Reason("its certificate has expired", "renew the broker's certificate; check this device's clock", Pace.BUSY),
    62: Reason(
        "its certificate is for another name",
        "set [messaging] broker to a name in the certificate, or have one issued for this name",
        Pace.LASTING,
    ),
}
_OWN: Final = "[messaging.tls] cert_file"
_ALERTS: Final = (
    # what OpenSSL says when the broker ends the connection over this device's certificate (RFC 8446, section 6.2)
    ("certificate required", "the broker wants a certificate of this device", f"set {_OWN} and key_file"),
    ("certificate expired", "this device's certificate has expired", f"renew {_OWN}; check the clock"),
    ("certificate revoked", "this device's certificate was revoked", f"have a new one issued for {_OWN}"),
    ("unknown ca", "the broker does not know who signed this device's certificate", "add the authority at the broker"),
    ("certificate", "the broker does not accept this device's certificate", f"check {_OWN}"),
    (
        "handshake failure",
        "the broker ended the TLS handshake",
        f"check whether it wants a certificate of this device: {_OWN} and key_file",
    ),
)
_WRONG_ADDRESS: Final = 64  # as 62, but for an IP address
_NETWORK: Final = frozenset(
    {errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL}
)
LOST: Final = Reason("the connection was lost", "check the network")
DROPPED: Final = Reason("the broker ended the connection without a word", "look at the broker's log", Pace.FLEET)
SILENT: Final = Reason("the broker fell silent", "check the network and the broker")
UNACKNOWLEDGED: Final = Reason("the broker acknowledges nothing", "look at the broker's load and log", Pace.BUSY)
NO_MQTT: Final = Reason("the broker sent something that is not MQTT", "check that it is an MQTT broker")
NO_ANSWER: Final = Reason("no answer", "check the network and its name server")
HUNG_UP: Final = Reason(
    "no TLS: the connection is ended while the handshake goes on",
    "check that mqtts:// is right and the port is the broker's TLS port",
    Pace.BUSY,
)
MUTE: Final = Reason(
    "takes the connection but gives no answer",
    "check that it is an MQTT broker, and that mqtt:// or mqtts:// is right",
)


def of_connection(code: int, reference: str = "") -> Reason:
    """Give what a CONNACK or DISCONNECT code says.

    Args:
        code: The reason code.
        reference: The server to which the broker points, in its own words. It is shown and never followed: a broker
            that can send a device to any server could have it tell that one its password.
    """
    reason = _CONNECT.get(code) or Reason(
        f"the broker refused or ended the connection, code {code:#04x}", "look at the broker's log"
    )
    if not reference:
        return reason
    shown = "".join(letter if letter.isprintable() else "?" for letter in reference[:MOST_REFERENCE])
    return Reason(f"{reason.what}: {shown!r}", reason.fix, reason.pace, reason.is_about_papers)


def of_publish(code: int, root: str) -> Reason:
    """Give what a PUBACK code from 0x80 on says; `root` is what the device's topics begin with."""
    reason = _PUBLISH.get(code) or Reason(f"refused with code {code:#04x}", "look at the broker's log")
    return Reason(reason.what, reason.fix.format(root=root), reason.pace)


def of_subscribe(code: int, pattern: str) -> Reason:
    """Give what a SUBACK code from 0x80 on says."""
    reason = _SUBSCRIBE.get(code) or Reason(f"refused with code {code:#04x}", "look at the broker's log")
    return Reason(reason.what, reason.fix.format(pattern=pattern), reason.pace)


def of_end(error_number: int) -> Reason:
    """Give what it means that a connection ended without a DISCONNECT; the number is the socket's error, or 0."""
    return LOST if error_number in _NETWORK else DROPPED


def of_alert(words: str) -> Reason | None:
    """Give what a TLS alert says that came in place of an answer, from OpenSSL's words; None when it is none."""
    words = words.lower().replace("_", " ")
    if "alert" not in words:
        return None
    found = next(((what, fix) for key, what, fix in _ALERTS if key in words), None)
    what, fix = found or ("the broker ended the TLS connection", "look at the broker's log")
    return Reason(what, fix, Pace.LASTING, is_about_papers=True)


def of_failure(error: OSError | ValueError) -> Reason:
    """Give what it means that no connection came about."""
    where = "correct [messaging] broker"
    if isinstance(error, ssl.SSLCertVerificationError):
        code = 62 if error.verify_code == _WRONG_ADDRESS else error.verify_code
        reason = _UNTRUSTED.get(code) or Reason(
            f"its certificate is not trusted: {error.verify_message}", _AUTHORITY, Pace.LASTING
        )
        return Reason(reason.what, reason.fix, reason.pace, is_about_papers=True)
    if isinstance(error, ssl.SSLError):
        return of_alert(str(error)) or Reason(f"no TLS: {error}", HUNG_UP.fix, Pace.BUSY)
    if isinstance(error, socket.gaierror):
        return Reason(f"its name is not known: {error.strerror}", f"check the name server, or {where}")
    if isinstance(error, TimeoutError):
        return Reason("no answer", f"check network and firewall, or {where}")
    if isinstance(error, ConnectionRefusedError):
        return Reason("connection refused", f"start the broker, or {where}", Pace.FLEET)
    return Reason(getattr(error, "strerror", None) or str(error), f"check the network, or {where}")
