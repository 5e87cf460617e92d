import os
from pathlib import Path

import pytest

from appliance.core.errors import StorageError
from appliance.core.files import remove_leftovers, write_atomically


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
