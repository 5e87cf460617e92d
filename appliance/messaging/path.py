"""The way to the broker, looked at step by step below MQTT: its name, a TCP connection, TLS with its certificate."""

import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from appliance.messaging import reasons
from appliance.messaging.reasons import Reason

NAME_TIMEOUT: Final = 10.0  # seconds; the resolver knows no limit of its own
STEP_TIMEOUT: Final = 5.0  # seconds for each TCP connection, and for each TLS handshake
ALERT_TIMEOUT: Final = 1.0  # seconds in which a broker may find fault with this device's certificate
MOST_ADDRESSES: Final = 4  # of a name that are tried
MOST_NAMES: Final = 4  # of a certificate that are shown
_PARTIAL_CHAIN, _NO_CHECK_TIME = 0x80000, 0x200000  # X509_V_FLAG_… of OpenSSL's x509_vfy.h

Address = tuple[int, Any]
"""Family, and what `socket.connect` takes."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a broker shows.

    Attributes:
        names: For whom it was issued: a few, fit for a terminal.
        begins: From when it is valid.
        ends: Until when.
    """

    names: tuple[str, ...]
    begins: datetime
    ends: datetime

    def __str__(self) -> str:
        return f"for {', '.join(self.names) or 'nobody'}, valid {self.begins:%Y-%m-%d} to {self.ends:%Y-%m-%d}"


@dataclass(frozen=True, slots=True)
class Handshake:
    """A TLS handshake that succeeded.

    Attributes:
        version: ``TLSv1.3``.
        certificate: The broker's; None: it could not be read.
    """

    version: str
    certificate: Certificate | None


def resolve(host: str, port: int) -> list[Address] | Reason:
    """Give the addresses of a name, or why it has none; in a thread of its own, as nothing else ends the resolver."""
    done: queue.SimpleQueue[list[Address] | Reason] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            done.put([(family, address) for family, _, _, _, address in found])
        except (OSError, ValueError) as error:  # ValueError: a name that IDNA cannot encode
            done.put(reasons.of_failure(error))

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        return done.get(timeout=NAME_TIMEOUT)
    except queue.Empty:
        return reasons.NO_ANSWER


def reach(addresses: list[Address]) -> Address | Reason:
    """Give the first address that takes a TCP connection, or why the last one does not."""
    found: Reason = reasons.NO_ANSWER
    for address in addresses[:MOST_ADDRESSES]:
        try:
            _connect(address).close()
        except OSError as error:
            found = reasons.of_failure(error)
        else:
            return address
    return found


def shake_hands(address: Address, host: str, context: ssl.SSLContext) -> Handshake | Reason:
    """Give what a TLS handshake with this context gave, or why there was none.

    Args:
        address: Where the broker listens.
        host: The name that its certificate has to have.
        context: As the daemon's own connection has it.
    """
    try:
        with _secured(address, host, context) as secure:
            told, version = secure.getpeercert(), secure.version()
            if (refusal := _refusal(secure)) is not None:
                return refusal
    except ConnectionError:
        return reasons.HUNG_UP
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        return reasons.of_failure(error)
    return Handshake(version or "TLS", read_certificate(told or {}) or look_at(address, host))


def _refusal(secure: ssl.SSLSocket) -> Reason | None:
    """Listen for a moment: with TLS 1.3 a broker that wants another certificate of this device says so only now.

    Its words would be lost if anything were sent to it.
    """
    secure.settimeout(ALERT_TIMEOUT)
    try:
        secure.recv(1)
    except ssl.SSLError as error:
        return reasons.of_alert(str(error))
    except OSError:  # a time-out most of all: a broker waits for CONNECT
        return None
    return None


def look_at(address: Address, host: str) -> Certificate | None:
    """Give the broker's certificate, whoever signed it and whether it is valid or not; None where it shows none.

    Python reads the fields only of a certificate that it trusts. So it is fetched, and then trusted for itself for the
    time of one more handshake, through which nothing is sent.
    """
    with suppress(OSError, ValueError):
        with _secured(address, host, _trusting(None)) as secure:
            shown = secure.getpeercert(binary_form=True)
        if shown:
            with _secured(address, host, _trusting(shown)) as secure:
                return read_certificate(secure.getpeercert() or {})
    return None


def read_certificate(told: Mapping[str, Any]) -> Certificate | None:
    """Give a certificate of what `ssl.SSLSocket.getpeercert` tells; None where that has no dates."""
    try:
        begins, ends = (datetime.fromtimestamp(ssl.cert_time_to_seconds(told[key]), UTC) for key in _DATES)
    except (KeyError, ValueError, OverflowError):
        return None
    names = [str(value) for _, value in told.get("subjectAltName", ())]
    names = names or [str(value) for part in told.get("subject", ()) for key, value in part if key == "commonName"]
    more = [f"{len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else []
    return Certificate((*map(_shown, names[:MOST_NAMES]), *more), begins, ends)


_DATES: Final = ("notBefore", "notAfter")


def _trusting(shown: bytes | None) -> ssl.SSLContext:
    """Give a context that trusts one certificate, or asks for none at all; never to be spoken through."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if shown is None:
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(cadata=shown)
        context.verify_flags |= ssl.VerifyFlags(_PARTIAL_CHAIN | _NO_CHECK_TIME)
    return context


def _connect(address: Address) -> socket.socket:
    family, where = address
    wire = socket.socket(family, socket.SOCK_STREAM)
    wire.settimeout(STEP_TIMEOUT)
    try:
        wire.connect(where)
    except BaseException:
        wire.close()
        raise
    return wire


@contextmanager
def _secured(address: Address, host: str, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    with closing(_connect(address)) as wire, context.wrap_socket(wire, server_hostname=host) as secure:
        yield secure


def days_left(certificate: Certificate) -> float:
    """Give how many days a certificate is still valid; below zero: it has expired."""
    return (certificate.ends.timestamp() - time.time()) / 86400.0


def _shown(name: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in name[:100])
