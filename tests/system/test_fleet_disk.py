"""A disk that fills up while a release is brought: it is put off and told, and what is in service stays."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from appliance.updates.judging import Vitals
from appliance.updates.lookout import text_of
from appliance.updates.orders import BringAnswer, BringOrder, Progress
from appliance.updates.refusals import Code
from appliance.updates.starting import find_model
from appliance.updates.state import Held, Stage, Update
from appliance.updates.store import Store
from tests.powercut.recording import missing
from tests.simulators.fleet import Fleet, served
from tests.simulators.fleet_site import NOW, TRIAL, Site, is_over, model
from tests.simulators.updating import Direct
from tests.system.test_disk_faults import Disk
from tests.unit.updates.test_store import bring, install, release

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    monkeypatch.setattr("appliance.updates.updater.ROOM", 0)  # the disk is smaller than that
    disk = Disk(tmp_path)
    yield disk
    disk.close()


@contextmanager
def site_on(disk: Disk, folder: Path) -> Iterator[tuple[Site, Held]]:
    """Give a device whose models lie on a disk, and the release that it has in service."""
    fleet = Fleet(folder / "fleet", NOW)
    with served(fleet.folder) as web:
        site = Site(folder, fleet, web)
        site.store = Store(disk.place)
        site.publish(2)
        site.run(is_over)
        held = site.store.read().active
        assert held is not None
        yield site, held


@pytest.mark.parametrize("leave", [0, 200_000])
def test_a_disk_that_fills_up_puts_the_update_off_and_it_is_made_good_once_there_is_room(
    tmp_path: Path, disk: Disk, leave: int
) -> None:
    class Filling(Direct):
        def bring(self, wanted: BringOrder, tell: Callable[[Progress], None]) -> BringAnswer:
            disk.fill(leave)
            return super().bring(wanted, tell)

    with site_on(disk, tmp_path) as (site, before):
        fleet = site.fleet
        folder = model(tmp_path / "large", "3")
        (folder / "weights.onnx").write_bytes(np.random.default_rng(0).bytes(1_000_000))
        fleet.roll_out("persons", fleet.release(folder, 3), trial=TRIAL)
        fleet.sign()
        site.errands = Filling()
        site.run(lambda facts: facts["code"] == Code.DISK)
        state = site.store.read()
        assert state.active == before
        site.store.check(before.sha256)
        disk.free()
        site.errands = Direct()
        site.run(lambda facts: is_over(facts) and facts["active"]["version"] == "3")


def test_a_candidate_that_fails_on_a_full_disk_makes_room_all_the_same_and_it_is_kept_later(
    tmp_path: Path, disk: Disk
) -> None:
    with site_on(disk, tmp_path) as (site, before):
        site.publish(3, trial={"active_seconds": 600})

        def fails_by_then() -> None:
            if site.rest.calls.count("put in service") == 2 and not site.rest.now.failure:
                disk.fill()
                site.rest.now = Vitals(failure="it gave numbers that are not finite")

        site.rest.on_trial = fails_by_then
        site.run(lambda facts: is_over(facts) and facts["last"]["release"]["version"] == "3")
        assert before is not None
        assert site.rest.in_service[-1] == site.store.check(before.sha256)
        disk.free()
        site.rest.on_trial, site.rest.now = lambda: None, Vitals()
        site.run(lambda facts: "not tried again" in facts["why"] or is_over(facts))
        assert site.store.read().active == before


def test_a_device_whose_disk_is_full_starts_with_what_was_committed_and_not_with_what_is_on_trial(
    disk: Disk,
) -> None:
    store = Store(disk.place)
    first = install(store, 1)
    second, files = bring(store, 2)
    store.adopt(second.sha256, release(2), files)
    idle = store.read()
    trial = Update(release=second, rollout="r", stage=Stage.TRIAL)
    for state in (idle, idle.model_copy(update={"update": trial})):
        store.write(state)
        disk.fill()
        begun = find_model(store, "b" * 32, lambda: text_of(NOW))
        assert begun.folder == store.release_folder(first.sha256)
        assert begun.state.in_service == first
        assert store.read() == state
        disk.free()
    begun = find_model(store, "c" * 32, lambda: text_of(NOW))
    assert begun.folder == store.release_folder(second.sha256)
