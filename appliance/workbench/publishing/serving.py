"""Gives a repository's files over HTTP on this machine, with parts and tags, as any web server would."""

import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import unquote, urlsplit

from appliance.core.errors import ConfigError

SHORT: Final = "public, max-age=60"
"""For how long the timestamp and what is not there may be kept by caches."""

FOR_EVER: Final = "public, max-age=31536000, immutable"
"""All else: its name never stands for anything else."""

TIMEOUT: Final = 20.0
_CHUNK = 64 << 10
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a file: from `start` up to, and without, `end`."""

    start: int
    end: int


def span_of(asked: str, size: int) -> Span | None:
    """Read a Range header (RFC 9110, section 14.2); None: the whole file. Pure.

    Raises:
        ValueError: Nothing of the file lies there.
    """
    found = _RANGE.fullmatch(asked.strip())
    if found is None or found[0] == "bytes=-":
        return None  # several parts, or another unit: a server may give the whole
    first, last = found[1], found[2]
    if not first:
        return Span(max(0, size - int(last)), size) if int(last) else _nothing(asked)
    start, end = int(first), min(size, int(last) + 1) if last else size
    return Span(start, end) if start < end else _nothing(asked)


def _nothing(asked: str) -> Span:
    raise ValueError(f"nothing lies at {asked}")


class RepositoryServer(ThreadingHTTPServer):
    """Serves the files of a folder, and nothing else; read only.

    Args:
        folder: ``repository`` of the publisher's folder, or what was pushed.
        host: Address to listen on.
        port: 0: any that is free.
        is_told: A line for each request goes to standard output.

    Raises:
        ConfigError: The folder has no metadata, or the address cannot be taken.
    """

    daemon_threads = True

    def __init__(self, folder: Path, host: str = "127.0.0.1", port: int = 0, *, is_told: bool = False) -> None:
        self.folder = folder.resolve()
        self.is_told, self._host = is_told, host
        if not (self.folder / "metadata").is_dir():
            raise ConfigError(f"{folder} has no metadata/; give what `publish push` writes, or FOLDER/repository")
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {host}:{port}: {error.strerror or error}; give another --port"
            ) from error

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that goes in the middle of an answer: it comes back for the rest."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{self._host}:{self.server_port}"


@contextmanager
def serving(server: RepositoryServer) -> Iterator[str]:
    """Serve in a thread until the end of the block; gives the address."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="fleet-server")
    thread.start()
    try:
        yield server.url
    finally:
        server.shutdown()
        thread.join(TIMEOUT)
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: RepositoryServer
    protocol_version = "HTTP/1.1"
    server_version = "edgecam"
    sys_version = ""
    timeout = TIMEOUT

    def do_GET(self) -> None:
        """Give a file, or a part of it."""
        self._answer(has_body=True)

    def do_HEAD(self) -> None:
        """Tell of a file."""
        self._answer(has_body=False)

    def _answer(self, *, has_body: bool) -> None:
        path = self._file()
        try:
            file = path.open("rb") if path is not None else None
        except OSError:
            file = None
        if file is None:
            self._say(HTTPStatus.NOT_FOUND, {"Cache-Control": SHORT})
            return
        with file:
            self._give(file, path.name if path is not None else "", has_body=has_body)

    def _file(self) -> Path | None:
        """Give the file that is asked for; None: none that may be given."""
        path = self.server.folder / unquote(urlsplit(self.path).path).lstrip("/")
        try:
            resolved = path.resolve()
        except (OSError, ValueError):  # a name with a NUL
            return None
        is_ours = any(resolved.is_relative_to(self.server.folder / name) for name in ("metadata", "targets"))
        return resolved if is_ours and resolved.is_file() else None

    def _give(self, file: IO[bytes], name: str, *, has_body: bool) -> None:
        about = os.fstat(file.fileno())
        tag = f'"{about.st_ino:x}-{about.st_mtime_ns:x}-{about.st_size:x}"'
        headers = {
            "ETag": tag,
            "Last-Modified": formatdate(about.st_mtime, usegmt=True),
            "Cache-Control": SHORT if name == "timestamp.json" else FOR_EVER,
            "Accept-Ranges": "bytes",
        }
        if tag in self.headers.get("If-None-Match", ""):
            self._say(HTTPStatus.NOT_MODIFIED, headers)
            return
        asked = self.headers.get("Range", "") if self.headers.get("If-Range", tag) == tag else ""
        try:
            span = span_of(asked, about.st_size) if asked else None
        except ValueError:
            self._say(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, {"Content-Range": f"bytes */{about.st_size}"})
            return
        whole = Span(0, about.st_size)
        if span is not None:
            headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{about.st_size}"
        part = span or whole
        self._say(HTTPStatus.PARTIAL_CONTENT if span else HTTPStatus.OK, headers, part.end - part.start)
        if has_body:
            self._send(file, part)

    def _send(self, file: IO[bytes], part: Span) -> None:
        file.seek(part.start)
        left = part.end - part.start
        while left > 0 and (chunk := file.read(min(_CHUNK, left))):
            self.wfile.write(chunk)
            left -= len(chunk)
        if left:  # it was cut short under us: the client must not take what follows for the rest
            self.close_connection = True

    def _say(self, status: HTTPStatus, headers: dict[str, str], length: int = 0) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status is not HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the standard library's name
        """Tell of a request, where that is wanted."""
        if self.server.is_told:
            print(format % arguments, flush=True)  # noqa: T201 - the command's output
