"""What must hold after a power cut in an update: asked of the real code, started on the disk that the cut has left."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from appliance.config import ModelSettings
from appliance.core.errors import EdgecamError
from appliance.core.manifest import read_manifest
from appliance.inference.ladder import open_climbing_model
from appliance.updates.checking import check
from appliance.updates.lookout import text_of
from appliance.updates.orders import CheckOrder, Repository
from appliance.updates.places import address
from appliance.updates.refusals import Code, RefusedError
from appliance.updates.starting import find_model
from appliance.updates.store import Store
from tests.powercut.update_device import NOW, Place, device, digest_on_disk, is_settled, versions, wait_until
from tests.powercut.update_scenarios import Scenario

FIRST: Final = "b" * 32
BOOT: Final = "c" * 32
LATER: Final = "d" * 32

Mark = dict[str, Any]


@dataclass(slots=True)
class Known:
    """What was kept at the cut, from the marks before it.

    Attributes:
        kept: Digest of the state that was on disk last, as the program was told; None: it does not say.
        begun: Digest of one that was being written.
        active: Version of the model in service in that state.
        served: Version of the model in service that a daemon told of, which does not say more.
        trusted: Version of each file of metadata that the program went by.
    """

    kept: str | None = None
    begun: str = ""
    active: str | None = None
    served: str = ""
    trusted: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, marks: Sequence[Mark]) -> "Known":
        known = cls()
        for mark in marks:
            known.begun = mark.get("begins", known.begun)
            if "kept" in mark:
                known.kept, known.begun, known.active = mark["kept"], "", mark["active"]
            known.served = mark.get("served", known.served)
            known.trusted |= mark.get("trusted", {})
        return known


def judge(state_dir: Path, marks: Sequence[Mark], scenario: Scenario, place: Place, old: Path | None) -> list[str]:
    """Give what was broken; empty when every promise held.

    Args:
        state_dir: On the disk that the cut has left.
        marks: Before the cut.
        scenario: What was going on.
        place: The device's fleet, as it was in the end.
        old: What the fleet had signed before; None: nothing that a device should know.
    """
    known = Known.of(marks)
    try:
        return [
            *_lost(state_dir, known),
            *_distrusted(state_dir / "models" / "trust", known, place, old),
            *_unloadable(state_dir),
            *_ends_badly(state_dir, scenario, place),
        ]
    except (EdgecamError, TimeoutError, ValueError) as error:
        return [f"{type(error).__name__}: {error}"]


def _lost(state_dir: Path, known: Known) -> Iterator[str]:
    """What was kept is there; what was being written is there or not."""
    store = Store(state_dir)
    found, state = digest_on_disk(state_dir), store.read()
    if store.lost:
        yield store.lost
    active = None if state.active is None else state.active.version
    if known.served and active != known.served:
        yield f"{known.served} was in service, and {active} is"
    if known.kept is not None and found not in {known.kept, known.begun}:
        yield f"the state that was kept is lost: {known.active} was in service, and {active} is, in {state.stage}"


def _distrusted(folder: Path, known: Known, place: Place, old: Path | None) -> Iterator[str]:
    """Metadata that was trusted is there, whole, no older; and what is older is known for what it is."""
    found = versions(folder)
    for name, version in known.trusted.items():
        if found.get(name, 0) < version:
            yield f"trusted {name} was version {version}, and is {found.get(name, 'gone')}"
    if old is None or not known.trusted:
        return
    repository = Repository(url=address(str(old)), root=place.root, channel="stable", model=place.model)
    try:
        check(CheckOrder(repository=repository, folder=folder, now=text_of(NOW)))
    except RefusedError as error:
        if error.code is not Code.ROLLBACK:
            yield f"older metadata is refused as {error.code}"
    else:
        if found["timestamp.json"] > versions(old / "metadata")["timestamp.json"]:
            yield "older metadata is taken"


def _unloadable(state_dir: Path) -> Iterator[str]:
    """A start after the cut loads a model; none had to be given up."""
    begun = find_model(Store(state_dir), FIRST, lambda: text_of(NOW))
    for past in begun.ended:
        yield f"{past.release.version} was given up at the start: {past.why}"
    if begun.folder is not None:
        with closing(open_climbing_model(ModelSettings(use=str(begun.folder)))):
            pass


def _ends_badly(state_dir: Path, scenario: Scenario, place: Place) -> Iterator[str]:
    """The update goes on, or begins again, and ends as it should; another start then loads what is in service."""
    store = Store(state_dir)
    wanted = scenario.ends_with(store.read())
    with device(store, place, boot=BOOT) as updater:
        facts = wait_until(updater, is_settled)
    active = (facts["active"] or {}).get("version")
    if active != wanted:
        yield f"{active} is in service in the end, not {wanted}: {facts['why']}"
        return
    begun = find_model(store, LATER, lambda: text_of(NOW))
    if begun.folder is None or read_manifest(begun.folder).version != wanted:
        yield f"the next start loads {begun.folder}"
    known = begun.state.kept
    left = [
        file for place in ("releases", "incoming") for file in store.folder.glob(f"{place}/*") if file.name not in known
    ]
    left += [file for file in store.folder.rglob("*") if file.name.startswith(".")]
    if left:
        yield f"left behind: {', '.join(str(file.relative_to(store.folder)) for file in left[:5])}"
