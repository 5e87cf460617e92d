"""A device that takes a model from a fleet: what is cut, and what is started again after the cut.

The worker of updates, its store, TUF and the download are the real ones, against a real web server; gates and the model
in service are turned by the scenario.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from appliance.core.manifest import read_manifest
from appliance.core.worker import Pulse
from appliance.updates import service as needed
from appliance.updates.choosing import Device
from appliance.updates.judging import Vitals
from appliance.updates.lookout import text_of
from appliance.updates.orders import CheckAnswer, CheckOrder, Repository
from appliance.updates.rollout import Whom
from appliance.updates.service import Breath
from appliance.updates.starting import find_model
from appliance.updates.state import State
from appliance.updates.store import STATE_NAME, Store
from appliance.updates.updater import Updater
from tests.simulators.updating import Direct, Rest, TurnedClock

NOW: Final = datetime(2026, 11, 23, 12, tzinfo=UTC)
MODEL: Final = "persons"
BAD: Final = "9.0"
"""Version of a release that gives no finite numbers once it is in service."""

Mark = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a device's fleet is.

    Attributes:
        url: Its web server.
        root: The root of trust that the device was given.
        model: Whose rollouts are followed.
    """

    url: str
    root: Path
    model: str = MODEL


class WitnessedStore(Store):
    """The store; tells which state is about to be kept, and that it is."""

    def __init__(self, state_dir: Path, mark: Mark) -> None:
        super().__init__(state_dir)
        self._mark = mark

    def write(self, state: State) -> None:
        """Keep a state; see `Store`."""
        digest = sha256(state.model_dump_json(by_alias=True).encode()).hexdigest()
        self._mark(begins=digest)
        super().write(state)
        self._mark(kept=digest, active=None if state.active is None else state.active.version)


class WitnessedErrands(Direct):
    """Does errands in this process; tells what metadata is trusted after each."""

    def __init__(self, mark: Mark) -> None:
        self._mark = mark

    def check(self, wanted: CheckOrder) -> CheckAnswer:
        """Ask the fleet; see `Direct`."""
        answer = super().check(wanted)
        self._mark(trusted=versions(wanted.folder))
        return answer


class Choosy(Rest):
    """Gates and service that take every release but the bad one, which fails on trial."""

    def vitals(self) -> Vitals:
        """Tell how the model in service does."""
        folder = self.in_service[-1] if self.in_service else None
        is_bad = folder is not None and read_manifest(folder).version == BAD
        return Vitals(failure="it gave numbers that are not finite") if is_bad else Vitals()


def versions(folder: Path) -> dict[str, int]:
    """Give the version of each file of trusted metadata, by its path.

    Raises:
        ValueError: One is no metadata, as where it is empty or torn.
    """
    found = sorted(
        file for file in folder.rglob("*.json") if not file.name.startswith(".") and "rollouts" not in file.parts
    )
    try:
        return {
            file.relative_to(folder).as_posix(): json.loads(file.read_bytes())["signed"]["version"] for file in found
        }
    except (KeyError, TypeError) as error:
        raise ValueError(f"no metadata in {folder}: {error}") from error


def digest_on_disk(state_dir: Path) -> str:
    """Give the digest of the state that is kept; empty where there is none."""
    try:
        return sha256((Store(state_dir).folder / STATE_NAME).read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""


@contextmanager
def device(
    store: Store, place: Place, *, boot: str, errands: Direct | None = None, first: float = 0.0
) -> Iterator[Updater]:
    """Start a device: what it is to load is decided, then its worker of updates runs; it ends in good order."""
    rest, clock, breath, stop = Choosy(), TurnedClock(NOW), Breath(Pulse(60.0)), threading.Event()
    begun = find_model(store, boot, lambda: text_of(NOW))
    rest.in_service.append(begun.folder)
    updater = Updater(
        needed.Fleet(
            Repository(url=place.url, root=place.root, channel="stable", model=place.model),
            Device(Whom("door"), "9", "x86_64"),
            interval=3600.0,
            first=first,
        ),
        store,
        begun,
        gates=rest,
        service=rest,
        clock=clock,
        boot=boot,
        report=lambda _: None,
        errands=errands or Direct(),
        breath=breath,
    )
    thread = threading.Thread(target=updater.run, args=(stop,))
    thread.start()
    try:
        yield updater
    finally:
        stop.set()
        thread.join(30.0)
    if thread.is_alive():
        raise TimeoutError("the worker of updates does not end")


def wait_until(updater: Updater, is_so: Callable[[dict[str, Any]], object], within: float = 30.0) -> dict[str, Any]:
    """Wait until what the worker tells is as wanted; give it.

    Raises:
        TimeoutError: It did not come to that.
    """
    deadline = time.monotonic() + within
    while not is_so(facts := updater.history()):
        if time.monotonic() > deadline:
            told = {name: facts[name] for name in ("stage", "why", "code", "checks")}
            raise TimeoutError(f"{told}, active {facts['active']}")
        threading.Event().wait(0.002)
    return facts


def is_settled(facts: dict[str, Any]) -> bool:
    """The fleet was asked, and nothing is under way."""
    return bool(facts["checks"]) and facts["stage"] == "idle"
