"""The real daemon as a child process, and how to wait for what it does."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from appliance.cli.client import Daemon
from appliance.core.errors import UnavailableError


def wait_for(question: Callable[[], Any], within: float, what: str) -> Any:
    """Ask until the answer is true and give it."""
    deadline = time.monotonic() + within
    while not (answer := question()):
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(0.05)
    return answer


class EdgecamProcess:
    """One run of the daemon, with its own state directory and socket.

    Args:
        directory: Where its state, socket and output go.
        arguments: Its options besides --state-dir.
        config: A configuration; none: no file.
        module: What is run in the command's place: a module that takes the daemon's options.
        environment: More variables.
    """

    def __init__(
        self,
        directory: Path,
        *arguments: str,
        config: str = "",
        module: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.state_dir, self.socket = directory / "state", directory / "edgecam.sock"
        (directory / "edgecam.toml").write_text(config)
        edgecam = "from appliance.cli.main import main; main()"
        program = ["-m", module] if module else ["-c", edgecam, "run"]
        self._command = [sys.executable, *program, "--config", str(directory / "edgecam.toml")]
        self._command += ["--state-dir", str(self.state_dir), "--device-id", "test", *arguments]
        self._environment = environment or {}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        if kind is not None:
            sys.stdout.write(self.errors())

    def start(self) -> None:
        """Start it; output of all its runs is kept, one after the other."""
        environment = {**os.environ, "EDGECAM_SOCKET": str(self.socket), **self._environment}
        environment.pop("JOURNAL_STREAM", None)
        with (self.directory / "out").open("ab") as out, (self.directory / "err").open("ab") as err:
            self._process = subprocess.Popen(self._command, stdout=out, stderr=err, env=environment)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def is_listening_for_signals(self) -> bool:
        """Tell whether the daemon's own code runs: unlike Python, it catches SIGTERM."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt:")).split()[1], 16)
        return bool(caught >> (signal.SIGTERM - 1) & 1)

    def output(self) -> str:
        return (self.directory / "out").read_text(errors="replace")

    def errors(self) -> str:
        return (self.directory / "err").read_text(errors="replace")

    def is_running(self) -> bool:
        assert self._process is not None
        return self._process.poll() is None

    def status(self) -> dict[str, Any]:
        """Give its state; empty while it does not answer yet."""
        try:
            return Daemon(self.socket).status()
        except UnavailableError:
            return {}

    def wait_for_status(self, question: Callable[[dict[str, Any]], Any], within: float, what: str) -> dict[str, Any]:
        """Wait until its state answers the question with yes, and give the state."""
        found: dict[str, Any] = {}

        def ask() -> bool:
            nonlocal found
            assert self.is_running(), self.errors()
            found = self.status()
            return bool(found and question(found))

        try:
            wait_for(ask, within, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; last: {json.dumps(found)[:2000]}") from error
        return found

    def peak_memory_mb(self) -> float:
        """Give the highest resident memory so far in MB (10^6 bytes), as the kernel counted it."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
        raise AssertionError("the kernel does not tell VmHWM")

    def stop(self, number: signal.Signals = signal.SIGTERM, within: float = 15.0) -> int:
        """Send a signal and give the exit status."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(within)

    def wait(self, within: float) -> int:
        """Wait until it ends by itself and give the exit status."""
        assert self._process is not None
        return self._process.wait(within)

    def kill(self) -> None:
        """SIGKILL: what a power cut leaves of a process."""
        self.stop(signal.SIGKILL)
