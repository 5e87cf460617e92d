"""The daemon's window: HTTP with JSON over a Unix socket, for the operator's commands and nobody else.

``GET /v1/status`` gives one object. ``GET /v1/events?after=N&follow=1`` gives one JSON object a line; with
``follow`` the answer goes on until the client hangs up or the daemon stops, with an empty line every few seconds when
nothing happens: a client that hears nothing for longer knows that something is wrong. Parts that are there only with
some configurations bring routes of their own: ``GET /v1/model``, ``POST /v1/model/check``.
"""

import json
import logging
import os
import socket
import socketserver
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from appliance.core.errors import StorageError, UnavailableError
from appliance.core.worker import Pulse
from appliance.diagnostics.feed import Feed

MOST_CONNECTIONS = 8  # operators at once; more are told to come back
REQUEST_TIMEOUT = 10.0  # seconds a client may take to send its request or to take an answer
FOLLOW_TICK = 1.0  # seconds between two looks at whether the daemon is stopping
KEEP_ALIVE = 5.0  # seconds of a follower's silence

log = logging.getLogger(__name__)


class Server:
    """The worker named `http`; owns the socket.

    Args:
        path: Where the socket is put. Its directory is made for its owner alone when it is missing; one that is there,
            as systemd makes it for owner and group, stays as it is.
        status: Gives the answer to ``/v1/status``; called from the server's threads.
        feed: The events for ``/v1/events``.
        keep_alive: Seconds without an event after which a follower gets an empty line.

    Attributes:
        routes: Further answers by method and path, set before `run`; called from the server's threads.
    """

    def __init__(
        self, path: Path, status: Callable[[], Mapping[str, Any]], feed: Feed, *, keep_alive: float = KEEP_ALIVE
    ) -> None:
        self.name = "http"
        self.routes: dict[str, Callable[[], Mapping[str, Any]]] = {}
        self.pulse = Pulse(limit=30.0)
        self.path = path
        self._status = status
        self._feed = feed
        self._keep_alive = keep_alive

        self._stop = threading.Event()
        self._server: _UnixServer | None = None

    def open(self) -> None:
        """Make the socket.

        Raises:
            UnavailableError: Another daemon answers on this socket.
            StorageError: The socket cannot be made there, or others could put theirs in its place.
        """
        _make_way(self.path)
        try:
            self._server = _UnixServer(str(self.path), self._status, self._feed, self._stop, self._keep_alive)
            self.path.chmod(0o660)
        except OSError as error:
            raise _no_socket(self.path, error) from error

    def run(self, stop: threading.Event) -> None:
        """Answer until `stop` is set.

        Raises:
            UnavailableError: As for `open`, when it is not open yet.
            StorageError: Likewise.
        """
        self._stop.clear()
        if self._server is None:
            self.open()
        server, self._server = self._server, None
        assert server is not None  # noqa: S101 - `open` made it or raised
        server.routes = self.routes
        with server:
            while not stop.is_set():
                server.handle_request()
                self.pulse.beat()
        self._stop.set()
        self.path.unlink(missing_ok=True)


