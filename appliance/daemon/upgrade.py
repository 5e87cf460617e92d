"""Keeps what an upgrade replaces, watches what the new version does, and goes back where no detector works.

``python3 -S -m appliance.daemon.upgrade begin`` is run by the packages before dpkg replaces anything, and ``… watch``
by edgecam-upgrade.service, out of the kept version, from then on and after each boot until there is a verdict.
"""

import fcntl
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, Final

from appliance.core.errors import EdgecamError, StorageError
from appliance.core.files import sync_directory, write_atomically
from appliance.daemon.previous import PACKAGES, build, keep, version_of
from appliance.daemon.trial import Before, Seen, Trial, Verdict, frames_by_camera

FOLDER: Final = Path("/var/cache/edgecam-packages")
STATE: Final = Path("/var/lib/edgecam")
PIN: Final = Path("/etc/apt/preferences.d/edgecam")
LOCK: Final = Path("/var/lib/dpkg/lock-frontend")  # held by apt and dpkg for as long as they run
UNIT: Final = "edgecam.service"
SCHEMAS: Final = "usr/lib/edgecam/app/appliance/messaging/schema"  # in a kept package: one file for each schema
LOOK_EVERY: Final = 2.0  # seconds
_ASK_WITHIN, _STOP_WITHIN, _INSTALL_WITHIN = 20.0, 120.0, 1800.0  # seconds
_MOST_BYTES: Final = 64 << 10  # of what was written down about the version before
_ASK_SCHEMA: Final = """
import sqlite3, sys
print(sqlite3.connect(sys.argv[1], timeout=float(sys.argv[2])).execute("PRAGMA user_version").fetchone()[0])
"""
_LONGEST_VERSION: Final = 256  # characters

log = logging.getLogger(__name__)


def begin(folder: Path = FOLDER) -> None:
    """Keep the packages and write down how they run. Where an upgrade is on trial already, its way back stays.

    Raises:
        EdgecamError: They cannot be kept.
    """
    if (folder / "trial.json").is_file():
        return
    shutil.rmtree(folder, ignore_errors=True)
    status = _status()
    before = {
        "cameras": sorted(name for name, frames in frames_by_camera(status).items() if frames > 0),
        "has_failed": status.get("state") == "failed",
    }
    for package in PACKAGES:
        keep(package, folder / package)
    try:
        folder.chmod(0o700)
        write_atomically(folder / "trial.json", json.dumps(before).encode())
        sync_directory(folder)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error}") from error


def watch(folder: Path = FOLDER) -> None:
    """Look until there is a verdict, and carry it out.

    Raises:
        EdgecamError: It cannot be carried out.
    """
    if (folder / "rolling-back").exists():
        _wait_for_dpkg()
    if (failed := interrupted(folder)) is not None:
        why = "the way back was interrupted"
    else:
        trial = Trial(_read_before(folder))
        verdict = Verdict.WAIT
        while verdict is Verdict.WAIT:
            time.sleep(LOOK_EVERY)
            if _is_dpkg_running():
                trial.pause()
            else:
                verdict = trial.look(_look())
        why = trial.why
        if verdict is Verdict.STAY:
            log.info("%s", why)
            PIN.unlink(missing_ok=True)
            _end(folder)
            return
        failed = _installed()[PACKAGES[-1]][1]
    go_back(folder, failed, why)


def interrupted(folder: Path) -> str | None:
    """Give the version from which a way back was begun; None: none was, or the owner has put in another."""
    mark = folder / "rolling-back"
    if not mark.exists():
        return None
    with mark.open("rb") as file:
        failed = file.read(_LONGEST_VERSION).decode("ascii", "replace")
    installed = _installed()
    is_whole = all(state == "installed" for state, _ in installed.values())
    if is_whole and failed and installed[PACKAGES[-1]][1] not in {failed, version_of(folder / PACKAGES[-1])}:
        mark.unlink()  # that one is judged by itself
        return None
    return failed


