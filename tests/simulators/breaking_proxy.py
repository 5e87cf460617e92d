"""A TCP proxy on loopback that breaks connections after so many bytes, and counts what goes over the wire."""

import fcntl
import socket
import struct
import termios
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self

_CHUNK = 16 << 10


class BreakingProxy:
    """Forwards to a port of this machine.

    Args:
        port: Of the server.
        breaks_after: Asked for each connection: bytes towards the client after which it is reset; 0: it is not.

    Attributes:
        port: Where it listens.
        connections: How many were accepted.
        broken: How many were reset.
        carried: Bytes that went through, both ways together.
    """

    def __init__(self, port: int, breaks_after: Callable[[], int]) -> None:
        self._target, self._breaks_after = port, breaks_after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = self.broken = self.carried = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5.0)
        for end in self._open:
            end.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            far = socket.create_connection(("127.0.0.1", self._target), timeout=5.0)
            far.settimeout(None)
            self._open |= {near, far}
            most = self._breaks_after()
            for source, sink, bound in ((near, far, 0), (far, near, most)):
                thread = threading.Thread(target=self._pump, args=(source, sink, bound), daemon=True)
                self._threads.append(thread)
                thread.start()

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
