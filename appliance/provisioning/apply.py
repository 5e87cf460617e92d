"""Sets a device up: reads what is asked, keeps it as a plan on disk, and does its steps, however often it is cut."""

import fcntl
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from errno import ENOSPC, EROFS
from pathlib import Path
from stat import S_IMODE
from typing import IO

from appliance.config import not_accepted, public_address
from appliance.core.errors import ConfigError, EdgecamError, StorageError, UnavailableError, UnsupportedError
from appliance.provisioning.asked import Setup
from appliance.provisioning.identity import is_another_machine, load_identity, read_hardware
from appliance.provisioning.plan import Outcome, Plan, load_plan, store_plan
from appliance.provisioning.reading import Asked, read_setup, read_text
from appliance.provisioning.repeated import digest, strangers
from appliance.provisioning.report import Report, report_of, write_report
from appliance.provisioning.scrub import holding, is_left, put_back, remarks_with_passwords, scrub, tidy
from appliance.provisioning.secrets import in_settings
from appliance.provisioning.steps import STEPS, Task, secret_place
from appliance.provisioning.system import Places, System

_FLASH = "a password that was on the card may still be in cells of its flash; change it if the card could be read"
_STILL = "PASSWORDS ARE STILL ON THE CARD"
_IF_YOURS = "remove it if it is a copy of yours; what the system needs may have the same word by chance"
_REMARKS = 'passwords were taken out of remarks (# password = "…")'
_TWICE = (
    "a password of the setup file stands there as another setting, too, where others can read it; choose another one"
)
_WRITE_ONE = (
    "write one beside this report, or copy the one of the bundle again; docs/provisioning.md shows what it may ask"
)
_BEFORE = "what the file had asked before was gone on with"
_PICAMERA2 = "/usr/lib/python3/dist-packages/picamera2"  # of the distribution's package
_GET_PICAMERA2 = "sudo apt-get install --no-install-recommends python3-picamera2 && sudo systemctl restart edgecam"
_BUNDLE = "edgecam/install"  # on a card that was made for this device
_NEARLY = re.compile(r"edgecam[-_ ]setup(?!-report).*\.(toml|txt|rtf|md|docx?)")
_OTHER_CARD = "write the card again, or try another"
_ROOT_ALONE = 0o700
OnStep = Callable[[str, Outcome], None]
"""Is told how a step ended."""


