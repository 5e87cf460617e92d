"""The folder of models from the fleet: whatever is cut short, what is in service is whole and loadable."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from appliance.core.errors import ModelError, StorageError
from appliance.updates import stages
from appliance.updates.formats import Release
from appliance.updates.refusals import RefusedError
from appliance.updates.state import Held, Stage, State, Update
from appliance.updates.store import STATE_NAME, Store, StoredFile, how_to_forget, put_aside

NOW = "2026-11-22T12:00:00Z"


class Cut(BaseException):
    """The process ends here."""


def release(counter: int) -> Release:
    return Release.model_validate(
        {
            "schema": 1,
            "name": "persons",
            "version": str(counter),
            "counter": counter,
            "task": "detect",
            "metrics": {"dataset": "d", "pictures": 10, "figures": {"ap": 4000}},
            "licence": {"spdx": "MIT"},
            "provenance": "made by hand",
            "files": {"weights.onnx": {"path": f"models/persons/{counter}/weights.onnx"}},
        }
    )


def bring(store: Store, counter: int) -> tuple[Held, dict[str, StoredFile]]:
    """Put a release's files where they come in."""
    contents = {
        "manifest.toml": b"version = %d" % counter,
        "weights.onnx": bytes([counter]) * 2000,
        "golden/golden.json": b"{}",
    }
    files = {name: StoredFile(sha256=hashlib.sha256(one).hexdigest(), size=len(one)) for name, one in contents.items()}
    sha256 = files["manifest.toml"].sha256
    for name, content in contents.items():
        path = store.incoming_folder(sha256) / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return Held(sha256=sha256, name="persons", version=str(counter), counter=counter), files


def install(store: Store, counter: int) -> Held:
    """Take a release through all stages, as the daemon does: every state is kept before it is acted on."""
    state = store.read()
    coming, files = bring(store, counter)
    if state.update is None:
        state = stages.begin(state, Update(release=coming, rollout="r"))
        store.write(state)
    order = [one for one in Stage if one not in {Stage.IDLE, Stage.CHECKING}]
    while state.stage is not Stage.TRIAL:
        if state.stage is Stage.VERIFYING:
            store.adopt(coming.sha256, release(counter), files)
        state = stages.advance(state, order[order.index(state.stage) + 1], NOW)
        store.write(state)
    state = stages.commit(state, NOW)
    store.write(state)
    store.collect(state)
    return coming