def _make_way(path: Path) -> None:
    """Make the directory, and remove a socket that a killed daemon left behind."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_owner(path.parent)
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            if _is_answered(path):
                raise UnavailableError(f"another daemon answers at {path}; stop it or set EDGECAM_SOCKET")
            path.unlink()
    except OSError as error:
        raise _no_socket(path, error) from error


def _check_owner(directory: Path) -> None:
    """Refuse a directory in which somebody else could put a socket of theirs in place of ours."""
    found = directory.stat()
    # of the name too, where it is a link: whoever owns that can lead it elsewhere
    owners = {directory.lstat().st_uid, found.st_uid}
    if owners <= {0, os.geteuid()} and not found.st_mode & stat.S_IWOTH:
        return
    said = "every user may write to it" if found.st_mode & stat.S_IWOTH else "it belongs to another user"
    raise StorageError(
        f"{directory} is no place for the daemon's socket: {said}, so that somebody else could answer in its place; "
        "set device.socket or EDGECAM_SOCKET to a path in a folder of your own"
    )


def _no_socket(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"cannot make the socket {path}: {error.strerror or error}; set device.socket or EDGECAM_SOCKET"
    )


def _is_answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(str(path)) == 0


class _UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """One thread a connection, at most `MOST_CONNECTIONS` of them."""

    daemon_threads = True
    block_on_close = False
    timeout = 0.5  # seconds `handle_request` waits, so that a stop is seen
    request_queue_size = 16

    def __init__(
        self,
        path: str,
        status: Callable[[], Mapping[str, Any]],
        feed: Feed,
        stop: threading.Event,
        keep_alive: float,
    ) -> None:
        self.status, self.feed, self.stop, self.keep_alive = status, feed, stop, keep_alive
        self.routes: Mapping[str, Callable[[], Mapping[str, Any]]] = {}
        self._refused: deque[socket.socket] = deque()
        self._places = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__(path, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        request.settimeout(1.0)
        request.sendall(b"HTTP/1.1 503 Too many connections\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        # closed a moment later: a client that still sends its request would otherwise see no answer but a broken pipe
        self._refused.append(request)
        if len(self._refused) > MOST_CONNECTIONS:
            self.shutdown_request(self._refused.popleft())

    def handle_timeout(self) -> None:
        while self._refused:
            self.shutdown_request(self._refused.popleft())

    def server_close(self) -> None:
        self.handle_timeout()
        super().server_close()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver's signature
        # A client that hangs up in the middle of an answer is its own affair; anything else is a defect of ours.
        if not isinstance(sys.exception(), OSError):
            log.error("a request to the socket failed", exc_info=sys.exception())


class _Handler(BaseHTTPRequestHandler):
    server: _UnixServer
    protocol_version = "HTTP/1.1"
    timeout = REQUEST_TIMEOUT

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/v1/status":
            self._answer(200, self.server.status())
        elif parts.path == "/v1/events":
            self._events(parse_qs(parts.query))
        else:
            self._route(f"GET {parts.path}")

    def do_POST(self) -> None:
        if not self.server.routes:  # nobody has anything to be asked for
            self.send_error(501, "Unsupported method ('POST')")
            return
        if (
            self.headers.get("Content-Length", "0") != "0"
        ):  # none takes a body, and one unread would be the next request
            self.close_connection = True
            self._answer(413, {"error": "nothing here takes a body"})
            return
        self._route(f"POST {urlsplit(self.path).path}")

    def _route(self, wanted: str) -> None:
        answer = self.server.routes.get(wanted)
        if answer is None:
            known = ["GET /v1/status", "GET /v1/events", *self.server.routes]
            self._answer(404, {"error": f"nothing at {wanted}; known: {', '.join(known)}"})
            return
        try:
            self._answer(200, answer())
        except UnavailableError as error:
            self._answer(503, {"error": str(error)})

    def _answer(self, status: int, body: Mapping[str, Any]) -> None:
        content = json.dumps(body).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _events(self, query: Mapping[str, list[str]]) -> None:
        text = query.get("after", ["0"])[0]
        if not text.isdecimal():
            self._answer(400, {"error": f"after is {text!r}; it is the number of the last event seen, 0 for all"})
            return
        number, follow = int(text), query.get("follow", ["0"])[0] == "1"
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        tick = min(FOLLOW_TICK, self.server.keep_alive) if follow else 0.0
        written = time.monotonic()
        while True:
            for number, entry in self.server.feed.after(number, tick):  # noqa: B020
                self.wfile.write(json.dumps({"n": number, **entry}).encode() + b"\n")
                written = time.monotonic()
            if time.monotonic() - written >= self.server.keep_alive:
                self.wfile.write(b"\n")
                written = time.monotonic()
            if not follow or self.server.stop.is_set() or self._has_hung_up():
                return

    def _has_hung_up(self) -> bool:
        """Tell whether the client closed its end: a follower of a quiet street would never be noticed otherwise."""
        self.connection.setblocking(False)
        try:
            return not self.connection.recv(1)
        except BlockingIOError:
            return False
        finally:
            self.connection.settimeout(REQUEST_TIMEOUT)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library's name
        log.debug(format, *args)

    def address_string(self) -> str:
        return "unix"
