"""Why an RTSP server could not be opened: asks it once, within a bounded time and size, what FFmpeg does not tell."""

import re
import socket
import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from hashlib import md5, sha256
from urllib.parse import SplitResult

MOST_BYTES = 8192  # of one answer's head
_PARAMETER = re.compile(r'(\w+) *= *(?:"([^"]*)"|([^\s",]+))')


class Verdict(StrEnum):
    """What keeps the stream from being opened."""

    UNKNOWN_HOST = "unknown host"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    SILENT = "silent"
    NOT_RTSP = "not RTSP"
    UNAUTHORISED = "unauthorised"
    NOT_FOUND = "not found"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Finding:
    """What the server did.

    Attributes:
        verdict: The kind of trouble.
        detail: The answer's first line or the system's error, without any secret.
    """

    verdict: Verdict
    detail: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who asks. Keep it out of messages."""

    username: str
    password: str


def find_out(parts: SplitResult, credentials: Credentials | None, timeout: float) -> Finding:
    """Ask the server to describe its stream and tell what it says; blocks up to `timeout` seconds, names resolved.

    Args:
        parts: The address, without credentials. An ``rtsps`` server is only tried for a connection.
        credentials: User name and password to answer a challenge with.
        timeout: Seconds for everything after the name is resolved.
    """
    deadline = time.monotonic() + timeout
    try:
        address = (parts.hostname or "", parts.port or (322 if parts.scheme == "rtsps" else 554))
        with closing(socket.create_connection(address, timeout)) as connection:
            if parts.scheme == "rtsps":
                return Finding(Verdict.OTHER, "the server accepts connections, but no encrypted stream could be opened")
            return _describe(connection, parts.geturl(), credentials, deadline)
    except (socket.gaierror, UnicodeError) as error:  # UnicodeError: Python asks nobody for a name that cannot be
        impossible = "no host can have such a name (parts: 1 to 63 letters, digits and -)"
        detail = error.strerror if isinstance(error, OSError) else impossible
        return Finding(Verdict.UNKNOWN_HOST, detail or str(error))
    except ConnectionRefusedError:
        return Finding(Verdict.REFUSED, "connection refused")
    except TimeoutError:
        return Finding(Verdict.UNREACHABLE, f"no connection within {timeout:.1f} s")
    except OSError as error:
        return Finding(Verdict.UNREACHABLE, error.strerror or str(error))


def _describe(connection: socket.socket, url: str, credentials: Credentials | None, deadline: float) -> Finding:
    head = _ask(connection, url, 1, "", deadline)
    if credentials and head.startswith("RTSP/1.0 401") and (authorisation := authorise(head, url, credentials)):
        head = _ask(connection, url, 2, authorisation, deadline)
    return judge(head)


def _ask(connection: socket.socket, url: str, number: int, authorisation: str, deadline: float) -> str:
    """Send DESCRIBE and give the answer's head; empty when nothing came in time."""
    lines = [f"DESCRIBE {url} RTSP/1.0", f"CSeq: {number}", "Accept: application/sdp", "User-Agent: Edgecam"]
    lines += [f"Authorization: {authorisation}"] if authorisation else []
    received = b""
    try:
        connection.settimeout(max(0.05, deadline - time.monotonic()))
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        while b"\r\n\r\n" not in received and len(received) < MOST_BYTES:
            connection.settimeout(max(0.05, deadline - time.monotonic()))
            chunk = connection.recv(MOST_BYTES - len(received))
            if not chunk:
                break
            received += chunk
            if time.monotonic() >= deadline:
                break
    except OSError:
        pass  # what arrived until then is the answer: nothing counts as silence
    return received.decode("ascii", "replace")


def judge(head: str) -> Finding:
    """Tell from the head of a server's answer what is the matter."""
    if not head:
        return Finding(Verdict.SILENT, "the server accepts connections but does not answer")
    status = head.partition("\r\n")[0][:100]
    known = re.match(r"RTSP/[0-9.]+ ([0-9]{3})", status)
    if not known:
        return Finding(Verdict.NOT_RTSP, "something answers there, but not in RTSP")
    if known[1] == "200":
        return Finding(Verdict.OTHER, "the server offers a stream, but it could not be opened")
    if known[1] in {"401", "403"}:
        return Finding(Verdict.UNAUTHORISED, status)
    if known[1] in {"404", "400", "454"}:
        return Finding(Verdict.NOT_FOUND, status)
    return Finding(Verdict.OTHER, status)


def authorise(head: str, url: str, credentials: Credentials) -> str:
    """Give the Authorization header that answers a challenge (RFC 7617, 2069 and 7616); empty: none is known."""
    challenges = re.findall(r"(?im)^WWW-Authenticate: *(.*?)\r?$", head)
    for challenge in challenges:
        if challenge.lower().startswith("digest"):
            given = {name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(challenge)}
            if digest := _DIGESTS.get(given.get("algorithm", "MD5").upper()):
                return _answer_digest(given, digest, url, credentials)
    if any(challenge.lower().startswith("basic") for challenge in challenges):
        return "Basic " + b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()
    return ""


def _answer_digest(given: dict[str, str], digest: Callable[[str], str], url: str, credentials: Credentials) -> str:
    """RFC 7616, section 3.4.1; without `qop` it is RFC 2069, section 2.1.2."""
    realm, nonce, own = given.get("realm", ""), given.get("nonce", ""), "0a4f113b"
    secret = digest(f"{credentials.username}:{realm}:{credentials.password}")
    counter, extra = "", ""
    if "auth" in re.split(r"[\s,]+", given.get("qop", "")):
        counter, extra = f"00000001:{own}:auth:", f', qop=auth, nc=00000001, cnonce="{own}"'
    if "algorithm" in given:
        extra += f", algorithm={given['algorithm']}"
    if "opaque" in given:
        extra += f', opaque="{given["opaque"]}"'
    answer = digest(f"{secret}:{nonce}:{counter}{digest(f'DESCRIBE:{url}')}")
    start = f'Digest username="{credentials.username}", realm="{realm}", nonce="{nonce}", uri="{url}"'
    return f'{start}, response="{answer}"{extra}'


def _md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def _sha256(text: str) -> str:
    return sha256(text.encode()).hexdigest()


_DIGESTS: dict[str, Callable[[str], str]] = {"MD5": _md5, "SHA-256": _sha256}
