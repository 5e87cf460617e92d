"""Configuration, cameras and model, tried out by the doctor itself: the daemon is not there to ask."""

import os
import pwd
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from appliance.cli.situation import Situation
from appliance.config import AnyCamera, Secret, Settings, check_labels, public_address
from appliance.core.checkup import CheckState, Outcome
from appliance.core.clock import Clock, ClockQuality
from appliance.core.errors import ConfigError, EdgecamError, ModelError, UnavailableError

if TYPE_CHECKING:
    from appliance.config import MessagingSettings

SERVICE_USER: Final = "edgecam"  # systemd/edgecam.service
FRAME_TIMEOUT: Final = 10.0  # seconds for the first frame of a camera that is open
OPEN_TIMEOUT: Final = 60.0  # seconds for a model to be loaded; the daemon may wait for longer
FLEET_TIMEOUT: Final = 20.0  # seconds for one file of a fleet's metadata
_FIXES: Final = {
    "model": "correct [model] use; edgecam model list shows what is there",
    "runtime": "edgecam model list",
    "fleet": "check clock, network and [fleet] url and root; if they are right, tell the fleet's owner",
}
_CLOCK_FIRST: Final = "mend the clock first: see clock"
_RELOAD: Final = "sudo systemctl reload edgecam"
_AS_ROOT: Final = "run sudo edgecam doctor: it is kept from this user"


def check_config(situation: Situation) -> list[Outcome]:
    """Tell whether the configuration is accepted, has a camera, and is the one that the daemon runs with."""
    settings, path = situation.settings, situation.config
    if settings is None:
        return [_refused("config", situation.mistake or ConfigError(f"{path} cannot be read"))]
    if not situation.has_file:
        fix = f"edgecam config default | sudo tee {path}; then add a camera (docs/OPERATING.md)"
        state = CheckState.FAILED if situation.unit is not None else CheckState.SKIPPED
        return [Outcome("config", state, f"there is no {path}", fix)]
    if not settings.cameras:
        return [Outcome("config", CheckState.FAILED, f"{path} has no camera", "add a section [cameras.NAME]")]
    try:
        labels = _check_labels(settings)
    except ConfigError as error:
        return [_refused("config", error)]
    seen = f"{path} is good: {', '.join(settings.cameras)}; labels {labels}"
    if situation.status is not None and path.stat().st_mtime > time.time() - situation.status["uptime_s"]:
        return [Outcome("config", CheckState.WARNING, f"{seen}; it was changed after the daemon's start", _RELOAD)]
    return [Outcome("config", CheckState.OK, seen)]


def check_access(settings: Settings, config: Path, user: str = SERVICE_USER) -> list[Outcome]:
    """Tell whether the daemon's user may read what it needs, by owners and modes; only root can see that.

    Args:
        settings: The configuration.
        config: Its file.
        user: The daemon's user.
    """
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        return [Outcome("access", CheckState.SKIPPED, f"there is no user {user} here")]
    if os.geteuid() != 0:
        return [Outcome("access", CheckState.SKIPPED, f"what {user} may read is kept from this user", _AS_ROOT)]
    groups = frozenset(os.getgrouplist(user, found.pw_gid))
    for file, is_secret in _files(settings, config):
        if closed := _closed_to(file, found.pw_uid, groups):
            chown = f"sudo chown {user} {closed}"
            fix = chown if is_secret else f"sudo chgrp {user} {closed} && sudo chmod g+rX {closed}"
            return [Outcome("access", CheckState.FAILED, f"{user} may not read {file}: {closed} is closed to it", fix)]
    return [Outcome("access", CheckState.OK, f"{user} may read the configuration, the model and the secrets' files")]


def try_camera(name: str, settings: AnyCamera) -> list[Outcome]:
    """Open a camera as the daemon would, take one frame, and close it again."""
    from appliance.cameras import make_camera
    from appliance.core.clock import SystemClock

    identity, began = f"camera.{name}", time.monotonic()
    try:
        camera = make_camera(name, settings, SystemClock())
        try:
            camera.open()
            frame = camera.read(FRAME_TIMEOUT)
        finally:
            camera.close()
    except EdgecamError as error:
        return [_refused(identity, error)]
    took = time.monotonic() - began
    if frame is None:
        return [Outcome(identity, CheckState.WARNING, "it has ended before its first frame", "see [cameras] loop")]
    seen = f"a frame of {frame.width}x{frame.height} after {took:.1f} s (the daemon is not running)"
    return [Outcome(identity, CheckState.OK, seen)]


