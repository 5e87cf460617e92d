"""What ends a trial is told by how the model in service does: each way in which it fails with a code of its own."""

import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from appliance.config import ModelSettings, Settings, SyntheticCameraSettings, parse_settings
from appliance.config.settings import DeviceSettings
from appliance.core import machine
from appliance.core.clock import SystemClock
from appliance.core.errors import UnavailableError
from appliance.core.frame import Frame, PixelLayout
from appliance.core.health import HealthBoard, HealthState
from appliance.daemon.chain import build_chain
from appliance.daemon.failures import NAME, STATE, attempt_of, failure_record, read_tail, with_record
from appliance.daemon.fleet import FleetModels
from appliance.daemon.permitted import tell_lost
from appliance.inference.climbing import ClimbingDetector
from appliance.inference.host import ModelHost
from appliance.inference.ladder import open_climbing_model
from appliance.updates import stages
from appliance.updates.formats import Trial
from appliance.updates.judging import Vitals, Watching
from appliance.updates.refusals import Code
from appliance.updates.state import State
from appliance.updates.store import FOLDER, STATE_NAME, Store
from tests.simulators import faulty_runtime
from tests.simulators.faulty_runtime import faulty
from tests.simulators.models import write_folder, yolox, yolox_answer
from tests.system.process import wait_for
from tests.unit.updates.test_store import install


