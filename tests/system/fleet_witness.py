"""A daemon with a fleet of its own, what systemd would do for it, and a witness of what it serves and reports."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from appliance.cli.client import Daemon
from appliance.core.errors import UnavailableError
from tests.simulators.broker import Mosquitto
from tests.simulators.fleet import Web
from tests.simulators.subscriber import Subscriber
from tests.system.fleet_config import configured
from tests.system.process import EdgecamProcess, wait_for

FOOTAGE = "footage/one-by-one-person-detection.mp4"
FACTORY: Final = "0.2.0"
"""Version of the model that the daemon comes with."""

WITHIN: Final = 10.0
"""Seconds within which the model before serves again: the promise."""

UPDATED_WITHIN: Final = 600.0  # seconds; on a machine that is busy with other things
_UNIT: Final = Path(__file__).resolve().parents[2] / "systemd" / "edgecam.service"
MORE = """use = "commercial"
first = 1
interval = 3600
[messaging]
detections_interval = 0"""
TRIAL: Final[dict[str, Any]] = {
    "shadow_frames": 12,
    "shadow_seconds": 120,
    "active_seconds": 600,
    "latency_percent": 1000,
    "memory_percent": 150,
    "agreement_percent": 50,
    "rate_percent": [40, 250],
}
"""What a candidate must stand: few frames, and room for what else a machine does. A bad one never gets to the end."""

GOOD: Final = {**TRIAL, "active_seconds": 2}
"""The same for one that is to be committed."""


def device(
    folder: Path, root: Path, web: Web, broker: Mosquitto, *, device_id: str = "test", module: str = ""
) -> EdgecamProcess:
    """Give a daemon that looks at footage, and at the fleet once it has started and when it is told to."""
    folder.mkdir(exist_ok=True)
    config = configured(FOOTAGE, root, web, MORE)
    return EdgecamProcess(folder, "--broker", broker.url, "--device-id", device_id, config=config, module=module)


class Systemd:
    """Starts a daemon again when it ends by itself, after as long as the unit says.

    Args:
        edgecam: The daemon; started and ended by the block.

    Attributes:
        restarts: How often it was started again.
    """

    def __init__(self, edgecam: EdgecamProcess) -> None:
        self._edgecam, self._stop, self.restarts = edgecam, threading.Event(), 0
        pause = next(line for line in _UNIT.read_text(encoding="utf-8").split("\n") if line.startswith("RestartSec="))
        self._pause = float(pause.partition("=")[2])
        self._thread = threading.Thread(target=self._keep)

    def __enter__(self) -> Self:
        self._edgecam.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(20)
        self._edgecam.__exit__(kind, error, trace)

    def _keep(self) -> None:
        while not self._stop.wait(0.05):
            if not self._edgecam.is_running() and not self._stop.wait(self._pause):
                self._edgecam.start()
                self.restarts += 1


@dataclass
class Witness:
    """Keeps what a device serves and reports, each message read once.

    Attributes:
        subscriber: Gets all messages.
        served: Time of each frame, nanoseconds since the machine started, and the version that saw it.
        models: What `model` said.
        ended: What `model/events` said.
    """

    subscriber: Subscriber
    served: list[tuple[int, str]] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=list)
    ended: list[dict[str, Any]] = field(default_factory=list)
    _read: int = 0

    def look(self) -> Self:
        """Read what has come since."""
        new = self.subscriber.messages[self._read :]
        self._read += len(new)
        for topic, payload, _ in new:
            if topic.endswith("/detections"):
                body = json.loads(payload)
                self.served.append((body["mono_ns"], body["model"]["version"]))
            elif topic.endswith("/model"):
                self.models.append(json.loads(payload))
            elif topic.endswith("/model/events"):
                self.ended.append(json.loads(payload))
        return self

    def sees(self, version: str) -> bool:
        """Tell whether a version has seen a frame yet."""
        return any(one == version for _, one in self.look().served)

    def end_of(self, version: str) -> dict[str, Any]:
        """Wait for what came of a release."""

        def told() -> dict[str, Any] | None:
            return next((one for one in self.look().ended if one["release"]["version"] == version), None)

        last = [{key: one[key] for key in ("stage", "why", "code")} for one in self.models[-1:]]
        found: dict[str, Any] = wait_for(told, UPDATED_WITHIN, f"what came of {version}; last: {last}")
        return found

    def wait_until_told(self, words: str) -> dict[str, Any]:
        """Wait until `model` says something, and give the message."""
        at = len(self.models)

        def told() -> dict[str, Any] | None:
            return next((one for one in self.look().models[max(0, at - 1) :] if words in one["why"]), None)

        found: dict[str, Any] = wait_for(told, UPDATED_WITHIN, f"that {words!r} is told; last: {self.models[-1:]}")
        return found

    def seconds_until(self, version: str, after: str) -> float:
        """Give how long it took from what ended one version to the next frame that another saw.

        The end counts from the last frame that the bad version saw or from its report, whatever came first.
        """

        def told() -> int | None:
            lasts = ((one["mono_ns"], one["last"]) for one in self.look().models)
            return next((at for at, last in lasts if last and last["release"]["version"] == after), None)

        ends = wait_for(told, UPDATED_WITHIN, f"that the state tells of the end of {after}")
        seen = [at for at, one in self.served if one == after]
        begins = min([ends, *seen[-1:]])

        def back() -> int | None:
            last = max([begins, *seen[-1:]])
            return next((at for at, one in self.look().served if at > last and one == version), None)

        return (wait_for(back, UPDATED_WITHIN, f"a frame that {version} saw") - begins) / 1e9


def hint(edgecam: EdgecamProcess) -> None:
    """Have a daemon look at the fleet now."""

    def is_told() -> bool:
        try:
            Daemon(edgecam.socket).ask("check")
        except UnavailableError:  # it starts, and looks once it has
            return False
        return True

    wait_for(is_told, UPDATED_WITHIN, "a daemon that answers")


def edgecam_command(edgecam: EdgecamProcess, *words: str) -> str:
    """Run the operator's command against a daemon; give what it prints."""
    command = [sys.executable, "-c", "from appliance.cli.main import main; main()", *words]
    environment = {**os.environ, "EDGECAM_SOCKET": str(edgecam.socket)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout
