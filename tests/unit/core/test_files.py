from pathlib import Path

import pytest

from appliance.core.errors import StorageError
from appliance.core.files import write_atomically


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
