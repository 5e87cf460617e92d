"""A real RTSP server on loopback: JPEG over RTP, interleaved in the TCP connection, with faults on demand.

RTSP 1.0 (RFC 2326), RTP payload for JPEG (RFC 2435), Basic and Digest access (RFC 2617). Every wait has a limit.
"""

import base64
import hashlib
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

import cv2
import numpy as np

CLOCK_RATE = 90_000
FRAGMENT = 1400
_SDP = """v=0
o=- 1 1 IN IP4 127.0.0.1
s=test
c=IN IP4 127.0.0.1
t=0 0
m=video 0 RTP/AVP 26
a=control:track1
""".replace("\n", "\r\n")


def draw_numbered(number: int, width: int = 320, height: int = 240) -> np.ndarray:
    """A picture whose number can be read back from 16 black or white blocks."""
    image = np.full((height, width, 3), 90, np.uint8)
    for bit in range(16):
        image[16:48, bit * 16 : bit * 16 + 16] = 255 if number >> bit & 1 else 0
    return image


def read_number(image: np.ndarray) -> int:
    """The number that draw_numbered put into a picture."""
    return sum(1 << bit for bit in range(16) if image[32, bit * 16 + 8, 1] > 128)


@dataclass
class RtspServer:
    """Serves one stream at every path below /cam to any number of clients.

    Attributes:
        port: Where it listens; 0 takes a free one and stays on it over restarts.
        mode: serve; stall keeps connections and sends nothing more; silent accepts and never answers.
        auth: Ask for this kind of access.
        log: What clients asked: method, address, headers.
    """

    port: int = 0
    mode: Literal["serve", "stall", "silent"] = "serve"
    auth: Literal["none", "basic", "digest"] = "none"
    username: str = "viewer"
    password: str = "secret"  # noqa: S105 - of a simulator
    fps: float = 25.0
    draw: Callable[[int], np.ndarray] = draw_numbered
    log: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    sent: int = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/cam"

    def start(self) -> None:
        """Listen; after kill() on the same port again."""
        self._stop = threading.Event()
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        self._listener.settimeout(0.1)
        self.port = self._listener.getsockname()[1]
        self._spawn(self._accept)

    def kill(self) -> None:
        """Drop everything at once, as a crash does."""
        self._stop.set()
        self._listener.close()
        for connection in list(self._connections):
            with suppress(OSError):  # it may be gone already
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive(), "the simulator itself hangs"

    def _spawn(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, name="rtsp-simulator", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            connection.settimeout(0.1)
            self._connections.add(connection)
            self._spawn(self._talk, connection)

    def _talk(self, connection: socket.socket) -> None:
        received, playing = b"", threading.Event()
        with connection:
            while not self._stop.is_set():
                try:
                    chunk = connection.recv(4096)
                except TimeoutError:
                    continue
                except OSError:
                    break
                if not chunk:
                    break
                received += chunk
                while b"\r\n\r\n" in received and self.mode != "silent":
                    head, _, received = received.partition(b"\r\n\r\n")
                    self._answer(connection, head.decode("utf-8", "replace").lstrip("\0\r\n"), playing)
        self._connections.discard(connection)

    def _answer(self, connection: socket.socket, head: str, playing: threading.Event) -> None:
        first, *rest = head.split("\r\n")
        if first.startswith("$"):  # interleaved RTCP of the client
            return
        method, address, *_ = [*first.split(" "), "", ""]
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        self.log.append((method, address, headers))
        status, extra, body = self._decide(method, address, headers)
        lines = [f"RTSP/1.0 {status}", f"CSeq: {headers.get('cseq', '0')}", *extra]
        lines += [f"Content-Length: {len(body)}"] if body else []
        with suppress(OSError):  # the client hung up
            connection.sendall(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
            if method == "PLAY" and status.startswith("200") and not playing.is_set():
                playing.set()
                self._spawn(self._play, connection)

    def _decide(self, method: str, address: str, headers: dict[str, str]) -> tuple[str, list[str], str]:
        if method == "OPTIONS":
            return "200 OK", ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"], ""
        if not self._is_allowed(method, headers.get("authorization", "")):
            kind = 'Digest realm="sim", nonce="0123456789abcdef"' if self.auth == "digest" else 'Basic realm="sim"'
            return "401 Unauthorized", [f"WWW-Authenticate: {kind}"], ""
        if not re.match(r"rtsp://[^/]+/cam(/|\?|$)", address):
            return "404 Not Found", [], ""
        return self._serve(method, address, headers)

    def _serve(self, method: str, address: str, headers: dict[str, str]) -> tuple[str, list[str], str]:
        if method == "DESCRIBE":
            base = address.rstrip("/").partition("?")[0]
            return "200 OK", ["Content-Type: application/sdp", f"Content-Base: {base}/"], _SDP
        if method == "SETUP":
            if "interleaved" not in headers.get("transport", ""):
                return "461 Unsupported Transport", [], ""
            return "200 OK", ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 12345678;timeout=60"], ""
        return "200 OK", ["Session: 12345678"], ""

    def _is_allowed(self, method: str, given: str) -> bool:
        if self.auth == "none":
            return True
        if self.auth == "basic":
            expected = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
            return given == f"Basic {expected}"
        fields = dict(re.findall(r'(\w+)="([^"]*)"', given))
        secret = _md5(f"{self.username}:sim:{self.password}")
        asked = _md5(f"{method}:{fields.get('uri', '')}")
        expected = _md5(f"{secret}:0123456789abcdef:{asked}")
        return fields.get("username") == self.username and fields.get("response") == expected

    def _play(self, connection: socket.socket) -> None:
        sequence, number, began = 0, 0, time.monotonic()
        while not self._stop.wait(max(0.0, began + number / self.fps - time.monotonic())):
            if self.mode == "serve":
                good, encoded = cv2.imencode(".jpg", self.draw(number), [cv2.IMWRITE_JPEG_QUALITY, 80])
                assert good
                for packet in packetise(encoded.tobytes(), sequence, int(number / self.fps * CLOCK_RATE)):
                    sequence += 1
                    try:
                        connection.sendall(struct.pack("!cBH", b"$", 0, len(packet)) + packet)
                    except OSError:
                        return
                self.sent += 1
            number += 1


def packetise(jpeg: bytes, sequence: int, timestamp: int) -> list[bytes]:
    """Cut a baseline JPEG into RTP packets, RFC 2435, with its quantisation tables in the first one."""
    tables, size, kind, scan = _parse_jpeg(jpeg)
    width, height = size
    packets, offset = [], 0
    while offset < len(scan):
        part = scan[offset : offset + FRAGMENT]
        is_last = offset + len(part) == len(scan)
        rtp = struct.pack("!BBHII", 0x80, 26 | (0x80 if is_last else 0), sequence & 0xFFFF, timestamp, 0x1234ABCD)
        main = struct.pack("!II", offset, kind << 24 | 255 << 16 | width // 8 << 8 | height // 8)
        quantisation = struct.pack("!BBH", 0, 0, len(tables)) + tables if offset == 0 else b""
        packets.append(rtp + main + quantisation + part)
        sequence, offset = sequence + 1, offset + len(part)
    return packets


def _parse_jpeg(jpeg: bytes) -> tuple[bytes, tuple[int, int], int, bytes]:
    """Quantisation tables, size, RFC 2435 type and entropy-coded data of a JPEG with the standard Huffman tables."""
    at, tables, size, kind = 2, b"", (0, 0), 0
    while jpeg[at + 1] != 0xDA:
        marker, length = jpeg[at + 1], int.from_bytes(jpeg[at + 2 : at + 4], "big")
        body = jpeg[at + 4 : at + 2 + length]
        if marker == 0xDB:
            tables += b"".join(body[start + 1 : start + 65] for start in range(0, len(body), 65))
        if marker == 0xC0:
            size = int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big")
            kind = {0x21: 0, 0x22: 1}[body[7]]  # 4:2:2 or 4:2:0
        at += 2 + length
    start = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return tables, size, kind, jpeg[start:].removesuffix(b"\xff\xd9")


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