def test_a_release_is_found_under_what_it_is(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first, second = install(store, 1), install(store, 2)
    state = store.read()
    assert (state.active, state.previous) == (second, first)
    assert store.check(second.sha256).name == second.sha256
    assert store.describe(first.sha256).release == release(1)
    weights = hashlib.sha256(b"\2" * 2000).hexdigest()
    found = store.find(weights)
    assert found is not None
    assert found.read_bytes() == b"\2" * 2000
    assert store.find("0" * 64) is None


def test_what_is_needed_no_more_is_removed_and_the_previous_one_is_not(tmp_path: Path) -> None:
    store = Store(tmp_path)
    held = [install(store, counter) for counter in (1, 2, 3)]
    assert [store.has(one.sha256) for one in held] == [False, True, True]
    assert not list(store.folder.glob("incoming/*"))
    assert not list(store.folder.glob("rubbish/*"))


@pytest.mark.parametrize("damage", ["changed", "shorter", "missing", "a link"])
def test_a_release_that_was_changed_is_told_from_what_came(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path)
    held = install(store, 1)
    weights = store.release_folder(held.sha256) / "weights.onnx"
    if damage == "a link":
        weights.rename(tmp_path / "elsewhere")
        weights.symlink_to(tmp_path / "elsewhere")
    else:
        weights.unlink()
    if damage in {"changed", "shorter"}:
        weights.write_bytes(b"\7" * (2000 if damage == "changed" else 20))
    with pytest.raises(ModelError, match="missing or damaged"):
        store.check(held.sha256)


def test_what_came_and_is_not_what_was_signed_never_gets_in(tmp_path: Path) -> None:
    store = Store(tmp_path)
    held, files = bring(store, 1)
    (store.incoming_folder(held.sha256) / "weights.onnx").write_bytes(b"other")
    with pytest.raises(RefusedError, match="not what was signed"):
        store.adopt(held.sha256, release(1), files)
    assert not store.has(held.sha256)


def test_a_release_has_the_files_that_were_signed_and_no_part_that_a_cut_has_left(tmp_path: Path) -> None:
    store = Store(tmp_path)
    held, files = bring(store, 1)
    incoming = store.incoming_folder(held.sha256)
    for left in ("weights.onnx.part", "weights.onnx.made", ".release.json.abcdefgh", "golden/golden.json.copy"):
        (incoming / left).touch()
    folder = store.adopt(held.sha256, release(1), files)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {*files, "release.json"}


def test_what_has_come_of_a_release_is_kept_only_as_long_as_it_may_be_planned_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    held, _ = bring(store, 1)
    store.collect(State(), keeps_incoming=True)
    assert (store.incoming_folder(held.sha256) / "weights.onnx").is_file()
    other, _ = bring(store, 2)
    store.collect(stages.begin(State(), Update(release=other, rollout="r")))
    assert [folder.name for folder in store.folder.glob("incoming/*")] == [other.sha256]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schema": 9}', b"x" * (300 << 10), b'{"starts": -1}'])
def test_a_damaged_state_is_put_aside_and_told(tmp_path: Path, content: bytes) -> None:
    store = Store(tmp_path)
    install(store, 1)
    (store.folder / STATE_NAME).write_bytes(content)
    assert store.read() == State()
    assert "put aside" in store.lost
    assert (store.folder / f"{STATE_NAME}.broken").read_bytes() == content


def test_that_a_state_was_damaged_is_told_for_as_long_as_it_lies_aside(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert not put_aside(tmp_path)
    held = install(store, 1)
    (store.folder / STATE_NAME).write_bytes(b"{")
    store.read()
    store.write(State(active=held))
    again = Store(tmp_path)
    assert again.read().active == held
    assert f"{STATE_NAME}.broken" in again.lost
    assert again.lost == put_aside(tmp_path)
    aside = store.folder / f"{STATE_NAME}.broken"
    assert how_to_forget(tmp_path).endswith(f"sudo rm {aside}")
    assert str(aside) in again.lost
    aside.unlink()
    assert not again.lost
    again.read()
    assert not again.lost


@contextmanager
def cut_after(calls: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """End the process at the nth call that changes the disk; gives how many there were."""
    made = [0]

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            made[0] += 1
            if made[0] > calls:
                raise Cut
            return function(*given, **named)

        return call

    with monkeypatch.context() as patch:
        for name in ("fsync", "replace", "rename", "unlink", "rmdir", "mkdir"):
            patch.setattr(os, name, counted(getattr(os, name)))
        yield made


def test_a_cut_at_any_write_of_an_update_leaves_a_whole_model_in_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "uncut")
    install(store, 1)
    with cut_after(10_000, monkeypatch) as made:
        install(store, 2)
    assert made[0] > 30
    for calls in range(made[0]):
        store = Store(tmp_path / str(calls))
        first = install(store, 1)
        with cut_after(calls, monkeypatch), pytest.raises(Cut):
            install(store, 2)
        again = Store(tmp_path / str(calls))
        state = again.read()
        assert not again.lost
        assert state.active is not None
        again.check(state.active.sha256)
        if state.active == first:
            assert install(again, 2).counter == 2
        state = again.read()
        again.collect(state)
        assert state.active is not None
        assert (state.active.counter, state.previous) == (2, first)
        for one in (state.active, first):
            again.check(one.sha256)
        assert len(list(again.folder.glob("releases/*"))) == 2


def test_a_damaged_state_that_cannot_be_put_aside_is_told_as_the_disk_s_trouble(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.folder.mkdir()
    (store.folder / "state.json").write_bytes(b"rot")
    (store.folder / "state.json.broken").mkdir()
    with pytest.raises(StorageError, match="put aside"):
        store.read()
