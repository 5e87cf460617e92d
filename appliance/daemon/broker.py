"""A broker on loopback for demonstrations: mosquitto when it is installed, else amqtt from the `demo` extra."""

import importlib.util
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from appliance.core.child import end
from appliance.core.errors import ConfigError, UnavailableError
from appliance.core.files import write_atomically
from appliance.core.worker import Pulse

PORT = 1883
START_WITHIN = 15.0  # seconds; amqtt on a slow board imports for some of them
STOP_WITHIN = 2.0  # seconds
MOST_WORDS = 4096  # bytes read of what the child has written
_SEARCH = ":".join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))

log = logging.getLogger(__name__)


class DemoBroker:
    """The worker named `broker`: a child process that ends with us, a SIGKILL of ours included.

    Started by the main thread, because its address must be known before the rest is built; then looked after by its
    own thread.

    Args:
        directory: Where its configuration and its last words are written.
    """

    def __init__(self, directory: Path) -> None:
        self.name = "broker"
        self.pulse = Pulse(limit=60.0)
        self._directory = directory
        self._log = directory / "broker.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    def start(self, wake: threading.Event) -> str:
        """Start the broker and give its address, ``mqtt://127.0.0.1:PORT``; blocks until it answers or `wake` is set.

        Raises:
            ConfigError: There is no broker to start on this machine.
            UnavailableError: It did not come up.
        """
        self._port = self._port or _free_port()
        command = self._mosquitto(self._port) or self._amqtt(self._port)
        if command is None:
            raise ConfigError(
                "the embedded broker needs mosquitto (apt install mosquitto) or the extra `demo` of edgecam"
            )
        # setpriv (util-linux) makes the kernel end the child when we are killed: no broker is left behind
        with_us = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - the command is ours
                [*with_us, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for us: the broker must live to take our last messages
            )
        self._wait_until_it_answers(wake)
        url = f"mqtt://127.0.0.1:{self._port}"
        log.info("started a broker for this demonstration: %s", Path(command[0]).name, extra={"broker": url})
        return url

    def run(self, stop: threading.Event) -> None:
        """Look after the child until `stop` is set: start it again when it has ended.

        Raises:
            UnavailableError: It does not start again.
        """
        while not stop.wait(1.0):
            self.pulse.beat()
            if not self._is_alive():
                log.error("the embedded broker has ended: %s", self._last_words())
                self.start(stop)

    def stop(self) -> None:
        """End the child; takes up to four seconds."""
        if self._process is None:
            return
        end(self._process, STOP_WITHIN)
        self._process = None

    def _is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _wait_until_it_answers(self, wake: threading.Event) -> None:
        deadline = time.monotonic() + START_WITHIN
        while time.monotonic() < deadline and self._is_alive():
            with socket.socket() as probe:
                probe.settimeout(0.5)
                if probe.connect_ex(("127.0.0.1", self._port)) == 0 and self._is_alive():
                    return
            if wake.wait(0.05):
                return
        words = self._last_words()
        self.stop()
        raise UnavailableError(
            f"the embedded broker did not start ({words}); give one with --broker mqtt://HOST or --broker none"
        )

    def _last_words(self) -> str:
        """Give the last line that the child has written, of bounded length."""
        try:
            with self._log.open("rb") as output:
                output.seek(max(0, self._log.stat().st_size - MOST_WORDS))
                lines = output.read(MOST_WORDS).decode(errors="replace").split("\n")
        except OSError as error:
            return str(error.strerror)
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")

    def _mosquitto(self, port: int) -> list[str] | None:
        program = shutil.which("mosquitto", path=_SEARCH)
        if program is None:
            return None
        path = self._directory / "mosquitto.conf"
        lines = [f"listener {port} 127.0.0.1", "allow_anonymous true", "persistence false", "log_type error"]
        if os.geteuid() == 0:
            # it would change into another account, which makes the kernel forget setpriv's promise
            lines.append("user root")
        write_atomically(path, "\n".join([*lines, ""]).encode())
        return [program, "-c", str(path)]

    def _amqtt(self, port: int) -> list[str] | None:
        if importlib.util.find_spec("amqtt") is None:
            return None
        plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        listeners = {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}}
        path = self._directory / "amqtt.yaml"  # JSON is YAML
        write_atomically(path, json.dumps({"listeners": listeners, "plugins": plugins}).encode())
        return [sys.executable, "-m", "amqtt.scripts.broker_script", "-c", str(path)]


def _free_port() -> int:
    """Give the usual port when it is free, else any."""
    for port in (PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise UnavailableError("no free port on 127.0.0.1 for the embedded broker; give one with --broker mqtt://HOST")
