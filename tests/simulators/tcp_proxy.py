"""A TCP proxy on loopback that can stall like a half-open link, cut like a router, or refuse like a dead host."""

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

Watch = Callable[[bytes], None]
"""Is given what goes through in one direction of one connection, before it goes on."""


class TcpProxy:
    """Forwards to `port`. Modes: ``pass``, ``stall`` (connections stay, nothing goes through), ``refuse``.

    Args:
        port: On loopback.
        watch: Gives for each connection who sees what goes to `port`, and what comes from there.

    Attributes:
        mode: Of the above.
        connections: Those that were accepted.
        carried: Bytes that went through, both ways together.
    """

    def __init__(self, port: int, watch: Callable[[], tuple[Watch, Watch]] | None = None) -> None:
        self.mode = "pass"
        self._watch = watch or (lambda: (lambda _: None, lambda _: None))
        self.connections = 0
        self.carried = 0
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: list[socket.socket] = []
        self._flows = threading.Condition()
        self._is_over = False
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_over = True
        self.set("pass")
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(5.0)

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def set(self, mode: str) -> None:
        with self._flows:
            self.mode = mode
            self._flows.notify_all()

    def cut(self) -> None:
        """Reset every connection."""
        for end in list(self._pairs):
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._is_over:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if self.mode == "refuse":
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self._target), timeout=5.0)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            self._pairs += [near, far]
            up, down = self._watch()
            for one, other, watch in ((near, far, up), (far, near, down)):
                thread = threading.Thread(target=self._pump, args=(one, other, watch), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket, watch: Watch) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                with self._flows:
                    self._flows.wait_for(lambda: self.mode != "stall" or self._is_over)
                    self.carried += len(data)
                watch(data)
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()
