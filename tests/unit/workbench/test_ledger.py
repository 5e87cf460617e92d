import json
from pathlib import Path

import pytest

from appliance.core.errors import ConfigError
from appliance.workbench.ledger import Ledger


def test_what_was_found_is_there_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "out.search.json"
    first = Ledger(path, {"model": "a"})
    first.put("alone conv", 12.5)
    again = Ledger(path, {"model": "a"})  # nothing was closed, nothing had to be
    assert again.get("alone conv") == 12.5
    assert list(again) == ["alone conv"]


def test_another_search_starts_empty_and_takes_nothing_away(tmp_path: Path) -> None:
    path = tmp_path / "out.search.json"
    Ledger(path, {"model": "a"}).put("x", 1)
    other = Ledger(path, {"model": "b"})
    assert other.get("x") is None
    other.put("x", 2)
    assert Ledger(path, {"model": "a"}).get("x") == 1


@pytest.mark.parametrize("content", ["no JSON", "[]", "{}", json.dumps({"version": 2, "searches": {}})])
def test_a_file_of_another_kind_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "out.search.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match="move it away or choose another file"):
        Ledger(path, {})
    assert path.read_text(encoding="utf-8") == content
