"""What the doctor has to know before it looks: the configuration in place, systemd's word, and what the daemon says."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.cli.client import Daemon
from appliance.cli.configured import is_there_or_hidden
from appliance.config import DEFAULT_PATH, Settings, load_settings, reachable_socket
from appliance.core.errors import ConfigError, UnavailableError
from appliance.diagnostics.doctor.unit import Unit, read_unit


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known from the start.

    Attributes:
        config: The configuration's file.
        settings: What it says; None: it is not accepted, or cannot be read. The defaults where there is no file.
        mistake: Why there are no settings.
        has_file: Whether there is a file.
        unit: What systemd says of the unit; None: there is no systemd, or it does not answer.
        no_unit: Why systemd does not answer; empty: it does, or there is none.
        status: What the daemon says; None: none answers.
        silence: Why none does.
        socket: Where it was asked.
    """

    config: Path
    settings: Settings | None
    mistake: ConfigError | None
    has_file: bool
    unit: Unit | None
    no_unit: str
    status: dict[str, Any] | None
    silence: str
    socket: Path

    @property
    def is_running(self) -> bool:
        """Whether a daemon seems to run, whether it answers or not: it then has the cameras and the outbox."""
        if self.status is not None or (self.unit is not None and self.unit.is_running):
            return True
        return self.settings is not None and is_locked(self.settings.device.state_dir / "lock")

    @property
    def left_alone(self) -> str:
        """Why the daemon's own things are not touched although it does not answer; empty: none runs."""
        if not self.is_running:
            return ""
        is_kept = "no permission" in self.silence
        return "the daemon has it, and is not this user's to ask" if is_kept else "a daemon seems to run: see daemon"


def find_situation(config: Path | None, socket: Path | None) -> Situation:
    """Read the configuration and ask systemd and the daemon; takes ten seconds at the most.

    Args:
        config: The configuration's file; None: the usual place.
        socket: The daemon's socket; None: where the configuration, or the daemon's own rule, has it.
    """
    path = config or DEFAULT_PATH
    has_file = config is not None or is_there_or_hidden(path)
    settings, mistake = _settings(path, has_file=has_file)
    unit, no_unit = None, ""
    try:
        unit = read_unit()
    except UnavailableError as error:
        no_unit = str(error)
    place = socket or reachable_socket(settings.device if settings is not None else None)
    status, silence = None, ""
    try:
        status = Daemon(place).status()
    except UnavailableError as error:
        silence = str(error)
    return Situation(path, settings, mistake, has_file, unit, no_unit, status, silence, place)


def is_locked(path: Path, locks: Path = Path("/proc/locks")) -> bool:
    """Tell whether a process holds a lock on a file, by the kernel's list: trying to take it could disturb a start."""
    try:
        inode, listed = path.stat().st_ino, locks.read_text(encoding="ascii")
    except OSError:
        return False
    return re.search(rf"(?m)^\d+: FLOCK .* [0-9a-f]+:[0-9a-f]+:{inode} ", listed) is not None


def _settings(path: Path, *, has_file: bool) -> tuple[Settings | None, ConfigError | None]:
    if not has_file:
        return Settings(), None
    try:
        return load_settings(path), None
    except ConfigError as error:
        return None, error
