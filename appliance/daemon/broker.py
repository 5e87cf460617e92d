"""A broker on loopback for demonstrations: mosquitto when it is installed, else amqtt from the `demo` extra."""

import importlib.util
import json
import logging
import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from appliance.core.errors import ConfigError, UnavailableError
from appliance.core.files import write_atomically

PORT = 1883
START_WITHIN = 15.0  # seconds; amqtt on a slow board imports for some of them
STOP_WITHIN = 2.0  # seconds
_SEARCH = ":".join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))

log = logging.getLogger(__name__)


class DemoBroker:
    """A child process that ends with us, a SIGKILL of ours included. Used by the main thread alone.

    Args:
        directory: Where its configuration is written.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def start(self) -> str:
        """Start the broker and give its address, ``mqtt://127.0.0.1:PORT``; blocks until it answers.

        Raises:
            ConfigError: There is no broker to start on this machine.
            UnavailableError: It did not come up.
        """
        port = _free_port()
        command = self._mosquitto(port) or self._amqtt(port)
        if command is None:
            raise ConfigError(
                "the embedded broker needs mosquitto (apt install mosquitto) or the extra `demo` of edgecam"
            )
        # setpriv (util-linux) makes the kernel end the child when we are killed: no broker is left behind
        with_us = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
        self._process = subprocess.Popen(  # noqa: S603 - the command is ours
            [*with_us, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us: the broker must live to take our last messages
        )
        self._wait_until_it_answers(port)
        self.url = f"mqtt://127.0.0.1:{port}"
        log.info("started a broker for this demonstration: %s", Path(command[0]).name, extra={"broker": self.url})
        return self.url

    def stop(self) -> None:
        """End the child."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_WITHIN)
        self._process = None

    def _is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _wait_until_it_answers(self, port: int) -> None:
        deadline = time.monotonic() + START_WITHIN
        while time.monotonic() < deadline and self._is_alive():
            with socket.socket() as probe:
                probe.settimeout(0.5)
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        self.stop()
        raise UnavailableError("the embedded broker did not start; give one with --broker mqtt://HOST or --broker none")

    def _mosquitto(self, port: int) -> list[str] | None:
        program = shutil.which("mosquitto", path=_SEARCH)
        if program is None:
            return None
        path = self._directory / "mosquitto.conf"
        # `user`: as root it would change into another account, which makes the kernel forget setpriv's promise
        lines = [f"listener {port} 127.0.0.1", "allow_anonymous true", "persistence false", f"user {_account()}", ""]
        write_atomically(path, "\n".join(lines).encode())
        return [program, "-c", str(path)]

    def _amqtt(self, port: int) -> list[str] | None:
        if importlib.util.find_spec("amqtt") is None:
            return None
        plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        listeners = {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}}
        path = self._directory / "amqtt.yaml"  # JSON is YAML
        write_atomically(path, json.dumps({"listeners": listeners, "plugins": plugins}).encode())
        return [sys.executable, "-m", "amqtt.scripts.broker_script", "-c", str(path)]


def _account() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


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
