"""Brings one file whose checksum is known: it is resumed where it was cut, and is never under its name unverified."""

import hashlib
import ipaddress
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Any, Final, Literal

from appliance.core.errors import ConfigError, ModelError, StorageError, UnavailableError
from appliance.core.files import sync_directory, write_atomically

TIMEOUT: Final = 30.0
"""Seconds without a byte after which a server is taken for gone."""

MOST_RETRY_AFTER: Final = 86_400.0
"""Seconds that a server can ask to be left alone for; one that asks for more is asked again all the same."""

_SLOWEST = 4096  # bytes a second on average; a server that drips is as good as none
_PATIENCE = 60.0  # seconds before that counts
_MOST_REDIRECTS = 5
_MOST_TRIES = 20  # of one call; each must have brought something
_CHUNK = 64 << 10
_PARTIAL, _WHOLE, _NOT_SATISFIABLE = 206, 200, 416
_NAMES: Final = {"sha256": "SHA-256", "sha512": "SHA-512"}
_MOST_NOTE = 4096  # bytes of what is remembered of a part
_MOST_TAG, _MOST_REASON = 256, 200  # characters

Progress = Callable[[int, int | None], None]
"""Is told how many bytes are there, and how many there will be; None: nobody knows."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file.

    Attributes:
        url: Where it is.
        digest: SHA-256 of its content, 64 hexadecimal digits, lower case.
        most: It has no more bytes.
        size: It has so many; None: that is not known.
        may_be_local: ``http://`` of this machine is accepted too, for tests.
        may_be_plain: ``http://`` of any machine is accepted too, for what somebody trusted has signed.
        algorithm: Of the digest, where it is not SHA-256: ``sha512``.
    """

    url: str
    digest: str
    most: int
    size: int | None = None
    may_be_local: bool = False
    may_be_plain: bool = False
    algorithm: Literal["sha256", "sha512"] = "sha256"


