import os
from pathlib import Path

import pytest

from appliance.core.errors import ConfigError, ModelError, StorageError
from appliance.core.files import read_bounded, remove_leftovers, write_atomically


def test_content_is_replaced_whole_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_atomically(path, b"old")
    write_atomically(path, b"new", mode=0o600)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_an_impossible_directory_is_a_storage_error_that_names_the_path(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"missing/state\.json"):
        write_atomically(tmp_path / "missing" / "state.json", b"")


def test_what_a_power_cut_has_left_of_a_write_is_removed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CutError(BaseException):
        pass

    def cut(*_: object) -> None:
        raise CutError

    others = [tmp_path / name for name in ("state.json", ".hidden", ".state.json", "state.json.abcdefgh")]
    for other in others:
        other.touch()
    (tmp_path / ".folder.abcdefgh").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", cut)
        with pytest.raises(CutError):
            write_atomically(tmp_path / "state.json", b"new")
    assert len(list(tmp_path.iterdir())) == 6
    remove_leftovers(tmp_path)
    remove_leftovers(tmp_path / "missing")
    assert sorted(tmp_path.iterdir()) == sorted([*others, tmp_path / ".folder.abcdefgh"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_who_a_file_is_given_to_has_it_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owners, replace = [], os.replace

    def told(source: str, target: Path) -> None:
        owners.append((Path(source).stat().st_uid, Path(source).stat().st_gid))
        replace(source, target)

    monkeypatch.setattr(os, "replace", told)
    write_atomically(tmp_path / "file", b"new", 0o640, owner=(65534, 65533))
    assert owners == [(65534, 65533)]
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.geteuid() == 0, reason="root may give every file away")
def test_a_file_that_cannot_be_given_away_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="not permitted"):
        write_atomically(tmp_path / "file", b"new", owner=(0, 0))
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_read_up_to_its_bound_and_what_is_larger_is_asked_about(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(b"x" * 100)
    assert read_bounded(path, 100, ModelError, "a recipe") == b"x" * 100
    with pytest.raises(ModelError, match=r"recipe\.toml is larger than 99 bytes; is it a recipe\?$"):
        read_bounded(path, 99, ModelError, "a recipe")
    os.truncate(path, (2 << 20) + 1)
    with pytest.raises(ConfigError, match=r"is larger than 2 MiB; is it a recipe\?$"):
        read_bounded(path, 2 << 20, ConfigError, "a recipe")
    with pytest.raises(ConfigError, match=r"cannot read .*none\.toml: No such file"):
        read_bounded(tmp_path / "none.toml", 1, ConfigError, "a recipe")
