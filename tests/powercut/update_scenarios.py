"""What of an update is going on when the power goes, and where the device must be in the end."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import bsdiff4
import numpy as np
import pytest
from tuf.ngclient import Updater

from appliance.cli.client import Daemon
from appliance.updates import trust
from appliance.updates.starting import find_model
from appliance.updates.state import State
from appliance.updates.store import TRUST
from appliance.updates.wishes import Wish
from tests.powercut.update_device import (
    BAD,
    MODEL,
    NOW,
    Mark,
    Place,
    WitnessedErrands,
    WitnessedStore,
    device,
    is_settled,
    text_of,
    versions,
    wait_until,
)
from tests.simulators.bad_models import released
from tests.simulators.fleet import Fleet
from tests.simulators.models import write_folder, yolox
from tests.system.process import EdgecamProcess, wait_for

SIZE: Final = 160  # pixels: some 180 kB of weights
_ROWS: Final = sum((SIZE // stride) ** 2 for stride in (8, 16, 32))
NANO: Final = "edgecam-nano"
DAEMON: Final = """
[cameras.street]
kind = "synthetic"
fps = 5
[fleet]
url = "{url}"
root = "{root}"
first = 1
interval = 2
"""
TRIAL: Final = {"shadow_frames": 3, "active_seconds": 0}
LONG: Final = {"shadow_frames": 3, "active_seconds": 600}


class World:
    """A fleet in a folder beside the disk, and a device on the disk.

    Args:
        disk: The mounted file system.
        mark: Takes what is promised, in the disk's own log.
        aside: Holds ``fleet``, which the caller serves.
        url: Where it is served.
    """

    def __init__(self, disk: Path, mark: Mark, aside: Path, url: str) -> None:
        self.mark, self.disk, self.aside = mark, disk, aside
        self.store = WitnessedStore(disk / "state", mark)
        self.place = Place(url, aside / "fleet" / "metadata" / "1.root.json")
        self._selections: dict[str, dict[str, str]] = {}
        self._boots = 0

    def begin(self) -> None:
        """Have a fleet, with keys of its own."""
        self.fleet = Fleet(self.aside / "fleet", NOW)

    def release(self, version: str, counter: int, *, base: str = "", **changes: Any) -> dict[str, str]:
        """Sign a release, with a delta from another one; give its selection."""
        folder = write_model(self.aside / version / MODEL, version)
        if base:
            old = (self.aside / base / MODEL / "fp32.onnx").read_bytes()
            path = f"deltas/{base}-{version}"
            self.fleet.put("models", path, bsdiff4.diff(old, (folder / "fp32.onnx").read_bytes()))
            weights = {
                "path": f"models/{MODEL}/{version}/fp32.onnx",
                "deltas": [{"base": sha256(old).hexdigest(), "path": path}],
            }
            changes["files"] = {"fp32.onnx": weights}
        self._selections[version] = self.fleet.release(folder, counter, **changes)
        return self._selections[version]

    def roll_out(self, version: str, **changes: Any) -> None:
        """Sign a rollout of a release."""
        self.fleet.roll_out(MODEL, self._selections[version], **{"trial": TRIAL, **changes})
        self.fleet.sign()

    def selection(self, version: str) -> dict[str, str]:
        """Give how a rollout names a release."""
        return self._selections[version]

    def keep_old(self) -> None:
        """Keep what the fleet has signed so far, for whoever would like to show it to a device again."""
        shutil.copytree(self.aside / "fleet", self.aside / "old", dirs_exist_ok=True)

    def live(self, is_over: Callable[[dict[str, Any]], object] = is_settled, *wishes: Wish) -> None:
        """Run the device until what it tells is as wanted; each time in another boot."""
        self._boots += 1
        boot = f"{self._boots:032x}"
        with device(self.store, self.place, boot=boot, errands=WitnessedErrands(self.mark)) as updater:
            wait_until(updater, is_settled)
            for wish in wishes:
                updater.wishes.ask(wish)
            wait_until(updater, is_over)


@dataclass(frozen=True, slots=True)
class Scenario:
    """Something to be interrupted.

    Attributes:
        run: What goes on.
        ends_with: Version of the model that is in service in the end, by the state that the cut has left.
        before: What was there before; it is not cut.
        model: Whose rollouts are followed.
        breaks_after: Bytes after which each connection to the web server is broken; 0: none is.
        begins_after: It begins with the disk that a cut in the middle of this scenario has left, and its fleet.
        is_canary: Promises are broken on purpose: where nothing is found, the search is worth nothing.
    """

    run: Callable[[World], None]
    ends_with: Callable[[State], str]
    before: Callable[[World], None] = field(default=lambda world: world.begin())
    model: str = MODEL
    breaks_after: int = 0
    begins_after: str = ""
    is_canary: bool = False


def write_model(folder: Path, version: str) -> Path:
    """Write a model that opens; most of its weights are the same in every version."""
    answer = np.zeros((1, _ROWS, 85), np.float32)
    answer[0, :, :4] = np.random.default_rng(7).random((_ROWS, 4), np.float32)
    answer[0, 0, 4] = 1.0
    answer[0, 0, 5] = 0.9 - int(version.split(".", maxsplit=1)[0]) / 100
    write_folder(folder, {"fp32": yolox(answer, SIZE)})
    manifest = folder / "manifest.toml"
    lines = manifest.read_text(encoding="utf-8").split("\n")
    changed = [f'version = "{version}"' if line.startswith("version = ") else line for line in lines]
    manifest.write_text("\n".join(changed), encoding="utf-8")
    return folder


def with_one(world: World) -> None:
    """Have 1.0 in service."""
    world.begin()
    world.release("1.0", 1)
    world.roll_out("1.0")
    world.live()
    world.keep_old()


def with_two(world: World) -> None:
    """Have 2.0 in service, which may be left for 1.0."""
    with_one(world)
    world.release("2.0", 2, base="1.0", may_downgrade_to=[world.selection("1.0")["sha256"]])
    world.roll_out("2.0")
    world.live()
    world.keep_old()


def first(world: World) -> None:
    """A device that never asked takes its first release: metadata, whole files, all stages."""
    world.release("1.0", 1)
    world.roll_out("1.0")
    world.live()


def second(world: World) -> None:
    """The next release comes by a delta from the one in service."""
    world.release("2.0", 2, base="1.0")
    world.roll_out("2.0")
    world.live()


def third(world: World) -> None:
    """One more: the one before the last is removed."""
    world.release("3.0", 3, base="2.0")
    world.roll_out("3.0")
    world.live()


def refused(world: World) -> None:
    """A release fails on trial, in service: the one before it is put back, and it is not tried again."""
    world.release(BAD, 9)
    world.roll_out(BAD, trial=LONG)
    world.live()


def taken_back(world: World) -> None:
    """The fleet takes its devices back to the release before."""
    world.roll_out("2.0", state="rollback", rollback_to=world.selection("1.0"))
    world.live()


def left(world: World) -> None:
    """The owner leaves what is in service for what was before it."""
    world.live(lambda facts: facts["heard"] == 1, Wish.ROLLBACK)


def metadata(world: World) -> None:
    """The fleet signs again and again, its root too; nothing else is new."""
    for _ in range(4):
        world.fleet.renew_root()
        world.fleet.sign()
        world.live()


def starts(world: World) -> None:
    """The device is started again and again, and gets to work."""
    for number in range(100, 115):
        find_model(world.store, f"{number:032x}", lambda: text_of(NOW))
        world.live()


def again(world: World) -> None:
    """The power comes back after a cut, and goes again while the update goes on."""
    world.live()


def daemon(world: World) -> None:
    """`edgecam run` itself, with a camera, its own gates, shadow and trial."""
    folder = released(world.aside / "released", "9.0")
    rollout = {**TRIAL, "agreement_percent": 0, "latency_percent": 1000, "memory_percent": 1000}
    world.fleet.roll_out(NANO, world.fleet.release(folder, 9), trial=rollout)
    world.fleet.sign()
    config = DAEMON.format(url=world.place.url, root=world.place.root)
    with EdgecamProcess(world.disk, "--broker", "none", config=config) as edgecam:
        client = Daemon(edgecam.socket)
        edgecam.wait_for_status(lambda now: now["cameras"]["street"], 60.0, "the daemon works")
        wait_for(lambda: (client.model()["active"] or {}).get("version") == "9.0", 200.0, "9.0 is in service")
        world.mark(served="9.0", trusted=versions(world.store.folder / TRUST))
        wait_for(lambda: client.model()["checks"] > 1, 30.0, "the fleet was asked once more")
        assert edgecam.stop() == 0


def careless(world: World) -> None:
    """The canary: nobody tells the disk to keep anything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        second(world)


