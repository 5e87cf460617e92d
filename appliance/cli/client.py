"""Asks the running daemon over its Unix socket."""

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click

from appliance.cli.configured import load_configured
from appliance.config import reachable_socket
from appliance.core.errors import ConfigError, UnavailableError, UnsupportedError

TIMEOUT = 5.0  # seconds
SILENCE = 15.0  # seconds; a follower hears something every five, if only an empty line
MOST_BYTES = 16 << 20  # of one answer or one line
_NO_FLEET = {http.HTTPStatus.NOT_FOUND, http.HTTPStatus.NOT_IMPLEMENTED}  # what a daemon without one answers


class Daemon:
    """The daemon behind the socket.

    Args:
        path: The socket; None: where the daemon's own rule puts it.
        timeout: Seconds without a byte after which an answer counts as broken off.
        silence: The same for a follower.
    """

    def __init__(self, path: Path | None = None, *, timeout: float = TIMEOUT, silence: float = SILENCE) -> None:
        self._path = path or _usual_socket()
        self._timeout, self._silence = timeout, silence

    def status(self) -> dict[str, Any]:
        """Give the daemon's state.

        Raises:
            UnavailableError: It does not answer, or broke off.
        """
        return self._object("GET", "/v1/status")

    def model(self) -> dict[str, Any]:
        """Give what is known of models from the fleet.

        Raises:
            UnsupportedError: The daemon has no fleet.
            UnavailableError: It does not answer, or broke off.
        """
        return self._object("GET", "/v1/model")

    def ask(self, wish: str) -> int:
        """Ask for something about models from the fleet; give its number, which `heard` reaches once it was done.

        Raises:
            UnsupportedError: The daemon has no fleet.
            UnavailableError: It does not answer, or cannot do more now.
        """
        return int(self._object("POST", f"/v1/model/{wish}")["number"])

    def events(self, *, after: int = 0, follow: bool = False) -> Iterator[dict[str, Any]]:
        """Give events, oldest first; with `follow` wait for more until the daemon stops.

        Raises:
            UnavailableError: It does not answer, or broke off.
        """
        timeout = self._silence if follow else self._timeout
        with self._get(f"/v1/events?after={after}&follow={int(follow)}", timeout) as answer:
            while line := self._read_line(answer):
                if line.strip():
                    yield self._parse(line)

    def _object(self, method: str, target: str) -> dict[str, Any]:
        with self._get(target, self._timeout, method) as answer:
            try:
                given: dict[str, Any] = json.loads(answer.read(MOST_BYTES))
            except (ValueError, OSError, http.client.HTTPException) as error:
                raise self._broke_off(error) from error
        return given

    def _read_line(self, answer: http.client.HTTPResponse) -> bytes:
        try:
            return answer.readline(MOST_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise self._broke_off(error) from error

    def _parse(self, line: bytes) -> dict[str, Any]:
        try:
            event: dict[str, Any] = json.loads(line)
        except ValueError as error:
            raise self._broke_off(error) from error
        return event

    @contextmanager
    def _get(self, target: str, timeout: float, method: str = "GET") -> Iterator[http.client.HTTPResponse]:
        with closing(_UnixConnection(self._path, timeout)) as connection:
            try:
                connection.request(method, target)
                answer = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                raise self._gone(error) from error
            with answer:
                if answer.status in _NO_FLEET and target.startswith("/v1/model"):
                    raise UnsupportedError(
                        f"the daemon at {self._path} has no fleet; the configuration names it: [fleet] url and root"
                    )
                if answer.status != http.HTTPStatus.OK:
                    raise UnavailableError(f"the daemon at {self._path} answered {answer.status} {answer.reason}")
                yield answer

    def _broke_off(self, error: Exception) -> UnavailableError:
        return UnavailableError(
            f"the daemon at {self._path} broke off its answer: {error}; what it says of itself: journalctl -u edgecam"
        )

    def _gone(self, error: Exception) -> UnavailableError:
        if isinstance(error, PermissionError):
            return UnavailableError(
                f"no permission to talk to the daemon at {self._path}; "
                "use sudo, or join its group: sudo usermod -aG edgecam NAME"
            )
        return UnavailableError(
            f"no daemon answers at {self._path}; is it running? systemctl status edgecam, or start one: edgecam run"
        )


def _usual_socket() -> Path:
    """Give the socket of the configuration in place; the rule's own, and a word of it, when that cannot be used."""
    try:
        return reachable_socket(load_configured().device)
    except ConfigError as error:
        path = reachable_socket()
        why = str(error).splitlines()[0].rstrip(":")
        click.echo(f"edgecam: the configuration's socket is not known ({why}); asking {path}", err=True)
        return path


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self._path)
        self.sock.settimeout(self.timeout)
