"""Asks the running daemon over its Unix socket."""

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from appliance.config import DEFAULT_PATH, load_settings, reachable_socket
from appliance.core.errors import UnavailableError

TIMEOUT = 5.0  # seconds
MOST_BYTES = 16 << 20  # of one answer or one line


class Daemon:
    """The daemon behind the socket.

    Args:
        path: The socket; None: where the daemon's own rule puts it.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or _usual_socket()

    def status(self) -> dict[str, Any]:
        """Give the daemon's state.

        Raises:
            UnavailableError: It does not answer.
        """
        with self._get("/v1/status", TIMEOUT) as answer:
            try:
                status: dict[str, Any] = json.loads(answer.read(MOST_BYTES))
            except (ValueError, OSError) as error:
                raise UnavailableError(f"the daemon at {self._path} broke off its answer: {error}") from error
        return status

    def events(self, *, after: int = 0, follow: bool = False) -> Iterator[dict[str, Any]]:
        """Give events, oldest first; with `follow` wait for more until the daemon stops.

        Raises:
            UnavailableError: It does not answer.
        """
        with self._get(f"/v1/events?after={after}&follow={int(follow)}", None if follow else TIMEOUT) as answer:
            while line := answer.readline(MOST_BYTES):
                yield json.loads(line)

    @contextmanager
    def _get(self, target: str, timeout: float | None) -> Iterator[http.client.HTTPResponse]:
        with closing(_UnixConnection(self._path, timeout)) as connection:
            try:
                connection.request("GET", target)
                answer = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                raise self._gone(error) from error
            with answer:
                if answer.status != http.HTTPStatus.OK:
                    raise UnavailableError(f"the daemon at {self._path} answered {answer.status} {answer.reason}")
                yield answer

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
    """Give the socket of the configuration in place, where it can be read; else the rule's own."""
    settings = load_settings(DEFAULT_PATH).device if DEFAULT_PATH.exists() else None
    return reachable_socket(settings)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self._path)
        self.sock.settimeout(self.timeout)