@pytest.fixture
def fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the fault is written that the model in service has from then on."""
    faulty_runtime.install(monkeypatch)
    return tmp_path / "fault"


@pytest.fixture
def models(tmp_path: Path, fault: Path) -> Iterator[FleetModels]:
    folder = write_folder(tmp_path / "release", {"fp32": faulty(f"@{fault}", yolox(yolox_answer((9, 2, 0.9))))})
    settings = Settings(device=DeviceSettings(state_dir=tmp_path / "state"))
    made = FleetModels(settings, SystemClock(), "a" * 32, HealthBoard())
    opened = open_climbing_model(ModelSettings(use=str(folder), timeout=1.0, retry=0.1))
    assert isinstance(opened, ClimbingDetector)
    made.host = ModelHost(opened)
    yield made
    made.host.close()


def test_a_record_of_releases_that_was_damaged_is_on_the_board_until_a_release_is_in_service(tmp_path: Path) -> None:
    settings, board = Settings(device=DeviceSettings(state_dir=tmp_path)), HealthBoard()
    Store(tmp_path).write(State())
    (tmp_path / FOLDER / STATE_NAME).write_bytes(b"{")
    FleetModels(settings, SystemClock(), "a" * 32, board)
    found = board.findings()[0]
    assert (found.component, found.state) == ("releases", HealthState.DEGRADED)
    assert "is forgotten" in found.what
    assert found.fix
    aside = tmp_path / FOLDER / f"{STATE_NAME}.broken"
    assert str(aside) in found.what
    assert found.fix.endswith(f"sudo rm {aside}")
    again, store = HealthBoard(), Store(tmp_path)
    FleetModels(settings, SystemClock(), "a" * 32, again)
    store.read()
    assert again.findings()[0].component == "releases"
    tell_lost(again, store, active=None)
    assert again.state() is HealthState.DEGRADED
    tell_lost(again, store, active="persons 2")
    assert again.state() is HealthState.OK
    tell_lost(again, store, active=None)
    assert again.state() is HealthState.DEGRADED
    aside.unlink()
    tell_lost(again, store, active=None)
    assert again.state() is HealthState.OK


@pytest.mark.parametrize(
    ("changed", "code"),
    [({}, Code.MEMORY), ({"boot_id": "b" * 32}, Code.CRASH), ({"candidate": None}, Code.CRASH)],
    ids=["of this run", "of another boot", "of a run without a trial"],
)
def test_a_daemon_that_the_kernel_ended_for_its_memory_on_trial_says_so_after_the_next_start(
    tmp_path: Path, changed: dict[str, str | None], code: Code
) -> None:
    boot, store = "a" * 32, Store(tmp_path)
    release = install(store, 2)
    update = stages.Update(release=release, rollout="r", stage=stages.Stage.TRIAL)
    store.write(stages.attempt(State(update=update), boot))
    attempt = attempt_of(read_tail(tmp_path / STATE), boot)
    record = failure_record("signal:killed:KILL", "1", "", boot, is_out_of_memory=True, attempt=attempt)
    (tmp_path / NAME).write_bytes(with_record(b"", record | changed) or b"")
    FleetModels(Settings(device=DeviceSettings(state_dir=tmp_path)), SystemClock(), boot, HealthBoard())
    assert [past.code for past in store.read().past] == [code]


def test_an_attempt_that_could_not_be_written_down_is_not_told_by_the_one_before_it(tmp_path: Path) -> None:
    boot, store = "a" * 32, Store(tmp_path)
    trial = Trial(crashes=1)
    update = stages.Update(release=install(store, 2), rollout="r", stage=stages.Stage.TRIAL, trial=trial)
    store.write(stages.attempt(State(update=update), boot))
    attempt = attempt_of(read_tail(tmp_path / STATE), boot)
    record = failure_record("signal:killed:KILL", "1", "", boot, is_out_of_memory=True, attempt=attempt)
    (tmp_path / NAME).write_bytes(with_record(b"", record) or b"")
    settings = Settings(device=DeviceSettings(state_dir=tmp_path))
    FleetModels(settings, SystemClock(), boot, HealthBoard())  # the crash that is forgiven; another follows
    assert store.read().past == ()
    FleetModels(settings, SystemClock(), boot, HealthBoard())
    assert [past.code for past in store.read().past] == [Code.CRASH]


def see(models: FleetModels) -> bool:
    """Have the model in service look at a frame; tell whether it did."""
    stamp = SystemClock().now()
    frame = Frame(np.zeros((64, 64, 3), np.uint8), PixelLayout.BGR, 64, 64, "door", 0, stamp.time, stamp.mono_ns)
    assert models.host is not None
    try:
        models.host.detect(frame)
    except UnavailableError:
        return False
    return True


@pytest.mark.parametrize(
    ("word", "code", "why"),
    [
        ("hang", Code.HANG, "did not answer within 1 s"),
        ("starved", Code.MEMORY, "Failed to allocate memory"),
        ("nan", Code.NUMBERS, "not finite"),
        ("empty", Code.NUMBERS, "gave (1, 84, 0) for"),
        ("count", Code.NUMBERS, "gave 0 outputs for 1"),
    ],
)
def test_one_failure_in_service_is_enough_though_the_model_works_again(
    models: FleetModels, fault: Path, word: str, code: Code, why: str
) -> None:
    watching = Watching(models.vitals(), Trial())
    assert see(models)
    assert watching.verdict(models.vitals(), 0.0) is None
    fault.write_text(word, encoding="ascii")
    assert not see(models)
    fault.unlink()
    wait_for(lambda: see(models), 120, "the model in service again")
    verdict = watching.verdict(models.vitals(), 1.0)
    assert verdict is not None
    assert verdict[0] is code
    assert why in verdict[1]


def test_what_the_board_tells_of_heat_and_the_kernel_of_memory_is_what_a_trial_is_judged_by(
    models: FleetModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    firmware = tmp_path / "throttled"
    firmware.write_text("0x0\n", encoding="ascii")
    monkeypatch.setattr(machine, "THROTTLED", firmware)
    before = models.vitals()
    assert (before.is_throttled, before.memory_mb > 20.0) == (False, True)
    firmware.write_text("0x4\n", encoding="ascii")
    now = replace(models.vitals(), is_looking=True)  # there is no camera here
    watching = Watching(before, Trial())
    assert watching.verdict(now, 0.0) is None
    verdict = watching.verdict(now, 61.0)
    assert verdict is not None
    assert verdict[0] is Code.THROTTLED
    more = Vitals(memory_mb=before.memory_mb * 1.3 + 20.0)
    leaking = Watching(before, Trial()).verdict(more, 0.0)
    assert leaking is not None
    assert leaking[0] is Code.MEMORY


def test_a_camera_that_is_offline_is_not_held_against_a_candidate(models: FleetModels) -> None:
    settings, camera = Settings(), SyntheticCameraSettings(kind="synthetic")
    assert models.host is not None
    chain = build_chain(
        "door",
        camera,
        models.host,
        settings=settings,
        run="1",
        is_end_expected=False,
        clock=SystemClock(),
        board=HealthBoard(),
        publish=lambda _: None,
        tell=lambda *_: None,
    )
    models._chains = {"door": chain}
    away = models.vitals()
    assert (away.idle, away.is_looking) == (frozenset({"door"}), False)
    for state in ("online", "stalled"):  # it may stall because the model takes the whole machine
        chain.camera.state = state
        assert (models.vitals().idle, models.vitals().is_looking) == (frozenset(), True)


def test_figures_of_two_configurations_are_known_as_such(models: FleetModels, tmp_path: Path) -> None:
    def setup_of(text: str) -> str:
        settings = parse_settings(tomllib.loads(text), "test").model_copy(
            update={"device": DeviceSettings(state_dir=tmp_path)}
        )
        made = FleetModels(settings, SystemClock(), "a" * 32, HealthBoard())
        made.host = models.host
        return made.vitals().setup

    door = '[cameras.door]\nkind = "synthetic"\n'
    assert setup_of(door) == setup_of(f'{door}[model]\nuse = "yolox"\n')
    others = [f"{door}fps = 3\n", f"{door}[model]\nthreads = 3\n", f'{door}[cameras.yard]\nkind = "synthetic"\n']
    assert len({setup_of(text) for text in (door, *others)}) == 4
