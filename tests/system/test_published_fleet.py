"""What the workbench publishes, devices take: over HTTP, by deltas, and from a folder that was carried to them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from appliance.config import ModelSettings
from appliance.inference.detector import open_detector
from appliance.inference.golden import check_golden
from appliance.updates.bringing import bring
from appliance.updates.checking import check
from appliance.updates.choosing import Device, Nothing, Wanted, choose
from appliance.updates.orders import BringOrder, CheckOrder, Repository
from appliance.updates.pieces import files_of, pieces_of
from appliance.updates.places import address
from appliance.updates.rollout import Whom, is_meant
from appliance.updates.stages import advance, begin, commit
from appliance.updates.state import Stage, State
from appliance.updates.store import Store, StoredFile
from appliance.workbench.publishing import rollouts
from appliance.workbench.publishing.serving import RepositoryServer, serving
from tests.simulators.publishing import Fleet, write_model

STAGES = (Stage.DOWNLOADING, Stage.VERIFYING, Stage.STAGED, Stage.INSPECTING, Stage.SMOKE, Stage.SHADOW, Stage.TRIAL)
NOW = "2026-11-22T12:00:00Z"


class Camera:
    """A device as far as it asks, chooses, brings and keeps; what it would try is taken for good."""

    def __init__(self, folder: Path, device_id: str = "door", cohorts: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.store = Store(folder)
        self.device = Device(Whom(device_id, cohorts), "0.1.0", "x86_64", today=date(2026, 11, 22))
        self.state = State()

    def update(self, fleet: Fleet, url: str) -> tuple[Path, int] | str:
        """Take what the fleet wants; gives the release's folder and how many bytes came, or why nothing did."""
        (self.folder / "root.json").write_bytes(fleet.root)
        place = Repository(url=url, root=self.folder / "root.json", channel="stable", model="mine")
        now = rollouts.moment(fleet.now)
        answer = check(CheckOrder(repository=place, folder=self.folder / "trust", now=now))
        wanted = choose(answer, self.state, self.device)
        if isinstance(wanted, Nothing):
            return wanted.why
        return self.bring(wanted)

    def bring(self, wanted: Wanted) -> tuple[Path, int]:
        sha256 = wanted.update.release.sha256
        order = BringOrder(folder=self.store.incoming_folder(sha256), pieces=pieces_of(wanted.offer, self.store))
        came = bring(order, lambda _done, _whole: None)
        assert came.refused_deltas == {}
        files = {name: StoredFile(sha256=one.sha256, size=one.size) for name, one in files_of(wanted.offer).items()}
        folder = self.store.adopt(sha256, wanted.offer.release, files)
        self.state = begin(self.state, wanted.update, wanted.offer.release.security_floor)
        stages = STAGES if not wanted.update.is_return else tuple(one for one in STAGES if one is not Stage.SHADOW)
        for stage in stages:
            self.state = advance(self.state, stage, NOW)
        self.state = commit(self.state, NOW)
        return folder, came.brought


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    fleet = Fleet(tmp_path / "publisher")
    for number, score in enumerate((0.9, 0.8)):
        returns = ("1.0",) if number else ()
        fleet.add(write_model(tmp_path / str(number) / "mine", f"1.{number}", (score,)), may_return_to=returns)
    fleet.publish()
    return fleet


@pytest.fixture
def camera(tmp_path: Path) -> Camera:
    (tmp_path / "camera").mkdir()
    return Camera(tmp_path / "camera")


def roll_out(fleet: Fleet, version: str, share: int = 1_000_000) -> rollouts.Running:
    order = rollouts.Order([("mine", version, ())], share_ppm=share)
    begun = rollouts.begin(order, rollouts.published_models(fleet.repository), "salt", fleet.now)
    plan = rollouts.Plan(since=rollouts.moment(fleet.now))
    return written(fleet, rollouts.Running("stable", begun, plan))


def written(fleet: Fleet, running: rollouts.Running) -> rollouts.Running:
    written = rollouts.write(fleet.repository, running, fleet.now)
    fleet.refresh()
    return written


def works(folder: Path) -> bool:
    """Tell whether a release's folder is a model that finds what it must in its golden frames."""
    weights = next(folder.glob("*.onnx"))
    with open_detector(ModelSettings(use=str(weights))) as detector:
        return check_golden(detector, folder).is_passed


def test_a_release_arrives_whole_the_next_by_a_delta_and_the_fleet_can_take_it_back(
    fleet: Fleet, camera: Camera
) -> None:
    with serving(RepositoryServer(fleet.published)) as url:
        roll_out(fleet, "1.0")
        first = camera.update(fleet, url)
        assert isinstance(first, tuple)
        assert works(first[0])
        running = roll_out(fleet, "1.1")
        second = camera.update(fleet, url)
        assert isinstance(second, tuple)
        assert works(second[0])
        assert second[1] < first[1] / 3
        assert camera.update(fleet, url) == "mine 1.1 is in service"
        models = rollouts.published_models(fleet.repository)
        written(fleet, replace(running, rollout=rollouts.rolled_back(running.rollout, "1.0", models)))
        back = camera.update(fleet, url)
        assert isinstance(back, tuple)
        assert back[0] == first[0]
        assert camera.state.active is not None
        assert camera.state.active.version == "1.0"


def test_a_folder_that_was_carried_to_a_device_is_as_good_as_a_server(fleet: Fleet, camera: Camera) -> None:
    roll_out(fleet, "1.1")
    taken = camera.update(fleet, address(str(fleet.published)))
    assert isinstance(taken, tuple)
    assert works(taken[0])


def test_ten_per_cent_of_two_hundred_devices_take_it_and_they_are_those_that_are_meant(
    fleet: Fleet, tmp_path: Path
) -> None:
    running = roll_out(fleet, "1.1", 100_000)
    taken = set()
    url = address(str(fleet.published))
    (tmp_path / "cameras").mkdir()
    probe = Camera(tmp_path / "cameras")
    (probe.folder / "root.json").write_bytes(fleet.root)
    place = Repository(url=url, root=probe.folder / "root.json", channel="stable", model="mine")
    answer = check(CheckOrder(repository=place, folder=probe.folder / "trust", now=NOW))
    ids = [f"cam-{number}" for number in range(200)]
    for one in ids:
        if isinstance(choose(answer, State(), replace(probe.device, whom=Whom(one))), Wanted):
            taken.add(one)
    assert taken == {one for one in ids if is_meant(running.rollout, Whom(one))}
    assert 10 <= len(taken) <= 32  # 20, within three standard deviations


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda running: rollouts.halted(running.rollout), "is halted"),
        (lambda running: running.rollout.model_copy(update={"cohorts": ("north",)}), "is not for this device"),
    ],
)
def test_what_is_halted_or_for_others_is_not_taken(
    fleet: Fleet, camera: Camera, change: Callable[[rollouts.Running], object], why: str
) -> None:
    running = roll_out(fleet, "1.1")
    written(fleet, replace(running, rollout=change(running)))  # type: ignore[arg-type] # lambdas have no types
    told = camera.update(fleet, address(str(fleet.published)))
    assert isinstance(told, str)
    assert why in told