def _wait_for_dpkg() -> None:
    """Wait while somebody else installs something, as at a boot; for no longer than a way back may take."""
    ends = time.monotonic() + _INSTALL_WITHIN
    while _is_dpkg_running() and time.monotonic() < ends:
        time.sleep(LOOK_EVERY)


def _read_before(folder: Path) -> Before:
    with (folder / "trial.json").open("rb") as file:
        found: dict[str, Any] = json.loads(file.read(_MOST_BYTES))
    libraries, version = (version_of(folder / package) for package in PACKAGES)
    return Before(version, libraries, frozenset(found.get("cameras", ())), found.get("has_failed") is True)


def _look() -> Seen:
    shown = _run("systemctl", "show", "--property=ActiveState,NRestarts", UNIT).splitlines()
    unit = dict(line.split("=", 1) for line in shown if "=" in line)
    packages = _installed()
    worst = next((state for state, _ in packages.values() if state != "installed"), "installed")
    libraries, version = (packages[name][1] for name in PACKAGES)
    restarts = unit.get("NRestarts", "")
    return Seen(
        at=time.monotonic(),
        package=worst or "not-installed",
        version=version,
        libraries=libraries,
        unit=unit.get("ActiveState", ""),
        restarts=int(restarts) if restarts.isdecimal() else 0,
        status=_status() if unit.get("ActiveState") == "active" else {},
    )


def _installed() -> dict[str, tuple[str, str]]:
    """Give dpkg's state and version of each package; empty where it knows nothing of it."""
    form = "--showformat=${db:Status-Status} ${Version}"
    told = {name: _run("dpkg-query", "--show", form, name).partition(" ") for name in PACKAGES}
    return {name: (state, version) for name, (state, _, version) in told.items()}


def _status() -> dict[str, Any]:
    try:
        found = json.loads(_run("edgecam", "status", "--json"))
    except ValueError:  # no daemon answers, or the command itself is broken
        return {}
    return found if isinstance(found, dict) else {}


def _is_dpkg_running() -> bool:
    try:
        with LOCK.open("wb") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def go_back(folder: Path, failed: str, why: str, *, state: Path = STATE, within: float = _INSTALL_WITHIN) -> None:
    """Install what was kept. Interrupted, it begins again after the boot.

    Args:
        folder: Where it is kept.
        failed: The version that is taken back; empty: not known.
        why: The verdict, for the log.
        state: The daemon's folder.
        within: Seconds that dpkg may take.

    Raises:
        EdgecamError: It cannot be installed; the version that was to go is started again.
    """
    installed, kept = _installed(), {name: version_of(folder / name) for name in PACKAGES}
    version = kept[PACKAGES[-1]]
    log.error("version %s is taken back, %s is installed again: %s", failed or "(none)", version, why)
    write_atomically(folder / "rolling-back", failed.encode())  # the package that is replaced keeps nothing of itself
    if failed not in {"", version}:
        _refuse(failed)  # first: interrupted after the installation, apt would bring it once more
    _run("systemctl", "stop", UNIT, within=_STOP_WITHIN)
    try:
        set_newer_outbox_aside(folder / PACKAGES[-1], state)
        _install(_packages(folder, installed, kept), within)
    except (EdgecamError, OSError, ValueError, subprocess.SubprocessError):
        _write_down("not-rolled-back", failed)
        # better the version that was to go than none, until it is tried again
        _run("systemctl", "start", "--no-block", UNIT)
        raise
    if failed not in {"", version}:
        _write_down("rolled-back", failed)
    _run("systemctl", "reset-failed", UNIT)
    _run("systemctl", "start", "--no-block", UNIT)
    log.info("version %s is started again", version)
    _end(folder)


def _write_down(what: str, failed: str) -> None:
    """Have it kept beyond the boot: the journal of an appliance is volatile."""
    cause = f"upgrade:{what}:{re.sub('[^A-Za-z0-9.]', '_', failed)}"  # units have no + or ~ in their names
    _run("systemctl", "start", "--no-block", f"edgecam-failure@{cause}.service")


