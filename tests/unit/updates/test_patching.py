"""Deltas: what the workbench's library makes is applied, and what somebody bent is not, in bounded time and memory."""

import bz2
import random
from pathlib import Path

import pytest

from appliance.core.errors import ModelError
from appliance.updates.patching import apply_delta

bsdiff4 = pytest.importorskip("bsdiff4", reason="makes deltas: pip install bsdiff4")
SOURCE = random.Random(5)


def number(value: int) -> bytes:
    return (abs(value) | (1 << 63 if value < 0 else 0)).to_bytes(8, "little")


def delta(triples: bytes, added: bytes, extra: bytes, size: int) -> bytes:
    packed = [bz2.compress(one) for one in (triples, added, extra)]
    return b"BSDIFF40" + number(len(packed[0])) + number(len(packed[1])) + number(size) + b"".join(packed)


def changed(content: bytes, kind: str) -> bytes:
    if kind == "few bytes":
        new = bytearray(content)
        for _ in range(200):
            new[SOURCE.randrange(len(new))] ^= SOURCE.randrange(1, 256)
        return bytes(new)
    return {
        "moved": content[70_000:] + content[:70_000],
        "longer": content[:9000] + SOURCE.randbytes(3_000_000) + content[9000:],
        "shorter": content[5000:9000],
        "other": SOURCE.randbytes(50_000),
        "nothing": b"",
    }[kind]


@pytest.mark.parametrize("kind", ["few bytes", "moved", "longer", "shorter", "other", "nothing"])
def test_a_delta_leads_to_the_file_that_it_was_made_for(tmp_path: Path, kind: str) -> None:
    old = SOURCE.randbytes(100_000)
    new = changed(old, kind)
    (tmp_path / "old").write_bytes(old)
    apply_delta(tmp_path / "old", bsdiff4.diff(old, new), tmp_path / "new", len(new))
    assert (tmp_path / "new").read_bytes() == new


def test_no_damage_makes_more_than_was_promised_or_ends_otherwise_than_in_a_refusal(tmp_path: Path) -> None:
    old = SOURCE.randbytes(3000)
    new = changed(old, "few bytes")
    good = bsdiff4.diff(old, new)
    (tmp_path / "old").write_bytes(old)
    for _ in range(500):
        bad = bytearray(good)
        if SOURCE.random() < 0.3:
            del bad[SOURCE.randrange(len(bad)) :]
        else:
            bad[SOURCE.randrange(len(bad))] ^= SOURCE.randrange(1, 256)
        try:
            apply_delta(tmp_path / "old", bytes(bad), tmp_path / "new", len(new))
        except ModelError:
            continue
        assert (tmp_path / "new").stat().st_size == len(new)


@pytest.mark.parametrize(
    ("bad", "size"),
    [
        (b"", 10),
        (b"BSDIFF40" + bytes(10), 10),
        (delta(number(0) * 3 * 5000, b"", b"", 10), 10),
        (delta(number(10) + number(0) * 2, b"", b"", 10), 10),
        (delta(number(0) + number(10) + number(0), b"", b"123", 10), 10),
        (delta(number(4) + number(0) + number(-9) + number(4) + number(0) * 2, bytes(10), b"", 10), 10),
        (delta(number(-4) + number(14) + number(0), bytes(99), bytes(99), 10), 10),
        (delta(number(0) + number(1 << 40) + number(0), b"", b"", 1 << 40), 10),
        (b"BSDIFF40" + number(-5) + number(5) + number(10) + bytes(40), 10),
    ],
)
def test_a_bent_delta_is_refused(tmp_path: Path, bad: bytes, size: int) -> None:
    (tmp_path / "old").write_bytes(b"0123456789")
    with pytest.raises(ModelError):
        apply_delta(tmp_path / "old", bad, tmp_path / "new", size)