def check_model(settings: Settings) -> list[Outcome]:
    """Tell whether the model that is configured is here, whole, and the one that its manifest names."""
    from appliance.inference.artifacts import locate_model

    try:
        located = locate_model(settings.model)
    except (ConfigError, ModelError) as error:
        return [_refused("model", error)]
    mega = len(located.content) / 1e6
    return [Outcome("model", CheckState.OK, f"{located.path} ({mega:.1f} MB, {located.sha256[:12]})")]


def try_model(settings: Settings) -> list[Outcome]:
    """Load the model as the daemon would, have it answer a picture, and tell what runs it."""
    from appliance.inference.ladder import open_climbing_model
    from appliance.inference.running import FIX
    from appliance.inference.tuning import look_up

    if any(camera.kind == "imx500" for camera in settings.cameras.values()):
        return [Outcome("runtime", CheckState.SKIPPED, "the camera runs the model: start the daemon to see how")]
    # as for one frame: an engine that takes minutes to build is the daemon's to build and to keep
    chosen = settings.model.model_copy(update={"open_timeout": OPEN_TIMEOUT})
    try:
        preferred = look_up(settings.model, settings.device.state_dir).preference
        opened = open_climbing_model(chosen, preferred=preferred)
    except EdgecamError as error:
        return [_refused("runtime", error)]
    running = opened.running
    opened.close()
    if troubles := running.troubles():
        return [Outcome("runtime", CheckState.WARNING, f"{running}; {'; '.join(troubles)}", FIX)]
    instead = "; the daemon may have a release of the fleet in its place" if settings.fleet.url else ""
    return [Outcome("runtime", CheckState.OK, f"{running} (the daemon is not running){instead}")]


def try_fleet(settings: Settings, clock: Clock) -> list[Outcome]:
    """Ask the fleet for its signed metadata and verify it, as at a first start; nothing of it is kept.

    By the time that the daemon goes by: a clock that was never set makes nothing expired, nor a certificate a bad one.

    Args:
        settings: The configuration.
        clock: Clock.
    """
    from appliance.updates.checking import read_root
    from appliance.updates.fetcher import MetadataFetcher
    from appliance.updates.places import address, local_path
    from appliance.updates.store import glance
    from appliance.updates.timekeeping import judged_time
    from appliance.updates.trust import Trust

    fleet = settings.fleet
    if not fleet.url or fleet.root is None:
        return [Outcome("fleet", CheckState.SKIPPED, "[fleet] is off")]
    url = address(fleet.url).rstrip("/")
    known, quality, now = glance(settings.device.state_dir), clock.quality(), clock.now().time
    judged = judged_time(now, quality, None if known is None else known.issued)
    is_dated = quality is not ClockQuality.UNSYNCED
    try:
        root = read_root(fleet.root)
        fetcher = MetadataFetcher(FLEET_TIMEOUT, local_path(url), is_dated=is_dated)
        with TemporaryDirectory(prefix="edgecam-") as folder:
            metadata, targets = f"{url}/metadata/", f"{url}/targets/"
            trust = Trust(Path(folder), metadata, targets, root, now=lambda: judged, fetcher=fetcher)
            trust.refresh()
            name = fleet.model or settings.model.use.partition("=")[0]
            rollout = trust.find(f"rollout/{fleet.channel}/{name}.json")
    except EdgecamError as error:
        refused = _refused("fleet", error)
        return [refused if judged == now else replace(refused, fix=f"{_CLOCK_FIRST}; then {refused.fix}")]
    except OSError as error:
        return [Outcome("fleet", CheckState.SKIPPED, f"no folder to look with: {error.strerror}", "see disk")]
    undated = "" if is_dated else f"; the clock is not synchronised, so it was judged by {judged:%Y-%m-%d}"
    told = f"{public_address(fleet.url)}: signed at {trust.issued or 'a time that is not told'}{undated}"
    if rollout is None:
        fix = "ask the fleet's owner, or correct [fleet] channel and model"
        return [Outcome("fleet", CheckState.WARNING, f"{told}; no rollout of {name} in channel {fleet.channel}", fix)]
    return [Outcome("fleet", CheckState.OK, f"{told}; there is a rollout of {name} in channel {fleet.channel}")]