def as_the_library(world: World) -> None:
    """The canary of metadata: it is written as the TUF library does by itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trust._DurableUpdater, "_persist_file", Updater._persist_file)
        metadata(world)


def left_or_not(state: State) -> str:
    """Give what is to be in service after a wish of the owner's that may not have been kept."""
    return "1.0" if state.past and state.past[-1].outcome == "rolled_back" else "2.0"


SCENARIOS: Final[dict[str, Scenario]] = {
    "first": Scenario(first, lambda _: "1.0"),
    "delta": Scenario(second, lambda _: "2.0", with_one),
    "third": Scenario(third, lambda _: "3.0", with_two),
    "rollback": Scenario(refused, lambda _: "1.0", with_one),
    "taken-back": Scenario(taken_back, lambda _: "1.0", with_two),
    "owner": Scenario(left, left_or_not, with_two),
    "broken-off": Scenario(first, lambda _: "1.0", breaks_after=30_000),
    "metadata": Scenario(metadata, lambda _: "1.0", with_one),
    "starts": Scenario(starts, lambda _: "1.0", with_one),
    "again": Scenario(again, lambda _: "2.0", lambda _: None, begins_after="delta"),
    "daemon": Scenario(daemon, lambda _: "9.0", model=NANO),
    "canary": Scenario(careless, lambda _: "2.0", with_one, is_canary=True),
    "canary-tuf": Scenario(as_the_library, lambda _: "1.0", with_one, is_canary=True),
}
