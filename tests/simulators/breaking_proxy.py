"""A TCP proxy on loopback that breaks connections after so many bytes, and counts what goes over the wire."""

import fcntl
import socket
import struct
import termios
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from tests.simulators.listening import Listening

_CHUNK = 16 << 10


class BreakingProxy(Listening):
    """Forwards to a port of this machine.

    Args:
        port: Of the server.
        breaks_after: Asked for each connection: bytes towards the client after which it is reset; 0: it is not.

    Attributes:
        connections: How many were accepted.
        broken: How many were reset.
        carried: Bytes that went through, both ways together.
    """

    def __init__(self, port: int, breaks_after: Callable[[], int]) -> None:
        super().__init__()
        self._target, self._breaks_after = port, breaks_after
        self.connections = self.broken = self.carried = 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_idle(self) -> bool:
        """No end of any connection is open any more."""
        return all(end.fileno() < 0 for end in self._ends)

    def _serve(self, end: socket.socket) -> None:
        with self._lock:
            self.connections += 1
            most = self._breaks_after()
        far = socket.create_connection(("127.0.0.1", self._target), timeout=5.0)
        far.settimeout(None)
        self._ends.append(far)
        back = threading.Thread(target=self._pump, args=(far, end, most), daemon=True)
        with end, far:
            self._begin(back)
            self._pump(end, far, 0)
            back.join(5.0)  # whichever ended first has shut down both ends

    def _pump(self, source: socket.socket, sink: socket.socket, bound: int) -> None:
        sent = 0
        with suppress(OSError):
            while data := source.recv(min(_CHUNK, bound - sent) if bound else _CHUNK):
                sink.sendall(data)
                sent += len(data)
                with self._lock:
                    self.carried += len(data)
                if sent == bound:
                    _wait_until_acknowledged(sink)  # else what was counted would never be on the wire
                    self.broken += 1
                    # a reset, as of a router that has forgotten the connection
                    sink.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    break
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        if bound and sent == bound:
            sink.close()


def _wait_until_acknowledged(connection: socket.socket) -> None:
    deadline, waiting = time.monotonic() + 5.0, threading.Event()
    while struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0] and time.monotonic() < deadline:
        waiting.wait(0.001)