class Provisioner:
    """Sets this device up.

    Args:
        places: Where its files are.
        system: Its programs.
    """

    def __init__(self, places: Places, system: System) -> None:
        self._places, self._system = places, system
        self._plan_file = places.state / "plan.json"

    def is_kept(self, path: str) -> bool:
        """Tell whether the secret or file of a key path is on the device, in its place or in a plan.

        Raises:
            ConfigError: The plan is damaged.
            StorageError: The disk does not answer.
            UnavailableError: Only root may look.
        """
        try:
            plan = load_plan(self._plan_file)
            planned = {**plan.secrets, **plan.files} if plan else {}
            return path in planned or self._places.at(secret_place(path)).is_file()
        except (StorageError, OSError) as error:
            cause = error.__cause__ if isinstance(error, StorageError) else error
            if isinstance(cause, PermissionError):
                raise UnavailableError(
                    f"{path}: only root may look whether it is here; do: sudo edgecam setup …"
                ) from error
            why = error if isinstance(error, StorageError) else f"cannot read {error.filename}: {error.strerror}"
            raise StorageError(f"{path}: whether it is on the device is not known: {why}; {_OTHER_CARD}") from error

    def at_boot(self, on_step: OnStep) -> Report | None:
        """Do what is to be done at a boot: what is asked anew, what was cut, what a copied card needs.

        Returns:
            What was written beside the setup file; None: there was nothing to do.

        Raises:
            ConfigError: What was stored cannot be made sense of; the report says so, too.
            StorageError: The plan cannot be read or written; the report says so, too.
            UnavailableError: Another one is at it.
        """
        try:
            if self._is_at_rest():
                return None
            with self._alone():  # what is read and set aside here nobody else changes meanwhile
                return self._at_boot(on_step)
        except (ConfigError, StorageError) as error:
            write_report(self._places, Report("not done", notes=[str(error)]))
            raise
        except OSError as error:
            why = f"{error.filename or 'the card'} cannot be read: {error.strerror}; {_OTHER_CARD}"
            write_report(self._places, Report("not done", notes=[why]))
            raise StorageError(why) from error

    def _is_at_rest(self) -> bool:
        """Tell whether nothing was ever asked here, so that not even a folder is needed."""
        path = self._places.setup_file
        is_asked = path.exists() or is_left(path) or (path.parent / _BUNDLE).exists() or any(self._misnamed())
        return not is_asked and not self._plan_file.parent.exists()

    def _at_boot(self, on_step: OnStep) -> Report | None:
        path, misnamed, refused = self._places.setup_file, list(self._misnamed()), None
        notes: list[str] = []
        plan = self._known_plan(notes)
        if plan is None:
            notes += self._put_back()
        notes += misnamed if path.exists() else []
        known = plan
        try:
            plan = self._take(path, plan, misnamed)
            notes += _stays(path, plan) if plan is not None and plan is not known else []
        except ConfigError as error:
            refused = Report("refused", mistakes=_lines(error))
        report = self._go_on(plan, on_step, notes)
        if refused is None:
            return report
        # what was accepted before goes on nevertheless: a copied card must not keep another device's identity
        told = report or (self._report(plan, notes) if plan else Report("refused", notes=notes))
        gone_on = [_BEFORE] if report else []
        refused = replace(told, verdict="refused", mistakes=refused.mistakes, notes=[*told.notes, *gone_on])
        write_report(self._places, refused)
        return refused

    def _misnamed(self) -> Iterator[str]:
        """Tell of setup files by another name, such as one with an ending that Windows does not show."""
        path = self._places.setup_file
        names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        for name in sorted(names):
            # a partition of the FAT kind has one name for both cases
            if _NEARLY.fullmatch(name.casefold()) and name.casefold() != path.name:
                why = "" if name.endswith(".toml") else " (Windows hides endings)"
                yield f"{name} is not read: rename it to {path.name}{why}, or remove it"

    def _known_plan(self, notes: list[str]) -> Plan | None:
        """Give the plan that was stored; one that is damaged is set aside, and the setup file is carried out again."""
        try:
            return load_plan(self._plan_file)
        except ConfigError:
            aside = self._plan_file.with_suffix(".damaged")
            try:
                self._plan_file.replace(aside)
            except OSError as error:
                raise StorageError(f"cannot set {self._plan_file} aside: {error.strerror}") from error
            notes.append(
                f"what was done before could not be read any more (now {aside}), so all of the file counts again"
            )
            return None

    def _put_back(self) -> Iterator[str]:
        """See to a setup file that was set aside by a plan that is lost; tell where that cannot be."""
        path = self._places.setup_file
        if not is_left(path):
            return
        try:
            put_back(path)
        except StorageError as error:
            if not path.exists():
                raise
            yield f"{_STILL}: {error}{_mended(error)}"

    def _go_on(self, plan: Plan | None, on_step: OnStep, notes: Sequence[str]) -> Report | None:
        """Do what is left of a plan, and what a copied card needs."""
        is_copied = self._is_copied()
        if plan is None or (plan.is_done and not is_copied):
            return None
        plan = plan.again("identity", "configuration", "service") if is_copied else plan
        return self._begin(plan, on_step, notes)

    def carry_out(self, asked: Asked, path: Path, on_step: OnStep) -> Report:
        """Do what was asked over SSH, and what was asked before and is not done.

        What lies on the boot partition has its turn at a boot, if that is another file, and was not begun.

        Args:
            asked: It.
            path: The file that asks it.
            on_step: Is told how each step ended.

        Raises:
            ConfigError: The plan before is damaged; at a boot it would be set aside. Or the card's file would give a
                password to another address than it was given for over SSH.
            StorageError: The plan cannot be read or written.
            UnavailableError: Another one is at it.
        """
        is_said = path.resolve() != self._places.setup_file.resolve()
        with self._alone():  # nobody stores another plan meanwhile
            plan = load_plan(self._plan_file)
            if not is_said:
                self._refuse_strangers(asked, path, plan)
            return self._begin(Plan.of(asked, STEPS, plan, is_said=is_said), on_step, [])

    def _take(self, path: Path, plan: Plan | None, misnamed: Sequence[str]) -> Plan | None:
        """Give the plan that counts: of the file, where the owner has changed it since."""
        if not path.exists():
            if plan is None and (misnamed or (path.parent / _BUNDLE).exists()):
                raise ConfigError(f"{path.name} is not there; {misnamed[0] if misnamed else _WRITE_ONE}")
            return plan
        now = digest(read_text(path))
        if plan is not None and (now == plan.redacted or (now == plan.original and plan.redacted_text)):
            return plan
        asked = read_setup(path, self._places, self.is_kept, before=plan.card() if plan else None)
        self._refuse_strangers(asked, path, plan)
        return Plan.of(asked, STEPS, plan)

    def _refuse_strangers(self, asked: Asked, path: Path, plan: Plan | None) -> None:
        """Refuse a password that was moved for somewhere else; the card's own goes with what its owner changes."""
        own = plan.marks.keys() - set(plan.said) if plan else set()
        others = Setup(**{name: getattr(asked.setup, name) for name in asked.setup.model_fields_set - own})
        pending = plan.setup if plan and not plan.is_done else None
        if lines := list(strangers(others, asked.secrets, pending, self._places)):
            raise ConfigError(not_accepted(path.name, lines))

    def _is_copied(self) -> bool:
        known = load_identity(self._places.state / "identity.json")
        return known is not None and is_another_machine(known.hardware, read_hardware(self._places))

    def _begin(self, plan: Plan, on_step: OnStep, notes: Sequence[str]) -> Report:
        self._store(plan)
        more = [*_public(plan.setup), *_twice(plan), *_missing(plan.setup, self._places)]
        return self._carry_out(plan, on_step, [*notes, *more])

    def _carry_out(self, plan: Plan, on_step: OnStep, notes: list[str]) -> Report:
        path = self._places.setup_file
        tidy(path.parent)
        if not plan.redacted_text:
            notes += self._put_back()
        else:
            remarks = remarks_with_passwords(path)
            notes += [_FLASH] if plan.secrets or remarks else []
            try:
                scrub(path, plan)
                notes += _others(path, plan)
                notes += [f"{_REMARKS}, of {path.name} in line {', '.join(map(str, remarks))}"] if remarks else []
                plan = plan.scrubbed()
                self._store(plan)
            except StorageError as error:
                notes = [*notes, f"{_STILL}: {error}{_mended(error)}"]
        for step in plan.to_do():
            outcome = self._do(step, plan)
            on_step(step, outcome)
            plan = plan.after(step, outcome)
            self._store(plan)
        report = self._report(plan, [*notes, *_left_open(plan, self._places, self._system)])
        write_report(self._places, report)
        return report

    def _do(self, step: str, plan: Plan) -> Outcome:
        task = Task(plan.setup, plan.secrets, plan.files, self._places, self._system)
        try:
            return Outcome("done", STEPS[step](task))
        except UnsupportedError as error:
            return Outcome("left out", str(error))
        except (EdgecamError, OSError) as error:
            if EROFS in (getattr(one, "errno", None) for one in (error, error.__cause__)):
                return Outcome("left out", "this system is read-only: it is set when its image is made")
            return Outcome("failed", str(error))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others away: a boot and somebody over SSH must not do the steps at once."""
        self._make_folder()
        path = self._plan_file.parent / "lock"
        with _opened(path) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UnavailableError("this device is being set up just now; wait a minute and look again") from error
            yield

    def _make_folder(self) -> None:
        folder = self._plan_file.parent
        try:
            folder.mkdir(mode=_ROOT_ALONE, parents=True, exist_ok=True)
            if S_IMODE(folder.stat().st_mode) != _ROOT_ALONE:
                folder.chmod(_ROOT_ALONE)
        except OSError as error:
            raise StorageError(f"cannot make {folder}: {error.strerror}") from error

    def _store(self, plan: Plan) -> None:
        store_plan(self._plan_file, plan)

    def _report(self, plan: Plan, notes: Sequence[str]) -> Report:
        identity = load_identity(self._places.state / "identity.json")
        name = self._places.at("/etc/hostname")
        host = name.read_text(encoding="utf-8", errors="replace").strip() if name.exists() else ""
        return report_of(plan, identity.device_id if identity else "", host, notes)


def _public(setup: Setup) -> Iterator[str]:
    """Tell of what may be a secret and stays where it is: an address has to be as its camera wants it."""
    for name, camera in setup.cameras.items():
        address = getattr(camera, "url", None)
        if isinstance(address, str) and public_address(address) != address:
            yield f"cameras.{name}.url may have a password in it, which stays on the card and in edgecam.toml"


def _others(path: Path, plan: Plan) -> Iterator[str]:
    """Tell of files beside the setup file that have one of its passwords, or may have."""
    found, unseen = holding(path, plan.secrets.values())
    yield from (f"{_STILL}: {name} has one of them; {_IF_YOURS}" for name in found)
    if unseen:
        files = "1 file was" if len(unseen) == 1 else f"{len(unseen)} files were"
        yield (
            f"{files} not looked into for passwords, {unseen[0]} for one: there are too many, or they cannot be read; "
            "look for copies of the setup file yourself"
        )


def _mended(error: StorageError) -> str:
    """Give what is to be done about a card that does not take what is written."""
    number = getattr(error.__cause__, "errno", None)
    known = {
        ENOSPC: "; take files off it that you do not need, and start the device again",
        EROFS: "; a card that is damaged is made so: `journalctl -k` tells",
    }
    return known.get(number, "") if isinstance(number, int) else ""


def _twice(plan: Plan) -> Iterator[str]:
    """Tell of a secret that is no secret: settings are never taken out of the file."""
    if in_settings(plan.setup.model_dump(mode="json", exclude_unset=True), plan.secrets.values()):
        yield _TWICE


def _opened(path: Path) -> IO[bytes]:
    """Open a file to lock it; nothing is written."""
    try:
        return path.open("ab")  # what lies on another machine is locked only for who may write
    except OSError as error:
        if error.errno != EROFS:
            raise
        return path.open("rb")  # a system that was made read-only since


def _stays(path: Path, plan: Plan) -> Iterator[str]:
    """Tell of what the card's file says, and what stays nevertheless as it was asked over SSH."""
    if names := [name for name in plan.said if name in plan.marks]:
        yield (
            f"as asked over SSH since, and not as {path.name} says: {', '.join(names)}; to have what the file says, "
            "take that out of it, start the device once, and put it back"
        )


