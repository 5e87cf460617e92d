"""Brings one file whose checksum is known: it is resumed where it was cut, and is never under its name unverified."""

import hashlib
import ipaddress
import json
import os
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Final, Literal

from appliance.core.errors import ConfigError, ModelError, StorageError, UnavailableError
from appliance.core.files import sync_directory, write_atomically
from appliance.core.web import Bounds, EndlessError, StatusError, ask, host_of

TIMEOUT: Final = 30.0
"""Seconds without a byte after which a server is taken for gone."""

_SLOWEST = 4096  # bytes a second on average; a server that drips is as good as none
_PATIENCE = 60.0  # seconds before that counts
_MOST_TRIES = 20  # of one call; each must have brought something
_CHUNK = 64 << 10
_PARTIAL, _WHOLE, _NOT_SATISFIABLE = 206, 200, 416
_NAMES: Final = {"sha256": "SHA-256", "sha512": "SHA-512"}
_MOST_NOTE = 4096  # bytes of what is remembered of a part
_MOST_TAG = 256  # characters

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
        is_dated: The server's certificate is held against the clock; see `web.ask`.
    """

    url: str
    digest: str
    most: int
    size: int | None = None
    may_be_local: bool = False
    may_be_plain: bool = False
    algorithm: Literal["sha256", "sha512"] = "sha256"
    is_dated: bool = True


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
        EndlessError: More comes than there can be: the part is removed.
        ModelError: What came is another file: likewise.
        StorageError: It cannot be written.
        UnavailableError: The server cannot be reached, refuses, is too slow or stopped sending; what came is kept.
            Which of these it is, the kinds of `web` tell.
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
        f"{host_of(wanted.url)} stopped sending after {part.size()} bytes; the same command goes on from there"
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
        kind = EndlessError if promised > wanted.most else ModelError
        raise kind(f"{wanted.url} has {promised} bytes and not {size}: another file than the one that is meant")
    return wanted.size or promised


def _copy(answer: HTTPResponse, file: IO[bytes], wanted: Wanted, whole: int | None, progress: Progress) -> bool:
    """Write what comes; give whether it is all."""
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
            raise EndlessError(f"{wanted.url} sends more than {most} bytes: another file than the one that is meant")
        file.write(chunk)
        progress(there + len(chunk), whole)


def _ask(wanted: Wanted, start: int, tag: str) -> HTTPResponse:
    headers = {"User-Agent": "edgecam", "Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": tag}
    bounds = Bounds(wanted.most, TIMEOUT, slowest=_SLOWEST, patience=_PATIENCE)
    try:
        return ask(
            wanted.url,
            headers,
            bounds,
            may_be_asked=partial(_may_lead_to, wanted),
            is_dated=wanted.is_dated,
            also=frozenset({_NOT_SATISFIABLE}),
        )
    except UnavailableError as error:
        if not wanted.may_be_plain:  # else it is a fleet's, which is asked again by itself
            hint = (
                "has it moved? The file" if isinstance(error, StatusError) else "is this device online? Else the file"
            )
            error.args = (f"{error}; {hint} can be brought by hand and added: edgecam model add FILE",)
        raise


def _may_lead_to(wanted: Wanted, url: str) -> None:
    try:
        _check_address(url, wanted)
    except ConfigError as error:
        raise UnavailableError(f"{wanted.url} leads elsewhere: {error}") from error


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


def _promised(answer: HTTPResponse) -> int | None:
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() and len(length) < 20 else None  # noqa: PLR2004 - digits


def _first(answer: HTTPResponse) -> int | None:
    """Give the first byte of a part that a server sends: ``bytes 100-199/200``."""
    unit, _, span = answer.headers.get("Content-Range", "").partition(" ")
    first = span.partition("-")[0]
    return int(first) if unit == "bytes" and first.isdecimal() and len(first) < 20 else None  # noqa: PLR2004 - digits