def check_releases(settings: Settings) -> list[Outcome]:
    """Tell whether the record of the fleet's releases was damaged, as far as this user may see it."""
    from appliance.updates.store import FOLDER, STATE_NAME, glance, how_to_forget, put_aside

    folder = settings.device.state_dir / FOLDER
    if lost := put_aside(settings.device.state_dir):
        now = glance(settings.device.state_dir)
        if now is not None and now.active is not None:
            return [Outcome("releases", CheckState.OK, f"{lost}; a release is in service again, and that file may go")]
        return [Outcome("releases", CheckState.WARNING, lost, how_to_forget(settings.device.state_dir))]
    try:
        (folder / STATE_NAME).lstat()
    except PermissionError:
        return [Outcome("releases", CheckState.SKIPPED, f"{folder} is kept from this user", _AS_ROOT)]
    except OSError:
        return [Outcome("releases", CheckState.OK, "none came yet")]
    return [Outcome("releases", CheckState.OK, f"nothing in {folder} was damaged")]


def _refused(identity: str, error: EdgecamError) -> Outcome:
    """Tell an error; what this user may not see is no trouble."""
    if isinstance(error.__cause__, PermissionError) and os.geteuid() != 0:
        return Outcome(identity, CheckState.SKIPPED, Outcome.of_error(identity, error).seen, _AS_ROOT)
    told = Outcome.of_error(identity, error)
    if identity == "config":
        return Outcome(identity, CheckState.FAILED, " ".join(str(error).split()), "edgecam config check")
    fix = told.fix or _FIXES.get(identity, "edgecam camera list shows what is attached")
    if identity == "fleet" and isinstance(error, UnavailableError):
        fix = _FIXES[identity]  # the error says that it is tried again, as the daemon does
    return Outcome(identity, CheckState.FAILED, told.seen, fix)


def _check_labels(settings: Settings) -> str:
    from appliance.inference.artifacts import manifest_named

    try:
        manifest = manifest_named(settings.model)
    except (ConfigError, ModelError):
        return "not checked: see model"
    if manifest is None:
        return "not checked: those of a bare file are known once it runs"
    check_labels(settings, manifest.vocabulary)
    return f"known to {manifest.name}"


def _files(settings: Settings, config: Path) -> Iterator[tuple[Path, bool]]:
    """Give the files that the daemon has to read, and whether each is a secret."""
    yield config, False
    name, equals, given = settings.model.use.partition("=")
    use = Path(given if equals and "/" not in name else settings.model.use)
    if use.is_absolute():
        yield use, False
    for secret in _secrets(settings.messaging):
        yield secret, True
    tls = settings.messaging.tls
    yield from ((file, False) for file in (tls.ca_file, tls.cert_file, settings.fleet.root) if file is not None)
    for camera in settings.cameras.values():
        password: Secret | None = getattr(camera, "password", None)  # of a network camera only
        if password is not None and password.file is not None:
            yield password.file, True


def _secrets(settings: "MessagingSettings") -> Iterator[Path]:
    given = (settings.username_from, settings.password)
    yield from (secret.file for secret in given if secret is not None and secret.file is not None)
    if settings.tls.key_file is not None:
        yield settings.tls.key_file


def _closed_to(file: Path, uid: int, groups: frozenset[int]) -> Path | None:
    """Give the folder or file that keeps a user from reading a file, by owner and mode; None: nothing does."""
    for place in [*reversed(file.parents), file]:
        try:
            found = place.stat()
        except OSError:
            return None  # it is not there: who needs it says so
        wanted = 0o5 if place == file and stat.S_ISDIR(found.st_mode) else 0o4 if place == file else 0o1
        shift = 6 if found.st_uid == uid else 3 if found.st_gid in groups else 0
        if (found.st_mode >> shift) & wanted != wanted:
            return place
    return None
