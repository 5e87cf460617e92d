import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from appliance.core.errors import ConfigError
from appliance.workbench.ranges import STEPS, read_ranges, rounded, write_ranges

RANGES = {"pixels": (0.0, 255.0), "stem": (-1.5, 2.25)}


def write(folder: Path, **changes: Any) -> tuple[Path, str]:
    model = folder / "model.onnx"
    model.write_bytes(b"weights")
    path = write_ranges(model, RANGES)
    values = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    path.write_text(json.dumps(values), encoding="utf-8")
    return path, hashlib.sha256(b"weights").hexdigest()


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    assert read_ranges(*write(tmp_path)) == RANGES


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"version": 2}, "is of another version"),
        ({"model": "0" * 64}, "belongs to other weights; give the one beside the model's file"),
        ({"ranges": {"stem": [1.0]}}, "keeps no ranges as"),
        ({"ranges": [1]}, "keeps no ranges as"),
        ({"ranges": {"stem": [0.0, 10**400]}}, "keeps no ranges as"),
        ({"ranges": {"stem": [2.0, 1.0]}}, "has a range that is none"),
        ({"ranges": {"stem": [0.0, float("nan")]}}, "has a range that is none"),
    ],
)
def test_what_are_no_ranges_of_these_weights_is_refused(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        read_ranges(*write(tmp_path, **changes))


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*ranges\.json"):
        read_ranges(tmp_path / "ranges.json", "")
    (tmp_path / "ranges.json").write_bytes(b"\xff{")
    with pytest.raises(ConfigError, match="keeps no ranges as"):
        read_ranges(tmp_path / "ranges.json", "")
    (tmp_path / "ranges.json").write_bytes(b"[" * 200_000)
    with pytest.raises(ConfigError, match="keeps no ranges as"):
        read_ranges(tmp_path / "ranges.json", "")


@pytest.mark.parametrize("value", [0.0, 1e-7, 0.3, 1.0, 2.25, 6.0, 255.0, 1e5])
def test_a_rounded_range_holds_the_old_one_and_is_little_larger(value: float) -> None:
    low, high = rounded(-value, value)
    assert low == -high
    assert value <= high * (1 + 1e-6)
    assert high <= value * 2 ** (1 / STEPS) * (1 + 1e-6)
    assert rounded(low, high) == (low, high)


def test_ranges_that_differ_a_little_are_mostly_rounded_to_the_same() -> None:
    pairs = [(value / 10, value / 10 * 1.02) for value in range(1, 200)]
    same = sum(rounded(0.0, first) == rounded(0.0, second) for first, second in pairs)
    assert same / len(pairs) > 0.85