def download(wanted: Wanted, path: Path, progress: Progress) -> None:
    """Bring a file; blocks until it is there and verified. One that is there and is the same is not asked for again.

    What has come lies beside `path` under its name with ``.part``, and a later call goes on from it, where the server
    still has the same.

    Args:
        wanted: The file.
        path: Where to; replaced.
        progress: Is told how it goes on, from this thread.

    Raises:
        ConfigError: Its address is none that may be asked.
        ModelError: What came is another file, or larger: the part is removed.
        StorageError: It cannot be written.
        UnavailableError: The server cannot be reached, refuses, or stopped sending; what came is kept.
    """
    _check_address(wanted.url, wanted)
    if _is_there(wanted, path):
        return
    part = _Part(path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.json"))
    try:
        for _ in range(_MOST_TRIES):
            before = part.size()
            if _fetch(wanted, part, progress):
                _verify(wanted, part)
                os.replace(part.file, path)  # noqa: PTH105 - beside fsync
                part.note.unlink(missing_ok=True)
                sync_directory(path.parent)
                return
            if part.size() <= before:
                break
    except ModelError:
        part.remove()
        raise
    except OSError as error:
        raise StorageError(f"cannot write {part.file}: {error.strerror or error}") from error
    raise UnavailableError(
        f"{_host(wanted.url)} stopped sending after {part.size()} bytes; the same command goes on from there"
    )


def _is_there(wanted: Wanted, path: Path) -> bool:
    try:
        with path.open("rb") as file:
            is_small = os.fstat(file.fileno()).st_size <= wanted.most
            return is_small and hashlib.file_digest(file, wanted.algorithm).hexdigest() == wanted.digest
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class _Part:
    """What has come of a file, and by what its server would know it again."""

    file: Path
    note: Path

    def size(self) -> int:
        try:
            return self.file.stat().st_size
        except FileNotFoundError:
            return 0

    def remove(self) -> None:
        self.file.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def tag(self, wanted: Wanted) -> str:
        """Give by what the server knows it; empty where it cannot be gone on with."""
        try:
            with self.note.open("rb") as file:
                told = json.loads(file.read(_MOST_NOTE))
            is_same = (told["url"], told["digest"]) == (wanted.url, wanted.digest)
            return _usable(str(told["tag"])) if is_same else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""


def _fetch(wanted: Wanted, part: _Part, progress: Progress) -> bool:
    """Go on with a part; give whether it is whole."""
    tag = part.tag(wanted)
    start = part.size() if tag else 0
    if start and start == wanted.size:
        return True
    with _ask(wanted, start, tag) as answer:
        is_part = answer.status == _PARTIAL and _first(answer) == start
        if answer.status != _WHOLE and not is_part:
            if start == 0:
                raise UnavailableError(f"{wanted.url} answers {answer.status}, which is no file; try again later")
            part.remove()  # it is another file by now, or the part was whole and is not known to be
            return _fetch(wanted, part, progress)
        start = start if is_part else 0
        whole = _whole(wanted, start, _promised(answer))
        write_atomically(
            part.note, json.dumps({"url": wanted.url, "digest": wanted.digest, "tag": _tag(answer)}).encode()
        )
        with part.file.open("r+b" if start else "wb") as file:
            file.seek(start)
            is_whole = _copy(answer, file, wanted, whole, progress)
            file.flush()
            os.fsync(file.fileno())
    return is_whole


def _whole(wanted: Wanted, start: int, rest: int | None) -> int | None:
    """Give how many bytes there will be, if anybody knows; refuse what cannot be the file before it is read."""
    promised = start + rest if rest is not None else None
    if promised is not None and (promised > wanted.most or wanted.size not in {None, promised}):
        size = wanted.size or f"at most {wanted.most}"
        raise ModelError(f"{wanted.url} has {promised} bytes and not {size}: another file than the one that is meant")
    return wanted.size or promised


def _copy(answer: HTTPResponse, file: IO[bytes], wanted: Wanted, whole: int | None, progress: Progress) -> bool:
    """Write what comes; give whether it is all."""
    started, first = time.monotonic(), file.tell()
    most = whole or wanted.most
    while True:
        there = file.tell()
        try:
            chunk = answer.read1(_CHUNK)
        except (OSError, HTTPException):
            return False
        if not chunk:
            return whole is None or there == whole
        if there + len(chunk) > most:
            raise ModelError(f"{wanted.url} sends more than {most} bytes: another file than the one that is meant")
        file.write(chunk)
        progress(there + len(chunk), whole)
        if there - first < _SLOWEST * (time.monotonic() - started - _PATIENCE):
            raise UnavailableError(f"{_host(wanted.url)} sends less than {_SLOWEST} bytes a second; try again later")


def _ask(wanted: Wanted, start: int, tag: str) -> HTTPResponse:
    headers = {"User-Agent": "edgecam", "Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": tag}
    opener = urllib.request.build_opener(_Redirects(wanted))
    try:
        request = urllib.request.Request(wanted.url, headers=headers)  # noqa: S310 - the address was checked
        answer: HTTPResponse = opener.open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == _NOT_SATISFIABLE:
            return error  # type: ignore[return-value] # it is an answer like any other, with its status
        error.close()
        unavailable = UnavailableError(
            f"{wanted.url} answers {error.code} {_told(error.reason)}; has it moved? The file can be brought by hand "
            "and added: edgecam model add FILE"
        )
        unavailable.retry_after = retry_after(error.headers.get("Retry-After", ""))
        raise unavailable from error
    except (OSError, HTTPException, ValueError) as error:  # ValueError: a redirect to what is no address at all
        reason = _told(getattr(error, "reason", error))
        raise UnavailableError(
            f"{_host(wanted.url)} cannot be reached: {reason}; is this device online? Else bring {wanted.url} by "
            "hand, and add it: edgecam model add FILE"
        ) from error
    return answer


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a few redirects, and only to addresses that may be asked."""

    max_redirections = _MOST_REDIRECTS
    max_repeats = 2

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted

    def redirect_request(self, *arguments: Any) -> urllib.request.Request | None:
        """Check the new address; see the vendor's."""
        try:
            _check_address(arguments[-1], self._wanted)
        except ConfigError as error:
            arguments[1].close()
            raise UnavailableError(f"{self._wanted.url} leads elsewhere: {error}") from error
        return super().redirect_request(*arguments)


def _check_address(url: str, wanted: Wanted) -> None:
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname or ""
    except ValueError as error:
        raise ConfigError(f"{url} is no address: {error}") from error
    is_local = parts.scheme == "http" and (wanted.may_be_plain or (wanted.may_be_local and _is_loopback(host)))
    if (parts.scheme != "https" and not is_local) or not host:
        raise ConfigError(f"{url} is not asked: models are brought over https only")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _verify(wanted: Wanted, part: _Part) -> None:
    with part.file.open("rb") as file:
        digest = hashlib.file_digest(file, wanted.algorithm).hexdigest()
    if digest != wanted.digest:
        raise ModelError(
            f"{wanted.url} is not the file that is meant: its {_NAMES[wanted.algorithm]} is {digest}, "
            f"not {wanted.digest}; nothing was kept"
        )


def _tag(answer: HTTPResponse) -> str:
    """Give what tells this version from others: a strong ETag, else the time of change (RFC 9110, section 13.1.5)."""
    tag = answer.headers.get("ETag", "")
    return _usable(tag if tag.startswith('"') else answer.headers.get("Last-Modified", ""))


def _usable(tag: str) -> str:
    """Give a tag that may stand in a request; empty where it may not."""
    return tag if len(tag) < _MOST_TAG and tag.isascii() and tag.isprintable() else ""


def retry_after(header: str, now: float | None = None) -> float:
    """Give the seconds that a server asks to be left alone for (RFC 9110, section 10.2.3); 0: it does not say.

    Args:
        header: Value of ``Retry-After``: seconds, or a date.
        now: Seconds since 1970; by default the system's clock.
    """
    text = header.strip()
    if text.isdecimal() and len(text) < 10:  # noqa: PLR2004 - digits
        return min(float(text), MOST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(0.0, moment - (time.time() if now is None else now)), MOST_RETRY_AFTER)


def _promised(answer: HTTPResponse) -> int | None:
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() and len(length) < 20 else None  # noqa: PLR2004 - digits


def _first(answer: HTTPResponse) -> int | None:
    """Give the first byte of a part that a server sends: ``bytes 100-199/200``."""
    unit, _, span = answer.headers.get("Content-Range", "").partition(" ")
    first = span.partition("-")[0]
    return int(first) if unit == "bytes" and first.isdecimal() and len(first) < 20 else None  # noqa: PLR2004 - digits


def _told(reason: object) -> str:
    """Give what a server or the network said, fit for a terminal: one short line."""
    line = "".join(one if one.isprintable() else " " for one in str(reason)[: 4 * _MOST_REASON])
    return " ".join(line.split())[:_MOST_REASON]


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).hostname or url