def _packages(folder: Path, installed: dict[str, tuple[str, str]], kept: dict[str, str]) -> list[Path]:
    """Make the packages that have to be installed again, in their order."""
    packages = []
    for name in PACKAGES:
        if installed[name] != ("installed", kept[name]):
            packages.append(folder / f"{name}.deb")
            build(folder / name, packages[-1])
    return packages


def _install(packages: list[Path], within: float) -> None:
    if not packages:  # interrupted after it
        return
    command = ["dpkg", "--force-downgrade", "--force-confdef", "--force-confold", "--install", *map(str, packages)]
    try:
        done = subprocess.run(  # noqa: S603 - dpkg's own
            command,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=within,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StorageError(f"the version before cannot be installed: {error}") from error
    if done.returncode != 0:
        raise StorageError(f"the version before cannot be installed: {(done.stdout + done.stderr).strip()[-1000:]}")


def set_newer_outbox_aside(application: Path, state: Path) -> None:
    """Move an outbox away that the version before cannot read; what waits in it stays there.

    Args:
        application: The kept package of that version.
        state: The daemon's folder.

    Raises:
        StorageError: It cannot be moved.
    """
    known = len(list((application / SCHEMAS).glob("*.sql")))
    path = state / "outbox.db"
    try:
        schema = _schema_of(path, state.stat()) if os.path.lexists(path) else 0
        if schema > known:
            # one that was set aside before has messages, too
            aside = next(name for number in count(1) if not list(state.glob((name := _aside(number)) + "*")))
            log.error("%s is of schema %d, and %d is known: it is set aside as %s", path, schema, known, aside)
            for each in sorted(state.glob(f"{path.name}*")):
                each.replace(each.with_name(aside + each.name.removeprefix(path.name)))
    except OSError as error:
        raise StorageError(f"{path} cannot be set aside: {error}") from error


def _aside(number: int) -> str:
    return "newer-outbox.db" if number == 1 else f"newer-{number}-outbox.db"


def _schema_of(path: Path, owner: os.stat_result) -> int:
    """Ask an outbox for its schema, as its owner: opened by root, a file of the daemon's could have others removed."""
    is_root = os.geteuid() == 0
    try:
        done = subprocess.run(  # noqa: S603 - ourselves
            [sys.executable, "-S", "-c", _ASK_SCHEMA, str(path), str(_ASK_WITHIN)],
            capture_output=True,
            text=True,
            timeout=2 * _ASK_WITHIN,
            check=True,
            user=owner.st_uid if is_root else None,
            group=owner.st_gid if is_root else None,
            extra_groups=() if is_root else None,
            cwd="/",
        )
        return int(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        log.warning("%s cannot be read: %s", path, error)  # the daemon has its own way with what is damaged
        return 0


def _refuse(version: str) -> None:
    """Keep apt from installing this version once more; the next one it may."""
    if PIN.parent.is_dir():
        names = " ".join(PACKAGES)
        because = "Explanation: it was taken back, as no detector came to work; see journalctl -u edgecam-upgrade"
        write_atomically(PIN, f"{because}\nPackage: {names}\nPin: version {version}\nPin-Priority: -1\n".encode())


def _end(folder: Path) -> None:
    with suppress(FileNotFoundError):
        (folder / "trial.json").unlink()  # first: without it nothing is on trial
    shutil.rmtree(folder, ignore_errors=True)


def _run(*command: str, within: float = _ASK_WITHIN) -> str:
    """Give what a command prints; empty where it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=within, check=False, errors="replace")  # noqa: S603 - the system's own
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def main(what: str) -> int:
    """Do it and give the exit status."""
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    os.umask(0o022)  # of what is kept, packages are made
    try:
        {"begin": begin, "watch": watch}[what]()
    except (EdgecamError, OSError, ValueError, subprocess.SubprocessError) as error:
        log.critical("%s", error)
        return error.exit_code if isinstance(error, EdgecamError) else 70
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
