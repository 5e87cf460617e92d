"""What the doctor looks at, put together from the rooms: each a small object with its own time."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from appliance.cli import told_by_daemon, tried_out
from appliance.cli.situation import Situation
from appliance.config import AnyCamera, Settings
from appliance.core.checkup import CheckState, Outcome
from appliance.core.clock import SystemClock
from appliance.diagnostics.doctor.disk import judge_disk, read_disk
from appliance.diagnostics.doctor.examination import Check
from appliance.diagnostics.doctor.heat import judge_heat, read_heat
from appliance.diagnostics.doctor.memory import judge_memory, read_memory
from appliance.diagnostics.doctor.unit import judge_unit
from appliance.diagnostics.doctor.utc import check_clock

BROKER_TIMEOUT: Final = 90.0  # seconds for all stages; each has a shorter time of its own
CAMERA_TIMEOUT: Final = 40.0
MODEL_TIMEOUT: Final = 90.0
FLEET_TIMEOUT: Final = 60.0
_HANDED: Final = Path("/run/credentials/edgecam.service")  # where systemd keeps them while the unit runs
_STORES: Final = tuple(Path(folder) for folder in ("/etc/credstore", "/run/credstore", "/usr/lib/credstore"))
_NO_CONFIG: Final = "the configuration comes first"


def checks_of(situation: Situation) -> list[Check]:
    """Give all checks, in the order in which they are shown."""
    settings = situation.settings
    state_dir = settings.device.state_dir if settings is not None else Path("/var/lib/edgecam")
    return [
        Check("unit", lambda: [_unit(situation)]),
        Check("daemon", lambda: _daemon(situation)),
        Check("config", lambda: tried_out.check_config(situation)),
        *(_on_settings(situation, settings) if settings is not None else _without_settings()),
        Check("clock", lambda: [check_clock(SystemClock())]),
        Check("disk", lambda: judge_disk(read_disk(state_dir))),
        Check("temperature", lambda: judge_heat(read_heat())),
        Check("memory", lambda: [judge_memory(read_memory())]),
        Check("outbox", lambda: [_outbox(situation, state_dir)]),
    ]


@contextmanager
def credentials_at_hand(situation: Situation) -> Iterator[None]:
    """Let the credentials that systemd hands to the unit be read as the daemon reads them, where this user may.

    While the unit does not run they are where LoadCredential= says. They are pointed to, never copied.
    """
    made = None
    folder = _HANDED if os.access(_HANDED, os.R_OK | os.X_OK) else (made := _pointed(situation))
    if folder is None or "CREDENTIALS_DIRECTORY" in os.environ:
        yield
        return
    os.environ["CREDENTIALS_DIRECTORY"] = str(folder)
    try:
        yield
    finally:
        del os.environ["CREDENTIALS_DIRECTORY"]
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)


def _pointed(situation: Situation) -> Path | None:
    """Make a folder with links to the unit's credentials; None: it has none that this user may read."""
    found = {}
    for name, source in (situation.unit.credentials if situation.unit is not None else {}).items():
        places = [Path(source)] if source.startswith("/") else [store / source for store in _STORES]
        place = next((place for place in places if os.access(place, os.R_OK)), None)
        if place is not None and "/" not in name:
            found[name] = place
    if not found:
        return None
    try:
        folder = Path(mkdtemp(prefix="edgecam-"))
        for name, place in found.items():
            (folder / name).symlink_to(place)
    except OSError:
        return None  # on a disk that is full; what needs them says that they are not there
    return folder


def _on_settings(situation: Situation, settings: Settings) -> list[Check]:
    """Give the checks of what is configured."""
    return [
        Check("access", lambda: tried_out.check_access(settings, situation.config)),
        *(
            Check(f"camera.{name}", partial(_camera, situation, name, camera), CAMERA_TIMEOUT)
            for name, camera in settings.cameras.items()
        ),
        Check("model", lambda: tried_out.check_model(settings), MODEL_TIMEOUT),
        Check("runtime", lambda: _runtime(situation, settings), MODEL_TIMEOUT),
        Check("broker", lambda: _broker(situation, settings), BROKER_TIMEOUT),
        *(_on_fleet(situation, settings) if settings.fleet.url else ()),
    ]


def _on_fleet(situation: Situation, settings: Settings) -> list[Check]:
    return [
        Check("fleet", lambda: tried_out.try_fleet(settings, SystemClock()), FLEET_TIMEOUT),
        Check("releases", lambda: _releases(situation, settings)),
    ]


def _without_settings() -> list[Check]:
    names = ("access", "camera", "model", "runtime", "broker")
    return [Check(name, partial(_skipped, name, _NO_CONFIG)) for name in names]


def _skipped(identity: str, why: str) -> list[Outcome]:
    return [Outcome(identity, CheckState.SKIPPED, why)]


def _unit(situation: Situation) -> Outcome:
    if situation.no_unit:
        return Outcome("unit", CheckState.FAILED, situation.no_unit, "systemctl status edgecam")
    return judge_unit(situation.unit, is_answering=situation.status is not None)


def _daemon(situation: Situation) -> Sequence[Outcome]:
    if situation.status is not None:
        return told_by_daemon.daemon_outcomes(situation.status)
    what, _, fix = situation.silence.partition("; ")
    if "no permission" in what:
        return [Outcome("daemon", CheckState.SKIPPED, what, fix)]
    if situation.is_running:
        what = f"it runs, but gives no answer at {situation.socket}: {what}"
        return [Outcome("daemon", CheckState.FAILED, what, "edgecam logs; then sudo systemctl restart edgecam")]
    return [Outcome("daemon", CheckState.FAILED, what, "sudo systemctl start edgecam, or by hand: edgecam run")]


def _camera(situation: Situation, name: str, camera: AnyCamera) -> Sequence[Outcome]:
    if not camera.enabled:
        return _skipped(f"camera.{name}", "switched off in the configuration")
    if situation.status is not None:
        return [told_by_daemon.camera_outcome(name, situation.status)]
    if situation.left_alone:
        return _skipped(f"camera.{name}", situation.left_alone)
    return tried_out.try_camera(name, camera)


def _runtime(situation: Situation, settings: Settings) -> Sequence[Outcome]:
    if situation.status is not None:
        return [told_by_daemon.runtime_outcome(situation.status)]
    if situation.left_alone:
        return _skipped("runtime", situation.left_alone)
    return tried_out.try_model(settings)


def _broker(situation: Situation, settings: Settings) -> Sequence[Outcome]:
    from appliance.messaging.stages import BrokerStages, patterns_of

    if settings.messaging.broker in {"none", "embedded"}:
        return _skipped("broker", f"[messaging] broker is {settings.messaging.broker}")
    device = settings.device.resolved_id()
    patterns = patterns_of(device, settings.messaging)
    stages = BrokerStages(device, settings.messaging, patterns, is_guest=situation.is_running)
    known: list[Outcome] = []
    if situation.status is not None and situation.status["messaging"]["broker"] == stages.address:
        known = told_by_daemon.broker_outcomes(situation.status, patterns)
    return stages.look(known)


def _releases(situation: Situation, settings: Settings) -> Sequence[Outcome]:
    told = None if situation.status is None else told_by_daemon.releases_outcome(situation.status)
    return tried_out.check_releases(settings) if told is None else [told]


def _outbox(situation: Situation, state_dir: Path) -> Outcome:
    from appliance.messaging.glance import check_outbox

    if situation.status is not None:
        return told_by_daemon.outbox_outcome(situation.status)
    return check_outbox(state_dir)
