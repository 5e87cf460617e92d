"""A real mosquitto on a free loopback port, that can be stopped, killed and started again."""

import base64
import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

REPOSITORY = Path(__file__).resolve().parents[2]
OURS: Final = (10_000, 32_000)  # below what Linux takes for outgoing connections, net.ipv4.ip_local_port_range
SHARES: Final = 32


def find_mosquitto() -> str | None:
    """Give the program: from PATH, from where Debian keeps daemons, or from what `make test` brought; else None."""
    places = [shutil.which("mosquitto"), "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"]
    places += [str(REPOSITORY / ".tools" / "bin" / "mosquitto")]
    return next((place for place in places if place and Path(place).is_file()), None)


def free_port() -> int:
    """Give a port that nobody has now, and that the kernel gives to no outgoing connection before it is used.

    Nor does a process that runs other tests beside this one: it draws from a share of its own.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        port = random.randrange(OURS[0] + worker % SHARES, OURS[1], SHARES)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port


class Mosquitto:
    """One broker with its own configuration; keeps its port over restarts.

    Args:
        directory: Where its configuration and log go.
        lines: More lines for the configuration.
        port: The port; None: a free one.
    """

    def __init__(self, directory: Path, lines: tuple[str, ...] = (), port: int | None = None) -> None:
        self.port = port or free_port()
        self.log = directory / "mosquitto.log"
        self._config = directory / "mosquitto.conf"
        self._process: subprocess.Popen[bytes] | None = None
        self.configure(*lines)

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def configure(self, *lines: str, listener: tuple[str, ...] = ()) -> None:
        """Write the configuration; takes effect at the next start."""
        access = () if any(line.startswith("allow_anonymous") for line in lines) else ("allow_anonymous true",)
        first = (f"listener {self.port} 127.0.0.1", *listener, "log_type all", f"log_dest file {self.log}")
        # run as whoever runs the tests: as root it would become `mosquitto`, which may not read our directory
        self._config.write_text("\n".join([*first, "user root", *access, *lines, ""]))

    def keep_sessions(self, directory: Path) -> None:
        """Write a configuration with which sessions, and what waits for them, outlive a restart."""
        self.configure("persistence true", f"persistence_location {directory}/", "max_queued_messages 0")

    def start(self) -> None:
        program = find_mosquitto()
        assert program, "mosquitto is not installed"
        self._process = subprocess.Popen(
            [program, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10.0
        while time.monotonic() < deadline:
            assert self._process.poll() is None, f"mosquitto ended: {self.log.read_text() if self.log.exists() else ''}"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
        raise TimeoutError("mosquitto does not listen")

    def reload(self) -> None:
        """Let it read its access list again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def add_user(self, users: Path, name: str, password: str) -> None:
        """Add a user to a password file (mosquitto_passwd's format 7: PBKDF2 with SHA-512)."""
        salt = b"twelve bytes"
        digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
        parts = [base64.b64encode(part).decode() for part in (salt, digest)]
        with users.open("a") as file:
            file.write(f"{name}:$7$101${parts[0]}${parts[1]}\n")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(10)
            self._process = None
