"""A TCP server on loopback that says what a test wants, byte for byte, and knows how much of it was read."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

_LOOK = 0.001


class Client:
    """One client, as the server sees it.

    Args:
        connection: To it.
        sent: Takes how many bytes were sent to it.
        ending: Set when the server is to end.

    Attributes:
        request: What it has sent.
    """

    def __init__(self, connection: socket.socket, sent: list[int], ending: threading.Event) -> None:
        self._connection, self._sent, self._ending = connection, sent, ending
        self._port: int = connection.getpeername()[1]
        self.request = b""
        while b"\r\n\r\n" not in self.request and (part := connection.recv(65536)):
            self.request += part

    @property
    def path(self) -> str:
        return self.request.split(b" ")[1].decode()

    def say(self, data: bytes) -> None:
        """Send, and wait until the program has read it: what lies in the kernel's buffers is not counted as read.

        Raises:
            OSError: It reads no more.
        """
        self._connection.sendall(data)
        self._sent[-1] += len(data)
        while not self._has_read():
            if self._ending.wait(_LOOK):
                raise ConnectionAbortedError

    def say_for_ever(self, data: bytes, every: float = 0.0) -> None:
        """Send it again and again, until nobody reads any more."""
        while not self._ending.wait(every):
            self.say(data)

    def is_gone_within(self, seconds: float) -> bool:
        """Wait until it has closed the connection; tell whether it has."""
        self._connection.settimeout(seconds)
        try:
            return self._connection.recv(1) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True

    def _has_read(self) -> bool:
        """Tell whether nothing waits in the client's socket (proc_pid_net(5)).

        Raises:
            ConnectionResetError: The client has closed it.
        """
        for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
            local, remote, state, queues = line.split()[1:5]
            if local.endswith(f":{self._port:04X}") and remote.endswith(f":{self._own:04X}") and state == "01":
                return int(queues.split(":")[1], 16) == 0
        raise ConnectionResetError

    @property
    def _own(self) -> int:
        port: int = self._connection.getsockname()[1]
        return port


@dataclass
class Told:
    """What a raw server did.

    Attributes:
        url: Where it is.
        sent: Bytes for each client.
        took: Seconds for each.
    """

    url: str
    sent: list[int] = field(default_factory=list)
    took: list[float] = field(default_factory=list)


@contextmanager
def speaking(speak: Callable[[Client], None]) -> Iterator[Told]:
    """Serve one client after the other until the end of the block."""
    ending = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        told = Told(f"http://127.0.0.1:{listener.getsockname()[1]}")

        def serve() -> None:
            while not ending.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                told.sent.append(0)
                begin = time.monotonic()
                with suppress(OSError), connection:
                    speak(Client(connection, told.sent, ending))
                told.took.append(time.monotonic() - begin)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield told
        finally:
            ending.set()
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(10.0)