def _left_open(plan: Plan, places: Places, system: System) -> Iterator[str]:
    """Tell of what a new device's owner has most likely meant to ask."""
    setup = plan.setup
    if not setup.model_fields_set and not plan.marks and places.setup_file.exists():
        yield f'{places.setup_file.name} asks for nothing: take the "#" away from what you need'
    accounts = [system.account(name) for name in {"root", *([setup.ssh.user] if setup.ssh else [])}]
    homes = [*places.at("/home").glob("*"), *(places.at(one.home) for one in accounts if one)]
    if not any((home / ".ssh/authorized_keys").exists() for home in homes):
        yield "no account here has an SSH key: without [ssh] keys nobody logs in, unless by a password"


def _missing(setup: Setup, places: Places) -> Iterator[str]:
    """Tell of what a camera module needs and Raspberry Pi OS Lite has not; only a network brings it."""
    names = [name for name, camera in setup.cameras.items() if camera.kind in ("picamera2", "imx500")]
    if names and not places.at(_PICAMERA2).is_dir():
        yield f"the camera {names[0]} needs picamera2, which this system has not got; do: {_GET_PICAMERA2}"


def _lines(error: ConfigError) -> list[str]:
    """Give an error's lines; its first one only counts the others, where there are others."""
    lines = [line.strip() for line in str(error).splitlines()]
    return lines[1:] or lines
