"""Whatever a daemon finds when it starts, it loads the best that works; in the end the factory model."""

from pathlib import Path

import pytest

from appliance.updates import stages
from appliance.updates.refusals import Code
from appliance.updates.starting import after_failure, find_model
from appliance.updates.state import State
from appliance.updates.store import Store
from tests.unit.updates.test_store import install

NOW = "2026-11-22T12:00:00Z"
BOOT, NEXT_BOOT = "a" * 32, "b" * 32


def now() -> str:
    return NOW


def test_a_device_without_releases_loads_the_factory_model_and_writes_nothing(tmp_path: Path) -> None:
    begun = find_model(Store(tmp_path), BOOT, now)
    assert (begun.folder, begun.state) == (None, State())
    assert list(tmp_path.iterdir()) == []


def test_the_active_release_is_loaded_and_its_start_counted_on_disk_before(tmp_path: Path) -> None:
    store = Store(tmp_path)
    held = install(store, 1)
    begun = find_model(store, BOOT, now)
    assert begun.folder == store.release_folder(held.sha256)
    assert store.read().starts > 0


def test_a_damaged_release_makes_room_for_the_one_before_it_then_for_the_factory_model(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first, second = install(store, 1), install(store, 2)
    (store.release_folder(second.sha256) / "weights.onnx").write_bytes(b"rot")
    begun = find_model(store, BOOT, now)
    assert begun.folder == store.release_folder(first.sha256)
    assert [past.code for past in begun.ended] == [Code.HASH]
    (store.release_folder(first.sha256) / "weights.onnx").unlink()
    assert find_model(store, BOOT, now).folder is None


def test_what_cannot_be_opened_is_given_up_one_after_the_other(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = install(store, 1)
    install(store, 2)
    begun = find_model(store, BOOT, now)
    begun = after_failure(store, begun.state, "its runtime refuses it", BOOT, now)
    assert begun.folder == store.release_folder(first.sha256)
    assert begun.ended[-1].why == "its runtime refuses it"
    assert after_failure(store, begun.state, "so it does", BOOT, now).folder is None


def test_all_that_is_given_up_at_a_start_is_told(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first, second = install(store, 1), install(store, 2)
    begun = find_model(store, BOOT, now)
    (store.release_folder(first.sha256) / "weights.onnx").unlink()
    begun = after_failure(store, begun.state, "its runtime refuses it", BOOT, now)
    assert begun.folder is None
    told = [(past.release.sha256, past.code) for past in begun.ended]
    assert told == [(second.sha256, Code.STARTS), (first.sha256, Code.HASH)]


def test_a_daemon_that_dies_again_and_again_ends_on_the_factory_model(tmp_path: Path) -> None:
    store = Store(tmp_path)
    install(store, 1)
    install(store, 2)
    folders = [find_model(store, BOOT, now).folder for _ in range(12)]
    assert folders[0] is not None
    assert folders[-1] is None


def test_a_candidate_whose_trial_was_cut_short_is_tried_again_after_a_power_cut_and_not_after_a_crash(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path)
    first = install(store, 1)
    second = install(store, 2)
    state = store.read().model_copy(update={"active": first, "previous": None})
    update = stages.Update(release=second, rollout="r", stage=stages.Stage.TRIAL)
    store.write(stages.attempt(state.model_copy(update={"update": update}), BOOT))
    assert find_model(store, NEXT_BOOT, now).folder == store.release_folder(second.sha256)
    crashed = find_model(store, NEXT_BOOT, now)
    assert crashed.folder == store.release_folder(first.sha256)
    assert crashed.ended[-1].code is Code.CRASH


@pytest.mark.parametrize(
    ("boot", "is_memory", "code"),
    [(BOOT, True, Code.MEMORY), (BOOT, False, Code.CRASH), (NEXT_BOOT, True, None)],
    ids=["memory", "crash", "power"],
)
def test_a_crash_that_is_known_to_be_for_want_of_memory_is_called_so_and_nobody_asks_after_a_power_cut(
    tmp_path: Path, boot: str, *, is_memory: bool, code: Code | None
) -> None:
    store, asked = Store(tmp_path), list[tuple[str, int]]()
    second = install(store, 2)
    update = stages.Update(release=second, rollout="r", stage=stages.Stage.TRIAL)
    store.write(stages.attempt(State(update=update), BOOT))

    def took_the_memory(candidate: str, crashes: int) -> bool:
        asked.append((candidate, crashes))
        return is_memory

    begun = find_model(store, boot, now, took_the_memory=took_the_memory)
    assert [past.code for past in begun.ended] == ([code] if code else [])
    assert asked == ([(second.sha256, 0)] if code else [])
    assert store.read().is_blocked(second.sha256) == (code is not None)
    if code is Code.MEMORY:
        assert begun.ended[0].why == "the kernel ended the daemon for want of memory in stage trial"
